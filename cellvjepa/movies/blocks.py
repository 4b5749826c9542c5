"""Blocks: pieces of movies that are decoded once so that many training clips can be cut from them.

Random clips read straight from their files decode ten to eighty times what they use. A block is bounded in memory, wide
enough for clips to differ, and laid on the chunks of the file where it can be. Rows and columns are those of the pixels that are
read, which may be a coarser copy of the movie's (:func:`cellvjepa.movies.clip_shape.sampling`).
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.block_size import BlockSize, Budget, block_size
from cellvjepa.movies.buffers import Buffers
from cellvjepa.movies.clip_shape import ClipShape, Sampling, channel_indices, check_movie
from cellvjepa.movies.clips import Clip, clip_address, draw_start, window_of
from cellvjepa.movies.liveliness import Liveliness, cheap_look
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.resampling import is_exact, read_native, scale
from cellvjepa.movies.window import padded

_CLIP_PLACES = 8  # random places among which a foreground clip takes the liveliest
_BLOCK_PLACES = 4  # and a block, where looking is cheap


@dataclass(frozen=True)
class Source:
    """A movie to draw blocks from.

    Parameters
    ----------
    movie
        Where the pixels are.
    found
        How clips sample it.
    channels
        Indices of the channels to use.
    weight
        How often it is drawn, relative to others.
    size
        Of its blocks.
    """

    movie: Movie
    found: Sampling
    channels: tuple[int, ...]
    weight: float
    size: BlockSize


@dataclass(frozen=True)
class BlockAddress:
    """Where a block is: one channel of one movie, native frames (already strided in time), rows and columns."""

    source: Source
    channel: int
    frames: range
    rows: slice
    columns: slice


@dataclass(frozen=True)
class Block:
    """A decoded block: native pixels T Z Y X, and the native values that map to 0 and 1."""

    at: BlockAddress
    native: npt.NDArray[Any]
    level: npt.NDArray[np.float64]

    @cached_property
    def liveliness(self) -> Liveliness:
        """Return where in the block something is to be seen."""
        return Liveliness.of(self.native, self.level, self.at.source.size.clip)


def source_of(movie: Movie, shape: ClipShape, budget: Budget) -> Source:
    """Return a movie as a source of blocks.

    Its weight is the square root of how many clips fit into it side by side: between equal shares of movies, where a long
    recording counts no more than a snippet, and equal shares of pixels, where one big movie would drown all others.

    Raises
    ------
    UserError
        If clips of this shape cannot be cut from the movie (:func:`cellvjepa.movies.clips.check_movie`).
    """
    found = check_movie(movie, shape)
    extents = (found.span_frames, *found.read_px)
    lengths = (movie.shape["T"], *found.pixels.shape[3:])
    fitting = math.prod(max(1.0, length / extent) for length, extent in zip(lengths, extents, strict=True))
    return Source(movie, found, channel_indices(movie, shape), math.sqrt(fitting), block_size(found, shape.frames, budget))


def draw_block(sources: Sequence[Source], cumulated: npt.NDArray[np.float64], foreground_share: float, rng: np.random.Generator) -> BlockAddress:
    """Draw a block: first the movie by weight, then one of its channels, then a place.

    Where a glance at the movie is cheap, a share of the blocks goes to the liveliest of four places.

    Parameters
    ----------
    cumulated
        ``cumsum`` of the sources' weights.
    foreground_share
        Share of blocks that choose their place.
    """
    source = sources[min(int(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right")), len(sources) - 1)]
    channel = source.channels[int(rng.integers(len(source.channels)))]
    first = _draw_place(source, channel, rng)
    look = cheap_look(source.movie) if rng.random() < foreground_share else None
    if look is None:
        return first
    places = [first, *(_draw_place(source, channel, rng) for _ in range(_BLOCK_PLACES - 1))]
    z, factor = source.found.z0, source.found.factor
    return places[int(np.argmax([look.spread(p.frames[len(p.frames) // 2], channel, z, p.rows, p.columns, factor) for p in places]))]


def _draw_place(source: Source, channel: int, rng: np.random.Generator) -> BlockAddress:
    found, size = source.found, source.size
    frames, _, _, rows, columns = found.pixels.shape
    chunk_t, _, _, chunk_y, chunk_x = found.pixels.chunks
    step = found.t_step
    span = (size.frames - 1) * step + 1
    phase = int(rng.integers(step))  # without it, blocks laid on chunks might never see some of the frames
    t0 = min(frames - span, phase + _draw_aligned(rng, frames, span, found.span_frames, chunk_t))
    y0 = _draw_aligned(rng, rows, size.rows, found.read_px[0], chunk_y)
    x0 = _draw_aligned(rng, columns, size.columns, found.read_px[1], chunk_x)
    return BlockAddress(source, channel, range(t0, t0 + size.frames * step, step), slice(y0, y0 + size.rows), slice(x0, x0 + size.columns))


def read_block(at: BlockAddress, shape: ClipShape, level: npt.NDArray[np.float64], buffers: Buffers) -> Block:
    """Read and decode a block.

    Parameters
    ----------
    buffers
        Of bytes; the block's memory comes from there, and goes back when nobody has the block any more.

    Raises
    ------
    UserError
        If the pixels cannot be read.
    """
    found = at.source.found
    window = (slice(found.z0, found.z0 + found.extent_px[0]), at.rows, at.columns)
    lengths = (len(at.frames), found.planes, at.rows.stop - at.rows.start, at.columns.stop - at.columns.start)
    dtype = found.pixels.dtype
    buffer = buffers.take()
    native = buffer.of_length(math.prod(lengths) * dtype.itemsize).view(dtype).reshape(lengths)
    try:
        block = Block(at, read_native(found.pixels, at.channel, at.frames, window, shape.z == "max", native), level)
    except BaseException:
        buffers.give_back(buffer)
        raise
    weakref.finalize(block, buffers.give_back, buffer).atexit = False
    return block


def place_clip(block: Block, shape: ClipShape, foreground_share: float, rng: np.random.Generator) -> Clip:
    """Choose a clip in a block: blindly, or with probability ``foreground_share`` where the image varies most.

    The latter is the liveliest of eight random places (:mod:`cellvjepa.movies.liveliness`).
    """
    at = block.at
    count = _CLIP_PLACES if rng.random() < foreground_share else 1
    height, width = at.source.found.read_px
    t = np.array([draw_start(rng, 0, len(at.frames), shape.frames) for _ in range(count)])
    y = np.array([draw_start(rng, at.rows.start, at.rows.stop, height) for _ in range(count)])
    x = np.array([draw_start(rng, at.columns.start, at.columns.stop, width) for _ in range(count)])
    best = 0 if count == 1 else int(np.argmax(block.liveliness.at(t, y - at.rows.start, x - at.columns.start)))
    return clip_address(at.source.movie, at.source.found, at.frames[int(t[best])], int(y[best]), int(x[best]))


def cut_clip(block: Block, clip: Clip, shape: ClipShape, out: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Cut a clip from a block.

    Parameters
    ----------
    out
        T Z Y X, as large as the clip where it is read. Native values are written to it; values that float32 does not hold exactly
        are scaled first.

    Returns
    -------
    ndarray
        ``(2,)``: the values in ``out`` that map to 0 and 1.
    """
    at = block.at
    window = window_of(clip, at.source.found)
    first = at.frames.index(clip.t0)
    _, rows, columns = window.there
    y, x = at.rows.start, at.columns.start
    native = block.native[first : first + shape.frames, :, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    whole = padded(native, window)
    if is_exact(whole.dtype):
        out[...] = whole
        return block.level
    out[...] = scale(whole, block.level)
    return np.array([0.0, 1.0])


def _draw_aligned(rng: np.random.Generator, length: int, size: int, extent: int, chunk: int) -> int:
    """Draw where a block begins: on the border of a chunk, if every place of a clip lies in such a block; else anywhere."""
    last = length - size
    if size - extent < chunk - 1:
        return int(rng.integers(last, endpoint=True))
    return min(last, chunk * int(rng.integers(math.ceil(last / chunk), endpoint=True)))
