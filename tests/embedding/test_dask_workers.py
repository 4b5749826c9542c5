"""Workers in processes of their own give the same numbers, and one that dies costs its pieces only. On a movie of sample_data."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cellvjepa.cells.windows import Windows, grid_windows
from cellvjepa.config import EmbedConfig
from cellvjepa.embedding.dask_workers import DaskWorkers, compute_there
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.provenance import Source
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.weights import load_encoder, save_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive

distributed = pytest.importorskip("distributed")

SHAPE = ClipShape(frames=4, interval_s=None, size_px=16, pixel_um=None, channels=None, z="max")
CONFIG = EmbedConfig(pool="mean", batch_size=8, device="cpu")
# What dask does while processes of it die and end (sockets closed by the garbage collector, an event loop made anew).
pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@dataclass(frozen=True)
class Work:
    encoder: Encoder
    movies: tuple[Movie, ...]
    windows: Windows
    source: Source

    def into(self, store: Path, workers: DaskWorkers | None = None, **more: object) -> np.ndarray:
        embed_windows(self.encoder, self.movies, self.windows, SHAPE, CONFIG, store, self.source, workers=workers, **more)
        return open_store(store).vectors_ND[:]


@pytest.fixture(scope="module")
def work(encoder, tmp_path_factory) -> Work:
    folder = tmp_path_factory.mktemp("model")
    save_encoder(encoder, folder, {})
    loaded, card = load_encoder(folder / "encoder.safetensors")
    movies = tuple(with_levels(movie) for movie in open_archive(Path(__file__).parents[2] / "sample_data" / "simulated").movies[:2])
    windows = grid_windows(movies, SHAPE, 12)
    return Work(loaded, movies, windows, Source.of(card, folder / "encoder.safetensors", ["simulated"]))


@pytest.fixture(scope="module")
def alone(work, tmp_path_factory) -> np.ndarray:
    return work.into(tmp_path_factory.mktemp("alone") / "s.zarr")


@pytest.fixture(scope="module")
def two_processes():
    from cellvjepa.embedding.dask_workers import local_cluster

    with local_cluster(2) as cluster, distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=120)
        yield client


def test_two_processes_compute_the_same_bit_for_bit(work, alone, two_processes, tmp_path):
    seen = []
    found = work.into(tmp_path / "s.zarr", DaskWorkers(two_processes.scheduler.address), progress=lambda *event: seen.append(event))
    assert len(alone) > 4 * 8 * CONFIG.batch_size, "too few rows for both to have something to do"
    assert np.array_equal(found, alone)
    assert seen[0] == ("embedding", 0, len(alone))
    assert seen[-1] == ("embedding", len(alone), len(alone))
    loaded = two_processes.run(lambda: __import__("cellvjepa.embedding.dask_workers", fromlist=["x"])._encoder_there.cache_info().misses)
    assert set(loaded.values()) == {1}, "each worker opens the encoder once"


def test_a_worker_killed_in_the_middle_costs_its_pieces_only(work, alone, two_processes, tmp_path):
    killed: list[int] = []

    def kill_one(stage: str, done: int, total: int) -> None:
        if done and not killed:
            assert done < total, "it must die in the middle"
            killed.append(next(iter(two_processes.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    found = work.into(tmp_path / "s.zarr", DaskWorkers(two_processes.scheduler.address), progress=kill_one)
    assert killed
    assert np.array_equal(found, alone)


def test_cancelled_and_continued_by_this_process_is_the_same(work, alone, two_processes, tmp_path):
    from cellvjepa.errors import Cancelled

    def cancel(stage: str, done: int, total: int) -> None:
        if done > total // 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        work.into(tmp_path / "s.zarr", DaskWorkers(two_processes.scheduler.address), progress=cancel)
    seen = []
    found = work.into(tmp_path / "s.zarr", progress=lambda *event: seen.append(event))
    assert seen[0][1] > len(alone) // 2
    assert np.array_equal(found, alone)


def test_another_encoder_at_a_workers_path_is_refused(work, two_processes, tmp_path):
    from dataclasses import replace

    other = replace(work, source=replace(work.source, checkpoint_sha256="0" * 64))
    with pytest.raises(UserError, match="a worker finds another encoder there than this command did. let all see the same files"):
        other.into(tmp_path / "s.zarr", DaskWorkers(two_processes.scheduler.address))


def test_a_worker_of_another_version_is_refused():
    with pytest.raises(UserError, match="a worker has cellvjepa .*, and this is 0.0.0. install the same version for all"):
        compute_there(b"", (), "0.0.0")


def test_nobody_at_the_address_is_said(work, tmp_path, monkeypatch):
    monkeypatch.setattr("cellvjepa.embedding.dask_workers._PATIENCE_S", 4.0)
    with pytest.raises(UserError, match=r"tcp://127.0.0.1:9: no dask scheduler answers .*start one with `dask scheduler`, or check its address"):
        work.into(tmp_path / "s.zarr", DaskWorkers("tcp://127.0.0.1:9"))
    with pytest.raises(UserError, match="no dask scheduler answers"):
        work.into(tmp_path / "s.zarr", DaskWorkers("nonsense"))
    with pytest.raises(UserError, match="'many' is no number of workers"):
        work.into(tmp_path / "s.zarr", DaskWorkers("local:many"))
