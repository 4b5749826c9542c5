"""Opening movies and archives: one file per format, chosen by a short loop."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers.finding import Found, Skipped, find
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.memory.database import FORGETFUL, users_memory
from cellvjepa.movies.readers.memory.recall import open_or_recall
from cellvjepa.movies.readers.microscopes import czi, lif, nd2, ndtiff
from cellvjepa.movies.readers.names import natural_key
from cellvjepa.movies.readers.opening import open_each
from cellvjepa.movies.readers.series import series_folder, series_movie
from cellvjepa.movies.readers.several import named, parted
from cellvjepa.movies.readers.tiff import sets as tiff_sets
from cellvjepa.movies.readers.tiff import tiff
from cellvjepa.movies.readers.zarr import ome_zarr
from cellvjepa.movies.readers.zarr.folder import printable
from cellvjepa.movies.readers.zarr.remote import is_address
from cellvjepa.movies.readers.zarr.remote_archive import open_remote, open_remote_archive
from cellvjepa.progress import Progress, silent

__all__ = ["NOTHING", "Archive", "Given", "Skipped", "absolute", "open_archive", "open_archives", "open_movie"]

_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path, str, Given], Movie]], ...] = (
    (series_folder.is_pattern, series_movie.open_frames),
    (ome_zarr.recognises, ome_zarr.open_image),
    (nd2.recognises, nd2.open_nd2),
    (czi.recognises, czi.open_czi),
    (lif.recognises, lif.open_lif),
    (ndtiff.recognises, ndtiff.open_ndtiff),
    (tiff.recognises, tiff.open_tiff),
    (series_folder.recognises, series_movie.open_frames),
)
# Of the formats whose files may hold several movies: positions, scenes, images.
_SEVERAL: tuple[tuple[Callable[[Path], bool], Callable[[Path], list[Path]]], ...] = (
    (nd2.recognises, nd2.movies_in),
    (czi.recognises, czi.movies_in),
    (lif.recognises, lif.movies_in),
    (ndtiff.recognises, ndtiff.movies_in),
    (tiff.holds_several, tiff_sets.movies_in),
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
    if is_address(path):
        return open_remote(os.fspath(path), name, given)
    found = _existing(path)
    for recognises, open_it in _READERS:
        if recognises(found):
            return open_it(found, named(found, found) if name is None else name, given)
    raise UserError(f"this is no movie that can be read (it begins with {_first_bytes(found)!r})", "export it as OME-TIFF or OME-Zarr", found)


def open_archive(path: str | os.PathLike[str], given: Given = NOTHING, *, remember: bool = True, progress: Progress = silent) -> Archive:
    """Open all movies below a folder; what cannot be used is skipped and named. A path to one movie is an archive of one.

    Parameters
    ----------
    path
        The folder or the movie.
    given
        What the user says about the files.
    remember
        Whether what earlier runs learnt about files that have not changed since is used, and what is learnt is kept for later runs
        (:func:`cellvjepa.movies.readers.memory.database.users_memory`). Pixels of remembered movies are opened when they are first read.
    progress
        Told of every few movies, and of those that take long.

    Raises
    ------
    UserError
        If there is no movie at all.
    """
    if is_address(path):
        return _sorted(os.fspath(path), *open_remote_archive(os.fspath(path), given, progress=progress))
    root = _existing(path)
    found = find(root, given) if root.is_dir() and not ome_zarr.is_image(root) else Found([root])
    candidates = _each_movie(found.candidates, progress)
    unreadable = [str(candidate) for candidate in candidates if printable(str(candidate)) != str(candidate)]
    uris = [str(candidate) for candidate in candidates if printable(str(candidate)) == str(candidate)]
    names = [found.series[uri].name_below(root) if uri in found.series else named(Path(uri), root) for uri in uris]
    memory = users_memory() if remember else FORGETFUL
    openers = {uri: partial(series_movie.open_series, series) for uri, series in found.series.items()}
    results = open_or_recall(uris, names, given, open_movie, memory, openers, progress=progress)
    movies = [result for result in results if isinstance(result, Movie)]
    skipped = [
        *(replace(one, path=printable(one.path), what=printable(one.what)) for one in found.skipped),
        *(Skipped(printable(uri), "its name is no UTF-8", "rename the file or folder") for uri in unreadable),
        *(_skipped(uri, result) for uri, result in zip(uris, results, strict=True) if isinstance(result, Exception)),
    ]
    if not movies and uris == [str(root)] and isinstance(results[0], UserError):
        raise results[0]
    if not movies:
        raise _no_movies(root, skipped if given.pattern is None else skipped[::-1])  # not the line about what does not fit first
    return _sorted(str(root), movies, skipped)


def open_archives(paths: Sequence[str | os.PathLike[str]], given: Given = NOTHING, *, remember: bool = True, progress: Progress = silent) -> Archive:
    """Open several archives as one; where two of them hold movies of the same name, their roots' names come before it.

    Raises
    ------
    UserError
        If one of them holds no movie, or the same movie is given twice.
    """
    if not paths:
        raise UserError("there is no path", "give the path of a movie or of a folder with movies", "PATH")
    twice = [path for path, count in Counter(map(absolute, paths)).items() if count > 1]
    if twice:
        raise UserError("this path is given twice", "give it once", twice[0])
    archives = [open_archive(path, given, remember=remember, progress=progress) for path in paths]
    if len(archives) == 1:
        return archives[0]
    uris = Counter(movie.uri for archive in archives for movie in archive.movies)
    names = Counter(movie.name for archive in archives for movie in archive.movies)
    movies = [
        replace(movie, name=f"{Path(archive.root).name}/{movie.name}") if names[movie.name] > 1 else movie
        for archive in archives
        for movie in archive.movies
    ]
    inside = [movie.uri for movie in movies if uris[movie.uri] > 1]
    if inside:
        raise UserError("this movie is in two of the paths", "give each movie once", inside[0])
    twice = [name for name, count in Counter(movie.name for movie in movies).items() if count > 1]
    if twice:
        raise UserError(f"the movie '{twice[0]}' is there twice", "give each movie once, or rename one of the folders", ", ".join(map(str, paths)))
    return Archive(os.pathsep.join(archive.root for archive in archives), tuple(movies), tuple(s for archive in archives for s in archive.skipped))


def _sorted(root: str, movies: list[Movie], skipped: list[Skipped]) -> Archive:
    return Archive(root, tuple(sorted(movies, key=lambda m: natural_key(m.name))), tuple(sorted(skipped, key=lambda s: natural_key(s.path))))


def absolute(path: str | os.PathLike[str]) -> str:
    """Return a path from the root of the file system on, or a remote address as it is."""
    # Not resolved: a movie keeps the name of the link it is reached by.
    return os.fspath(path) if is_address(path) else os.path.abspath(path)  # noqa: PTH100


def _each_movie(candidates: Sequence[Path], progress: Progress) -> list[Path]:
    """Return the uris of the movies in some files, most of which are one movie; a file that cannot be read is left as it is."""
    holders = {path: list_them for path in candidates for recognises, list_them in _SEVERAL if recognises(path) and parted(path)[1] is None}
    files = list(holders)
    results = open_each([str(path) for path in files], lambda index: holders[files[index]](files[index]), progress=progress) if files else []
    inside = {file: result for file, result in zip(files, results, strict=True) if not isinstance(result, Exception)}
    return [movie for path in candidates for movie in inside.get(path, [path])]


def _skipped(uri: str, error: Exception) -> Skipped:
    if not isinstance(error, UserError):  # a reader met what nobody thought of
        return Skipped(uri, f"it cannot be opened ({type(error).__name__}: {error})", "copy it again; if other programs open it, please report this")
    inner = "" if error.where in (None, uri) else f"{Path(error.where).name}: "
    return Skipped(uri, f"{inner}{error.what}", error.remedy)


def _existing(path: str | os.PathLike[str]) -> Path:
    found = Path(absolute(path))
    if not found.exists() and not found.is_symlink() and parted(found)[1] is None and not series_folder.is_pattern(found):
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
