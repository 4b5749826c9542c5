"""Blocks: pieces of movies that are decoded once so that many training clips can be cut from them.

Random clips read straight from their files decode ten to eighty times what they use. A block is bounded in memory, wide
enough for clips to differ, and laid on the chunks of the file where it can be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.clip_shape import ClipShape, Sampling, channel_indices, check_movie
from cellvjepa.movies.clips import Clip, clip_address, draw_start, finish_clip, native_window
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.resampling import read_native, scale

_BUDGET_PX = 64 * 512 * 512  # native pixels decoded for one block, unless a single clip is larger
_SIDE_PX = 512
_PLACES = 8  # random places among which a foreground clip takes the liveliest
_VIEW = (8, 16, 16)  # about so many frames, rows and columns are looked at to tell how lively a place is


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
    """

    movie: Movie
    found: Sampling
    channels: tuple[int, ...]
    weight: float


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


def source_of(movie: Movie, shape: ClipShape) -> Source:
    """Return a movie as a source of blocks.

    Its weight is the square root of how many clips fit into it side by side: between equal shares of movies, where a long
    recording counts no more than a snippet, and equal shares of pixels, where one big movie would drown all others.

    Raises
    ------
    UserError
        If clips of this shape cannot be cut from the movie (:func:`cellvjepa.movies.clips.check_movie`).
    """
    found = check_movie(movie, shape)
    extents = (found.span_frames, *found.extent_px[1:])
    lengths = (movie.shape["T"], movie.shape["Y"], movie.shape["X"])
    fitting = math.prod(max(1.0, length / extent) for length, extent in zip(lengths, extents, strict=True))
    return Source(movie, found, channel_indices(movie, shape), math.sqrt(fitting))


def draw_block(sources: Sequence[Source], shape: ClipShape, rng: np.random.Generator) -> BlockAddress:
    """Draw a block: first the movie by weight, then one of its channels, then a place."""
    cumulated = np.cumsum([source.weight for source in sources])
    source = sources[min(int(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right")), len(sources) - 1)]
    channel = source.channels[int(rng.integers(len(source.channels)))]
    count, height, width = _lengths(source, shape)
    movie, step = source.movie, source.found.t_step
    _, extent_y, extent_x = source.found.extent_px
    chunk_t, _, _, chunk_y, chunk_x = movie.pixels.chunks
    span = (count - 1) * step + 1
    phase = int(rng.integers(step))  # without it, blocks laid on chunks might never see some of the frames
    t0 = min(movie.shape["T"] - span, phase + _draw_aligned(rng, movie.shape["T"], span, source.found.span_frames, chunk_t))
    y0 = _draw_aligned(rng, movie.shape["Y"], height, extent_y, chunk_y)
    x0 = _draw_aligned(rng, movie.shape["X"], width, extent_x, chunk_x)
    return BlockAddress(source, channel, range(t0, t0 + count * step, step), slice(y0, y0 + height), slice(x0, x0 + width))


def read_block(at: BlockAddress, shape: ClipShape, level: npt.NDArray[np.float64]) -> Block:
    """Read and decode a block."""
    found = at.source.found
    window = (slice(found.z0, found.z0 + found.extent_px[0]), at.rows, at.columns)
    return Block(at, read_native(at.source.movie, at.channel, at.frames, window, shape.z == "max"), level)


def place_clip(block: Block, shape: ClipShape, foreground_share: float, rng: np.random.Generator) -> Clip:
    """Choose a clip in a block: blindly, or with probability ``foreground_share`` where the image varies most.

    The latter is the liveliest of eight random places: the one with the highest standard deviation over frames, rows and
    columns, seen through a coarse view.
    """
    at = block.at
    places = _PLACES if rng.random() < foreground_share else 1
    clips = [_random_place(at, shape, rng) for _ in range(places)]
    if places == 1:
        return clips[0]
    return clips[int(np.argmax([_liveliness(block, clip, shape) for clip in clips]))]


def cut_clip(block: Block, clip: Clip, shape: ClipShape) -> npt.NDArray[np.float32]:
    """Cut a clip from a block: float32 T Z Y X, bit for bit what :func:`cellvjepa.movies.clips.read_clip` gives."""
    return finish_clip(_native(block, clip, shape), clip, shape, block.level)


def _native(block: Block, clip: Clip, shape: ClipShape) -> npt.NDArray[Any]:
    at = block.at
    first = at.frames.index(clip.t0)
    _, rows, columns = native_window(clip, at.source.movie)
    y, x = at.rows.start, at.columns.start
    return block.native[first : first + shape.frames, :, rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]


def _random_place(at: BlockAddress, shape: ClipShape, rng: np.random.Generator) -> Clip:
    _, height, width = at.source.found.extent_px
    t0 = at.frames[draw_start(rng, 0, len(at.frames), shape.frames)]
    y0 = draw_start(rng, at.rows.start, at.rows.stop, height)
    x0 = draw_start(rng, at.columns.start, at.columns.stop, width)
    return clip_address(at.source.movie, at.source.found, t0, y0, x0)


def _liveliness(block: Block, clip: Clip, shape: ClipShape) -> float:
    native = _native(block, clip, shape)
    t, y, x = (max(1, length // wanted) for length, wanted in zip((native.shape[0], *native.shape[2:]), _VIEW, strict=True))
    return float(scale(native[::t, :, ::y, ::x], block.level).std())


def _lengths(source: Source, shape: ClipShape) -> tuple[int, int, int]:
    """Return the frames (after striding), rows and columns of the blocks of a movie.

    A block is at least 512 px wide, in whole chunks of the file, which are decoded whole anyway; what the budget leaves goes into
    frames. Neither is ever less than a clip, nor more than the movie.
    """
    movie, found = source.movie, source.found
    depth, extent_y, extent_x = found.extent_px
    chunk_t, _, _, chunk_y, chunk_x = movie.pixels.chunks
    planes = depth * min(found.t_step, chunk_t)  # decoded for every frame that is kept
    widest = math.isqrt(_BUDGET_PX // (shape.frames * planes))
    height = min(movie.shape["Y"], max(extent_y, min(math.ceil(_SIDE_PX / chunk_y) * chunk_y, widest)))
    width = min(movie.shape["X"], max(extent_x, min(math.ceil(_SIDE_PX / chunk_x) * chunk_x, widest)))
    count = max(shape.frames, _BUDGET_PX // (planes * height * width))
    return min(count, (movie.shape["T"] - 1) // found.t_step + 1), height, width


def _draw_aligned(rng: np.random.Generator, length: int, size: int, extent: int, chunk: int) -> int:
    """Draw where a block begins: on the border of a chunk, if every place of a clip lies in such a block; else anywhere."""
    last = length - size
    if size - extent < chunk - 1:
        return int(rng.integers(last, endpoint=True))
    return min(last, chunk * int(rng.integers(math.ceil(last / chunk), endpoint=True)))
