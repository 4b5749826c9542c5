"""What a path to cells holds: the formats by a short loop, and folders of files that bear the names of their movies."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from cellvjepa.cells import btrack, ctc, edges, geff, trackmate_csv, trackmate_xml
from cellvjepa.cells.label_images import read_label_images
from cellvjepa.cells.link import Linking, linked
from cellvjepa.cells.table import Cells, checked_cells, movie_of
from cellvjepa.cells.tracks import cells_of_table, read_csv, unlinked_cells
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers.names import natural_key
from cellvjepa.progress import Progress

_LOG = logging.getLogger(__name__)
_TABLES = (".csv", ".tsv", ".txt")
_TRACKED = "these cells are linked from frame to frame already"

_Read = Callable[[Path, Sequence[Movie], bool, Progress], Cells]
# Formats that say themselves which cells are the same; recognised by a look at names or a first line.
_OF_TRACKERS: tuple[tuple[Callable[[Path], bool], _Read], ...] = (
    (trackmate_xml.recognises, trackmate_xml.read_trackmate_xml),
    (btrack.recognises, btrack.read_btrack),
    (geff.recognises, geff.read_geff),
    (ctc.recognises, ctc.read_ctc),
)


def read_source(path: Path, movies: Sequence[Movie], *, strict: bool, link: Linking | None, progress: Progress) -> Cells:
    """Read cells in whatever format they are; see :func:`cellvjepa.cells.table.read_cells`.

    Raises
    ------
    UserError
        If they cannot be read, or checked cells are refused.
    """
    if not path.exists():
        raise UserError("there is no such file or folder", "check the path of the cells", path)
    for recognises, read in _OF_TRACKERS:
        if recognises(path):
            if link == "laptrack":
                raise UserError(_TRACKED, "leave --link out", path)
            return read(path, movies, strict, progress)
    if path.is_file() and path.suffix.lower() in _TABLES:
        return _of_table(path, movies, strict=strict, link=link, progress=progress)
    several = _named_after_movies(path)
    if several:
        return _joined(path, several, movies, strict=strict, link=link, progress=progress)
    return read_label_images(path, movies, strict=strict, link=link, progress=progress)


def _of_table(path: Path, movies: Sequence[Movie], *, strict: bool, link: Linking | None, progress: Progress) -> Cells:
    table = read_csv(path)
    if trackmate_csv.recognises(table):
        if link == "laptrack":
            raise UserError(_TRACKED, "leave --link out", path)
        return trackmate_csv.cells_of_spots(table, path, movies, strict=strict)
    if edges.recognises(table):
        return edges.read_edges(table, path, movies, strict=strict, progress=progress)
    if link != "laptrack":
        return cells_of_table(table, path, movies, strict=strict)
    found = unlinked_cells(table, path, movies, strict=strict)
    parts = [linked(rows, progress=progress) for _, rows in found.groupby("movie", sort=False)]
    return checked_cells(pd.concat(parts), movies, path, strict=strict)


def _named_after_movies(path: Path) -> list[Path]:
    """Return the files of tracks in a folder, each of which is of one movie; none where it is a folder of label images."""
    if not path.is_dir() or (path / "zarr.json").exists() or (path / ".zgroup").exists():
        return []
    inside = sorted((entry for entry in path.iterdir() if not entry.name.startswith(".")), key=lambda entry: natural_key(entry.name))
    return [entry for entry in inside if any(recognises(entry) for recognises, _ in _OF_TRACKERS) or _is_table(entry)]


def _is_table(entry: Path) -> bool:
    # Tables of edges or of whole tracks, which TrackMate writes beside that of the spots, go with it.
    if not entry.is_file() or entry.suffix.lower() not in (".csv", ".tsv"):
        return False
    try:
        columns = set(read_csv(entry).columns)
    except UserError:
        return False
    has_places, has_tracks = bool(columns & {"x", "x_px"}), bool(columns & {"track_id", "ID", "particle"})
    return bool(columns & {"POSITION_X", "source_frame"}) or (has_places and has_tracks)


def _joined(folder: Path, several: list[Path], movies: Sequence[Movie], *, strict: bool, link: Linking | None, progress: Progress) -> Cells:
    """Read a folder of files; those that belong to no movie here are left out with a warning."""
    found: list[Cells] = []
    refused: list[UserError] = []
    if len(several) > 1 and len(movies) == 1:
        several = [one for one in several if _is_named_after(one, movies[0])] or several
    for path in several:
        try:
            movie_of(path, movies)
        except UserError as error:
            if path.suffix.lower() not in _TABLES:  # tables may name their movies in a column
                refused.append(error)
                continue
        found.append(read_source(path, movies, strict=strict, link=link, progress=progress))
    if refused and (strict or not found):
        raise refused[0]
    if refused:
        _LOG.warning("left out: %s%s", refused[0], f" (and {len(refused) - 1} more)" if len(refused) > 1 else "")
    table = pd.concat([cells.table for cells in found], ignore_index=True)
    # Each was checked by itself; two of them may still be of one movie.
    together = checked_cells(table, movies, folder, strict=strict)
    return replace(together, labels={name: image for cells in found for name, image in cells.labels.items()})


def _is_named_after(path: Path, movie: Movie) -> bool:
    other = replace(movie, name="\0")
    return movie_of(path, [movie, other]) is movie if _belongs(path, [movie, other]) else False


def _belongs(path: Path, movies: Sequence[Movie]) -> bool:
    try:
        movie_of(path, movies)
    except UserError:
        return False
    return True
