"""Cells from a table of tracks: CSV with one row per cell and frame, of ours or of a tracker."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cellvjepa.cells.checks import Finding, left_out
from cellvjepa.cells.table import NO_PARENT, Cells, checked_cells, match_movies, movie_of
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie

# Ours; then napari, btrack (ID, parent) and trackpy (particle). ultrack writes our own names.
_ALIASES = {
    "frame": "t",
    "z": "z_px",
    "y": "y_px",
    "x": "x_px",
    "area": "area_px",
    "particle": "track_id",
    "ID": "track_id",
    "parent": "parent_track_id",
}
_REQUIRED = ("track_id", "t", "y_px", "x_px")
_OPTIONAL = ("z_px", "area_px", "parent_track_id")
_WHOLE = ("track_id", "t", "parent_track_id")
_FORMAT = "cells.csv has the columns movie, track_id, t, y_px, x_px, and optionally z_px, area_px, parent_track_id"
_NAPARI = {4: ["track_id", "t", "y", "x"], 5: ["track_id", "t", "z", "y", "x"]}  # the data of a Tracks layer


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table separated by commas, semicolons, tabs or blanks, as it is; its index is the line in the file.

    Raises
    ------
    UserError
        If the file is no table, or has no rows.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(",;\t", key=header.count) if any(mark in header for mark in ",;\t") else " "
        table = pd.read_csv(path, sep=separator, encoding="utf-8-sig", dtype={"movie": str, " movie": str}, index_col=False, low_memory=False)
    except pd.errors.EmptyDataError:
        raise UserError("the file is empty", _FORMAT, path) from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"this is not a CSV file ({error})", f"save the table as CSV in UTF-8; {_FORMAT}", path) from None
    first_line = 2
    if len(table.columns) in _NAPARI and all(_is_number(part) for part in header.split(separator)):
        table = pd.read_csv(path, sep=separator, encoding="utf-8-sig", header=None, names=_NAPARI[len(table.columns)], low_memory=False)
        first_line = 1
    table.columns = [str(column).strip() for column in table.columns]
    if table.empty:
        raise UserError("the table has no rows", _FORMAT, path)
    if not table.columns.is_unique:
        raise UserError(f"there are two columns {table.columns[table.columns.duplicated()][0]!r}", "keep one of them", path)
    table.index = pd.RangeIndex(first_line, first_line + len(table), name="line")  # as an editor counts them
    return table


def cells_of_table(table: pd.DataFrame, path: Path, movies: Sequence[Movie], *, strict: bool = False) -> Cells:
    """Read cells from a table with the columns movie, track_id, t, y_px, x_px; optionally z_px, area_px, parent_track_id, and any other.

    ``frame``, ``z``, ``y``, ``x`` and ``area`` are understood too, and what btrack and trackpy call them. The movie column may be left out
    where there is one movie, or the file is named after its movie.

    Parameters
    ----------
    table
        As :func:`read_csv` gives it.
    path
        The file.
    movies
        The movies.
    strict
        Whether to refuse rows that cannot be used, instead of leaving them out with a warning.

    Raises
    ------
    UserError
        If a column is missing, or too many rows cannot be used.
    """
    table = _with_our_names(table)
    missing = [column for column in _REQUIRED if column not in table.columns]
    if missing == ["track_id"]:
        raise UserError("there is no column track_id: the cells are not linked from frame to frame", "link them with --link laptrack", path)
    if missing:
        raise UserError(f"there is no column {', '.join(missing)}; found: {', '.join(table.columns)}", _FORMAT, path)
    table = with_numbers(table, path, strict=strict)
    return checked_cells(with_movies(table, movies, path, strict=strict), movies, path, strict=strict)


def unlinked_cells(table: pd.DataFrame, path: Path, movies: Sequence[Movie], *, strict: bool = False) -> pd.DataFrame:
    """Read cells from a table that has no track ids: as :func:`cells_of_table`, each cell a track of its own.

    Raises
    ------
    UserError
        If there are track ids, a column is missing, or too many rows cannot be used.
    """
    table = _with_our_names(table)
    if "track_id" in table.columns:
        raise UserError("the table has track ids already", "leave --link out", path)
    return cells_of_table(table.assign(track_id=np.arange(len(table))), path, movies, strict=strict).table


def with_numbers(table: pd.DataFrame, path: Path, *, strict: bool = False) -> pd.DataFrame:
    """Return a table whose track ids and frames are whole numbers and whose positions are numbers; other rows are left out.

    Raises
    ------
    UserError
        If there are such rows and it is strict, or at least half of all rows are such.
    """
    values, findings = {}, []
    for column in (*_REQUIRED, *_OPTIONAL):
        if column in table.columns:
            values[column], finding = _numbers(table, column)
            findings.append(finding)
    table = left_out(table.assign(**values), findings, path, strict=strict)
    for column in _WHOLE:
        if column in table.columns:
            table = table.assign(**{column: table[column].fillna(NO_PARENT).astype(np.int64)})
    negative = table["track_id"] < 0
    first = f"has track_id {table.loc[negative, 'track_id'].iloc[0]}" if negative.any() else ""
    table = left_out(table, [Finding(negative, first, "track ids are 0 or larger")], path, strict=strict)
    if "parent_track_id" in table.columns:  # btrack: who has no parent is their own
        own = table["parent_track_id"] == table["track_id"]
        table = table.assign(parent_track_id=table["parent_track_id"].where(~own, NO_PARENT))
    return table


def with_movies(table: pd.DataFrame, movies: Sequence[Movie], path: Path, *, strict: bool = False) -> pd.DataFrame:
    """Return a table with the movies' own names in the column ``movie``; rows of movies that are not here are left out.

    Raises
    ------
    UserError
        If there are such rows and it is strict, if there are no others, or if it is not clear which movie the table belongs to.
    """
    known = f"the movies here are {', '.join(movie.name for movie in movies[:5])}{', ...' if len(movies) > 5 else ''}"
    if "movie" not in table.columns:
        try:
            return table.assign(movie=movie_of(path, movies).name)
        except UserError:
            remedy = f"add a column that names each row's movie, or name the file after its movie; {known}"
            raise UserError(f"there is no column movie, but {len(movies)} movies", remedy, path) from None
    written = table["movie"].fillna("").unique().tolist()
    names = {name: movie.name for name, movie in zip(written, match_movies(written, movies), strict=True) if movie is not None}
    unknown = ~table["movie"].fillna("").isin(names)
    if unknown.any():
        alone = ", or leave the column out, as there is one movie" if len(movies) == 1 else ""
        first = table.loc[unknown, "movie"].fillna("").iloc[0]
        # A table of the whole archive is welcome where a part of it is open.
        finding = Finding(unknown, f"names the unknown movie {first!r}", f"{known}; name one of them{alone}")
        table = left_out(table, [finding], path, strict=strict, too_many=1.0)
    return table.assign(movie=table["movie"].map(names))


def _with_our_names(table: pd.DataFrame) -> pd.DataFrame:
    if "dummy" in table.columns and "ID" in table.columns:
        table = table[~table["dummy"].isin([1, 1.0, True, "1", "True"])]  # btrack has guessed these, there is no cell to see
    for alias, name in _ALIASES.items():
        if name not in table.columns:
            table = table.rename(columns={alias: name})
    return table


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _numbers(table: pd.DataFrame, column: str) -> tuple[pd.Series[float], Finding]:
    raw = table[column]
    values = pd.to_numeric(raw, errors="coerce").astype(np.float64)
    usable = values.between(-np.inf, np.inf, inclusive="neither")
    if column in _OPTIONAL:
        usable |= raw.isna()
    if column in _WHOLE:
        usable &= values.isna() | (values == np.floor(values))
        usable &= ~(values.abs() > 2**53)  # a float counts no further
    said = ""
    if not usable.all():
        found = raw[~usable].iloc[0]
        said = "is empty" if pd.isna(found) else f"is {str(found)!r}"
    kind = "whole number" if column in _WHOLE else "number"
    return values, Finding(~usable, f"has no {kind} in column {column}: it {said}", f"write a {kind} (with a decimal point) in each row")
