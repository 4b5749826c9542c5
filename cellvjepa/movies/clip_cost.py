"""What clips of a movie cost to read: predicted from how its pixels are stored, without reading any.

A random clip decodes every piece of the file that it touches, for itself alone: so ``embed`` reads. The stream of ``pretrain``
decodes a block once and cuts several clips from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.block_size import Budget, block_size
from cellvjepa.movies.clip_shape import ClipShape, Sampling
from cellvjepa.movies.codec_speed import COPIED_MB_PER_S, decoded_mb_per_s
from cellvjepa.movies.movie import AXES, Key, Shape5

_CONVERTED_CODEC, _CONVERTED_FRAMES, _CONVERTED_PX = "blosc/lz4", 16, 256  # about what `cellvjepa convert` writes
_EACH_CLIP_S = 1e-4  # whatever its size


@dataclass(frozen=True)
class ClipCost:
    """What one clip of one channel costs.

    Parameters
    ----------
    decoded_mb
        Pixels that are decoded for it [MB].
    used_mb
        Pixels that it uses [MB].
    clips_per_s
        Predicted clips per second and core, when the file is in memory or on a disk that keeps up.
    """

    decoded_mb: float
    used_mb: float
    clips_per_s: float

    @property
    def amplification(self) -> float:
        """Return the bytes decoded per byte used."""
        return self.decoded_mb / self.used_mb

    @property
    def mb_per_s(self) -> float:
        """Return the predicted pixels in clips, per second and core [MB/s]."""
        return self.clips_per_s * self.used_mb


@dataclass(frozen=True)
class Stored:
    """How pixels are stored that clips are read from.

    Parameters
    ----------
    found
        How clips sample the movie, and where they are read.
    codec
        The compression, as a movie says it.
    """

    found: Sampling
    codec: str

    def converted(self) -> Stored:
        """Return how ``cellvjepa convert`` would store them."""
        pixels = self.found.pixels
        t, _, _, y, x = pixels.shape
        chunks = (min(_CONVERTED_FRAMES, t), 1, 1, min(_CONVERTED_PX, y), min(_CONVERTED_PX, x))
        return Stored(replace(self.found, pixels=_Imagined(pixels.shape, pixels.dtype, chunks)), _CONVERTED_CODEC)


def random_cost(stored: Stored, shape: ClipShape) -> ClipCost:
    """Return what a clip costs at a place of its own, on average over all places where it fits.

    Parameters
    ----------
    stored
        How the movie is stored.
    shape
        What a clip is.
    """
    pixels = stored.found.pixels
    decoded: float = pixels.chunks[1]
    for length, chunk, count, step in _along(stored, shape):
        decoded *= _decoded(length, chunk, min(count, length), step)
    return _cost(stored, shape, decoded)


def stream_cost(stored: Stored, shape: ClipShape, budget: Budget) -> ClipCost:
    """Return what a clip costs that is cut from a block together with others.

    Parameters
    ----------
    stored
        How the movie is stored.
    shape
        What a clip is.
    budget
        What a block may cost.
    """
    size = block_size(stored.found, shape.frames, budget)
    counts = (size.frames, stored.found.extent_px[0], size.rows, size.columns)
    decoded: float = stored.found.pixels.chunks[1]
    for (length, chunk, _, step), count in zip(_along(stored, shape), counts, strict=True):
        touched = range(0, (min(count, length) - 1) * step + 1, step) if step >= chunk else range(0, min(count, length) * step, chunk)
        decoded *= sum(min((index // chunk + 1) * chunk, length) - index // chunk * chunk for index in touched if index < length)
    return _cost(stored, shape, decoded / budget.clips_per_block)


def _along(stored: Stored, shape: ClipShape) -> Iterator[tuple[int, int, int, int]]:
    """Give length, chunk, count and step of a clip along T, Z, Y and X."""
    found = stored.found
    lengths, chunks = (dict(zip(AXES, each, strict=True)) for each in (found.pixels.shape, found.pixels.chunks))
    for axis, count, step in zip("TZYX", (shape.frames, found.extent_px[0], *found.read_px), (found.t_step, 1, 1, 1), strict=True):
        yield lengths[axis], chunks[axis], count, step


def _cost(stored: Stored, shape: ClipShape, decoded_px: float) -> ClipCost:
    used_px = math.prod(min(count, length) for length, _, count, _ in _along(stored, shape))
    decoded_mb, used_mb = (px * stored.found.pixels.dtype.itemsize / 1e6 for px in (decoded_px, used_px))
    seconds = decoded_mb / decoded_mb_per_s(stored.codec) + used_mb / COPIED_MB_PER_S + _EACH_CLIP_S
    return ClipCost(decoded_mb, used_mb, 1 / seconds)


def _decoded(length: int, chunk: int, count: int, step: int) -> float:
    """Return the extent of the chunks that ``count`` indices, ``step`` apart, fall into, on average over all places where they fit."""
    first = np.arange(length - (count - 1) * step)
    if step < chunk:  # every chunk between the first and the last index is touched
        return float(np.mean(_end_of_chunk(first + (count - 1) * step, chunk, length) - first // chunk * chunk))
    each = first[:, None] + step * np.arange(count)
    return float(np.mean(np.sum(_end_of_chunk(each, chunk, length) - each // chunk * chunk, axis=1)))


def _end_of_chunk(index: npt.NDArray[np.int64], chunk: int, length: int) -> npt.NDArray[np.int64]:
    return np.minimum((index // chunk + 1) * chunk, length)


@dataclass(frozen=True)
class _Imagined:
    """Pixels that are not there."""

    shape: Shape5
    dtype: np.dtype[Any]
    chunks: Shape5

    def __getitem__(self, key: Key, /) -> npt.NDArray[Any]:
        raise AssertionError("pixels that are not there cannot be read")
