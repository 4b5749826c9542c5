"""Nearest neighbours of single vectors by libraries for that: python similar_contenders.py STORE KIND [--rows N].

KIND: faiss:FACTORY (pip install faiss-cpu; e.g. faiss:IVF1024,Flat, faiss:IVF1024,SQ8, faiss:HNSW16,Flat), usearch:TYPE (pip install usearch;
i8, f16) or pynndescent. The answers are compared with an exhaustive search; what they leave out of a query, the store's table and windows
that overlap, `cellvjepa similar` has in its time (store.py). Threads: OMP_NUM_THREADS to build, one query at a time.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from cellvjepa.embedding.similar import compute_bounds
from cellvjepa.embedding.store import Embeddings, open_store

AT_ONCE = 32_768
COUNT = 10
QUERIES = 300
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
EFFORTS = {"IVF": ("nprobe", (8, 32, 128)), "HNSW": ("efSearch", (32, 128, 512))}

Query = Callable[[np.ndarray], np.ndarray]


def unit_vectors(embeddings: Embeddings, rows: int) -> np.ndarray:
    """Return what `cellvjepa similar` compares: standardised, of length 1."""
    bounds = compute_bounds(embeddings)
    return np.concatenate([bounds.unit(vectors) for _, vectors in embeddings.blocks()])[:rows]


def nearest(vectors: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Rows that are most similar to some, themselves among them, by an exhaustive search."""
    best, rows = np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64)
    for start in range(0, len(vectors), AT_ONCE):
        found = vectors[asked] @ vectors[start : start + AT_ONCE].T
        best = np.concatenate([best, found], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(start + np.arange(found.shape[1]), found.shape)], axis=1)
        order = np.argpartition(-best, COUNT, axis=1)[:, : COUNT + 1]
        best, rows = np.take_along_axis(best, order, axis=1), np.take_along_axis(rows, order, axis=1)
    return rows


def by_faiss(vectors: np.ndarray, kind: str) -> Iterator[tuple[str, Query]]:
    import faiss

    faiss.omp_set_num_threads(THREADS)
    index = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors[:: max(1, len(vectors) // 65_536)])
    for start in range(0, len(vectors), AT_ONCE):
        index.add(vectors[start : start + AT_ONCE])
    name, efforts = next(found for begins, found in EFFORTS.items() if kind.startswith(begins))
    for effort in efforts:
        faiss.ParameterSpace().set_index_parameter(index, name, effort)
        yield f"{name} {effort}", lambda query: index.search(query, COUNT + 1)[1]


def by_usearch(vectors: np.ndarray, kind: str) -> Iterator[tuple[str, Query]]:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="cos", dtype=kind, connectivity=16, expansion_add=80)
    for start in range(0, len(vectors), AT_ONCE):
        index.add(np.arange(start, min(len(vectors), start + AT_ONCE)), vectors[start : start + AT_ONCE], threads=THREADS)
    for effort in (64, 256, 1024):
        index.expansion_search = effort
        yield f"expansion {effort}", lambda query: index.search(query[0], COUNT + 1).keys


def by_pynndescent(vectors: np.ndarray, kind: str) -> Iterator[tuple[str, Query]]:
    import pynndescent

    index = pynndescent.NNDescent(vectors, metric="dot", random_state=0, n_jobs=THREADS)
    index.prepare()
    for effort in (0.1, 0.3):
        yield f"epsilon {effort}", lambda query, effort=effort: index.query(query, k=COUNT + 1, epsilon=effort)[0]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    options.add_argument("store", type=Path)
    options.add_argument("kind")
    options.add_argument("--rows", type=int, default=1_000_000)
    chosen = options.parse_args()
    vectors = unit_vectors(open_store(chosen.store), chosen.rows)
    asked = np.random.default_rng(0).integers(0, len(vectors), QUERIES)
    truth = nearest(vectors, asked)
    name, _, kind = chosen.kind.partition(":")
    wall, cpu = time.perf_counter(), time.process_time()
    for effort, search in {"faiss": by_faiss, "usearch": by_usearch, "pynndescent": by_pynndescent}[name](vectors, kind):
        if wall:
            built = f"built in {time.perf_counter() - wall:.0f} s ({time.process_time() - cpu:.0f} s computing, {THREADS} threads)"
            wall = 0.0
        seconds, computing, right = [], [], []
        for row, expected in zip(asked, truth, strict=True):
            start, begun = time.perf_counter(), time.process_time()
            found = search(vectors[row : row + 1])
            seconds.append(time.perf_counter() - start)
            computing.append(time.process_time() - begun)
            right.append(len(set(np.ravel(found).tolist()) & set(expected.tolist()) - {row}) / COUNT)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        times = (
            f"query {1e3 * np.median(seconds):.1f} ms, 99 % below {1e3 * np.quantile(seconds, 0.99):.1f}, computing {1e3 * np.median(computing):.1f}"
        )
        print(f"{chosen.kind} {effort}: {built}; {times}; recall {np.mean(right):.3f}, lowest {min(right):.1f}; peak {peak:.2f} GB", flush=True)


if __name__ == "__main__":
    main()
