"""How bright cells are: the mean native value of their pixels, frame by frame, added to their table."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.sightings import MEASURED
from cellvjepa.cells.table import Cells
from cellvjepa.movies.clip_shape import ClipShape, channel_indices, sampling
from cellvjepa.movies.movie import LazyPixels, Movie
from cellvjepa.progress import Progress, silent

_THREADS = 4  # decoding releases Python's lock
_MIDDLE = 0.5  # of the crop, along each axis, where no label image says which pixels are the cell's


def with_intensity(cells: Cells, movies: Sequence[Movie], shape: ClipShape, *, progress: Progress = silent) -> Cells:
    """Measure the intensity of each cell in each frame; every frame that has cells is decoded once, and few at a time are in memory.

    Parameters
    ----------
    cells
        Where cells are. Movies with a label image are measured under its outlines, others in the middle half of a crop around the cell.
    movies
        The movies; others of the cells stay unknown (NaN).
    shape
        Of the clips: channels, planes, and how large a crop is.
    progress
        Told of each movie's frames; may cancel.

    Returns
    -------
    Cells
        With the column ``intensity``, or ``intensity_<channel>`` for each of several [native values]; z-stacks as the clips show them
        (``"stack"``: the mean over planes).

    Raises
    ------
    UserError
        If a movie cannot be read.
    """
    table = cells.table.copy()
    for movie in movies:
        here = np.flatnonzero((table["movie"] == movie.name).to_numpy())
        if not len(here):
            continue
        rows = table.iloc[here]
        names = _columns(movie, shape)
        values = np.full((len(here), len(names)), np.nan)
        frames = np.unique(rows["t"].to_numpy())
        order = np.argsort(rows["t"].to_numpy(), kind="stable")
        ends = np.searchsorted(rows["t"].to_numpy()[order], frames, side="right")
        parts = [rows.iloc[part] for part in np.split(order, ends[:-1])]
        measured = _ahead(movie, cells.labels.get(movie.name), shape, frames, parts)
        for done, (part, found) in enumerate(zip(np.split(order, ends[:-1]), measured, strict=True), start=1):
            values[part] = found
            progress(f"measuring cells of {movie.name}", done, len(frames))
        for name, measured_N in zip(names, values.T, strict=True):
            whole = table[name].to_numpy(np.float64, copy=True) if name in table else np.full(len(table), np.nan)
            whole[here] = measured_N
            table[name] = whole
    return replace(cells, table=table)


def _columns(movie: Movie, shape: ClipShape) -> list[str]:
    chosen = channel_indices(movie, shape)
    return [MEASURED if len(chosen) == 1 else f"{MEASURED}_{movie.channels[c]}" for c in chosen]


def _ahead(
    movie: Movie, labels: Movie | None, shape: ClipShape, frames: npt.NDArray[np.int64], parts: Sequence[pd.DataFrame]
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the intensities of one frame after another, (cells, channels), while the next are read."""
    waiting: deque[Future[npt.NDArray[np.float64]]] = deque()
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="cellvjepa-intensity")
    try:
        for t, rows in zip(frames, parts, strict=True):
            waiting.append(pool.submit(_in_frame, movie, labels, shape, int(t), rows))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _in_frame(movie: Movie, labels: Movie | None, shape: ClipShape, t: int, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    found = sampling(movie, shape)
    planes = slice(found.z0, found.z0 + found.extent_px[0])
    images = [_flat(movie.pixels, t, c, planes, shape) for c in channel_indices(movie, shape)]
    if labels is not None:
        whole = labels.shape["Z"] == movie.shape["Z"]
        labels_ZYX = labels.pixels[t, 0, planes if whole else slice(0, 1)]
        values = rows["label" if "label" in rows else "track_id"].to_numpy(np.int64)
        return np.stack([_under(labels_ZYX, image, values) for image in images], axis=1)
    half = [max(1, round(_MIDDLE * extent / 2)) for extent in found.extent_px[1:]]
    centres = rows[["y_px", "x_px"]].to_numpy(np.float64)
    return np.stack([_around(image, centres, half) for image in images], axis=1)


def _flat(pixels: LazyPixels, t: int, c: int, planes: slice, shape: ClipShape) -> npt.NDArray[np.float64]:
    stack: npt.NDArray[Any] = pixels[t, c, planes]
    flat: npt.NDArray[np.float64] = (np.fmax.reduce(stack, axis=0) if shape.z == "max" else stack.mean(axis=0)).astype(np.float64)
    return flat


def _under(labels_ZYX: npt.NDArray[Any], image_YX: npt.NDArray[np.float64], values: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the mean of the image under each value of the label image, NaN where there is none."""
    order = np.sort(np.unique(values))
    sums, counts = np.zeros(len(order)), np.zeros(len(order), np.int64)
    for labels_YX in labels_ZYX:
        at = np.flatnonzero(labels_YX)
        seen = labels_YX.reshape(-1)[at].astype(np.int64)
        index = np.minimum(np.searchsorted(order, seen), len(order) - 1)
        known = order[index] == seen
        seen_values = image_YX.reshape(-1)[at]
        known &= np.isfinite(seen_values)
        sums += np.bincount(index[known], weights=seen_values[known], minlength=len(order))
        counts += np.bincount(index[known], minlength=len(order))
    means = np.divide(sums, counts, out=np.full(len(order), np.nan), where=counts > 0)
    found: npt.NDArray[np.float64] = means[np.searchsorted(order, values)]
    return found


def _around(image_YX: npt.NDArray[np.float64], centres_N2: npt.NDArray[np.float64], half: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the mean of the image in a box around each centre, as far as the box lies in the image."""
    starts, stops = (
        np.clip(np.floor(centres_N2 + 0.5).astype(np.int64) + offset, 0, np.array(image_YX.shape)) for offset in (-np.array(half), np.array(half))
    )
    usable = np.isfinite(image_YX)
    sums, counts = (
        np.pad(part.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0))) for part in (np.where(usable, image_YX, 0.0), usable.astype(np.int64))
    )

    def inside(total: npt.NDArray[Any]) -> npt.NDArray[Any]:
        (y0, x0), (y1, x1) = starts.T, stops.T
        box: npt.NDArray[Any] = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
        return box

    number = inside(counts)
    found: npt.NDArray[np.float64] = np.divide(inside(sums), number, out=np.full(len(number), np.nan), where=number > 0)
    return found
