"""How long it takes to make, open, read, extend, search and cluster a large store, and how much memory.

python store.py FOLDER [--rows 1000000] [--dim 384] [--like STORE ...] [--stages make index similar ...]

The vectors are those of no encoder: directions of falling importance, cells of a few kinds, and for each cell windows that are alike. With
--like they have the spectrum of real ones: points between rows of these stores and one of their 50 nearest, with noise. Each stage is a
process of its own, so that the memory said is what this stage needs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

WINDOWS = 20  # of a track
STAGES = ("make", "open", "rows", "add", "pca", "index", "similar", "kmeans", "hdbscan", "leiden", "umap")
LIKE = 50  # nearest rows
NOISE = 0.2  # of the spread of the real rows, along each direction


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


class VectorsLike:
    """Vectors that lie as those of real stores do."""

    def __init__(self, stores: Sequence[Path], dim: int) -> None:
        from sklearn.neighbors import NearestNeighbors

        from cellvjepa.embedding.store import open_store

        self.real = np.concatenate([np.asarray(open_store(path).vectors_ND[:], np.float64)[:, :dim] for path in stores])
        assert self.real.shape[1] == dim, f"these stores have {self.real.shape[1]} dimensions"
        standard = (self.real - self.real.mean(axis=0)) / self.real.std(axis=0)
        self.near = NearestNeighbors(n_neighbors=LIKE + 1).fit(standard).kneighbors(standard, return_distance=False)
        self.turn = np.linalg.cholesky(np.cov(self.real.T) + 1e-9 * np.eye(dim))

    def __call__(self, rows: slice, dim: int) -> np.ndarray:
        rng, count = np.random.default_rng([5, rows.start]), rows.stop - rows.start
        one = rng.integers(0, len(self.real), count)
        other, share = self.near[one, rng.integers(1, LIKE + 1, count)], rng.uniform(size=(count, 1))
        noise = rng.normal(size=(count, dim)) @ self.turn.T
        return (share * self.real[one] + (1 - share) * self.real[other] + NOISE * noise).astype(np.float32)


def write(path: Path, rows: int, dim: int, make: Callable[[slice, int], np.ndarray], movies_from: int = 0) -> float:
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
        vectors = make(unfinished.chunks[chunk], dim)
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
    worst = f"99 % below {1e3 * np.quantile(seconds, 0.99):.1f}, " if repeats >= 100 else ""
    return f"{1e3 * np.median(seconds):.1f} ms (median of {repeats}; first {1e3 * seconds[0]:.1f}, {worst}worst {1e3 * max(seconds):.1f})"


def stage(name: str, path: Path, rows: int, dim: int, like: Sequence[Path]) -> str:
    from cellvjepa.embedding.store import open_store

    rng = np.random.default_rng(0)
    make = VectorsLike(like, dim) if like and name in ("make", "add") else vectors_of
    match name:
        case "make":
            return f"{write(path, rows, dim, make):.1f} s beside the vectors"
        case "open":
            return timed(lambda _: open_store(path), 5)
        case "rows":
            embeddings = open_store(path)
            return timed(lambda _: embeddings.vectors_at(rng.integers(0, rows, 4096)), 20)
        case "add":
            return f"{write(path, rows // 10, dim, make, movies_from=100_000):.1f} s beside the vectors, for {rows // 10} rows more"
        case "pca" | "umap":
            from cellvjepa.embedding.project import project

            return told(lambda: project(path, name))
        case "kmeans" | "hdbscan" | "leiden":
            from cellvjepa.embedding.clusters import cluster

            return told(lambda: cluster(path, name))
        case "index":
            from cellvjepa.embedding.similar import open_index

            return timed(lambda _: open_index(path), 1)
        case _:
            return search(path, rng.integers(0, rows, 300).tolist())


def told(function: Callable[[], object]) -> str:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return f"{time.perf_counter() - wall:.0f} s, {time.process_time() - cpu:.0f} s of it computing"


def search(path: Path, asked: Sequence[int]) -> str:
    from cellvjepa.embedding.similar import open_index

    begun = time.perf_counter()
    index = open_index(path)
    opened = time.perf_counter() - begun
    begun = time.perf_counter()
    index.row_of(index.embeddings.table["clip_id"].iloc[asked[0]])
    named = time.perf_counter() - begun
    found, computing = [], []

    def ask(i: int) -> None:
        start = time.process_time()
        found.append(index.similar(asked[i]))
        computing.append(time.process_time() - start)

    said = timed(ask, len(asked))
    proofs = [index.similar(row, exact=True) for row in asked[:50]]
    right = [len(set(a.table["row"]) & set(b.table["row"])) / len(b.table) for a, b in zip(found, proofs, strict=False)]
    exact = sum(neighbours.exact for neighbours in found)
    cpu = f"computing {1e3 * np.median(computing):.1f} ms, 99 % below {1e3 * np.quantile(computing, 0.99):.1f}"
    proven = f"{exact} of {len(found)} proven exact, of the first {len(right)} {np.mean(right):.3f} of the ten nearest found"
    return f"{said}; {cpu}; {proven}; opening {opened:.1f} s, the first clip_id {named:.2f} s"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition(".")[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--dim", type=int, default=384)
    options.add_argument("--like", type=Path, nargs="*", default=[], metavar="STORE")
    options.add_argument("--stages", choices=STAGES, nargs="*", default=STAGES)
    options.add_argument("--stage", choices=STAGES)
    asked = options.parse_args()
    if asked.stage:
        import cellvjepa.embedding.store  # noqa: F401 - what every stage imports is not its memory

        at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = stage(asked.stage, asked.folder / "s.zarr", asked.rows, asked.dim, asked.like)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{asked.stage:8} {said}; memory {peak / 2**20:.2f} GB at its peak, {at_rest / 2**20:.2f} GB of it imports", flush=True)
        return
    print(f"{asked.rows} rows x {asked.dim}, load of this machine before: {os.getloadavg()[0]:.1f}", flush=True)
    same = [asked.folder, f"--rows={asked.rows}", f"--dim={asked.dim}", "--like", *asked.like]
    for name in asked.stages:
        subprocess.run([sys.executable, __file__, *same, f"--stage={name}"], check=True)


if __name__ == "__main__":
    main()
