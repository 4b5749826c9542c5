"""The series of files that lie in a folder, and those that a pattern names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.names import looks_like_labels, natural_key
from cellvjepa.movies.readers.series.file_series import (
    Series,
    Sorted,
    is_folder,
    is_frame_name,
    parted_uri,
    parts_of_series,
    series_of,
    sort_folder,
    tiffs_in,
)
from cellvjepa.movies.readers.series.name_pattern import NamePattern, parse_pattern
from cellvjepa.movies.readers.series.series_names import Kin
from cellvjepa.movies.readers.zarr.folder import printable

_SHOWN = 3
_MOST_ENTRIES = 10_000_000  # below a folder, before a search gives up


def series_at(uri: str, given: Given = NOTHING) -> Series | Path:
    """Return the one series that a folder, or a folder and a pattern, stand for; of a set of OME-TIFFs its first file.

    Raises
    ------
    UserError
        If there is none, or more than one.
    """
    path = Path(uri)
    if not path.is_dir():
        folder, pattern = parted_uri(uri)
        return _only(by_pattern(folder, pattern), uri)
    if given.pattern is not None:
        return _only(by_pattern(path, parse_pattern(given.pattern)), uri)
    found = sorted_folder(path)
    if len(found.sets) == 1 and not found.series:
        return path / found.sets[0]
    if found.unsure and not found.series:
        raise UserError(found.doubts[0].what, found.doubts[0].remedy, uri)
    if not found.series:
        raise UserError("this folder is no movie: it is no OME-Zarr image, nor does it hold one TIFF per frame", "give it as an archive", uri)
    return _only(found.series, uri)


def recognises(path: Path) -> bool:
    """Whether this may be files that are a movie together: a folder, or a pattern of files; opening it tells."""
    return path.is_dir() or is_pattern(path)


def is_pattern(path: Path) -> bool:
    """Whether a path is a pattern rather than a file or folder that is there."""
    return ("{" in str(path) or "*" in str(path)) and not path.exists() and not path.is_symlink()


def sorted_folder(folder: Path) -> Sorted:
    """Sort the TIFFs of a folder; where all of them are label images, these.

    Raises
    ------
    UserError
        If the folder cannot be read.
    """
    tiffs, folders = _entries(folder)
    found = sorted_inside(folder, [name for name in tiffs if not looks_like_labels(name)], folders)
    return found if found.series or found.loose or found.unsure else sorted_inside(folder, tiffs, [])


def label_series(folder: Path) -> tuple[Series, ...]:
    """Return the label images in a folder that are one movie together: ``mask000.tif``, ``mask001.tif``, ...

    Raises
    ------
    UserError
        If the folder cannot be read.
    """
    tiffs, _ = _entries(folder)
    labels = [name for name in tiffs if looks_like_labels(name)]
    found = sorted_inside(folder, labels, []).series
    # Where movies lie beside them the folder alone stands for the movies.
    return found if len(labels) == len(tiffs) else tuple(replace(one, name=one.name or one.pattern.text) for one in found)


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    try:
        with os.scandir(folder) as entries:
            inside = {entry.name: is_folder(entry) for entry in entries if not entry.name.startswith(".")}
    except OSError as error:
        raise UserError(f"the folder cannot be read ({error.strerror})", "ask for the right to read it", str(folder)) from error
    tiffs = [name for name, is_folder in inside.items() if not is_folder and is_frame_name(name) and printable(name) == name]
    return tiffs, [name for name, is_folder in inside.items() if is_folder]


def sorted_inside(folder: Path, tiffs: Sequence[str], folders: Sequence[str]) -> Sorted:
    """Sort the TIFFs of a folder, and of those folders in it that may be parts of a movie.

    Parameters
    ----------
    folder
        The folder.
    tiffs, folders
        The names of the TIFFs and of the folders in it.
    """
    inner = []
    for part in parts_of_series(folders):
        try:
            inner += [f"{part}/{name}" for name in tiffs_in(folder / part) if not looks_like_labels(name)]
        except OSError:
            continue  # whoever walks into it says so
    return sort_folder(folder, sorted(tiffs, key=natural_key), sorted(inner, key=natural_key))


def by_pattern(folder: Path, pattern: NamePattern, *, paths: Sequence[str] | None = None) -> list[Series]:
    """Return the movies below a folder whose files fit a pattern.

    Parameters
    ----------
    folder
        The folder.
    pattern
        With a slash it is what paths are like from the folder on; without one what files are called, wherever they lie below it.
    paths
        The files below the folder, where they are known.
    """
    if paths is None:
        paths = list(_below(folder, pattern))
    places: dict[str, list[tuple[str, dict[str, str]]]] = defaultdict(list)
    anywhere = "/" not in pattern.text
    for path in paths:
        inner, _, name = path.rpartition("/") if anywhere else ("", "", path)
        values = pattern.match(name)
        if values is not None:
            places[inner].append((name, values))
    found: list[Series] = []
    for inner in sorted(places, key=natural_key):
        files = sorted(places[inner], key=lambda file: natural_key(file[0]))
        kin = Kin(pattern, tuple(path for path, _ in files), tuple(values for _, values in files), time_is_said=True)
        found += series_of(folder / inner if inner else folder, [kin], axes_given=True)
    return found


def _below(folder: Path, pattern: NamePattern) -> Iterator[str]:
    """Give the files of a folder, down to the depth of a pattern."""
    depth = pattern.text.count("/")
    to_visit = [("", 0)]
    seen = 0
    while to_visit:
        inner, level = to_visit.pop()
        try:
            with os.scandir(folder / inner if inner else folder) as entries:
                for entry in entries:
                    seen += 1
                    if level < depth and is_folder(entry):
                        to_visit.append((f"{inner}{entry.name}/", level + 1))
                    elif level == depth:
                        yield inner + entry.name
                    if seen > _MOST_ENTRIES:
                        return
        except OSError as error:
            if not inner:
                raise UserError(f"the folder cannot be read ({error.strerror})", "check the path", str(folder)) from error


def _only(found: Sequence[Series], uri: str) -> Series:
    if not found:
        raise UserError("no file fits the pattern", "check the path", uri)
    if len(found) > 1:
        shown = ", ".join(f"{len(one.paths)} like {Path(one.paths[0]).name}" for one in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        remedy = "give it as an archive of movies, or one of them as a pattern: " + found[0].pattern.text
        raise UserError(f"the folder holds {len(found)} movies: {shown}{more}", remedy, uri)
    return found[0]
