"""Recalling what earlier runs learnt about movies, and opening only those that are new or have changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers.given import Given
from cellvjepa.movies.readers.memory.database import Memory, Remembered, key_of
from cellvjepa.movies.readers.memory.remembered import LONGEST_TEXT, RememberedPixels, from_text, sources_in, to_text
from cellvjepa.movies.readers.memory.sources import Sources, Stamps, chunk_folders_of, sources_of
from cellvjepa.movies.readers.opening import THREADS, open_each
from cellvjepa.progress import Progress, silent


def open_or_recall(
    uris: Sequence[str],
    names: Sequence[str],
    given: Given,
    open_movie: Callable[[str, str | None, Given], Movie],
    memory: Memory,
    openers: Mapping[str, Callable[[str, Given], Movie]] | None = None,
    *,
    progress: Progress = silent,
) -> list[Movie | Exception]:
    """Open many movies; those that are remembered, and whose files are as they were, are not looked into.

    Parameters
    ----------
    uris, names
        What to open, and what tables call it.
    given
        What the user says about the files.
    open_movie
        Opens a movie by uri, name and what is given; must pickle, because remembered pixels are opened with it later.
    memory
        Where movies are remembered. What was learnt is kept there also if the work is cancelled.
    openers
        By uri, what opens a movie by name and what is given without looking for its files again.
    progress
        As in :func:`cellvjepa.movies.readers.opening.open_each`.

    Returns
    -------
    list
        In the order of the uris, each movie or what opening it raised.

    Raises
    ------
    UserError
        If nothing answers any more.
    """
    keys = [key_of("movie", uri, name, given.axes, given.pattern) for uri, name in zip(uris, names, strict=True)]
    stamps = Stamps()
    remembered = memory.recall(keys)
    learnt: dict[bytes, Remembered] = {}

    def open_one(index: int) -> Movie:
        before = remembered.pop(keys[index], None)
        movie = None if before is None else _recalled(before, stamps, open_movie, given)
        if movie is not None:
            return movie
        opener = None if openers is None else openers.get(uris[index])
        movie = open_movie(uris[index], names[index], given) if opener is None else opener(names[index], given)
        if memory.file is not None:
            _learn(movie, keys[index], stamps, learnt)
        return movie

    try:
        return open_each(uris, open_one, progress=progress)
    finally:
        memory.keep(dict(learnt))


def remembered_levels(movies: Sequence[Movie], memory: Memory, version: int) -> list[npt.NDArray[np.float64] | None]:
    """Return the levels that were measured on movies whose files have not changed since.

    Parameters
    ----------
    movies
        The movies.
    memory
        Where levels are remembered.
    version
        Of the way they are measured: what another one measured does not count.

    Returns
    -------
    list
        For each movie ``(C, 2)`` float64, or None.
    """
    keys = [_levels_key(movie, version) for movie in movies]
    remembered = memory.recall(keys)
    stamps = Stamps()

    def look_up(index: int) -> npt.NDArray[np.float64] | None:
        found = remembered.get(keys[index])
        sources = None if found is None else _watched(movies[index])
        if found is None or sources is None or found.stamp != stamps.of(sources):
            return None
        try:
            levels = np.array([[float.fromhex(value) for value in pair.split(" ")] for pair in found.text.split("\n")])
        except (ValueError, OverflowError):
            return None
        return levels if levels.shape == (len(movies[index].channels), 2) else None

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(look_up, range(len(movies))))


def remember_levels(movies: Sequence[Movie], memory: Memory, version: int, stamps: Stamps) -> None:
    """Remember the levels of movies for :func:`remembered_levels`.

    Parameters
    ----------
    movies
        With levels; those without are left out.
    memory, version
        As there.
    stamps
        Made before the levels were measured.
    """
    learnt = {}
    for movie in movies:
        sources = _watched(movie)
        stamp = None if sources is None or movie.levels is None else stamps.of(sources)
        if stamp is not None and movie.levels is not None:
            text = "\n".join(" ".join(float(value).hex() for value in pair) for pair in movie.levels)
            learnt[_levels_key(movie, version)] = Remembered(stamp, text)
    memory.keep(learnt)


def _recalled(before: Remembered, stamps: Stamps, open_movie: Callable[[str, str | None, Given], Movie], given: Given) -> Movie | None:
    sources = sources_in(before.text)
    if sources is None or stamps.of(sources) != before.stamp:
        return None
    return from_text(before.text, open_movie, given)


def _learn(movie: Movie, key: bytes, stamps: Stamps, learnt: dict[bytes, Remembered]) -> None:
    sources = sources_of(movie)
    stamp = None if sources is None else stamps.of(sources)
    if sources is None or stamp is None:
        return
    text = to_text(movie, sources)
    if len(text) <= LONGEST_TEXT:
        learnt[key] = Remembered(stamp, text)


def _watched(movie: Movie) -> Sources | None:
    """Return what to watch for changes of a movie's pixels."""
    if isinstance(movie.pixels, RememberedPixels):
        return movie.pixels.sources
    found = sources_of(movie)
    return None if found is None else Sources((*found.files, *chunk_folders_of(movie)), found.folders)


def _levels_key(movie: Movie, version: int) -> bytes:
    shape = " ".join(map(str, movie.pixels.shape))
    return key_of("levels", version, movie.uri, shape, movie.pixels.dtype.str, *movie.channels)
