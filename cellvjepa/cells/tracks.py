"""Cells from a table of tracks: CSV with one row per cell and frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cellvjepa.cells.table import NO_PARENT, Cells, checked_cells, match_movies, refusal
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie

_ALIASES = {"frame": "t", "z": "z_px", "y": "y_px", "x": "x_px", "area": "area_px"}
_REQUIRED = ("track_id", "t", "y_px", "x_px")
_OPTIONAL = ("z_px", "area_px", "parent_track_id")
_WHOLE = ("track_id", "t", "parent_track_id")
_FORMAT = "cells.csv has the columns movie, track_id, t, y_px, x_px, and optionally z_px, area_px, parent_track_id"


def read_track_table(path: Path, movies: Sequence[Movie]) -> Cells:
    """Read a CSV of cells: movie, track_id, t, y_px, x_px; optionally z_px, area_px, parent_track_id, and any other column.

    ``frame``, ``z``, ``y``, ``x`` and ``area`` are understood too. The movie column may be left out where there is one movie.
    Columns may be separated by commas, semicolons or tabs.

    Raises
    ------
    UserError
        If the file is no such table, a column is missing, a number is none, or a cell does not lie in its movie.
    """
    table = _read_csv(path)
    table.columns = [str(column).strip() for column in table.columns]
    table = table.rename(columns={alias: name for alias, name in _ALIASES.items() if name not in table.columns})
    missing = [column for column in _REQUIRED if column not in table.columns]
    if missing:
        raise UserError(f"there is no column {', '.join(missing)}; found: {', '.join(table.columns)}", _FORMAT, path)
    if table.empty:
        raise UserError("the table has no rows", _FORMAT, path)
    table.index = pd.RangeIndex(2, 2 + len(table))  # lines as an editor counts them
    table = table.assign(**{column: _numbers(table, column, path) for column in (*_REQUIRED, *_OPTIONAL) if column in table.columns})
    negative = table["track_id"] < 0
    if negative.any():
        raise refusal(table, negative, f"has track_id {table.loc[negative, 'track_id'].iloc[0]}", "track ids are 0 or larger", path)
    return checked_cells(table.assign(movie=_movie_names(table, movies, path)), movies, path)


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = file.readline()
        separator = max(",;\t", key=header.count)
        return pd.read_csv(path, sep=separator, encoding="utf-8-sig", dtype={"movie": str, " movie": str}, index_col=False, low_memory=False)
    except pd.errors.EmptyDataError:
        raise UserError("the file is empty", _FORMAT, path) from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"this is not a CSV file ({error})", f"save the table as CSV in UTF-8; {_FORMAT}", path) from None


def _numbers(table: pd.DataFrame, column: str, path: Path) -> pd.Series[float] | pd.Series[int]:
    raw = table[column]
    values = pd.to_numeric(raw, errors="coerce").astype(np.float64)
    usable = values.between(-np.inf, np.inf, inclusive="neither")
    if column in _OPTIONAL:
        usable |= raw.isna()
    if column in _WHOLE:
        usable &= values.isna() | (values == np.floor(values))
    if not usable.all():
        found = raw[~usable].iloc[0]
        said = "is empty" if pd.isna(found) else f"is {str(found)!r}"
        kind = "whole number" if column in _WHOLE else "number"
        raise refusal(table, ~usable, f"has no {kind} in column {column}: it {said}", f"write a {kind} (with a decimal point) in each row", path)
    if column not in _WHOLE:
        return values
    return values.fillna(NO_PARENT).astype(np.int64)


def _movie_names(table: pd.DataFrame, movies: Sequence[Movie], path: Path) -> pd.Series[str]:
    known = f"the movies here are {', '.join(movie.name for movie in movies[:5])}{', ...' if len(movies) > 5 else ''}"
    if "movie" not in table.columns:
        if len(movies) != 1:
            raise UserError(f"there is no column movie, but {len(movies)} movies", f"add a column that names each row's movie; {known}", path)
        return pd.Series(movies[0].name, index=table.index)
    written = table["movie"].fillna("").unique().tolist()
    names = {name: movie.name for name, movie in zip(written, match_movies(written, movies), strict=True) if movie is not None}
    unknown = ~table["movie"].fillna("").isin(names)
    if unknown.any():
        alone = ", or leave the column out, as there is one movie" if len(movies) == 1 else ""
        first = table.loc[unknown, "movie"].fillna("").iloc[0]
        raise refusal(table, unknown, f"names the unknown movie {first!r}", f"{known}; name one of them{alone}", path)
    return table["movie"].map(names)
