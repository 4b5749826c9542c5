"""Finding what may be a movie in a tree of folders, and what to say about the rest."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from cellvjepa.movies.readers import frame_folder, ome_zarr, tiff
from cellvjepa.movies.readers.names import looks_like_labels, natural_key

_UNREAD = re.compile(r".*\.(nd2|czi|lif|oi[bf]|ims|vsi|zvi|dv|r3d|h5|hdf5|avi|mp4|mov|mpg|png|jpe?g|bmp|zip)", re.IGNORECASE)
_LABELS = ("looks like a label image", "give it with --cells; if it is a movie, give it alone or rename it")


@dataclass(frozen=True)
class Skipped:
    """Something in an archive that is not used: where, why, and what can be done about it."""

    path: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Found:
    """What may be movies, and what is not used."""

    candidates: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def find(root: Path) -> Found:
    """Walk a tree; links are followed, but no folder is visited twice."""
    found = Found()
    visited: set[str] = set()
    to_visit = [root]
    while to_visit:
        folder = to_visit.pop()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        if ome_zarr.recognises(folder):
            _look_into_store(folder, root, found)
        else:
            to_visit += reversed(_look_into_folder(folder, root, found))
    return found


def _look_into_store(store: Path, root: Path, found: Found) -> None:
    images, errors = ome_zarr.images_in(store)
    found.skipped.extend(Skipped(error.where or str(store), error.what, error.remedy) for error in errors)
    if not images and not errors:
        found.candidates.append(store)  # opening it says what is missing
    for image in images:
        if image.is_labels or looks_like_labels(image.path.relative_to(root).as_posix()):
            found.skipped.append(Skipped(str(image.path), *_LABELS))
        else:
            found.candidates.append(image.path)


def _look_into_folder(folder: Path, root: Path, found: Found) -> list[Path]:
    """Note the movies of one folder and return the folders in it."""
    try:
        entries = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: natural_key(path.name))
        folders = {path: None for path in entries if path.is_dir()}
    except OSError as error:
        found.skipped.append(Skipped(str(folder), f"the folder cannot be read ({error.strerror})", "ask for the right to read it"))
        return []
    files = [path for path in entries if path not in folders]
    movies = []
    for path in filter(tiff.recognises, files):
        if looks_like_labels(path.relative_to(root).as_posix()):
            found.skipped.append(Skipped(str(path), *_LABELS))
        else:
            movies.append(path)
    found.candidates.extend([folder] if frame_folder.hold_frames(movies) else movies)
    for suffix, number in Counter(path.suffix.lower() for path in files if _UNREAD.fullmatch(path.name)).items():
        what = f"{number} file{'s' * (number > 1)} ending in {suffix}: this format is not read"
        found.skipped.append(Skipped(str(folder), what, "export to OME-TIFF or OME-Zarr (for instance with Fiji or bioformats2raw)"))
    return list(folders)
