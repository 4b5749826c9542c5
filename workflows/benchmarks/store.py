"""How long it takes to make, open, read, extend and search a large store, and how much memory: python store.py FOLDER [--rows 1000000] [--dim 384].

The vectors are those of no encoder: directions of falling importance, cells of a few kinds, and for each cell windows that are alike.
Each stage is a process of its own, so that the memory said is what this stage needs.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

WINDOWS = 20  # of a track
STAGES = ("make", "open", "rows", "add", "pca", "index", "similar")


def table_of(rows: int, movies_from: int = 0) -> pd.DataFrame:
    track, window = np.divmod(np.arange(rows), WINDOWS)
    movie = movies_from + track // 500
    rng = np.random.default_rng(movies_from)
    y, x = rng.uniform(0, 2000, (2, rows))
    names = np.array([f"plate{m // 100}.zarr/B/{m % 100}/0" for m in range(movie.max() + 1)], dtype=object)[movie]
    clip_id = [f"{name}#t{16 * t}_z0_y{int(a)}_x{int(b)}" for name, t, a, b in zip(names, window, y, x, strict=True)]
    known = {"clip_id": clip_id, "movie": names, "track_id": track, "t_start": 16 * window, "t_stop": 16 * window + 16, "time_s": 960.0 * window}
    place = {"z_px": 0.0, "y_px": y, "x_px": x, "y_um": y / 2, "x_um": x / 2, "well": np.char.add("B", (movie % 100).astype(str)).astype(object)}
    more = {"parent_track_id": -1, "area_px": rng.uniform(100, 900, rows), "intensity": y, "speed_px_per_frame": x, "padded": False}
    return pd.DataFrame({**known, **place, **more})


def vectors_of(rows: slice, dim: int) -> np.ndarray:
    """Directions of falling importance; 70 % of the variance is between cells, 30 % between windows of a cell."""
    rng = np.random.default_rng(7)
    turn = np.linalg.qr(rng.normal(size=(dim, dim)))[0] / np.arange(1, dim + 1)[:, None] ** 0.7
    first, last = rows.start // WINDOWS, -(-rows.stop // WINDOWS)
    cells = np.stack([np.random.default_rng([1, cell]).normal(size=dim) for cell in range(first, last)])
    own = np.random.default_rng([2, rows.start]).normal(size=(rows.stop - rows.start, dim))
    latent = 0.84 * cells[np.arange(rows.start, rows.stop) // WINDOWS - first] + 0.55 * own
    return ((latent @ turn) * 3 + rng.normal(size=dim)).astype(np.float32)


def write(path: Path, rows: int, dim: int, movies_from: int = 0) -> float:
    """Write a store as `cellvjepa embed` does, batch by batch, without the encoder; return the seconds that the store took."""
    from cellvjepa.embedding.provenance import Provenance, Source
    from cellvjepa.embedding.unfinished import begin_store
    from cellvjepa.movies.clip_shape import ClipShape

    shape = ClipShape(frames=16, interval_s=None, size_px=64, pixel_um=None, channels=None, z="max")
    table = table_of(rows, movies_from)
    levels = pd.DataFrame({"movie": table["movie"].unique(), "channel": "dna", "low": 0.0, "high": 1000.0})
    features = pd.DataFrame({"channel": ["dna"] * dim, "statistic": "mean"}, index=[f"e{i:03d}" for i in range(dim)])
    provenance = Provenance(Source("0" * 64, "runs/x", "{}", ("archive",)), shape, ("dna",), "mean", "float32", levels)
    start, waiting = time.perf_counter(), 0.0
    unfinished = begin_store(path, table, features, provenance)
    assert unfinished is not None
    for chunk in unfinished.missing():
        begun = time.perf_counter()
        vectors = vectors_of(unfinished.chunks[chunk], dim)
        waiting += time.perf_counter() - begun
        for first in range(0, len(vectors), 256):
            unfinished.add_pending(chunk, first, vectors[first : first + 256])
        unfinished.fill(chunk, unfinished.pending(chunk, 256))
    unfinished.finish()
    return time.perf_counter() - start - waiting


def timed(function, repeats: int) -> str:
    seconds = []
    for i in range(repeats):
        start = time.perf_counter()
        function(i)
        seconds.append(time.perf_counter() - start)
    return f"{1e3 * np.median(seconds):.1f} ms (median of {repeats}; first {1e3 * seconds[0]:.1f}, worst {1e3 * max(seconds):.1f})"


def stage(name: str, path: Path, rows: int, dim: int) -> str:
    from cellvjepa.embedding.store import open_store

    rng = np.random.default_rng(0)
    match name:
        case "make":
            return f"{write(path, rows, dim):.1f} s beside the vectors"
        case "open":
            return timed(lambda _: open_store(path), 5)
        case "rows":
            embeddings = open_store(path)
            return timed(lambda _: embeddings.vectors_at(rng.integers(0, rows, 4096)), 20)
        case "add":
            return f"{write(path, rows // 10, dim, movies_from=100_000):.1f} s beside the vectors, for {rows // 10} rows more"
        case "pca":
            from cellvjepa.embedding.project import project

            return timed(lambda _: project(path, "pca"), 1)
        case "index":
            from cellvjepa.embedding.similar import open_index

            return timed(lambda _: open_index(path), 1)
        case _:
            from cellvjepa.embedding.similar import open_index

            index = open_index(path)
            found = [index.similar(int(row)) for row in rng.integers(0, rows, 5)]
            exact = sum(neighbours.exact for neighbours in found)
            return timed(lambda i: index.similar(int(rng.integers(0, rows))), 50) + f"; {exact} of {len(found)} proven exact"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--dim", type=int, default=384)
    options.add_argument("--stage", choices=STAGES)
    asked = options.parse_args()
    if asked.stage:
        import cellvjepa.embedding.store  # noqa: F401 - what every stage imports is not its memory

        at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = stage(asked.stage, asked.folder / "s.zarr", asked.rows, asked.dim)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{asked.stage:8} {said}; memory {peak / 2**20:.2f} GB at its peak, {at_rest / 2**20:.2f} GB of it imports", flush=True)
        return
    print(f"{asked.rows} rows x {asked.dim}", flush=True)
    for name in STAGES:
        subprocess.run([sys.executable, __file__, asked.folder, f"--rows={asked.rows}", f"--dim={asked.dim}", f"--stage={name}"], check=True)


if __name__ == "__main__":
    main()
