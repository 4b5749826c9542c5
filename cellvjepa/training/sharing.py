"""What several processes settle before they train: that a batch divides evenly, and what levels the movies have."""

from __future__ import annotations

import logging
from dataclasses import replace

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.movies.levelled import levelled
from cellvjepa.movies.movie import Movie
from cellvjepa.progress import Progress, silent
from cellvjepa.training.phases import phases_of
from cellvjepa.training.processes import Processes
from cellvjepa.training.shards import is_sharded

_LOG = logging.getLogger(__name__)


def check_shares(config: Config, processes: Processes) -> None:
    """Refuse batches that the processes cannot share evenly; warn where pieces of movies are decoded by several of them.

    Raises
    ------
    UserError
        If the processes, times the parts of gradient accumulation, do not divide the batch of some phase; or if blocks are to be compiled
        whose weights are in pieces.
    """
    if config.training.compile == "on" and is_sharded(config, processes):
        raise UserError("a model that several processes share in pieces is not compiled", "set training.compile=auto", "training.compile")
    count, accumulation = processes.count, config.training.parts_at_least
    for phase in phases_of(config):
        if phase.batch_size % (count * accumulation):
            parts = f" in {accumulation} parts each (training.accumulation)" * (accumulation > 1)
            raise UserError(
                f"{count} processes cannot share a batch of {phase.batch_size} clips evenly{parts}",
                f"make it a multiple of {count * accumulation}, or start another number of processes",
                "training.batch_size" if phase.first_step == 0 else "training.cooldown_batch_size",
            )
    if config.training.live_blocks % count and processes.first:
        _LOG.warning(
            "training.live_blocks (%d) is not a multiple of the %d processes: some pieces of movies are decoded by several of them",
            config.training.live_blocks,
            count,
        )


def levelled_once(movies: tuple[Movie, ...], config: Config, processes: Processes, *, progress: Progress = silent) -> tuple[Movie, ...]:
    """Return the movies with their levels, as :func:`cellvjepa.movies.levelled.levelled`; the first process measures them for all.

    Raises
    ------
    UserError
        As there; or if a process does not see a movie that the first one sees.
    """
    if processes.first:
        movies = levelled(movies, config.training.data_workers, progress=progress)
    levels = processes.from_first({movie.name: movie.levels for movie in movies})
    named = {movie.name: movie for movie in movies}
    for name in levels:
        if name not in named:
            raise UserError("the first process sees this movie, another one does not", "let all machines see the whole archive", name)
    return tuple(replace(named[name], levels=found) for name, found in levels.items())
