"""Who computes embeddings: the cores of this process, or its GPU. On the CPU a batch is computed by one core, whoever has it.

So the numbers do not depend on how many cores there are, and cores that each have a batch of their own wait for each other less
than cores that share one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.cells.outlines import NO_OUTLINES, Outlines
from cellvjepa.config import EmbedConfig
from cellvjepa.embedding.encoding import vectors_of_clips
from cellvjepa.embedding.pooling import Pool
from cellvjepa.embedding.provenance import Provenance
from cellvjepa.embedding.recent import RecentChunks
from cellvjepa.model.encoder import Encoder, EncoderShape
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import Clip
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import Reference

Vectors = npt.NDArray[np.float32]

_TOKENS_AT_ONCE = 8192  # of a core; a larger batch does not fit its cache


@dataclass(frozen=True)
class Job:
    """How clips become vectors.

    Parameters
    ----------
    shape
        The clip shape, with its channels.
    pool
        How tokens become one vector.
    reference
        Sampling that the encoder was trained at.
    batch_size
        Clips per forward pass.
    device
        As in the configuration: each worker chooses its own.
    model, checkpoint_sha256
        Where the encoder is, and what its weights must be.
    outlines
        How the outlines of cells play a part.
    """

    shape: ClipShape
    pool: Pool
    reference: Reference
    batch_size: int
    device: str
    model: str
    checkpoint_sha256: str
    outlines: Outlines = NO_OUTLINES

    @classmethod
    def of(cls, provenance: Provenance, config: EmbedConfig, batch_size: int, outlines: Outlines = NO_OUTLINES) -> Job:
        """Return the job behind a store's provenance."""
        shape, source = replace(provenance.clip_shape, channels=provenance.channels), provenance.source
        return cls(shape, provenance.pool, source.reference, batch_size, config.device, source.model, source.checkpoint_sha256, outlines)

    def compute(self, encoder: Encoder, movies: Sequence[Movie], clips: Sequence[Clip]) -> Vectors:
        """Return the vectors of clips, (len(clips), D) float32."""
        if not clips:
            return np.empty((0, 0), np.float32)
        return vectors_of_clips(
            encoder, movies, clips, self.shape, self.pool, reference=self.reference, batch_size=self.batch_size, outlines=self.outlines
        )


class Team(Protocol):
    """Workers that have begun."""

    @property
    def batches_at_once(self) -> int:
        """Batches that one piece of work should have."""

    @property
    def ahead(self) -> int:
        """Pieces that should be under way."""

    def submit(self, clips: Sequence[Clip]) -> Future[Vectors]:
        """Have the vectors of clips computed."""


class Workers(Protocol):
    """Somebody who computes."""

    def started(self, job: Job, movies: Sequence[Movie]) -> AbstractContextManager[Team]:
        """Begin, and end with the context."""


@dataclass(frozen=True, eq=False)
class LocalWorkers:
    """The threads of this process.

    Parameters
    ----------
    encoder
        The frozen encoder.
    device
        Where it computes: on the CPU as many batches at once as torch has threads (OMP_NUM_THREADS limits them), elsewhere one, while
        the next is read.
    """

    encoder: Encoder
    device: torch.device

    @contextmanager
    def started(self, job: Job, movies: Sequence[Movie]) -> Iterator[Team]:
        """Begin, and end with the context."""
        self.encoder.to(self.device)
        threads = torch.get_num_threads() if self.device.type == "cpu" else 2
        pool = ThreadPoolExecutor(threads, thread_name_prefix="cellvjepa-embed")
        memory = RecentChunks()  # neighbours of one batch are read by the next
        job = replace(job, outlines=job.outlines.read_through(memory.of))
        try:
            with one_core_each():
                yield _Threads(pool, 2 * threads, self.encoder, job, [memory.of(movie) for movie in movies])
                pool.shutdown()
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(frozen=True, eq=False)
class _Threads:
    pool: ThreadPoolExecutor
    ahead: int
    encoder: Encoder
    job: Job
    movies: Sequence[Movie]
    batches_at_once: int = 1  # so that a crash costs as little as can be

    def submit(self, clips: Sequence[Clip]) -> Future[Vectors]:
        return self.pool.submit(self.job.compute, self.encoder, self.movies, clips)


@contextmanager
def one_core_each() -> Iterator[None]:
    """Have torch compute with one core in each thread that begins meanwhile, and as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def batch_that_fits(wanted: int, encoder: EncoderShape, shape: ClipShape, device: torch.device) -> int:
    """Return how many clips go into one forward pass: as many as wanted, on a CPU no more than its caches hold."""
    if device.type != "cpu":
        return wanted
    t, _, y, x = encoder.tubelet
    tokens = math.prod(max(1, length // size) for length, size in ((shape.frames, t), (shape.size_px, y), (shape.size_px, x)))
    return min(wanted, max(1, _TOKENS_AT_ONCE // tokens))
