"""Cells: a table that says which cell is where in which frame of which movie."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from cellvjepa.cells.checks import left_out, misplaced
from cellvjepa.cells.names import meant_names, stem_of
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.progress import Progress, silent

if TYPE_CHECKING:
    from cellvjepa.movies.readers import Archive

COLUMNS = ("movie", "track_id", "t", "z_px", "y_px", "x_px", "area_px", "parent_track_id")
NO_PARENT = -1
# What people append to the name of a movie: to that of its label image, and to that of its table of tracks.
LABEL_ENDINGS = ("_track_labels", "_labels", "_label", "_cp_masks", "_masks", "_mask", "_segmentation", "_seg", "_tracks", "_tracked")
ENDINGS = (
    *LABEL_ENDINGS,
    "_track",
    "_cells",
    "_allspots",
    "-all-spots",
    "_spots",
    "-spots",
    " spots",
    "_trackmate",
    "_btrack",
    "_ultrack",
    "_tracking",
)
_TABLES = (".csv", ".tsv", ".txt", ".xml", ".h5", ".hdf5", ".hdf", ".geff")


@dataclass(frozen=True, eq=False)
class Cells:
    """Where the cells of some movies are.

    Parameters
    ----------
    table
        One row per cell and frame, sorted by movie, track and frame: ``movie`` (name), ``track_id`` and ``t`` (int64; native frames
        from 0), ``z_px``, ``y_px``, ``x_px`` (float64, native px; z is NaN where it is unknown), ``area_px`` (float64, NaN where
        unknown), ``parent_track_id`` (int64, -1 where there is none), and whatever else the source gives.
    labels
        By the names of movies, the label images that the cells come from, opened lazily; not every movie needs one. The pixels of a cell
        have the value in the column ``label`` (int64) where the table has it, else its ``track_id``.
    """

    table: pd.DataFrame
    labels: Mapping[str, Movie] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Hold the contract on columns."""
        assert tuple(self.table.columns[: len(COLUMNS)]) == COLUMNS, list(self.table.columns)

    def of(self, movie: str) -> Cells:
        """Return the cells of one movie, by its name."""
        labels = {name: image for name, image in self.labels.items() if name == movie}
        return Cells(self.table[self.table["movie"] == movie].reset_index(drop=True), labels)


def read_cells(
    path: str | os.PathLike[str],
    archive: Archive,
    *,
    strict: bool = False,
    link: Literal["laptrack", "done"] | None = None,
    progress: Progress = silent,
) -> Cells:
    """Read the cells of an archive's movies, checked against them.

    Rows that cannot be used, such as cells in frames that the movie does not have, are left out, with a warning that counts them.

    Parameters
    ----------
    path
        A label image (TIFF, OME-Zarr labels, a folder of frames) whose pixel values are track ids and whose T, Y, X are the movie's; a
        folder of the Cell Tracking Challenge; a GEFF; a table (CSV) of ours, of TrackMate, btrack, ultrack or trackpy; an XML file of
        TrackMate; an HDF5 file of btrack; or a folder of any of these that bear the names of their movies.
    archive
        The movies that the cells are in.
    strict
        Whether to refuse whatever would be left out.
    link
        ``"laptrack"``: the cells are not linked from frame to frame yet, and laptrack is to do it. ``"done"``: the values of a label image
        are track ids, though it may not look like it. None: they are, and it is refused if it does not look like it.
    progress
        Told of frames and cells.

    Raises
    ------
    UserError
        If the file cannot be read, none of its cells is of these movies, most of its rows cannot be used, or any, where it is strict; or
        if laptrack is asked for and is not installed.
    """
    from cellvjepa.cells.sources import read_source  # here, because it builds on this file

    return read_source(Path(os.path.abspath(path)), archive.movies, strict=strict, link=link, progress=progress)  # noqa: PTH100 - a link keeps its name


def match_movies(names: Sequence[str], movies: Sequence[Movie]) -> list[Movie | None]:
    """Return the movie that each name means (:func:`cellvjepa.cells.names.meant_names`), None where it is not clear."""
    by_name = {movie.name: movie for movie in movies}
    return [None if name is None else by_name[name] for name in meant_names(names, list(by_name))]


def movie_of(path: Path, movies: Sequence[Movie], said: str | None = None) -> Movie:
    """Return the movie that a file of cells belongs to: the one that it names, the one that it is named after, or the only one.

    Parameters
    ----------
    path
        The file or folder: ``pos4_tracks.xml`` belongs to ``pos4.tif``.
    movies
        The movies.
    said
        What the file itself says about it, which need not be among these movies.

    Raises
    ------
    UserError
        If it is none of them, as far as one can tell.
    """
    stem = stem_of(path.name.removesuffix(path.suffix) if path.suffix.lower() in _TABLES else path.name)
    stems = [stem, *(stem[: -len(ending)] for ending in ENDINGS if stem.lower().endswith(ending) and len(stem) > len(ending))]
    for found in match_movies([*([said] if said else []), *stems], movies):
        if found is not None:
            return found
    if len(movies) == 1:
        return movies[0]
    example = f"{stem_of(PurePosixPath(movies[0].name).name)}_tracks{path.suffix}"
    raise UserError("these cells belong to no movie that is here", f"name the file after its movie, as {example} for {movies[0].name}", path)


def checked_cells(table: pd.DataFrame, movies: Sequence[Movie], where: Path, *, strict: bool = False) -> Cells:
    """Check cells against their movies, sort them, and fill in what the source does not give.

    Rows outside their movie in time or space, or twice in a frame, are left out with a warning (:func:`cellvjepa.cells.checks.left_out`).

    Parameters
    ----------
    table
        With ``movie`` (names of movies), ``track_id``, ``t``, ``y_px`` and ``x_px``, all numbers finite; its index is the line in the source.
    movies
        The movies.
    where
        The source, for messages.
    strict
        Whether to refuse them instead.

    Raises
    ------
    UserError
        If there are such rows and it is strict, or at least half of all rows are such.
    """
    table = left_out(table, list(misplaced(table, movies)), where, strict=strict)
    parents = table.get("parent_track_id", NO_PARENT)
    filled = table.assign(z_px=table.get("z_px", np.nan), area_px=table.get("area_px", np.nan), parent_track_id=parents)
    extra = [column for column in filled.columns if column not in COLUMNS]
    ordered = filled[[*COLUMNS, *extra]].sort_values(["movie", "track_id", "t"], kind="stable", ignore_index=True)
    return Cells(ordered.astype({"track_id": np.int64, "t": np.int64, "parent_track_id": np.int64, "z_px": np.float64, "area_px": np.float64}))
