"""Pixels as a viewer looks at them: what cannot be read is black, and is told once instead of raised."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.utils.notifications import show_warning

import cellvjepa

_KEPT_BYTES = 2**27  # the frames of a block, which has at most half as much, are looked at one after the other


class SeenPixels:
    """The pixels of a movie, T C Z Y X, that can always be read; what was read last is at hand.

    Parameters
    ----------
    pixels
        The pixels: they raise where a file is damaged, or is not there any more.
    name
        What the movie is called in the notice.
    tell
        Takes the notice, in whichever thread reads.
    """

    def __init__(self, pixels: Any, name: str, tell: Callable[[str], object] = show_warning) -> None:
        self._pixels, self._name, self._tell = pixels, name, tell
        self._told = False
        self._kept: OrderedDict[str, npt.NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self.shape, self.dtype, self.chunks = pixels.shape, pixels.dtype, pixels.chunks
        self.ndim = len(self.shape)

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        """Return a part; zeros where it cannot be read."""
        kept = self._kept.get(repr(key))
        if kept is not None:
            return kept
        try:
            read: npt.NDArray[Any] = self._pixels[key]
        except (cellvjepa.UserError, OSError) as error:
            self._tell_once(error)
            return np.zeros(np.broadcast_to(np.zeros((), np.uint8), self.shape)[key].shape, self.dtype)
        with self._lock:
            self._kept[repr(key)] = read
            while sum(block.nbytes for block in self._kept.values()) > _KEPT_BYTES:
                self._kept.popitem(last=False)
        return read

    def read_ahead(self, chunks: tuple[tuple[int, ...], ...], frame: int) -> None:
        """Read the chunks of a dask array that will be asked for first: those of a frame's middle plane (in another thread).

        Parameters
        ----------
        chunks
            Lengths of the array's chunks along T C Z Y X.
        frame
            The frame.
        """
        frames, channels, planes, height, width = chunks
        t, z = _chunk_at(frames, frame), _chunk_at(planes, sum(planes) // 2)
        for c in range(len(channels)):
            self[t, slice(c, c + 1, None), z, slice(0, height[0], None), slice(0, width[0], None)]

    def _tell_once(self, error: Exception) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            self._tell(f"{self._name} cannot be read everywhere; what cannot is shown black. {error}")


def _chunk_at(lengths: tuple[int, ...], place: int) -> slice:
    """Return the chunk of an axis that holds a place, written as dask writes it."""
    start = 0
    for length in lengths[:-1]:
        if place < start + length:
            return slice(start, start + length, None)
        start += length
    return slice(start, start + lengths[-1], None)
