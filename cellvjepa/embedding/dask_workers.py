"""Workers that dask looks after: the cores or GPUs of this machine as processes, or those of a cluster.

A worker that dies costs the pieces it had; dask gives them to others. Movies and encoder are opened by each worker itself, from
their paths, once.
"""

from __future__ import annotations

import functools
import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from cellvjepa import __version__
from cellvjepa.embedding.recent import RecentChunks
from cellvjepa.embedding.workers import Job, Team, Vectors, one_core_each
from cellvjepa.errors import UserError
from cellvjepa.model.device import choose_device
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clips import Clip
from cellvjepa.movies.movie import Movie

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"

_RETRIES = 2  # of a piece that failed; one whose worker died is tried three times anyway
_BATCHES_AT_ONCE = 4
_PATIENCE_S = 60.0
# Without what dask adds, MALLOC_TRIM_THRESHOLD_: giving memory back at once cost a third of the speed.
_ONE_CORE = {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1}


@dataclass(frozen=True)
class DaskWorkers:
    """A dask cluster.

    Parameters
    ----------
    address
        Of its scheduler, e.g. ``"tcp://10.0.0.1:8786"``, or a scheduler file; ``"local"``: a cluster of this machine, with one worker
        per GPU or, without GPUs, per core; ``"local:3"``: with three.
    """

    address: str = LOCAL

    @contextmanager
    def started(self, job: Job, movies: Sequence[Movie]) -> Iterator[Team]:
        """Begin, and end with the context.

        Raises
        ------
        UserError
            If dask is not installed, nobody answers at the address, or no worker has come within a minute.
        """
        with _client(self.address, job) as client:
            # Retried, because a share that does not answer may do so a second later.
            executor = client.get_executor(retries=_RETRIES, pure=False)
            # Made once: to find out how a series of thousands of files is opened again takes its time.
            with _said_readably(self.address):
                yield _Tasks(client, executor, pickle.dumps((job, tuple(movies))))


@dataclass(frozen=True, eq=False)
class _Tasks:
    client: Client
    executor: Executor
    work: bytes
    batches_at_once: int = _BATCHES_AT_ONCE

    @property
    def ahead(self) -> int:
        """Three for each thread there is by now."""
        threads: int = sum(self.client.nthreads().values())
        return 3 * max(1, threads)

    def submit(self, clips: Sequence[Clip]) -> Future[Vectors]:
        return self.executor.submit(compute_there, self.work, tuple(clips), __version__)


def compute_there(work: bytes, clips: Sequence[Clip], version: str) -> Vectors:
    """Compute vectors in a worker.

    Parameters
    ----------
    work
        A pickled :class:`~cellvjepa.embedding.workers.Job` and its movies.
    clips
        What to compute.
    version
        Of the program that asks.

    Raises
    ------
    UserError
        If the worker has another version of the program, or does not find the same encoder or the movies.
    """
    if version != __version__:
        raise UserError(f"a worker has cellvjepa {__version__}, and this is {version}", "install the same version for all", "dask")
    job, movies = _opened_there(work)
    encoder = _encoder_there(job.model, job.checkpoint_sha256, job.device)
    with one_core_each():
        return job.compute(encoder, movies, clips)


@functools.lru_cache(maxsize=1)
def _encoder_there(model: str, sha256: str, device: str) -> Encoder:
    encoder, card = load_encoder(model)
    if card.sha256 != sha256:
        raise UserError("a worker finds another encoder there than this command did", "let all see the same files", model)
    return encoder.to(choose_device(device)).requires_grad_(False).eval()


@functools.lru_cache(maxsize=1)
def _opened_there(work: bytes) -> tuple[Job, tuple[Movie, ...]]:
    # From our own process, over dask's connection; nothing that lay on a disk.
    job, movies = pickle.loads(work)  # noqa: S301
    memory = RecentChunks()  # what one piece has read, the next one finds
    return replace(job, outlines=job.outlines.read_through(memory.of)), tuple(memory.of(movie) for movie in movies)


@contextmanager
def _client(address: str, job: Job) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError:
        raise UserError("dask's workers need one more package", 'pip install "cellvjepa[cluster]"', "--dask") from None
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if address.partition(":")[0] == LOCAL:
        with local_cluster(_count(address, job.device)) as cluster, Client(cluster) as client:
            yield client
        return
    try:
        options: dict[str, Any] = {"scheduler_file": address} if os.path.isfile(address) else {"address": address}  # noqa: PTH113
        client = Client(**options, timeout=_PATIENCE_S / 4)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"no dask scheduler answers ({type(error).__name__})", "start one with `dask scheduler`, or check its address", address
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_PATIENCE_S)
        except TimeoutError:
            raise UserError("the dask scheduler has no workers", f"start some with `dask worker {address}`", address) from None
        yield client


@contextmanager
def _said_readably(address: str) -> Iterator[None]:
    """Say in one line what became of the cluster."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    try:
        yield
    except KilledWorker:
        what = "a piece of work brought down every worker that had it, probably for want of memory"
        raise UserError(what, "choose a smaller embed.batch_size or workers with more memory, then run this again: it continues", address) from None
    except (CancelledError, CommClosedError, TimeoutError) as error:
        what = f"the dask cluster has gone ({type(error).__name__})"
        raise UserError(what, "start it, then run this again: it continues where it stopped", address) from None


def _count(address: str, device: str) -> int:
    written = address.partition(":")[2]
    if not written:
        return torch.cuda.device_count() if _is_cuda(device) else os.cpu_count() or 1
    if not written.isdigit() or int(written) < 1:
        raise UserError(f"'{written}' is no number of workers", "write e.g. --dask local:4", "--dask")
    return int(written)


def _is_cuda(device: str) -> bool:
    return choose_device(device).type == "cuda"


@contextmanager
def local_cluster(count: int) -> Iterator[Any]:
    """Yield a cluster of processes, each looked after by a nanny that starts it again, each with its own GPU where there are some."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    gpus = torch.cuda.device_count()
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": 0,
                "silence_logs": logging.ERROR,
                "env": {"CUDA_VISIBLE_DEVICES": str(number % gpus)} if gpus else {},
            },
        }
        for number in range(count)
    }
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard": False, "dashboard_address": None}}
    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": _ONE_CORE}),
        SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.ERROR) as cluster,
    ):
        yield cluster
