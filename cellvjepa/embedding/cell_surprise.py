"""Surprise of cells: what a map of surprise says where a cell is, in each frame and over the windows of a store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.table import Cells
from cellvjepa.embedding.map_image import open_map
from cellvjepa.embedding.store import add_columns, open_store
from cellvjepa.embedding.surprise import Foreteller, for_all, surprise_tiling
from cellvjepa.embedding.tiles import Tiling, Values
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.progress import Progress, silent
from cellvjepa.writing import atomic_path

TABLE = "surprise.csv"
_STEPS_AT_ONCE = 64  # of a map, held in memory while cells are looked up


def cells_surprise(
    foreteller: Foreteller, movies: Sequence[Movie], cells: Cells, maps: Sequence[Path], *, overlap: float = 0.5, progress: Progress = silent
) -> pd.DataFrame:
    """Look up how surprising each cell is in each frame: the mean of the map over the disc that the cell covers.

    Parameters
    ----------
    movies, maps
        In the same order; the maps as :func:`write_surprise` returned them for the same ``foreteller`` and ``overlap``.
    cells
        Where the cells are. A cell of unknown area is taken to be as large as one token; every disc has at least that area.
    progress
        Told of each movie; may cancel.

    Returns
    -------
    pandas.DataFrame
        ``movie``, ``track_id``, ``t``, ``y_px``, ``x_px``, then ``surprise``: the mean over channels, and with several channels one
        column each. NaN in frames that have no surprise.

    Raises
    ------
    UserError
        If the movies' channels differ, or a map cannot be read.
    """
    asked = for_all(foreteller, movies)
    channels = asked.shape.channels or ()
    parts = []
    for number, (movie, path) in enumerate(zip(movies, maps, strict=True)):
        progress("looking up cells", number, len(movies))
        table = cells.of(movie.name).table
        values_NC = _at_cells(table, surprise_tiling(movie, asked, overlap), open_map(path), len(channels))
        part = table[["movie", "track_id", "t", "y_px", "x_px"]].assign(surprise=values_NC.mean(axis=1))
        if len(channels) > 1:
            part = part.assign(**{f"surprise_{name}": values_NC[:, c] for c, name in enumerate(channels)})
        parts.append(part)
    progress("looking up cells", len(movies), len(movies))
    return pd.concat(parts, ignore_index=True)


def write_cells_surprise(table: pd.DataFrame, out: str | os.PathLike[str]) -> Path:
    """Write what :func:`cells_surprise` returned as ``surprise.csv``, in place of an older one.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    path = Path(out) / TABLE
    with atomic_path(path) as part:
        table.to_csv(part, index=False, float_format="%.6g")
    return path


def add_surprise(store: str | os.PathLike[str], table: pd.DataFrame, seen: str) -> int:
    """Add the surprise of cells to the rows of a store: ``surprise``, the mean over the frames of a window, and ``surprise_peak``, the largest.

    Parameters
    ----------
    store
        A finished store of the same cells.
    table
        As :func:`cells_surprise` returns it.
    seen
        What it was foretold from; noted in the store.

    Returns
    -------
    int
        Rows that have a surprise; it is missing (NaN) in the others.

    Raises
    ------
    UserError
        If no row of the store is one of these cells, or the store cannot be written.
    """
    rows = open_store(store).table
    found = np.full((len(rows), 2), np.nan)
    known = table[table["surprise"].notna()].sort_values(["movie", "track_id", "t"], kind="stable")
    tracks = {key: (part["t"].to_numpy(), part["surprise"].to_numpy()) for key, part in known.groupby(["movie", "track_id"])}
    keys = zip(rows["movie"], rows["track_id"], rows["t_start"], rows["t_stop"], strict=True)
    for row, (movie, track_id, t_start, t_stop) in enumerate(keys):
        if (movie, track_id) in tracks:
            t, surprise = tracks[movie, track_id]
            inside = surprise[slice(*np.searchsorted(t, [t_start, t_stop]))]
            found[row] = (inside.mean(), inside.max()) if len(inside) else np.nan
    count = int(np.isfinite(found[:, 0]).sum())
    if not count:
        raise UserError("none of its rows is a cell of this table", "give the store of the same movies and cells", store)
    add_columns(store, pd.DataFrame(found, columns=["surprise", "surprise_peak"]), "surprise", {"foretold_from": seen})
    return count


def _at_cells(table: pd.DataFrame, tiling: Tiling, steps: Any, channels: int) -> npt.NDArray[np.float64]:
    """Return the mean of a map over each cell's disc, (rows, C); planes are averaged."""
    found = np.full((len(table), channels), np.nan)
    step_of = table["t"].to_numpy() // tiling.frames_per_token
    area_px = table["area_px"].fillna(0).to_numpy()
    for first in range(0, tiling.grid.t, _STEPS_AT_ONCE):
        planes_tCYX = np.asarray(steps[first : first + _STEPS_AT_ONCE], np.float32).mean(axis=2)
        rows = np.flatnonzero((step_of >= first) & (step_of < first + len(planes_tCYX)))
        for row, y, x in zip(rows, table["y_px"].to_numpy()[rows], table["x_px"].to_numpy()[rows], strict=True):
            found[row] = _disc_mean(planes_tCYX[step_of[row] - first], y, x, area_px[row], tiling.pitch_px)
    return found


def _disc_mean(plane_CYX: Values, y_px: float, x_px: float, area_px: float, pitch_px: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Return the mean over a disc [native px], each token weighted by how much of it lies inside, to a quarter of a token."""
    fine = 4
    radius_px = np.sqrt(max(area_px, pitch_px[0] * pitch_px[1]) / np.pi)
    places = []
    for centre, pitch, length in zip((y_px, x_px), pitch_px, plane_CYX.shape[1:], strict=True):
        low, high = (int(np.floor((centre + 0.5 + side * radius_px) / pitch)) for side in (-1, 1))
        tokens = np.arange(max(0, low), min(length - 1, high) + 1)
        inside = (tokens[:, None] + (np.arange(fine) + 0.5) / fine) * pitch - 0.5 - centre
        places.append((tokens, inside.reshape(-1)))
    (rows, dy), (columns, dx) = places
    covered = (dy[:, None] ** 2 + dx**2 <= radius_px**2).reshape(len(rows), fine, len(columns), fine).mean(axis=(1, 3))
    values = plane_CYX[:, rows[:, None], columns].astype(np.float64)
    mean: npt.NDArray[np.float64] = (values * covered).sum(axis=(1, 2)) / covered.sum()
    return mean
