"""The movies behind a store, opened when one of their cells is to be seen."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import cellvjepa

_MEMORY_BYTES = 128 * 2**20  # of decoded pixels, for all movies of a store together
_ASK_EVERY_S = 0.1  # whether to wait on, where another thread opens a movie


class Movies:
    """The movies of a store by name; an archive is opened once. Safe to use from several threads.

    Parameters
    ----------
    found
        The store, which knows the paths of its archives.
    """

    def __init__(self, found: cellvjepa.Embeddings) -> None:
        self._found = found
        self._opened: dict[str, cellvjepa.Movie] = {}
        self._levelled: dict[str, cellvjepa.Movie] = {}
        self._opening = threading.Lock()
        self._memory = cellvjepa.RecentChunks(_MEMORY_BYTES)
        self._remembered: dict[str, cellvjepa.Movie] = {}

    def movie(self, name: str, progress: cellvjepa.Progress, elsewhere: Path | None = None) -> cellvjepa.Movie:
        """Return a movie with its levels; takes as long as opening its archive (not in the window's thread).

        Parameters
        ----------
        name
            As the store's table has it.
        elsewhere
            Where the movies are now, if they have been moved.

        Raises
        ------
        UserError
            If it is not where the store says.
        """
        if name in self._levelled:
            return self._levelled[name]
        while not self._opening.acquire(timeout=_ASK_EVERY_S):
            progress("waiting for its archive", 0, 0)
        try:
            if name not in self._levelled:
                if name not in self._opened:
                    self._open(name, progress, elsewhere)
                progress("measuring grey levels", 0, 0)
                self._levelled[name] = cellvjepa.with_levels(self._with_stored_levels(self._opened[name]))
            return self._levelled[name]
        finally:
            self._opening.release()

    def known(self, name: str) -> cellvjepa.Movie | None:
        """Return a movie that has been opened before, or None."""
        return self._levelled.get(name)

    def remembered(self, movie: cellvjepa.Movie) -> cellvjepa.Movie:
        """Return one of these movies so that pixels decoded lately are not decoded again: for many small clips."""
        return self._remembered.get(movie.name) or self._remembered.setdefault(movie.name, self._memory.of(movie))

    def masks(self, name: str) -> cellvjepa.Movie | None:
        """Return the label image that a store's cells were taken from, if there is one and it is still there."""
        uri = self._found.provenance.label_images.get(name)
        try:
            return cellvjepa.open_movie(uri) if uri else None
        except cellvjepa.UserError:
            return None  # the movie can be seen without

    def _with_stored_levels(self, movie: cellvjepa.Movie) -> cellvjepa.Movie:
        """Return a movie with the levels that its clips were embedded with, if the store knows those of all its channels."""
        levels = self._found.provenance.levels
        known = levels[levels["movie"] == movie.name].set_index("channel")
        if movie.levels is not None or not set(movie.channels) <= set(known.index):
            return movie
        return replace(movie, levels=known.loc[list(movie.channels), ["low", "high"]].to_numpy(float))

    def _open(self, name: str, progress: cellvjepa.Progress, elsewhere: Path | None) -> None:
        source = self._found.provenance.source
        places = [str(elsewhere)] if elsewhere else list(source.archives)
        for place in places:
            if "://" in place or Path(place).exists():
                for movie in cellvjepa.open_archive(place, source.given, progress=progress).movies:
                    self._opened.setdefault(movie.name, movie)
                if name in self._opened:
                    return
        looked = ", ".join(places) or "nowhere"
        raise cellvjepa.UserError(f"the movie '{name}' is not there (looked in {looked})", "say under 'Movies' where they are now", self._found.path)
