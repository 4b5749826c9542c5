"""A movie as it is remembered: everything but its pixels, as text; the pixels are opened when they are first read."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import FillsMemory, Key, LazyPixels, Movie, PixelSize, Problem, Resolution, Shape5, reopened
from cellvjepa.movies.readers.given import Given
from cellvjepa.movies.readers.memory.sources import Sources, chunk_folders_of

LONGEST_TEXT = 2**20  # what takes more is opened again each time


class RememberedPixels:
    """:class:`~cellvjepa.movies.movie.LazyPixels` of which shape, type and chunks are known, and which are opened when they are first read.

    Parameters
    ----------
    uri
        Where they are, for messages.
    reopen
        Opens the movie; must itself pickle.
    level
        0 for the movie's pixels, 1 for the first coarser copy, and so on.
    shape, dtype, chunks
        What they are.
    sources
        What to watch for changes of the pixels.
    """

    def __init__(
        self, uri: str, reopen: Callable[[], Movie], level: int, shape: Shape5, dtype: np.dtype[Any], chunks: Shape5, sources: Sources
    ) -> None:
        self._uri, self._reopen, self._level, self.sources = uri, reopen, level, sources
        self._shape, self._dtype, self._chunks = shape, dtype, chunks
        self._opened: LazyPixels | None = None
        self._lock = threading.Lock()

    @property
    def shape(self) -> Shape5:
        """Return the lengths of T, C, Z, Y, X."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the native type, in the byte order of this machine."""
        return self._dtype

    @property
    def chunks(self) -> Shape5:
        """Return what a read decodes at the least."""
        return self._chunks

    def opened(self) -> LazyPixels:
        """Return the pixels themselves, opening them if nobody has.

        Raises
        ------
        UserError
            If they cannot be opened any more, or are not as remembered.
        """
        if self._opened is None:
            with self._lock:
                if self._opened is None:
                    self._opened = reopened(self._open, self._uri, self._shape, self._dtype.str)
        return self._opened

    def __getitem__(self, key: Key, /) -> npt.NDArray[Any]:
        """Return a part, as numpy indexing does it.

        Raises
        ------
        UserError
            If the pixels cannot be read, or are not as remembered.
        """
        return self.opened()[key]

    def read_into(self, key: Key, out: npt.NDArray[Any], /) -> None:
        """Read a part into memory that is there already (:class:`cellvjepa.movies.movie.FillsMemory`).

        Raises
        ------
        UserError
            As indexing.
        """
        pixels = self.opened()
        if isinstance(pixels, FillsMemory):
            pixels.read_into(key, out)
        else:
            out[...] = pixels[key]

    def __reduce__(self) -> tuple[type[RememberedPixels], tuple[Any, ...]]:
        """Pickle what is remembered, which is an address."""
        return RememberedPixels, (self._uri, self._reopen, self._level, self._shape, self._dtype, self._chunks, self.sources)

    def _open(self) -> LazyPixels:
        movie = self._reopen()
        if self._level > len(movie.pyramid):
            raise UserError(
                "the movie has changed: a coarser copy is gone", "start again, and leave the files alone while they are in use", self._uri
            )
        return movie.pixels if self._level == 0 else movie.pyramid[self._level - 1].pixels


def to_text(movie: Movie, sources: Sources) -> str:
    """Return everything about a movie that was just opened, but its pixels and levels, as JSON."""
    return json.dumps(
        {
            "uri": movie.uri,
            "name": movie.name,
            "shape": movie.pixels.shape,
            "dtype": movie.pixels.dtype.str,
            "chunks": movie.pixels.chunks,
            "channels": movie.channels,
            "pixel_um": None if movie.pixel_um is None else asdict(movie.pixel_um),
            "interval_s": movie.interval_s,
            "axes": dict(movie.axes),
            "codec": movie.codec,
            "size_bytes": movie.size_bytes,
            "problems": [asdict(problem) for problem in movie.problems],
            "groups": dict(movie.groups),
            "pyramid": [
                {"shape": copy.pixels.shape, "dtype": copy.pixels.dtype.str, "chunks": copy.pixels.chunks, "factor": copy.factor}
                for copy in movie.pyramid
            ],
            "files": sources.files,
            "folders": sources.folders,
            "chunk_folders": chunk_folders_of(movie),
        }
    )


def sources_in(text: str) -> Sources | None:
    """Return the sources that a remembered movie was learnt from; None where the text is no such movie."""
    try:
        return _sources(json.loads(text))
    except _DAMAGE:
        return None


def from_text(text: str, open_movie: Callable[[str, str | None, Given], Movie], given: Given) -> Movie | None:
    """Return a movie that was remembered; None where the text is no such movie.

    Parameters
    ----------
    text
        What :func:`to_text` returned.
    open_movie
        Opens a movie by uri, name and what is given; must pickle.
    given
        What the user says about it.
    """
    try:
        found = json.loads(text)
        uri, learnt_from = str(found["uri"]), _sources(found)
        watched = Sources((*learnt_from.files, *map(str, found["chunk_folders"])), learnt_from.folders)
        reopen = partial(open_movie, uri, None, given)
        return Movie(
            uri=uri,
            name=found["name"],
            pixels=_pixels(uri, found, reopen, 0, watched),
            channels=tuple(found["channels"]),
            pixel_um=None if found["pixel_um"] is None else PixelSize(**found["pixel_um"]),
            interval_s=found["interval_s"],
            axes=found["axes"],
            codec=found["codec"],
            size_bytes=found["size_bytes"],
            problems=tuple(Problem(**problem) for problem in found["problems"]),
            groups=found["groups"],
            pyramid=tuple(
                Resolution(_pixels(uri, copy, reopen, level, watched), _triple(copy["factor"]))
                for level, copy in enumerate(found["pyramid"], start=1)
            ),
        )
    except _DAMAGE:
        return None


_DAMAGE = (KeyError, TypeError, ValueError, AssertionError, RecursionError)


def _pixels(uri: str, stored: dict[str, Any], reopen: Callable[[], Movie], level: int, watched: Sources) -> RememberedPixels:
    return RememberedPixels(uri, reopen, level, _five(stored["shape"]), np.dtype(stored["dtype"]), _five(stored["chunks"]), watched)


def _sources(found: dict[str, Any]) -> Sources:
    return Sources(tuple(map(str, found["files"])), tuple(map(str, found["folders"])))


def _five(lengths: list[int]) -> Shape5:
    t, c, z, y, x = (int(length) for length in lengths)
    return t, c, z, y, x


def _triple(factor: list[int]) -> tuple[int, int, int]:
    z, y, x = (int(step) for step in factor)
    return z, y, x
