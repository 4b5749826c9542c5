"""How a converted image is cut: chunks that suit clips, shards that keep the number of files small, slabs that are read at once.

A chunk is the least that a reader decodes, a shard is one file of many chunks, and a slab is what is decoded from the source in
one go: whole pieces of the source where they fit into memory, because what is cut in two is decoded twice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from cellvjepa.movies.movie import Shape5

CHUNK_FRAMES = 16
CHUNK_PX = 256
SHARD_BYTES = 2**28  # decoded; files of about 130 MB
LARGEST_SLAB_BYTES = 2**29  # decoded: 16 frames of 4096 x 4096 uint16
SMALLEST_COARSE_PX = 256  # a coarser copy is made while its smaller side is at least as long

_LEAST_SLAB_BYTES = 2**24  # below, the overhead of a slab shows
_ONE_CHUNK_FRAMES = 24  # a movie of so few frames is not cut in time
_STEP_PX = 16
_T, _C, _Z, _Y, _X = range(5)


@dataclass(frozen=True)
class Level:
    """One resolution of an image.

    Parameters
    ----------
    shape, chunk, shard
        Lengths along T, C, Z, Y, X; a shard is a multiple of a chunk.
    """

    shape: Shape5
    chunk: Shape5
    shard: Shape5


@dataclass(frozen=True)
class Layout:
    """How an image is cut, at all of its resolutions.

    Shards of all levels lie upon each other: shard (i, j, k, l, m) of every level shows the same part of the movie.

    Parameters
    ----------
    levels
        The finest first.
    slab
        Lengths along T, C, Z, Y, X; a shard of the finest level is a multiple of it in T, C and Z, and as large in Y and X.
    itemsize
        Bytes per pixel.
    """

    levels: tuple[Level, ...]
    slab: Shape5
    itemsize: int

    @property
    def slab_bytes(self) -> int:
        """Return the size of a decoded slab."""
        return math.prod(self.slab) * self.itemsize

    def shards(self) -> Iterator[Shape5]:
        """Return the index of each shard, in the order of the pixels."""
        finest = self.levels[0]
        t, c, z, y, x = (range(math.ceil(n / s)) for n, s in zip(finest.shape, finest.shard, strict=True))
        yield from itertools.product(t, c, z, y, x)

    def slabs_of(self, shard: Shape5) -> Iterator[tuple[slice, ...]]:
        """Return the parts of the finest level that one shard is read in."""
        finest = self.levels[0]
        first = [i * s for i, s in zip(shard, finest.shard, strict=True)]
        last = [min(f + s, n) for f, s, n in zip(first, finest.shard, finest.shape, strict=True)]
        for starts in itertools.product(*(range(f, end, step) for f, end, step in zip(first, last, self.slab, strict=True))):
            yield tuple(slice(start, min(start + step, end)) for start, step, end in zip(starts, self.slab, last, strict=True))


def layout_of(shape: Shape5, itemsize: int, source_chunk: Shape5) -> Layout:
    """Choose how an image is cut.

    Parameters
    ----------
    shape
        Of the source.
    itemsize
        Bytes per pixel.
    source_chunk
        What the source decodes at the least.
    """
    count = 1
    while min(halved(shape, count)[_Y:]) >= SMALLEST_COARSE_PX:
        count += 1
    chunk = (CHUNK_FRAMES if shape[_T] > _ONE_CHUNK_FRAMES else shape[_T], 1, 1, _even(shape[_Y]), _even(shape[_X]))
    slab = _slab(shape, chunk, source_chunk, itemsize, count)
    shard = _grown(slab, shape, SHARD_BYTES // itemsize)
    return Layout(tuple(_level(shape, chunk, shard, k) for k in range(count)), slab, itemsize)


def halved(shape: Shape5, times: int) -> Shape5:
    """Return the shape of a copy whose rows and columns were halved so many times; halves are rounded up, so no pixel is lost."""
    t, c, z, y, x = shape
    return t, c, z, -(-y >> times), -(-x >> times)


def _even(length: int) -> int:
    """Cut a side into equal chunks of at most 256 px, so that the last one is not mostly empty."""
    count = math.ceil(length / CHUNK_PX)
    return length if count == 1 else math.ceil(length / count / _STEP_PX) * _STEP_PX


def _slab(shape: Shape5, chunk: Shape5, source_chunk: Shape5, itemsize: int, levels: int) -> Shape5:
    whole = tuple(math.ceil(n / c) * c for n, c in zip(shape, chunk, strict=True))
    most = LARGEST_SLAB_BYTES // itemsize
    slab = [*chunk[:_Y], 0, 0]
    # Sides first: whole rows, then whole images. A side that does not fit is cut at borders that all levels share.
    slab[_Y] = chunk[_Y]
    frames = math.prod(chunk[:_Y])
    slab[_X] = whole[_X] if frames * chunk[_Y] * whole[_X] <= most else _cut(most // (frames * chunk[_Y]), levels)
    room = most // (frames * slab[_X])
    slab[_Y] = whole[_Y] if whole[_Y] <= room else _cut(room, levels)
    # Then the pieces of the source that reach over several channels, planes or frames.
    for axis in (_C, _Z, _T):
        others = math.prod(slab) // slab[axis]
        piece = math.lcm(chunk[axis], min(source_chunk[axis], shape[axis]))
        for wanted in (piece, math.ceil(source_chunk[axis] / chunk[axis]) * chunk[axis]):
            if (wanted := min(wanted, whole[axis])) * others <= most:
                slab[axis] = max(slab[axis], wanted)
                break
    return _grown((slab[0], slab[1], slab[2], slab[3], slab[4]), shape, _LEAST_SLAB_BYTES // itemsize)


def _cut(room: int, levels: int) -> int:
    """Return the largest side that fits and can be halved for every level."""
    least = 1 << (levels - 1)
    return max(least, 1 << (max(room, 1).bit_length() - 1))


def _grown(unit: Shape5, shape: Shape5, most: int) -> Shape5:
    """Take as many units along T, then Z, then C, as are there and fit."""
    grown = list(unit)
    for axis in (_T, _Z, _C):
        times = min(math.ceil(shape[axis] / unit[axis]), max(1, most // math.prod(grown)))
        grown[axis] = unit[axis] * times
        if grown[axis] < shape[axis]:
            break
    return grown[0], grown[1], grown[2], grown[3], grown[4]


def _level(shape: Shape5, chunk: Shape5, shard: Shape5, k: int) -> Level:
    lengths = halved(shape, k)
    chunks, shards = list(chunk), list(shard)
    for axis in (_Y, _X):
        if shard[axis] >= shape[axis]:
            chunks[axis] = _even(lengths[axis])
            shards[axis] = math.ceil(lengths[axis] / chunks[axis]) * chunks[axis]
        else:
            shards[axis] = shard[axis] >> k
            chunks[axis] = min(CHUNK_PX, shards[axis])
    return Level(lengths, (chunks[0], chunks[1], chunks[2], chunks[3], chunks[4]), (shards[0], shards[1], shards[2], shards[3], shards[4]))
