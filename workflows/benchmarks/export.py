"""Measures what embeddings of whole archives cost: computing them, opening a large store, taking tables out of it.

    python workflows/benchmarks/export.py [--scratch DIR] [--rows 1000000] [--clips 1536]

1. Embedding: ``embed_windows`` (reading, encoding, pooling, writing) against the bare forward of the same encoder on the same
   clips, in the same batches, already in memory. Rounds of both alternate, because other work on the machine comes and goes; the
   ratio is that of their fastest rounds.
2. Export of 1e5 rows x 384 to Parquet, and, for comparison, the Parquet writer of pandas on the same table in memory.
3. Opening a store of 1e6 rows; reading its table is part of that.
"""

from __future__ import annotations

import argparse
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cellvjepa.cells.table import read_cells
from cellvjepa.cells.windows import track_windows
from cellvjepa.config import EmbedConfig, config_from
from cellvjepa.embedding.dask_workers import DaskWorkers, local_cluster
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.provenance import Provenance, Source
from cellvjepa.embedding.reading import read_batches
from cellvjepa.embedding.store import open_store
from cellvjepa.embedding.tables import export
from cellvjepa.embedding.unfinished import begin_store
from cellvjepa.model.weights import load_encoder, locate_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.levelled import levelled
from cellvjepa.movies.readers import open_archive
from cellvjepa.shipped import sample_data_folder

DIM = 384


def fastest_s(work: Callable[[], object], rounds: int) -> float:
    """Return the seconds of the fastest round."""
    found = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        work()
        found.append(time.perf_counter() - began_s)
    return min(found)


def embedding_speeds(scratch: Path, clips: int, rounds: int) -> dict[str, float]:
    """Return clips/s of ``embed_windows`` in this process and with two local dask workers, and of the bare forward, on the CPU."""
    encoder, card = load_encoder(locate_encoder(Path("encoder_tiny")))
    shape = ClipShape.of(config_from(card.provenance["config"]).clip)
    archive = open_archive(sample_data_folder() / "simulated")
    movies = levelled(archive.movies)
    found = track_windows(movies, read_cells(sample_data_folder() / "simulated" / "cells.csv", archive), shape, 1, 0.5)
    keep = np.sort(np.random.default_rng(0).permutation(len(found.clips))[:clips])
    windows = type(found)(tuple(found.clips[i] for i in keep), found.table.iloc[keep].reset_index(drop=True))
    settings = EmbedConfig(device="cpu", batch_size=32)
    source = Source.of(card, "encoder_tiny", [sample_data_folder() / "simulated"])
    named = {movie.name: movie for movie in movies}
    batches = [torch.from_numpy(pixels) for _, pixels in read_batches(named, windows.clips, shape, settings.batch_size)]

    def bare() -> None:
        with torch.inference_mode():
            for pixels in batches:
                encoder(pixels)

    stores = iter(scratch / f"embedded{i}.zarr" for i in range(100))

    def embed(workers: DaskWorkers | None = None) -> None:
        embed_windows(encoder, movies, windows, shape, settings, next(stores), source, workers=workers)

    # The cluster stands before the clock starts, and has opened encoder and movies: starting it is paid once for an archive.
    with local_cluster(2) as cluster:
        others = DaskWorkers(cluster.scheduler_address)
        bare()
        embed(others)
        kinds: dict[str, Callable[[], None]] = {"this process": embed, "bare forward": bare, "two workers": lambda: embed(others)}
        times: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(rounds):
            for name, work in kinds.items():
                times[name].append(fastest_s(work, 1))
    return {name: len(windows.clips) / min(found) for name, found in times.items()}


def made_store(path: Path, rows: int) -> Path:
    """Write a store of random vectors with a table as that of a screen: 96 wells, tracks of 20 windows."""
    i = np.arange(rows)
    movie = np.array([f"plate1.zarr/{'ABCDEFGH'[w // 12]}/{w % 12 + 1}/0" for w in range(96)], dtype=object)[i * 96 // rows]
    table = pd.DataFrame(
        {
            "clip_id": [f"{m}#id{t}_t{s}" for m, t, s in zip(movie, i // 20, i % 20 * 16, strict=True)],
            "movie": movie,
            "track_id": i // 20,
            "t_start": i % 20 * 16,
            "t_stop": i % 20 * 16 + 16,
            "time_s": i % 20 * 960.0,
            **{name: np.random.default_rng(k).uniform(0, 2000, rows) for k, name in enumerate(("z_px", "y_px", "x_px", "y_um", "x_um"))},
            "well": np.array([m.split("/", 1)[1][:-2] for m in movie], dtype=object),
            **{name: np.random.default_rng(k).uniform(0, 99, rows) for k, name in enumerate(("area_px", "intensity", "speed_um_per_s", "border_px"))},
        }
    )
    source = Source("0" * 64, "runs/x", "{}", ("archive",))
    features = pd.DataFrame({"channel": ["dna"] * DIM, "statistic": "mean"}, index=[f"e{k:03d}" for k in range(DIM)])
    levels = pd.DataFrame([(m, "dna", 0.0, 1.0) for m in dict.fromkeys(movie)], columns=["movie", "channel", "low", "high"])
    shape = ClipShape(frames=16, interval_s=None, size_px=64, pixel_um=None, channels=None, z="max")
    unfinished = begin_store(path, table, features, Provenance(source, shape, ("dna",), "mean", "float32", levels))
    rng = np.random.default_rng(0)
    for chunk in unfinished.missing():
        here = unfinished.chunks[chunk]
        unfinished.fill(chunk, rng.standard_normal((here.stop - here.start, DIM), np.float32))
    return unfinished.finish()


def peak_mb() -> float:
    """Return the most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, default=None, help="where 2 GB may be written")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--clips", type=int, default=1536)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()} {platform.system()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)")
    with tempfile.TemporaryDirectory(dir=given.scratch) as folder:
        scratch = Path(folder)
        speeds = embedding_speeds(scratch, given.clips, given.rounds)
        print(", ".join(f"{name} {value:.1f} clips/s" for name, value in speeds.items()))
        print(f"  embedding / bare forward {speeds['this process'] / speeds['bare forward']:.2f} (wanted: 0.85)")
        print(f"  two workers / this process {speeds['two workers'] / speeds['this process']:.2f} (wanted: 0.9)")
        small = made_store(scratch / "small.zarr", 100_000)
        ours_s = fastest_s(lambda: export(small, scratch / "t.parquet"), 3)
        size_mb = (scratch / "t.parquet").stat().st_size / 1e6
        frame = pd.read_parquet(scratch / "t.parquet")
        theirs_s = fastest_s(lambda: frame.to_parquet(scratch / "p.parquet"), 3)
        print(f"export of 100,000 x {DIM} to Parquet {ours_s:.1f} s, {size_mb:.0f} MB (wanted: 15 s); pandas from memory {theirs_s:.1f} s")
        for level in ("track", "well", "trajectory"):
            print(f"  averaged by {level}: {fastest_s(lambda level=level: export(small, scratch / 'a.parquet', averaged=level), 1):.1f} s")
        large = made_store(scratch / "large.zarr", given.rows)
        before_mb = peak_mb()
        open_s = fastest_s(lambda: open_store(large), 5)
        print(f"opening {given.rows:,} rows {open_s:.2f} s (wanted: 1 s); peak of this process {before_mb:.0f} MB before, {peak_mb():.0f} MB after")


if __name__ == "__main__":
    main()
