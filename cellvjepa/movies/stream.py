"""The stream of training clips: a block is decoded once, many clips are cut from it, and the next batches are made ahead.

What a batch holds is a function of the seed and the step alone: which block a clip is cut from (:mod:`cellvjepa.movies.schedule`) by
the step; block and clip by generators seeded with (seed, slot, number) and (seed, step, index).
So a run continues exactly after a stop, with no state to save, and however many threads read.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.batch import Batch
from cellvjepa.movies.block_size import Budget
from cellvjepa.movies.blocks import Block, BlockAddress, Source, cut_clip, draw_block, place_clip, read_block, source_of
from cellvjepa.movies.buffers import Buffer, Buffers
from cellvjepa.movies.clips import Clip, ClipShape
from cellvjepa.movies.levels import measure_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.resampling import is_exact
from cellvjepa.movies.schedule import WHOLE, Part, Schedule, Turn
from cellvjepa.movies.trouble import GoneError, Patience, Trouble
from cellvjepa.movies.workers import CancelledWorkError, Workers

_AHEAD = 2  # batches made before they are asked for
_BLOCKS_AHEAD = 4  # blocks read before a batch needs them, so that several threads have work
_BLOCK_DRAWS, _CLIP_DRAWS = 2, 3  # keep the two kinds of random numbers apart
_LISTEN_S = 0.5  # how often a waiting caller looks up, so that Ctrl-C is heard on every system
_MOST_ATTEMPTS = 50  # blocks that may be damaged one after another before it is the archive that is


@dataclass(frozen=True)
class _Contents:
    native: npt.NDArray[Any]
    shapes: tuple[tuple[int, int, int, int], ...]
    levels_B2: npt.NDArray[np.float64]
    clips: tuple[Clip, ...]
    channels: tuple[str, ...]
    buffer: Buffer


class Stream:
    """Batches of training clips from many movies, by step.

    Use it as a context manager, or call :meth:`close`: both wait for its threads.

    A block that is damaged is left out: another is drawn in its place, always the same one, and a warning names it
    (:attr:`damaged_blocks` counts them). A share that goes away is waited for with growing patience, then reported.

    Parameters
    ----------
    movies
        Of any size, dtype and channels; levels are measured where they are missing. A movie is drawn with a weight
        proportional to the square root of the number of clips that fit into it (:func:`cellvjepa.movies.blocks.source_of`).
    shape
        What a clip is.
    batch_size
        Clips per batch; consecutive clips come from different blocks.
    seed
        Of everything that is drawn.
    live_blocks
        Blocks that are open to clips at any step.
    clips_per_block
        About so many clips are cut from a block before it makes room for the next.
    foreground_share
        Share of clips, and of blocks where a glance is cheap, placed where the image varies most
        (:func:`cellvjepa.movies.blocks.place_clip`).
    workers
        Threads that read, decode and cut.
    memory_mb
        Memory for blocks and batches [MB], however many movies there are. Only a block that holds a single clip may need more.
    patience
        How long to wait for a share that has gone away.
    part
        Which of the clips are made here, where several processes share each batch: ``batch_size``, ``live_blocks`` and ``memory_mb``
        are those of all of them together, and the parts of a batch are, row by row, the batch that one process makes.

    Raises
    ------
    UserError
        If there is no movie, one cannot give clips of this shape, whole stacks differ in depth, or a batch cannot be shared evenly.
    """

    def __init__(
        self,
        movies: Sequence[Movie],
        shape: ClipShape,
        batch_size: int,
        seed: int,
        live_blocks: int,
        clips_per_block: int,
        foreground_share: float,
        workers: int,
        memory_mb: int = 2048,
        patience: Patience | None = None,
        part: Part = WHOLE,
    ) -> None:
        if not movies:
            raise UserError("there is no movie to take clips from", "give at least one movie")
        if batch_size % part.count:
            raise UserError(f"a batch of {batch_size} clips cannot be shared evenly by {part.count} processes", "make it a multiple of their number")
        self._shape, self._batch_size, self._seed = shape, batch_size, seed
        self._foreground_share = foreground_share
        self._schedule = Schedule(batch_size, live_blocks, max(1, round(live_blocks * clips_per_block / batch_size)), part)
        budget = Budget(self._block_bytes(movies, memory_mb), clips_per_block)
        self._sources = [source_of(movie, shape, budget) for movie in movies]
        self._cumulated = np.cumsum([source.weight for source in self._sources])
        _refuse_unequal_depths(self._sources)
        self._buffers = Buffers(_shipped_type(movies), for_gpu=True)
        self._block_memory = Buffers(np.dtype(np.uint8))
        self._measured: dict[int, npt.NDArray[np.float64]] = {}
        self._blocks: dict[Turn, Future[Block]] = {}
        self._batches: dict[int, Future[_Contents]] = {}
        self._lent: Buffer | None = None
        self._asking = threading.Lock()
        self._trouble = Trouble(patience or Patience())
        self._workers = Workers(workers, "cellvjepa-stream")

    @property
    def damaged_blocks(self) -> int:
        """Return how many blocks could not be read so far and were left out."""
        return self._trouble.damaged

    def batch(self, step: int) -> Batch:
        """Return the batch of a step, and begin to make the next ones.

        Raises
        ------
        Exception
            What the reading of a movie raised; asking again reads again.
        Cancelled
            If the stream was closed.
        """
        began = time.perf_counter()
        with self._asking:
            if self._lent is not None:
                self._buffers.give_back(self._lent)
                self._lent = None
            wanted = range(step, step + 1 + _AHEAD)
            upcoming = self._schedule.upcoming(wanted[-1], _BLOCKS_AHEAD)
            self._forget_all_but(wanted, upcoming)
            for ahead in wanted:
                self._request(ahead)
            for key, first_step in upcoming.items():
                self._block(key, first_step)
            future = self._batches.pop(step)
        try:
            contents = _awaited(future)
        except (CancelledError, CancelledWorkError):
            raise Cancelled("the stream was closed") from None
        except Exception:
            with self._asking:
                self._forget_all_but(range(0), {})
            raise
        self._lent = contents.buffer
        return Batch(
            contents.native,
            contents.shapes,
            contents.levels_B2,
            self._shape.size_px,
            contents.clips,
            contents.channels,
            time.perf_counter() - began,
            contents.buffer,
        )

    def close(self) -> None:
        """Stop reading and wait for the threads; what they were reading is thrown away."""
        self._trouble.stop_waiting()
        self._workers.close()
        self._blocks.clear()
        self._batches.clear()

    def __enter__(self) -> Self:
        """Return the stream."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the stream."""
        self.close()

    def _block(self, key: Turn, step: int) -> Future[Block]:
        if key not in self._blocks:
            self._blocks[key] = self._workers.submit(step, partial(self._read, *key))
        return self._blocks[key]

    def _request(self, step: int) -> None:
        """Queue a batch for when the blocks that it needs are there."""
        if step not in self._batches:
            blocks = {key: self._block(key, step) for key in self._schedule.needed(step)}
            self._batches[step] = self._workers.submit_after(blocks.values(), step, partial(self._make, step, blocks))

    def _forget_all_but(self, steps: range, upcoming: Mapping[Turn, int]) -> None:
        keys = {key for step in steps for key in self._schedule.needed(step)} | set(upcoming)
        for step in [step for step in self._batches if step not in steps]:
            self._batches.pop(step).cancel()
        for key in [key for key in self._blocks if key not in keys]:
            self._blocks.pop(key).cancel()

    def _read(self, slot: int, number: int) -> Block:
        """Read a block; if it is damaged, the one that is drawn in its place."""
        for attempt in range(_MOST_ATTEMPTS):
            try:
                return self._trouble.ride_out(partial(self._read_drawn, slot, number, attempt))
            except GoneError:
                raise
            except UserError as error:
                last = self._trouble.note(error)
        raise UserError(f"{_MOST_ATTEMPTS} pieces of movies in a row cannot be read; the last: {last.what}", last.remedy, last.where)

    def _read_drawn(self, slot: int, number: int, attempt: int) -> Block:
        rng = np.random.default_rng([self._seed, _BLOCK_DRAWS, slot, number, *([attempt] if attempt else [])])
        at = draw_block(self._sources, self._cumulated, self._foreground_share, rng)
        return read_block(at, self._shape, self._level(at), self._block_memory)

    def _level(self, at: BlockAddress) -> npt.NDArray[np.float64]:
        movie = at.source.movie
        levels = self._measured.get(id(movie)) if movie.levels is None else movie.levels
        if levels is None:
            levels = self._measured[id(movie)] = measure_levels(movie)
        level: npt.NDArray[np.float64] = levels[at.channel]
        return level

    def _make(self, step: int, blocks: Mapping[Turn, Future[Block]]) -> _Contents:
        shape = self._shape
        indices = self._schedule.indices
        of_sample = [blocks[self._schedule.turn(step, index)].result() for index in indices]
        found = [block.at.source.found for block in of_sample]
        shapes = tuple((shape.frames, sampling.planes, *sampling.read_px) for sampling in found)
        ends = np.cumsum([0, *(math.prod(one) for one in shapes)])
        buffer = self._buffers.take()
        native = buffer.of_length(int(ends[-1]))
        levels_B2 = np.empty((len(indices), 2))
        clips, channels = [], []
        for i, (index, block) in enumerate(zip(indices, of_sample, strict=True)):
            rng = np.random.default_rng([self._seed, _CLIP_DRAWS, step, index])
            clip = place_clip(block, shape, self._foreground_share, rng)
            levels_B2[i] = cut_clip(block, clip, shape, native[ends[i] : ends[i + 1]].reshape(shapes[i]))
            clips.append(clip)
            channels.append(block.at.source.movie.channels[block.at.channel])
        return _Contents(native, shapes, levels_B2, tuple(clips), tuple(channels), buffer)

    def _block_bytes(self, movies: Sequence[Movie], memory_mb: int) -> int:
        """Return what a block may take: the live ones and those read ahead share what the batches leave."""
        clip_bytes = self._shape.frames * self._shape.size_px**2 * _shipped_type(movies).itemsize
        ahead = self._schedule.renewed_within(_AHEAD + 1) + _BLOCKS_AHEAD
        left = memory_mb * 10**6 - (_AHEAD + 2) * self._batch_size * clip_bytes
        return max(0, left) // (self._schedule.slots + ahead)


def _awaited(future: Future[_Contents]) -> _Contents:
    while True:
        try:
            return future.result(timeout=_LISTEN_S)
        except TimeoutError:
            if future.done():  # the reader's own time-out, say of a network drive, or done in this very moment
                return future.result()


def _shipped_type(movies: Sequence[Movie]) -> np.dtype[Any]:
    """Return the smallest type that holds the native values of all movies, as far as devices compute with it."""
    types = {movie.pixels.dtype for movie in movies}
    for dtype in (np.dtype(np.uint8), np.dtype(np.uint16)):
        if all(is_exact(one) and np.can_cast(one, dtype) for one in types):
            return dtype
    return np.dtype(np.float32)


def _refuse_unequal_depths(sources: Sequence[Source]) -> None:
    first = sources[0]
    for source in sources:
        if source.found.planes != first.found.planes:
            raise UserError(
                f"the movie has {source.found.planes} planes, but {first.movie.name} has {first.found.planes}, "
                "and clips of whole stacks must be equally deep",
                "set clip.z to max or middle, or train on movies of equal depth",
                source.movie.uri,
            )
