"""How bright cells are: the mean native value of their pixels, frame by frame, added to their table; and the same of places of a grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.sightings import MEASURED
from cellvjepa.cells.table import Cells
from cellvjepa.cells.windows import Windows
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
        labels = cells.labels.get(movie.name)
        measured = _ahead([partial(_in_frame, movie, labels, shape, int(t), part) for t, part in zip(frames, parts, strict=True)])
        for done, (part, found) in enumerate(zip(np.split(order, ends[:-1]), measured, strict=True), start=1):
            values[part] = found
            progress(f"measuring cells of {movie.name}", done, len(frames))
        for name, measured_N in zip(names, values.T, strict=True):
            whole = table[name].to_numpy(np.float64, copy=True) if name in table else np.full(len(table), np.nan)
            whole[here] = measured_N
            table[name] = whole
    return replace(cells, table=table)


def with_grid_intensity(windows: Windows, movies: Sequence[Movie], shape: ClipShape, *, progress: Progress = silent) -> Windows:
    """Measure how bright places of a grid are, over all that their clips show; frames are decoded once each, and few are in memory.

    Parameters
    ----------
    windows
        Of :func:`cellvjepa.cells.windows.grid_windows`: their clips stand still.
    movies
        The movies; windows of others stay unknown (NaN).
    shape
        Of the clips.
    progress
        Told of each movie's frames; may cancel.

    Returns
    -------
    Windows
        With the column ``intensity``, or ``intensity_<channel>`` for each of several: the mean native value of the whole crop, as far as it
        lies in the image, over the sampled frames.

    Raises
    ------
    UserError
        If a movie cannot be read.
    """
    columns: dict[str, npt.NDArray[np.float64]] = {}
    names_N = windows.table["movie"].to_numpy()
    for movie in movies:
        here = np.flatnonzero(names_N == movie.name)
        if not len(here):
            continue
        found, names = sampling(movie, shape), _columns(movie, shape)
        clips = [windows.clips[row] for row in here]
        corners, place = np.unique(np.array([(clip.y0, clip.x0) for clip in clips], np.int64), axis=0, return_inverse=True)
        shown_NT = np.array([clip.t0 for clip in clips], np.int64)[:, None] + found.t_step * np.arange(shape.frames)
        frames, ends = np.unique(shown_NT, return_counts=True)
        of_frame = np.split(np.argsort(shown_NT, axis=None, kind="stable") // shape.frames, ends.cumsum()[:-1])
        sums, counts = np.zeros((len(here), len(names))), np.zeros((len(here), len(names)), np.int64)
        measured = _ahead([partial(_at_places, movie, shape, int(t), corners) for t in frames])
        for done, (rows, values_PC) in enumerate(zip(of_frame, measured, strict=True), start=1):
            values = values_PC[place.reshape(-1)[rows]]
            sums[rows] += np.nan_to_num(values)
            counts[rows] += np.isfinite(values)
            progress(f"measuring {movie.name}", done, len(frames))
        means_NC = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
        for name, values_N in zip(names, means_NC.T, strict=True):
            columns.setdefault(name, np.full(len(names_N), np.nan))[here] = values_N
    return replace(windows, table=windows.table.assign(**columns))


def _columns(movie: Movie, shape: ClipShape) -> list[str]:
    chosen = channel_indices(movie, shape)
    return [MEASURED if len(chosen) == 1 else f"{MEASURED}_{movie.channels[c]}" for c in chosen]


def _ahead(measurements: Sequence[Callable[[], npt.NDArray[np.float64]]]) -> Iterator[npt.NDArray[np.float64]]:
    """Yield what is measured in one frame after another while the next are read."""
    waiting: deque[Future[npt.NDArray[np.float64]]] = deque()
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="cellvjepa-intensity")
    try:
        for measure in measurements:
            waiting.append(pool.submit(measure))
            if len(waiting) > _THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _in_frame(movie: Movie, labels: Movie | None, shape: ClipShape, t: int, rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    found = sampling(movie, shape)
    planes = slice(found.z0, found.z0 + found.extent_px[0])
    images = _images(movie, shape, t)
    if labels is not None:
        whole = labels.shape["Z"] == movie.shape["Z"]
        labels_ZYX = labels.pixels[t, 0, planes if whole else slice(0, 1)]
        values = rows["label" if "label" in rows else "track_id"].to_numpy(np.int64)
        return np.stack([_under(labels_ZYX, image, values) for image in images], axis=1)
    half = [max(1, round(_MIDDLE * extent / 2)) for extent in found.extent_px[1:]]
    middles = np.floor(rows[["y_px", "x_px"]].to_numpy(np.float64) + 0.5).astype(np.int64)
    return np.stack([_in_boxes(image, middles - np.array(half), middles + np.array(half)) for image in images], axis=1)


def _at_places(movie: Movie, shape: ClipShape, t: int, corners_P2: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the mean of each channel in crops whose upper left corners are given, in one frame: (P, C)."""
    ends_P2 = corners_P2 + np.array(sampling(movie, shape).extent_px[1:])
    return np.stack([_in_boxes(image, corners_P2, ends_P2) for image in _images(movie, shape, t)], axis=1)


def _images(movie: Movie, shape: ClipShape, t: int) -> list[npt.NDArray[np.float64]]:
    found = sampling(movie, shape)
    planes = slice(found.z0, found.z0 + found.extent_px[0])
    return [_flat(movie.pixels, t, c, planes, shape) for c in channel_indices(movie, shape)]


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


def _in_boxes(image_YX: npt.NDArray[np.float64], starts_N2: npt.NDArray[np.int64], stops_N2: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the mean of the image in boxes, as far as they lie in the image."""
    starts, stops = (np.clip(corner, 0, np.array(image_YX.shape)) for corner in (starts_N2, stops_N2))
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
