"""Where the cells of a label image are, without ever holding more of it than a block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import LazyPixels, Movie
from cellvjepa.progress import Progress, silent

_BLOCK_BYTES = 2**26  # of pixels that are read at once, unless one chunk has more
_NO_IDS = "the pixel values are not track ids: some are negative or fractions"
_SUMS = ("z_px", "y_px", "x_px")


def cells_of_labels(image: Movie, movie: Movie, progress: Progress = silent) -> pd.DataFrame:
    """Read the cells of one movie; every chunk is decoded once, and a block of them is in memory.

    Returns
    -------
    table
        ``movie``, ``track_id`` (int64: the pixel value), ``t`` (int64), ``y_px``, ``x_px`` (float64: mean of the cell's pixels [native px]),
        ``area_px`` (float64: their number), and ``z_px`` where the labels have planes; sorted by frame and id.

    Raises
    ------
    UserError
        If there are pixels that are no ids, or that cannot be read.
    """
    frames = image.shape["T"]
    stage = f"reading cells of {movie.name}"
    parts = [_empty()]
    for t0, blocks in _blocks(image.pixels):
        progress(stage, t0, frames)
        sums: list[pd.DataFrame] = []
        for t, z0, y0, x0, labels_ZYX in blocks:
            sums.append(_sums(labels_ZYX, (z0, y0, x0), image.uri).assign(t=t))
        parts.append(pd.concat(sums).groupby(["t", "track_id"], as_index=False).sum())
    progress(stage, frames, frames)
    table = pd.concat(parts, ignore_index=True)
    table = table.assign(movie=movie.name, **{name: table[name] / table["area_px"] for name in _SUMS})
    return table if image.shape["Z"] > 1 else table.drop(columns="z_px")


def _empty() -> pd.DataFrame:
    return pd.DataFrame({"t": np.zeros(0, np.int64), "track_id": np.zeros(0, np.int64)} | {name: np.zeros(0) for name in (*_SUMS, "area_px")})


def _blocks(pixels: LazyPixels) -> Iterator[tuple[int, Iterator[tuple[int, int, int, int, npt.NDArray[Any]]]]]:
    """Yield the first frame of each run of frames that are decoded together, and the blocks of their frames."""
    frames, step = pixels.shape[0], pixels.chunks[0]
    lengths = _block_lengths(pixels, min(step, frames))
    for t0 in range(0, frames, step):
        yield t0, _in_space(pixels, t0, min(t0 + step, frames), lengths)


def _in_space(pixels: LazyPixels, t0: int, t1: int, lengths: tuple[int, int, int]) -> Iterator[tuple[int, int, int, int, npt.NDArray[Any]]]:
    depth, height, width = pixels.shape[2:]
    for z0 in range(0, depth, lengths[0]):
        for y0 in range(0, height, lengths[1]):
            for x0 in range(0, width, lengths[2]):
                block_TZYX = pixels[t0:t1, 0, z0 : z0 + lengths[0], y0 : y0 + lengths[1], x0 : x0 + lengths[2]]
                for t, labels_ZYX in enumerate(block_TZYX, start=t0):
                    yield t, z0, y0, x0, labels_ZYX


def _block_lengths(pixels: LazyPixels, frames: int) -> tuple[int, int, int]:
    """Return how many planes, rows and columns are read at once: whole chunks, as many as are allowed, along X first."""
    lengths = [min(chunk, length) for chunk, length in zip(pixels.chunks[2:], pixels.shape[2:], strict=True)]
    for axis in (2, 1, 0):
        others = frames * int(np.prod(lengths)) // lengths[axis] * pixels.dtype.itemsize
        chunks = max(1, _BLOCK_BYTES // (others * lengths[axis]))
        lengths[axis] = min(lengths[axis] * chunks, pixels.shape[2 + axis])
    return lengths[0], lengths[1], lengths[2]


def _sums(labels_ZYX: npt.NDArray[Any], origin: tuple[int, int, int], where: str) -> pd.DataFrame:
    """Return the sums of the coordinates of each label's pixels, and their number."""
    at_ZYX = np.nonzero(labels_ZYX)
    found = labels_ZYX[at_ZYX]
    if found.size and (found.min() < 0 or (found.dtype.kind == "f" and not (found == np.floor(found)).all()) or found.max() > 2**53):
        raise UserError(_NO_IDS, "give the image whose pixel values are track ids", where)
    ids, index = _distinct(found)
    count = np.bincount(index, minlength=len(ids))
    sums = {name: np.bincount(index, weights=at, minlength=len(ids)) + start * count for name, at, start in zip(_SUMS, at_ZYX, origin, strict=True)}
    return pd.DataFrame({"track_id": ids, **sums, "area_px": count.astype(np.float64)})


def _distinct(found: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the distinct values, sorted, and for each pixel which one it is; without sorting pixels where the values are small."""
    if not found.size or found.max() > 8 * found.size + 2**16:
        ids, index = np.unique(found, return_inverse=True)
        return ids.astype(np.int64), index
    values = found.astype(np.int64)
    there = np.bincount(values) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[values]
