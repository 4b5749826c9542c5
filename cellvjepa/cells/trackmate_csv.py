"""Cells from TrackMate's table of spots (CSV), with the table of edges beside it where there is one."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cellvjepa.cells.table import Cells, checked_cells
from cellvjepa.cells.trackmate_xml import with_links
from cellvjepa.cells.tracks import read_csv, with_movies, with_numbers
from cellvjepa.cells.units import in_pixels, is_length
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie

_LOG = logging.getLogger(__name__)
_NEEDED = ("TRACK_ID", "POSITION_X", "POSITION_Y", "FRAME")
_OURS = {"TRACK_ID": "track_id", "FRAME": "t", "POSITION_X": "x", "POSITION_Y": "y", "POSITION_Z": "z", "ID": "id", "AREA": "area"}


def recognises(table: pd.DataFrame) -> bool:
    """Whether a table is one of TrackMate's, by its columns."""
    return "POSITION_X" in table.columns or {"TRACK_ID", "SPOT_SOURCE_ID"} <= set(table.columns)


def cells_of_spots(table: pd.DataFrame, path: Path, movies: Sequence[Movie], *, strict: bool = False) -> Cells:
    """Read cells from a table of spots.

    A track of TrackMate holds all descendants of a cell. The table of edges (``spots.csv`` goes with ``edges.csv``) says who they are;
    without it only tracks that never divide can be read.

    Parameters
    ----------
    table
        As :func:`cellvjepa.cells.tracks.read_csv` gives it: TrackMate's three lines of names and units may still be in it.
    path
        The file.
    movies
        The movies.
    strict
        Whether to refuse rows that cannot be used, instead of leaving them out with a warning.

    Raises
    ------
    UserError
        If it is another of TrackMate's tables, tracks divide and there is no table of edges, or too many rows cannot be used.
    """
    missing = [column for column in _NEEDED if column not in table.columns]
    if missing:
        raise UserError(f"this table of TrackMate has no column {', '.join(missing)}", "give its table of spots, or its XML file", path)
    rows, units = _without_names(table)
    rows = with_movies(rows, movies, path, strict=strict)
    lone = pd.to_numeric(rows["TRACK_ID"], errors="coerce").isna() & rows["TRACK_ID"].fillna("None").isin(["None", "", "NaN"])
    if lone.any():
        _LOG.warning("%s: %d of %d spots are left out: they are in no track", path, int(lone.sum()), len(rows))
    spots = rows[~lone].rename(columns=_OURS)[["movie", *(name for column, name in _OURS.items() if column in rows.columns)]]
    if spots.empty:
        raise UserError("no spot is in a track", "give the table that TrackMate saved after tracking", path)
    spots = _in_pixels(spots, units, path, movies)
    spots = with_numbers(spots, path, strict=strict)
    edges = _table_of_edges(path)
    if edges is not None and "id" in spots.columns:
        spots = with_links(spots.assign(id=pd.to_numeric(spots["id"], errors="coerce")).rename(columns={"track_id": "trackmate_track"}), edges, path)
    elif spots.duplicated(["movie", "track_id", "t"]).any():
        twice = spots[spots.duplicated(["movie", "track_id", "t"])]
        what = f"{twice['track_id'].nunique()} tracks divide, and this table does not say who is whose daughter"
        raise UserError(what, "save TrackMate's table of edges beside it (edges.csv for spots.csv), or give its XML file", path)
    return checked_cells(spots.drop(columns="id", errors="ignore"), movies, path, strict=strict)


def _without_names(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the rows of numbers, and the unit of each column, in the third of the rows before them."""
    numeric = pd.to_numeric(table["FRAME"], errors="coerce").notna().to_numpy()
    names = int(np.argmax(numeric)) if numeric.any() else len(table)
    if names > 3:  # a few spots without frame are no names
        names = 0
    units = {} if names < 3 else {str(column): str(unit) for column, unit in table.iloc[2].items() if pd.notna(unit)}
    return table.iloc[names:], units


def _in_pixels(spots: pd.DataFrame, units: dict[str, str], path: Path, movies: Sequence[Movie]) -> pd.DataFrame:
    by_name = {movie.name: movie for movie in movies}
    parts = []
    for name, rows in spots.groupby("movie", sort=False):
        movie = by_name[str(name)]
        unit = units.get("POSITION_X")
        if unit is None and movie.pixel_um is not None:
            unit = "um"
            _LOG.warning("%s: the table does not say in which unit positions are; they are taken for um, as the pixel size is known", path)
        numbers = {axis: pd.to_numeric(rows[axis], errors="coerce") for axis in ("z", "y", "x") if axis in rows.columns}
        rows = rows.assign(**{f"{axis}_px": in_pixels(values, unit, axis, movie, path) for axis, values in numbers.items()})
        if "area" in rows.columns:
            per_px = movie.pixel_um.y * movie.pixel_um.x if is_length(unit) and movie.pixel_um is not None else 1.0
            rows = rows.assign(area_px=pd.to_numeric(rows["area"], errors="coerce") / per_px)
        parts.append(rows.drop(columns=[*numbers, *(["area"] if "area" in rows.columns else [])]))
    return pd.concat(parts)


def _table_of_edges(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
    name = re.sub("spots", lambda found: "edges" if found[0].islower() else "Edges", path.name, flags=re.IGNORECASE)
    beside = [path.with_name(one) for one in (name, name.replace("alledges", "edges")) if one != path.name and path.with_name(one).is_file()]
    if not beside:
        return None
    table = read_csv(beside[0])
    if not {"SPOT_SOURCE_ID", "SPOT_TARGET_ID"} <= set(table.columns):
        raise UserError("this is not TrackMate's table of edges", "save that one beside the table of spots, or move this one away", beside[0])
    numbers = table[["SPOT_SOURCE_ID", "SPOT_TARGET_ID"]].apply(pd.to_numeric, errors="coerce").dropna()
    return np.asarray(numbers, np.int64)
