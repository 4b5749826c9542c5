"""Cells: a table that says which cell is where in which frame of which movie."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.progress import Progress, silent

if TYPE_CHECKING:
    from cellvjepa.movies.readers import Archive

COLUMNS = ("movie", "track_id", "t", "z_px", "y_px", "x_px", "area_px", "parent_track_id")
NO_PARENT = -1
_EDGE_PX = 0.5  # whole numbers are the centres of pixels, so an image of 10 rows reaches from -0.5 to 9.5


@dataclass(frozen=True, eq=False)
class Cells:
    """Where the cells of some movies are.

    Parameters
    ----------
    table
        One row per cell and frame, sorted by movie, track and frame: ``movie`` (name), ``track_id`` and ``t`` (int64; native frames
        from 0), ``z_px``, ``y_px``, ``x_px`` (float64, native px; z is NaN where it is unknown), ``area_px`` (float64, NaN where
        unknown), ``parent_track_id`` (int64, -1 where there is none), and whatever else the source gives.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        """Hold the contract on columns."""
        assert tuple(self.table.columns[: len(COLUMNS)]) == COLUMNS, list(self.table.columns)

    def of(self, movie: str) -> Cells:
        """Return the cells of one movie, by its name."""
        return Cells(self.table[self.table["movie"] == movie].reset_index(drop=True))


def read_cells(path: str | os.PathLike[str], archive: Archive, *, progress: Progress = silent) -> Cells:
    """Read the cells of an archive's movies, checked against them.

    Parameters
    ----------
    path
        A table (CSV), or a label image (TIFF, OME-Zarr labels, a folder of frames) whose pixel values are track ids and whose T, Y, X
        are the movie's, or a folder of such images that bear the names of their movies.
    archive
        The movies that the cells are in.

    Raises
    ------
    UserError
        If the file cannot be read, names unknown movies, or has cells outside their movie (how many, and the first).
    """
    # Here, because these two build on this file.
    from cellvjepa.cells.label_images import read_label_images
    from cellvjepa.cells.tracks import read_track_table

    source = Path(os.path.abspath(path))  # noqa: PTH100 - not resolved: a link keeps its name
    if not source.exists():
        raise UserError("there is no such file or folder", "check the path of the cells", source)
    if source.is_file() and source.suffix.lower() in (".csv", ".tsv", ".txt"):
        return read_track_table(source, archive.movies)
    return read_label_images(source, archive.movies, progress=progress)


def match_movies(names: Sequence[str], movies: Sequence[Movie]) -> list[Movie | None]:
    """Return the movie that each name means: by its whole name or path, else without suffix, else None.

    ``day2/pos4.tif`` is also found as ``day2/pos4``, and as ``pos4`` where no other movie ends like this.
    """
    index: dict[str, set[int]] = {}
    for i, movie in enumerate(movies):
        for key in _keys(movie.name):
            index.setdefault(key, set()).add(i)
    exact = {movie.name: movie for movie in movies}
    found: list[Movie | None] = []
    for name in names:
        name = name.strip().replace("\\", "/").removeprefix("./")
        hits = index.get(name, set())
        found.append(exact.get(name) or (movies[next(iter(hits))] if len(hits) == 1 else None))
    return found


def stem_of(name: str) -> str:
    """Return a movie's name without its suffix: ``day2/pos4.ome.tif`` gives ``day2/pos4``."""
    for suffix in (".ome.tiff", ".ome.tif", ".ome.zarr", ".tiff", ".tif", ".stk", ".zarr"):
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _keys(name: str) -> set[str]:
    last = PurePosixPath(name).name
    return {name, stem_of(name), last, stem_of(last)}


def checked_cells(table: pd.DataFrame, movies: Sequence[Movie], where: Path) -> Cells:
    """Check cells against their movies, sort them, and fill in what the source does not give.

    Parameters
    ----------
    table
        With ``movie`` (names of movies), ``track_id``, ``t``, ``y_px`` and ``x_px``, all numbers finite; its index is the line in the source.
    where
        The source, for messages.

    Raises
    ------
    UserError
        If a cell is outside its movie in time or space, or twice in a frame.
    """
    by_name = {movie.name: movie for movie in movies}
    ends = {axis: table["movie"].map({name: movie.shape[axis] for name, movie in by_name.items()}) for axis in "TZYX"}
    bad = (table["t"] < 0) | (table["t"] >= ends["T"])
    if bad.any():
        row = table[bad].iloc[0]
        raise refusal(
            table,
            bad,
            f"is in frame {row['t']} of {row['movie']}, which has {by_name[row['movie']].shape['T']} frames",
            "frames count from 0 and must lie inside the movie; check that the table belongs to it",
            where,
        )
    for axis, column in (("Y", "y_px"), ("X", "x_px"), ("Z", "z_px")):
        if column not in table:
            continue
        bad = (table[column] < -_EDGE_PX) | (table[column] > ends[axis] - _EDGE_PX)
        if bad.any():
            row = table[bad].iloc[0]
            raise refusal(
                table,
                bad,
                f"is at {column} = {row[column]:g} in {row['movie']}, which has {by_name[row['movie']].shape[axis]} px along {axis}",
                "positions are native pixels, not um, counted from 0; check that the table belongs to the movie",
                where,
            )
    bad = table.duplicated(["movie", "track_id", "t"])
    if bad.any():
        row = table[bad].iloc[0]
        raise refusal(
            table, bad, f"has track {row['track_id']} in frame {row['t']} of {row['movie']} once more", "keep one row per track and frame", where
        )
    parents = table.get("parent_track_id", NO_PARENT)
    filled = table.assign(z_px=table.get("z_px", np.nan), area_px=table.get("area_px", np.nan), parent_track_id=parents)
    extra = [column for column in filled.columns if column not in COLUMNS]
    ordered = filled[[*COLUMNS, *extra]].sort_values(["movie", "track_id", "t"], kind="stable", ignore_index=True)
    return Cells(ordered.astype({"track_id": np.int64, "t": np.int64, "parent_track_id": np.int64, "z_px": np.float64, "area_px": np.float64}))


def refusal(table: pd.DataFrame, bad: pd.Series[bool], first: str, remedy: str, where: Path) -> UserError:
    """Return the error that says how many rows are bad, and what the first of them looks like."""
    count = int(bad.sum())
    line = table.index[int(np.argmax(bad.to_numpy()))]
    return UserError(f"{count} of {len(table)} rows cannot be used; the first, line {line}, {first}", remedy, where)
