"""Opening movies and archives: one file per format, chosen by a short loop."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import frame_folder, ome_zarr, tiff
from cellvjepa.movies.readers.finding import Skipped, find
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.names import natural_key
from cellvjepa.progress import Progress, silent

__all__ = ["NOTHING", "Archive", "Given", "Skipped", "open_archive", "open_movie"]

_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path, str, Given], Movie]], ...] = (
    (ome_zarr.recognises, ome_zarr.open_image),
    (tiff.recognises, tiff.open_tiff),
    (frame_folder.recognises, frame_folder.open_frames),
)


@dataclass(frozen=True)
class Archive:
    """All movies below a folder, or one movie.

    Parameters
    ----------
    root
        Absolute path.
    movies
        In the natural order of their names.
    skipped
        What looks like a movie and is not used.
    """

    root: str
    movies: tuple[Movie, ...]
    skipped: tuple[Skipped, ...]


def open_movie(path: str | os.PathLike[str], name: str | None = None, given: Given = NOTHING) -> Movie:
    """Open one movie: a TIFF, a folder of frames, or the group of an image in an OME-Zarr store.

    Parameters
    ----------
    path
        The file or folder.
    name
        What tables call the movie; None: its own file name.
    given
        What the user says about the file.

    Raises
    ------
    UserError
        If there is no movie there, or none that can be read.
    """
    found = _existing(path)
    for recognises, open_it in _READERS:
        if recognises(found):
            return open_it(found, found.name if name is None else name, given)
    if found.is_dir():
        raise UserError("this folder is no movie: it is no OME-Zarr image, nor does it hold one TIFF per frame", "give it as an archive", found)
    raise UserError(f"this is no movie that can be read (it begins with {_first_bytes(found)!r})", "export it as OME-TIFF or OME-Zarr", found)


def open_archive(path: str | os.PathLike[str], given: Given = NOTHING, *, progress: Progress = silent) -> Archive:
    """Open all movies below a folder; what cannot be used is skipped and named. A path to one movie is an archive of one.

    Raises
    ------
    UserError
        If there is no movie at all.
    """
    root = _existing(path)
    if not root.is_dir() or ome_zarr.is_image(root):
        return Archive(str(root), (open_movie(root, None, given),), ())
    found = find(root)
    movies, skipped = [], list(found.skipped)
    for done, candidate in enumerate(found.candidates):
        progress("opening movies", done, len(found.candidates))
        try:
            movies.append(open_movie(candidate, root.name if candidate == root else candidate.relative_to(root).as_posix(), given))
        except UserError as error:
            inner = "" if error.where in (None, str(candidate)) else f"{Path(error.where).name}: "
            skipped.append(Skipped(str(candidate), f"{inner}{error.what}", error.remedy))
    progress("opening movies", len(found.candidates), len(found.candidates))
    if not movies:
        raise _no_movies(root, skipped)
    return Archive(str(root), tuple(sorted(movies, key=lambda m: natural_key(m.name))), tuple(sorted(skipped, key=lambda s: natural_key(s.path))))


def open_archives(paths: Sequence[str | os.PathLike[str]], given: Given = NOTHING, *, progress: Progress = silent) -> Archive:
    """Open several archives as one; where two of them hold movies of the same name, their roots' names come before it.

    Raises
    ------
    UserError
        If one of them holds no movie, or the same movie is given twice.
    """
    archives = [open_archive(path, given, progress=progress) for path in paths]
    if len(archives) == 1:
        return archives[0]
    names = Counter(movie.name for archive in archives for movie in archive.movies)
    movies = [
        replace(movie, name=f"{Path(archive.root).name}/{movie.name}") if names[movie.name] > 1 else movie
        for archive in archives
        for movie in archive.movies
    ]
    twice = [name for name, count in Counter(movie.name for movie in movies).items() if count > 1]
    if twice:
        raise UserError(f"the movie '{twice[0]}' is there twice", "give each movie once, or rename one of the folders", ", ".join(map(str, paths)))
    return Archive(os.pathsep.join(archive.root for archive in archives), tuple(movies), tuple(s for archive in archives for s in archive.skipped))


def _existing(path: str | os.PathLike[str]) -> Path:
    # Not resolved: a movie keeps the name of the link it is reached by.
    found = Path(os.path.abspath(path))  # noqa: PTH100
    if not found.exists() and not found.is_symlink():
        raise UserError("there is no such file or folder", "check the path", found)
    return found


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError:
        return b""


def _no_movies(root: Path, skipped: list[Skipped]) -> UserError:
    if not skipped:
        return UserError("there are no movies in this folder", "give a folder with OME-Zarr or TIFF movies, or with one TIFF per frame", root)
    first = skipped[0]
    inner = "" if first.path == str(root) else f"{os.path.relpath(first.path, root)}: "
    others = f" ({len(skipped) - 1} more files or folders were skipped)" if len(skipped) > 1 else ""
    return UserError(f"there is no movie that can be used: {inner}{first.what}{others}", first.remedy, root)
