"""Movies with their levels: remembered from an earlier run, or measured, several at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from cellvjepa.errors import UserError
from cellvjepa.movies.levels import VERSION, with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers.memory.database import users_memory
from cellvjepa.movies.readers.memory.recall import remember_levels, remembered_levels
from cellvjepa.movies.readers.memory.sources import Stamps
from cellvjepa.progress import Progress, silent

_LOG = logging.getLogger(__name__)


def levelled(movies: Sequence[Movie], workers: int = 1, *, progress: Progress = silent) -> tuple[Movie, ...]:
    """Return movies with their levels (:func:`cellvjepa.movies.levels.measure_levels`).

    Movies of which nothing can be read are left out; a warning names each.

    Parameters
    ----------
    movies
        The movies.
    workers
        Threads that measure.
    progress
        Told of each movie; may cancel.

    Raises
    ------
    UserError
        If nothing can be read of any of them.
    """
    memory, stamps = users_memory(), Stamps()
    known = [
        levels if movie.levels is None else movie.levels for movie, levels in zip(movies, remembered_levels(movies, memory, VERSION), strict=True)
    ]
    pool = ThreadPoolExecutor(workers)
    found: list[Movie] = []
    damage = None
    try:
        futures = [pool.submit(with_levels, replace(movie, levels=levels)) for movie, levels in zip(movies, known, strict=True)]
        for done, future in enumerate(futures):
            progress("measuring grey levels", done, len(movies))
            try:
                found.append(future.result())
            except UserError as error:
                damage = error
                _LOG.warning("left out: %s", error)
    finally:
        pool.shutdown(cancel_futures=True)
        new = {movie.uri for movie, levels in zip(movies, known, strict=True) if levels is None}
        remember_levels([movie for movie in found if movie.uri in new], memory, VERSION, stamps)
    if damage is not None and not found:
        raise damage
    progress("measuring grey levels", len(movies), len(movies))
    return tuple(found)
