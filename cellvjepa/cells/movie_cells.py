"""The tables of tracks that belong to a movie without doubt, to be shown whenever it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd

from cellvjepa.cells.names import meant_names, stem_of
from cellvjepa.cells.table import COLUMNS, ENDINGS, Cells, read_cells
from cellvjepa.cells.tracks import cells_of_table, read_csv
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Archive
from cellvjepa.progress import Progress, silent

_OF_AN_ARCHIVE = ("cells.csv", "tracks.csv")
_SUFFIXES = (".csv", ".xml", ".h5", ".geff")


def movie_cells(movie: Movie, archive: Archive, *, progress: Progress = silent) -> tuple[Cells, Path] | None:
    """Read the cells that belong to a movie without doubt.

    They stand in a file beside it that bears its name (``pos4_tracks.csv``), or in ``cells.csv`` of its folder or of one above, up to
    the archive's; that file must name the movie, unless it is the only one of the archive.

    Parameters
    ----------
    movie
        A movie of the archive.
    archive
        The archive.
    progress
        Told of frames and cells.

    Returns
    -------
    tuple
        Its cells and the file they are from; None where there are none.

    Raises
    ------
    UserError
        If there is such a file and it cannot be read.
    """
    path = Path(movie.uri)
    if not path.exists():  # a remote movie, or a part of a file
        return None
    for own in _named_after(path):
        return read_cells(own, Archive(archive.root, (movie,), ()), progress=progress).of(movie.name), own
    for table in _above(path, Path(archive.root)):
        below = _below(archive, table.parent)
        if not (_names_movies(table) or (len(below.movies) == 1 and Path(archive.root).is_dir())):
            continue
        (own_name,) = (one.name for one in below.movies if one.uri == movie.uri)
        cells = _of_one(table, own_name, below, progress)
        if len(cells.table):
            return Cells(cells.table.assign(movie=movie.name)), table
    return None


def cells_of_movie(path: Path, movie: Movie, *, progress: Progress = silent) -> Cells:
    """Read the cells of one movie from a file that may be about many others as well.

    Parameters
    ----------
    path
        As for :func:`cellvjepa.cells.table.read_cells`.
    movie
        The movie.
    progress
        Told of frames and cells.

    Returns
    -------
    Cells
        Without rows where a table names other movies only.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    return _of_one(path, movie.name, Archive(str(path.parent), (movie,), ()), progress)


def _of_one(path: Path, name: str, archive: Archive, progress: Progress) -> Cells:
    if not _names_movies(path):
        return read_cells(path, archive, progress=progress).of(name)
    # Only rows of this movie are checked: a table of an archive has a million others.
    table = read_csv(path)
    written = table["movie"].fillna("").unique().tolist()
    meant = meant_names(written, [movie.name for movie in archive.movies])
    rows = table[table["movie"].isin([one for one, movie in zip(written, meant, strict=True) if movie == name])]
    return Cells(pd.DataFrame(columns=list(COLUMNS))) if rows.empty else cells_of_table(rows, path, archive.movies).of(name)


def _below(archive: Archive, folder: Path) -> Archive:
    """Return the movies below a folder, by their names as a table in it writes them."""
    inside = [movie for movie in archive.movies if Path(movie.uri).is_relative_to(folder)]
    prefix = "" if Path(archive.root) == folder or not folder.is_relative_to(archive.root) else f"{folder.relative_to(archive.root).as_posix()}/"
    return Archive(str(folder), tuple(replace(movie, name=movie.name.removeprefix(prefix)) for movie in inside), ())


def _named_after(path: Path) -> Iterator[Path]:
    stem = stem_of(path.name)
    for suffix in _SUFFIXES:
        for ending in ("", *ENDINGS):
            if (beside := path.with_name(f"{stem}{ending}{suffix}")).exists():
                yield beside


def _above(path: Path, root: Path) -> Iterator[Path]:
    folders = [path.parent]
    while folders[-1] != root and folders[-1].is_relative_to(root) and root.is_dir():
        folders.append(folders[-1].parent)
    for folder in folders:
        yield from (folder / name for name in _OF_AN_ARCHIVE if (folder / name).is_file())


def _names_movies(table: Path) -> bool:
    if table.suffix != ".csv":
        return False
    try:
        with table.open(encoding="utf-8-sig") as file:
            return "movie" in [name.strip().strip('"') for name in file.readline().replace(";", ",").replace("\t", ",").split(",")]
    except (OSError, UnicodeDecodeError):
        return False
