"""Cells from folders of the Cell Tracking Challenge: masks of frames, and a text file that says which track comes from which.

``man_track.txt`` (the truth, in ``01_GT/TRA``) and ``res_track.txt`` (a result, in ``01_RES``) have a line ``L B E P`` per track: its label
in the masks, its first and last frame, and the label of its mother, 0 where it has none. trackastra writes the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cellvjepa.cells.checks import Finding, left_out
from cellvjepa.cells.label_frames import cells_of_labels
from cellvjepa.cells.label_images import check_labels
from cellvjepa.cells.table import NO_PARENT, Cells, checked_cells, movie_of
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie
from cellvjepa.movies.readers.series import series_folder
from cellvjepa.progress import Progress

_LOG = logging.getLogger(__name__)
_FILES = ("man_track.txt", "res_track.txt")
_LARGEST_BYTES = 2**28
_LINES = "each line says L B E P: a track's label, its first and last frame, and its mother's label or 0"


def recognises(path: Path) -> bool:
    """Whether this is such a text file, or a folder with one, or a data set of several."""
    return path.name in _FILES or (path.is_dir() and next(_folders(path), None) is not None)


def read_ctc(path: Path, movies: Sequence[Movie], strict: bool, progress: Progress) -> Cells:
    """Read tracks with their masks and mothers.

    Cells whose label the text file does not have, or not in this frame, are left out; tracks without any mask are counted.

    Raises
    ------
    UserError
        If a file cannot be read, there are no masks, none of them is of a movie here, or something does not fit and it is strict.
    """
    folders = [path.parent] if path.name in _FILES else list(_folders(path))
    tables: list[pd.DataFrame] = []
    images: dict[str, Movie] = {}
    refused: list[UserError] = []
    for folder in folders:
        try:
            movie = _movie_of(folder, movies)
            masks = _masks(folder)
            check_labels(masks, movie)
        except UserError as error:
            refused.append(error)
            continue
        if movie.name in images:
            raise UserError(f"both {Path(images[movie.name].uri).name} and {folder.name} are of {movie.name}", "give the path of one of them", path)
        tables.append(_cells_of(folder, masks, movie, strict, progress))
        images[movie.name] = masks
    if refused and (strict or not tables):
        raise refused[0]
    if refused:
        _LOG.warning("left out: %s%s", refused[0], f" (and {len(refused) - 1} more folders)" if len(refused) > 1 else "")
    return Cells(checked_cells(pd.concat(tables, ignore_index=True), movies, path, strict=strict).table, images)


def _folders(path: Path) -> Iterator[Path]:
    """Yield the folders with such a text file: this one, ``01_GT/TRA``, ``01_RES``, and so on."""
    if any((path / name).is_file() for name in _FILES):
        yield path
        return
    for entry in sorted(path.iterdir()):
        if entry.name == "TRA" or entry.name.endswith(("_GT", "_RES")):
            for folder in (entry, entry / "TRA"):
                if any((folder / name).is_file() for name in _FILES):
                    yield folder


def _movie_of(folder: Path, movies: Sequence[Movie]) -> Movie:
    owner = folder.parent if folder.name == "TRA" else folder
    sequence = owner.with_name(owner.name.removesuffix("_GT").removesuffix("_RES"))
    for movie in movies:
        if Path(movie.uri) == sequence:
            return movie
    return movie_of(sequence, movies)


def _masks(folder: Path) -> Movie:
    series = series_folder.label_series(folder) or series_folder.sorted_folder(folder).series
    if len(series) != 1:
        what = "there are no masks" if not series else f"there are {len(series)} series of images"
        raise UserError(f"{what} beside the text file of tracks", "give the folder with mask000.tif or man_track000.tif, and so on", folder)
    return open_movie(series[0].uri)


def _cells_of(folder: Path, masks: Movie, movie: Movie, strict: bool, progress: Progress) -> pd.DataFrame:
    file = next(folder / name for name in _FILES if (folder / name).is_file())
    tracks = _tracks_in(file)
    table = cells_of_labels(masks, movie, progress)
    table.index.name = "mask"
    known = tracks.reindex(table["track_id"])
    begin, end = known["begin"].to_numpy(), known["end"].to_numpy()
    unknown = pd.Series(np.isnan(begin), index=table.index)
    outside = pd.Series(~np.isnan(begin) & ((table["t"] < begin) | (table["t"] > end)).to_numpy(), index=table.index)
    findings = [
        _finding(table, unknown, f"which {file.name} does not have", "add its track to the text file, or remove it from the masks"),
        _finding(table, outside, "before the first or after the last frame of its track", f"correct the frames in {file.name}"),
    ]
    table = left_out(table, findings, folder, strict=strict)
    _say_what_is_missing(tracks, table, file, strict)
    parents = tracks["parent"].where(tracks["parent"].isin(tracks.index), 0)
    mother = parents.reindex(table["track_id"]).to_numpy(np.int64)
    return table.assign(parent_track_id=np.where(mother == 0, NO_PARENT, mother))


def _finding(table: pd.DataFrame, bad: pd.Series[bool], what: str, remedy: str) -> Finding:
    if not bad.any():
        return Finding(bad, "", remedy)
    row = table[bad].iloc[0]
    return Finding(bad, f"is label {row['track_id']} in frame {row['t']}, {what}", remedy)


def _say_what_is_missing(tracks: pd.DataFrame, table: pd.DataFrame, file: Path, strict: bool) -> None:
    lost = tracks.index[~tracks.index.isin(table["track_id"])]
    strangers = tracks.index[(tracks["parent"] != 0) & ~tracks["parent"].isin(tracks.index)]
    for found, what in ((lost, "have no mask in any frame"), (strangers, "come from a track that is not there")):
        if len(found):
            said = UserError(
                f"{len(found)} of {len(tracks)} tracks {what}; the first is {found[0]}", "check that the text file belongs to the masks", file
            )
            if strict:
                raise said
            _LOG.warning("%s", said)


def _tracks_in(file: Path) -> pd.DataFrame:
    """Read the text file: ``begin``, ``end``, ``parent`` by label."""
    if file.stat().st_size > _LARGEST_BYTES:
        raise UserError(f"the file is absurdly large ({file.stat().st_size:,} bytes)", _LINES, file)
    rows: dict[int, tuple[int, int, int]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        parts = line.split()
        if len(parts) != 4 or not all(part.isascii() and part.isdecimal() and len(part) < 16 for part in parts):
            raise UserError(f"line {number} cannot be read: {line[:60]!r}", _LINES, file)
        label, begin, end, parent = map(int, parts)
        if label in rows or begin > end or parent == label or label == 0:
            what = "has its label once more" if label in rows else "ends before it begins" if begin > end else "cannot be"
            raise UserError(f"the track in line {number} {what}: {line[:60]!r}", _LINES, file)
        rows[label] = begin, end, parent
    if not rows:
        raise UserError("the file has no tracks", _LINES, file)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["begin", "end", "parent"])
