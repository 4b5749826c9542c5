"""Decoded pieces of movies that are kept for a while: neighbouring cells look at the same pixels."""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.movie import Key, LazyPixels, Movie, Shape5, region_of

_BUDGET_BYTES = 512 * 2**20


class RecentChunks:
    """The chunks decoded last, of any number of movies, in bounded memory; safe to use from several threads.

    Parameters
    ----------
    budget_bytes
        Decoded bytes that are kept; the chunks of one read are held beyond that.
    """

    def __init__(self, budget_bytes: int = _BUDGET_BYTES) -> None:
        self._budget = budget_bytes
        self._kept: OrderedDict[tuple[int, ...], npt.NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._arrays = 0

    def of(self, movie: Movie) -> Movie:
        """Return the same movie, read through this memory; one that needs no decoding, or has such a memory, is returned as it is."""
        if movie.codec == "none" or math.prod(movie.pixels.chunks) == 1 or isinstance(movie.pixels, _Remembered):
            return movie
        pyramid = tuple(replace(copy, pixels=self._remembered(copy.pixels)) for copy in movie.pyramid)
        return replace(movie, pixels=self._remembered(movie.pixels), pyramid=pyramid)

    def _remembered(self, pixels: LazyPixels) -> LazyPixels:
        self._arrays += 1
        return _Remembered(pixels, self, self._arrays)

    def chunk(self, pixels: LazyPixels, array: int, index: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return one whole chunk, decoded now or before."""
        key = (array, *index)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        t, c, z, y, x = (slice(i * size, min((i + 1) * size, length)) for i, size, length in zip(index, pixels.chunks, pixels.shape, strict=True))
        decoded = pixels[t, c, z, y, x]
        with self._lock:
            if key not in self._kept:
                self._kept[key] = decoded
                self._bytes += decoded.nbytes
            while self._bytes > self._budget and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return decoded


@dataclass(frozen=True, eq=False)
class _Remembered:
    pixels: LazyPixels
    memory: RecentChunks
    array: int

    @property
    def shape(self) -> Shape5:
        return self.pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.pixels.dtype

    @property
    def chunks(self) -> Shape5:
        return self.pixels.chunks

    def __getitem__(self, key: Key, /) -> npt.NDArray[Any]:
        region = region_of(key, self.shape)
        wanted = [np.arange(s.start, s.stop, s.step) for s in region.slices]
        found = np.empty(region.shape, self.dtype)
        # Per axis: which chunk, where in the result, where in the chunk.
        pieces = [[(int(i), *_overlap(axis, int(i), size)) for i in np.unique(axis // size)] for axis, size in zip(wanted, self.chunks, strict=True)]
        for piece in itertools.product(*pieces):
            index, into, part = zip(*piece, strict=True)
            found[into] = self.memory.chunk(self.pixels, self.array, index)[part]
        return found.squeeze(region.dropped)


def _overlap(wanted: npt.NDArray[np.int64], index: int, size: int) -> tuple[slice, slice]:
    inside = np.flatnonzero(wanted // size == index)
    first, last = int(inside[0]), int(inside[-1])
    step = int(wanted[1] - wanted[0]) if len(wanted) > 1 else 1
    start = int(wanted[first]) - index * size
    return slice(first, last + 1), slice(start, int(wanted[last]) - index * size + 1, step)
