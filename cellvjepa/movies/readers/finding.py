"""Finding what may be a movie in a tree of folders, and what to say about the rest."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.microscopes import czi, lif, nd2, ndtiff
from cellvjepa.movies.readers.microscopes.foreign import INSTALL, installed
from cellvjepa.movies.readers.names import looks_like_labels, natural_key
from cellvjepa.movies.readers.series.file_series import Series, is_folder, is_frame_name
from cellvjepa.movies.readers.series.name_pattern import NamePattern, parse_pattern
from cellvjepa.movies.readers.series.series_folder import by_pattern, sorted_inside
from cellvjepa.movies.readers.zarr import ome_zarr
from cellvjepa.movies.readers.zarr.folder import METADATA_FILES, printable

_UNREAD = re.compile(r".*\.(oi[bf]|ims|vsi|zvi|dv|r3d|h5|hdf5|avi|mp4|mov|mpg|png|jpe?g|bmp|zip)", re.IGNORECASE)
LABELS = ("looks like a label image", "give it with --cells; if it is a movie, give it alone or rename it")


_MOST_LINES = 20  # about label images of one folder


@dataclass(frozen=True)
class Skipped:
    """Something in an archive that is not used: where, why, and what can be done about it."""

    path: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Found:
    """What may be movies, and what is not used.

    Parameters
    ----------
    candidates
        What :func:`cellvjepa.movies.readers.open_movie` is to open.
    skipped
        What is not used.
    series
        Those candidates that are series of files, by uri: opening them needs no second look into their folders.
    """

    candidates: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    series: dict[str, Series] = field(default_factory=dict)

    def add(self, series: Series) -> None:
        """Add a movie of several files."""
        self.candidates.append(Path(series.uri))
        self.series[series.uri] = series


def find(root: Path, given: Given = NOTHING) -> Found:
    """Walk a tree; links are followed, but no folder is visited twice.

    Raises
    ------
    UserError
        If a pattern is given that is none, or that no file fits.
    """
    if given.pattern is not None:
        return _find_by_pattern(root, parse_pattern(given.pattern))
    found = Found()
    taken: set[str] = set()  # by series that reach into several folders
    visited: set[str] = set()
    to_visit = [root]
    while to_visit:
        folder = to_visit.pop()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        try:
            names, folders, is_store = _entries(folder)
        except OSError as error:
            found.skipped.append(Skipped(str(folder), f"the folder cannot be read ({error.strerror})", "ask for the right to read it"))
            continue
        if is_store and ome_zarr.recognises(folder):
            _look_into_store(folder, root, found)
        elif _is_ndtiff(folder, names, folders):
            found.candidates.append(folder)
        else:
            _look_into_folder(folder, names, folders, root, found, taken)
            to_visit += [folder / name for name in reversed(folders)]
    return found


def _is_ndtiff(folder: Path, names: Sequence[str], folders: Sequence[str]) -> bool:
    # Most folders can be told by the names in them, which are known already.
    return (any("ndtiff" in name.lower() for name in names) or "Full resolution" in folders) and ndtiff.recognises(folder)


def _look_into_store(store: Path, root: Path, found: Found) -> None:
    if printable(str(store)) != str(store):
        found.skipped.append(Skipped(printable(str(store)), "its name is no UTF-8", "rename the folder"))
        return
    images, errors = ome_zarr.images_in(store)
    found.skipped.extend(Skipped(error.where or str(store), error.what, error.remedy) for error in errors)
    if not images and not errors:
        found.candidates.append(store)  # opening it says what is missing
    for image in images:
        if image.is_labels or looks_like_labels(image.path.relative_to(root).as_posix()):
            found.skipped.append(Skipped(str(image.path), *LABELS))
        else:
            found.candidates.append(image.path)


def _look_into_folder(folder: Path, names: Sequence[str], folders: Sequence[str], root: Path, found: Found, taken: set[str]) -> None:
    """Note the movies of one folder, of which the names of the files and folders in it are known."""
    place = str(folder)
    tiffs = [name for name in names if is_frame_name(name) and (not taken or f"{place}{os.sep}{name}" not in taken)]
    below = "" if folder == root else folder.relative_to(root).as_posix() + "/"
    labels = [name for name in tiffs if looks_like_labels(below + name)]
    found.skipped.extend(_label_lines(folder, labels))
    odd = [name for name in tiffs if printable(name) != name]
    found.skipped.extend(Skipped(str(folder / name), "its name is no UTF-8", "rename the file") for name in odd)
    there = sorted_inside(folder, [name for name in tiffs if name not in {*labels, *odd}], [] if looks_like_labels(below) else folders)
    for series in there.series:
        found.add(series)
        taken.update(str(series.folder / path) for path in series.paths if "/" in path)
    found.candidates.extend(folder / name for name in there.loose)
    found.skipped.extend(Skipped(str(folder), error.what, error.remedy) for error in there.doubts)
    others = [folder / name for name in names if not is_frame_name(name)]
    _note_other_formats(folder, others, root, found)
    for suffix, number in Counter(path.suffix.lower() for path in others if _UNREAD.fullmatch(path.name)).items():
        what = f"{number} file{'s' * (number > 1)} ending in {suffix}: this format is not read"
        found.skipped.append(Skipped(str(folder), what, "export to OME-TIFF or OME-Zarr (for instance with Fiji or bioformats2raw)"))


def _entries(folder: Path) -> tuple[list[str], list[str], bool]:
    """Return the files and folders in a folder, in natural order and without hidden ones, and whether it may be part of a Zarr store."""
    files: list[str] = []
    folders: list[str] = []
    may_be_store = False
    with os.scandir(folder) as entries:
        for entry in entries:
            may_be_store = may_be_store or entry.name in METADATA_FILES
            if not entry.name.startswith("."):
                (folders if is_folder(entry) else files).append(entry.name)
    return sorted(files, key=natural_key), sorted(folders, key=natural_key), may_be_store


def _label_lines(folder: Path, labels: list[str]) -> list[Skipped]:
    if len(labels) <= _MOST_LINES:
        return [Skipped(str(folder / name), *LABELS) for name in labels]
    return [Skipped(str(folder), f"{len(labels)} files look like label images ({labels[0]}, ...)", LABELS[1])]


def _find_by_pattern(root: Path, pattern: NamePattern) -> Found:
    """Find the files below a folder that fit a pattern, and count the others."""
    found = Found()
    paths, others = _all_below(root, found)
    wants_labels = looks_like_labels(re.sub(r"[{][a-z]*[}]", "", pattern.text))
    movies = paths if wants_labels else [path for path in paths if not looks_like_labels(path)]
    for series in by_pattern(root, pattern, paths=movies):
        found.add(series)
    used = {str(series.folder / path) for series in found.series.values() for path in series.paths}
    unused = [path for path in paths if str(root / path) not in used] + others
    if not found.series:
        where = f"; there is {unused[0]}" if unused else ", nor is there any TIFF"
        remedy = (
            "write the pattern as the names are, with * for what means nothing; without / it is for the names alone, with / for the path from here"
        )
        raise UserError(f"no file fits the pattern '{pattern.text}'{where}", remedy, root)
    if unused:
        what = f"{len(unused)} file{'s do' if len(unused) > 1 else ' does'} not fit the pattern ({unused[0]}{', ...' if len(unused) > 1 else ''})"
        found.skipped.append(Skipped(str(root), what, "give them as an archive of their own, or change the --pattern"))
    return found


def _all_below(root: Path, found: Found) -> tuple[list[str], list[str]]:
    """Return the TIFFs below a folder, and what is of other formats; paths relative to it."""
    tiffs, others = [], []
    visited: set[str] = set()
    to_visit = [""]
    while to_visit:
        below = to_visit.pop()
        folder = root / below
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        try:
            names, folders, is_store = _entries(folder)
        except OSError as error:
            found.skipped.append(Skipped(str(folder), f"the folder cannot be read ({error.strerror})", "ask for the right to read it"))
            continue
        if (is_store and ome_zarr.recognises(folder)) or _is_ndtiff(folder, names, folders):
            others.append(below.rstrip("/") or root.name)
            continue
        for name in names:
            if printable(name) == name and is_frame_name(name):
                tiffs.append(below + name)
            elif any(recognises(folder / name) for recognises in (nd2.recognises, czi.recognises, lif.recognises)) or _UNREAD.fullmatch(name):
                others.append(below + name)
        to_visit += [f"{below}{name}/" for name in reversed(folders)]
    return tiffs, others


def _note_other_formats(folder: Path, files: list[Path], root: Path, found: Found) -> None:
    """Note files of several movies; where the library that reads them is missing, say so once per folder."""
    readers = ((nd2.SUFFIX, nd2.recognises, "nd2"), (lif.SUFFIX, lif.recognises, "liffile"), (czi.SUFFIX, czi.recognises, None))
    for suffix, recognises, library in readers:
        there = [path for path in files if recognises(path)]
        if there and library is not None and not installed(library):
            what = f"{len(there)} file{'s' * (len(there) > 1)} ending in {suffix}: reading them needs the library {library}"
            found.skipped.append(Skipped(str(folder), what, INSTALL))
            continue
        for path in there:
            if looks_like_labels(path.relative_to(root).as_posix()):
                found.skipped.append(Skipped(str(path), *LABELS))
            else:
                found.candidates.append(path)
