"""The phases of a run: short and small clips first, then, while the rate falls, longer and larger ones (V-JEPA 2, arXiv 2506.09985).

What a step learns from stays a function of the seed and the step alone, in every phase: a phase has a stream of its own, which
is asked for the step's number in the whole run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape, check_movie
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import Reference, position_scale
from cellvjepa.movies.stream import Stream
from cellvjepa.training.examples import Scale

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Phase:
    """Steps ``first_step`` .. ``stop_step - 1`` of a run, with clips of one shape, ``batch_size`` of them for each step."""

    first_step: int
    stop_step: int
    shape: ClipShape
    batch_size: int


@dataclass(frozen=True)
class PhaseMovies:
    """A phase, the movies that yield clips for it, and how far apart these clips' samples lie beside the reference, by name."""

    phase: Phase
    movies: tuple[Movie, ...]
    scales: Mapping[str, Scale]


def phases_of(config: Config) -> tuple[Phase, ...]:
    """Return the phases of a run, in order: one, or two where the clips of the cool-down differ.

    Raises
    ------
    UserError
        If these would be shorter or smaller than those before. (It is no mistake in a configuration as such: to embed with clips
        larger than those of the cool-down is fine.)
    """
    training = config.training
    first, last = ClipShape.of(config.clip), ClipShape.of(config.cooldown_clip)
    for name, before, after in (("frames", first.frames, last.frames), ("size_px", first.size_px, last.size_px)):
        if after < before:
            raise UserError(
                f"the cool-down is for longer and larger clips, but has {name} = {after} after {before} (clip.{name})",
                f"raise it, or lower clip.{name}",
                f"training.cooldown_{name}",
            )
    batch_size = training.cooldown_batch_size or training.batch_size
    if (first, training.batch_size) == (last, batch_size):
        return (Phase(0, training.steps, first, batch_size),)
    begins = training.cooldown_step
    phases = Phase(0, begins, first, training.batch_size), Phase(begins, training.steps, last, batch_size)
    return tuple(phase for phase in phases if phase.first_step < phase.stop_step)


def movies_of_phases(phases: Sequence[Phase], movies: tuple[Movie, ...], reference: Reference) -> tuple[PhaseMovies, ...]:
    """Return which movies each phase uses.

    The first uses all. In a later one, with longer or larger clips, those that are too short or too small for them are left out,
    and one warning names them: padding by reflection is for movies that are smaller than any clip one would want, not for making
    large ones.

    Raises
    ------
    UserError
        If a phase would be left without movies.
    """
    found = []
    for phase in phases:
        refused = {} if phase == phases[0] else _refused(movies, phase.shape, phases[0].shape)
        usable = tuple(movie for movie in movies if movie.name not in refused)
        if refused:
            _say_left_out(refused, phase, usable)
        found.append(PhaseMovies(phase, usable, {movie.name: position_scale(movie, phase.shape, reference) for movie in usable}))
    return tuple(found)


class PhasedStream:
    """The streams of a run's phases, one open at a time.

    Use it as a context manager: leaving it closes the stream that is open.

    Parameters
    ----------
    phases
        In order.
    open_stream
        Opens the stream of a phase.
    """

    def __init__(self, phases: Sequence[PhaseMovies], open_stream: Callable[[PhaseMovies], Stream]) -> None:
        self._phases, self._open_stream = tuple(phases), open_stream
        self._current: tuple[PhaseMovies, Stream] | None = None
        self._damaged_before = 0

    @property
    def damaged_blocks(self) -> int:
        """Return how many blocks could not be read so far and were left out, in all phases."""
        return self._damaged_before + (self._current[1].damaged_blocks if self._current else 0)

    def at(self, step: int) -> tuple[Stream, Mapping[str, Scale]]:
        """Return the stream that a step's batch comes from, opened when its phase begins, and the scales of its clips.

        The batch after the last step, on which the finished model is evaluated, is one of the last phase.
        """
        wanted = next((one for one in self._phases if step < one.phase.stop_step), self._phases[-1])
        if self._current is None or self._current[0] is not wanted:
            self._leave()
            self._current = wanted, self._open_stream(wanted)
        return self._current[1], wanted.scales

    def __enter__(self) -> Self:
        """Return the streams."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the open stream."""
        self._leave()

    def _leave(self) -> None:
        if self._current is not None:
            stream = self._current[1]
            stream.close()
            self._damaged_before += stream.damaged_blocks
            self._current = None


def _refused(movies: Sequence[Movie], shape: ClipShape, first: ClipShape) -> dict[str, UserError]:
    refused = {}
    for movie in movies:
        try:
            found = check_movie(movie, shape)
            rows, columns = found.pixels.shape[3:]
            if shape.size_px > first.size_px and (rows < found.read_px[0] or columns < found.read_px[1]):
                raise UserError(
                    f"the movie has {rows} x {columns} px, but a clip needs {found.read_px[0]} x {found.read_px[1]}",
                    "take smaller clips or leave this movie out",
                    movie.uri,
                )
        except UserError as error:
            refused[movie.name] = error
    return refused


def _say_left_out(refused: Mapping[str, UserError], phase: Phase, usable: Sequence[Movie]) -> None:
    first = next(iter(refused.values()))
    others = f" ({len(refused) - 1} more movies yield none either)" if len(refused) > 1 else ""
    if not usable:
        raise UserError(
            f"no movie yields clips for the cool-down: {first.what}{others}",
            "lower training.cooldown_frames or training.cooldown_size_px",
            first.where,
        )
    _LOG.warning("left out from step %d on, in the cool-down: %s: %s%s", phase.first_step, first.where, first.what, others)
