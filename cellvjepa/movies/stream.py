"""The stream of training clips: a block is decoded once, many clips are cut from it, and the next batches are made ahead.

What a batch holds is a function of the seed and the step alone. Of ``live_blocks`` slots, slot ``j`` holds at step ``s`` its
block number ``n = (s + j * life // live_blocks) // life``, where ``life`` is how many steps a block lasts: the slots are refilled
one after another, never all at once. Block and clips are drawn from generators seeded with (seed, j, n) and (seed, step, i).
So a run continues exactly after a stop, with no state to save, and however many threads read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.blocks import Block, BlockAddress, cut_clip, draw_block, place_clip, read_block, source_of
from cellvjepa.movies.clips import Clip, ClipShape
from cellvjepa.movies.levels import measure_levels
from cellvjepa.movies.movie import Movie

_AHEAD = 2  # batches made before they are asked for
_BLOCK_DRAWS, _CLIP_DRAWS = 2, 3  # keep the two kinds of random numbers apart
_LISTEN_S = 0.5  # how often a waiting caller looks up, so that Ctrl-C is heard on every system


@dataclass(frozen=True)
class Batch:
    """Clips for one training step.

    Parameters
    ----------
    pixels
        float32 B 1 T Z Y X: one channel of one movie per sample, values as in :func:`cellvjepa.movies.clips.read_clip`.
    clips
        The address of each sample.
    channels
        The name of each sample's channel.
    waited_s
        How long the caller had to wait [s].
    """

    pixels: npt.NDArray[np.float32]
    clips: tuple[Clip, ...]
    channels: tuple[str, ...]
    waited_s: float


@dataclass(frozen=True)
class _Contents:
    pixels: npt.NDArray[np.float32]
    clips: tuple[Clip, ...]
    channels: tuple[str, ...]


class Stream:
    """Batches of training clips from many movies, by step.

    Use it as a context manager, or call :meth:`close`: both wait for its threads.

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
        Share of clips placed where the image varies most (:func:`cellvjepa.movies.blocks.place_clip`).
    workers
        Threads that read, decode and cut.

    Raises
    ------
    UserError
        If there is no movie, one cannot give clips of this shape, or whole stacks differ in depth.
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
    ) -> None:
        if not movies:
            raise UserError("there is no movie to take clips from", "give at least one movie")
        self._sources = [source_of(movie, shape) for movie in movies]
        self._planes = _common_depth(self._sources[0].movie, movies, [source.found.planes for source in self._sources])
        self._shape, self._batch_size, self._seed = shape, batch_size, seed
        self._live_blocks, self._foreground_share = live_blocks, foreground_share
        self._life_steps = max(1, round(live_blocks * clips_per_block / batch_size))
        self._measured: dict[int, npt.NDArray[np.float64]] = {}
        self._blocks: dict[tuple[int, int], Future[Block]] = {}
        self._batches: dict[int, Future[_Contents]] = {}
        self._asking = threading.Lock()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="cellvjepa-stream")

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
            wanted = range(step, step + 1 + _AHEAD)
            self._forget_all_but(wanted)
            for ahead in wanted:
                self._request(ahead)
            future = self._batches.pop(step)
        try:
            contents = _awaited(future)
        except CancelledError:
            raise Cancelled("the stream was closed") from None
        except Exception:
            with self._asking:
                self._forget_all_but(range(0))
            raise
        return Batch(contents.pixels, contents.clips, contents.channels, time.perf_counter() - began)

    def close(self) -> None:
        """Stop reading and wait for the threads; what they were reading is thrown away."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._blocks.clear()
        self._batches.clear()

    def __enter__(self) -> Self:
        """Return the stream."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the stream."""
        self.close()

    def _slot(self, step: int, index: int) -> tuple[int, int]:
        """Return slot and block number of the ``index``-th clip of a step."""
        slot = (step * self._batch_size + index) % self._live_blocks
        return slot, (step + slot * self._life_steps // self._live_blocks) // self._life_steps

    def _keys(self, step: int) -> list[tuple[int, int]]:
        return list(dict.fromkeys(self._slot(step, i) for i in range(min(self._batch_size, self._live_blocks))))

    def _request(self, step: int) -> None:
        """Queue a batch behind the blocks that it needs.

        The queue is first in, first out, so by the time a batch is begun its blocks are ready or in the hands of other threads:
        a thread that waits for a block never waits for one that no thread reads.
        """
        if step in self._batches:
            return
        try:
            for key in self._keys(step):
                if key not in self._blocks:
                    self._blocks[key] = self._pool.submit(self._read, *key)
            blocks = {key: self._blocks[key] for key in self._keys(step)}
            self._batches[step] = self._pool.submit(self._make, step, blocks)
        except RuntimeError:
            raise Cancelled("the stream was closed") from None

    def _forget_all_but(self, steps: range) -> None:
        keys = {key for step in steps for key in self._keys(step)}
        for step in [step for step in self._batches if step not in steps]:
            self._batches.pop(step).cancel()
        for key in [key for key in self._blocks if key not in keys]:
            self._blocks.pop(key).cancel()

    def _read(self, slot: int, number: int) -> Block:
        at = draw_block(self._sources, self._shape, np.random.default_rng([self._seed, _BLOCK_DRAWS, slot, number]))
        return read_block(at, self._shape, self._level(at))

    def _level(self, at: BlockAddress) -> npt.NDArray[np.float64]:
        movie = at.source.movie
        levels = self._measured.get(id(movie)) if movie.levels is None else movie.levels
        if levels is None:
            levels = self._measured[id(movie)] = measure_levels(movie)
        level: npt.NDArray[np.float64] = levels[at.channel]
        return level

    def _make(self, step: int, blocks: Mapping[tuple[int, int], Future[Block]]) -> _Contents:
        shape = self._shape
        pixels = np.empty((self._batch_size, 1, shape.frames, self._planes, shape.size_px, shape.size_px), np.float32)
        clips, channels = [], []
        for i in range(self._batch_size):
            block = blocks[self._slot(step, i)].result()
            rng = np.random.default_rng([self._seed, _CLIP_DRAWS, step, i])
            clip = place_clip(block, shape, self._foreground_share, rng)
            pixels[i, 0] = cut_clip(block, clip, shape)
            clips.append(clip)
            channels.append(block.at.source.movie.channels[block.at.channel])
        return _Contents(pixels, tuple(clips), tuple(channels))


def _awaited(future: Future[_Contents]) -> _Contents:
    while True:
        try:
            return future.result(timeout=_LISTEN_S)
        except TimeoutError:
            if future.done():  # the reader's own time-out, say of a network drive, or done in this very moment
                return future.result()


def _common_depth(first: Movie, movies: Sequence[Movie], planes: Sequence[int]) -> int:
    for movie, depth in zip(movies, planes, strict=True):
        if depth != planes[0]:
            raise UserError(
                f"the movie has {depth} planes, but {first.name} has {planes[0]}, and clips of whole stacks must be equally deep",
                "set clip.z to max or middle, or train on movies of equal depth",
                movie.uri,
            )
    return planes[0]
