"""What on disk says what a movie is, and whether that is still as it was."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cellvjepa.movies.movie import LazyPixels, Movie
from cellvjepa.movies.readers.microscopes.plane_pixels import BarePlanes, PlanePixels
from cellvjepa.movies.readers.series.series_pixels import SeriesPixels
from cellvjepa.movies.readers.several import parted
from cellvjepa.movies.readers.tiff.planes import TiffPixels
from cellvjepa.movies.readers.zarr.folder import METADATA_FILES, LocalFolder
from cellvjepa.movies.readers.zarr.pixels import ZarrPixels
from cellvjepa.movies.readers.zarr.remote import is_address

_JUST_WRITTEN_S = 3.0  # file systems tell times apart only so well (FAT 2 s): what was written just now may change without its time doing so
_ABOVE_IMAGE = 3  # well, row and plate


@dataclass(frozen=True)
class Sources:
    """The files and folders that a movie was learnt from.

    Parameters
    ----------
    files
        Paths whose size and time matter: of files, or of folders whose entries matter but not these entries' own times.
    folders
        Folders in which the name, size and time of every entry matter.
    """

    files: tuple[str, ...]
    folders: tuple[str, ...]


def sources_of(movie: Movie) -> Sources | None:
    """Return what a movie that was just opened was learnt from; None where that cannot be told, as of a remote one.

    Of an OME-Zarr image these are the metadata of the image, its arrays, and the groups above it that may be a plate; pixels may change
    without them. Of frames it is all that is in their folders, because a new file there may be a new frame.
    """
    if is_address(movie.uri):
        return None
    if isinstance(movie.pixels, ZarrPixels):
        return Sources(tuple(_zarr_metadata(movie)), ())
    path = str(parted(Path(movie.uri))[0])
    files = _files_of(movie.pixels)
    folders = {os.path.dirname(file) for file in files}  # noqa: PTH120
    if "{" in path:  # a pattern: further frames would lie below /data/exp of /data/exp/{channel}/T{t}.tif
        return Sources((), tuple(sorted(folders | {os.path.dirname(path.partition("{")[0])})))  # noqa: PTH120
    if os.path.isdir(path):  # noqa: PTH112
        return Sources((), tuple(sorted(folders | {path})))
    if files - {path}:
        return Sources((), tuple(sorted(folders | {os.path.dirname(path)})))  # noqa: PTH120
    return Sources((path,), ())


def chunk_folders_of(movie: Movie) -> tuple[str, ...]:
    """Return the folders of an OME-Zarr image whose time changes when chunks are added; nothing for other movies.

    New frames are noticed by them; a chunk that is written again in its place is not.
    """
    if not isinstance(movie.pixels, ZarrPixels) or not isinstance(movie.pixels.array.folder, LocalFolder):
        return ()
    chunks = movie.pixels.array.folder.path
    inside = [os.path.join(chunks, name) for name in ("", "c", "0", os.path.join("c", "0"))]  # noqa: PTH118
    return tuple(path for path in inside if os.path.isdir(path))  # noqa: PTH112


class Stamps:
    """The states of files and folders. What many movies share is looked at once; safe to use from several threads.

    Make them before the movies are opened: what is written from shortly before that moment on has no state, because it cannot be
    known whether a movie was opened before or after it.
    """

    def __init__(self) -> None:
        self._before_s = time.time() - _JUST_WRITTEN_S
        self._seen: dict[str, str] = {}
        self._one_at_a_time = threading.Lock()

    def of(self, sources: Sources) -> str | None:
        """Return a digest of names, sizes and times; None where something is gone, or was written too recently."""
        digest = hashlib.blake2b(digest_size=16)
        for path in sources.files:
            if path not in self._seen:
                self._seen[path] = self._file(path)
            digest.update(os.fsencode(path) + b"\0" + self._seen[path].encode() + b"\0")
        for path in sources.folders:
            with self._one_at_a_time:  # all movies of a large folder ask for it at the same moment
                if path not in self._seen:
                    self._seen[path] = self._folder(path)
            digest.update(os.fsencode(path) + b"\0" + self._seen[path].encode() + b"\0")
        return digest.hexdigest() if all(self._seen[path] for path in (*sources.files, *sources.folders)) else None

    def _file(self, path: str) -> str:
        try:
            return self._described(os.stat(path))  # noqa: PTH116 - called for every file of an archive
        except OSError:
            return ""

    def _folder(self, path: str) -> str:
        digest = hashlib.blake2b(digest_size=16)
        try:
            with os.scandir(path) as entries:
                inside = sorted((os.fsencode(entry.name), self._described(_stat(entry))) for entry in entries)
        except OSError:
            return ""
        for name, described in inside:
            digest.update(name + b"\0" + described.encode() + b"\0")
        return digest.hexdigest() if all(described for _, described in inside) else ""

    def _described(self, found: os.stat_result) -> str:
        return f"{found.st_size} {found.st_mtime_ns}" if found.st_mtime < self._before_s else ""


def _stat(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except OSError:  # a link to what is not here
        return entry.stat(follow_symlinks=False)


def _zarr_metadata(movie: Movie) -> Iterator[str]:
    image = Path(movie.uri)
    folders: list[Path] = [image, *list(image.parents)[:_ABOVE_IMAGE]]
    everything: list[LazyPixels] = [movie.pixels, *(copy.pixels for copy in movie.pyramid)]
    for pixels in everything:
        if isinstance(pixels, ZarrPixels) and isinstance(pixels.array.folder, LocalFolder):
            folders.append(pixels.array.folder.path)
    for folder in folders:
        for name in METADATA_FILES:
            path = os.path.join(folder, name)  # noqa: PTH118
            if os.path.isfile(path):  # noqa: PTH113
                yield path


def _files_of(pixels: LazyPixels) -> set[str]:
    if isinstance(pixels, TiffPixels):
        return {planes.path for planes in pixels.files}
    if isinstance(pixels, SeriesPixels):
        return set(pixels.files)
    if isinstance(pixels, PlanePixels) and isinstance(pixels.planes, BarePlanes):
        return {str(path) for path in pixels.planes.paths}
    return set()
