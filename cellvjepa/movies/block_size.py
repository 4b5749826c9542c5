"""How large the blocks of a movie are: whole chunks where that costs nothing, within a budget of memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cellvjepa.movies.clip_shape import Sampling

_SIDE_PX = 512  # clips of one block shall differ in place
_FREE_PX = 64 * 512 * 512  # where nothing is decoded, a block of so many pixels costs little
_LEAST_PX = 16 * 512 * 512  # clips that are small shall still differ
_WORTH = 1 / 3  # of the pixels that its clips use: one that decodes as many makes decoding the larger part of the work
_MOST_DECODED_PX = 2**28  # beyond this the first batch is long in coming; only a single clip may need more


@dataclass(frozen=True)
class Budget:
    """What a block may cost.

    Parameters
    ----------
    block_bytes
        Memory for its pixels; only a block of a single clip may need more.
    clips_per_block
        Clips that are cut from it: it is not worth decoding more than they use.
    """

    block_bytes: int
    clips_per_block: int


@dataclass(frozen=True)
class BlockSize:
    """The size of a movie's blocks.

    Parameters
    ----------
    frames, rows, columns
        Frames (after striding), rows and columns; never less than a clip, nor more than the movie.
    clip
        The same of a clip, as far as it fits into a block.
    """

    frames: int
    rows: int
    columns: int
    clip: tuple[int, int, int]


def block_size(found: Sampling, frames: int, budget: Budget) -> BlockSize:
    """Return the size of the blocks of a movie.

    A block shall hold every place of a clip though it is laid on chunks, so that no chunk is decoded for a part of it: that takes a
    clip and a chunk less one. It goes up to 512 px wide, and what is left of the budget goes into frames.

    Parameters
    ----------
    found
        How clips sample the movie.
    frames
        Frames of a clip.
    budget
        What a block may cost.
    """
    pixels = found.pixels
    in_movie = (pixels.shape[0] - 1) // found.t_step + 1, *pixels.shape[3:]
    clip = (frames, min(found.read_px[0], in_movie[1]), min(found.read_px[1], in_movie[2]))
    chunk = (math.ceil(pixels.chunks[0] / found.t_step), *pixels.chunks[3:])
    whole = [_whole_chunks(extent, step, length) for extent, step, length in zip(clip, chunk, in_movie, strict=True)]
    held_px = budget.block_bytes // (pixels.dtype.itemsize * found.planes)
    per_px = found.extent_px[0] * min(found.t_step, pixels.chunks[0])  # decoded for every pixel that is kept
    worth_px = _FREE_PX if max(pixels.chunks) == 1 else max(int(_WORTH * budget.clips_per_block * math.prod(clip)), _LEAST_PX)
    worth_px = min(worth_px, held_px, _MOST_DECODED_PX // per_px)

    rows, columns = _within(held_px // frames, (clip[1], clip[2]), (whole[1], whole[2]))
    count = whole[0] if whole[0] * rows * columns <= held_px else frames
    wide = [
        min(length, max(there, math.ceil(_SIDE_PX / step) * step))
        for there, step, length in zip((rows, columns), chunk[1:], in_movie[1:], strict=True)
    ]
    rows, columns = _within(worth_px // count, (rows, columns), (wide[0], wide[1]))
    longest = worth_px // (rows * columns)
    if longest > count:
        count = max(count, longest // chunk[0] * chunk[0])
    return BlockSize(min(count, in_movie[0]), rows, columns, clip)


def _whole_chunks(extent: int, chunk: int, length: int) -> int:
    return min(length, math.ceil((extent + chunk - 1) / chunk) * chunk)


def _within(most_px: int, least: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Return the wanted rows and columns if they fit, else about a square that does, never less than the least."""
    rows = min(wanted[0], max(least[0], math.isqrt(max(0, most_px)))) if wanted[0] * wanted[1] > most_px else wanted[0]
    columns = min(wanted[1], max(least[1], most_px // rows))
    return min(wanted[0], max(least[0], most_px // columns)), columns
