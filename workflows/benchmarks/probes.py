"""How long probes take: fitting, cross-validation, and predicting a large store, on made-up features of the size that was asked for.

    python workflows/benchmarks/probes.py [--kind auto] [--rows 2000] [--folds 5] [--vectors 100000] [--threads 2]

Tokens are those of `rows` clips, 8 x 8 x 8 of 192 numbers, float16, and lie in a cache on the disk first, as after a first fit; labels
are of three classes that differ a little in the middle of the clip, in groups of ten rows. Wall time and processor time are printed:
on a machine that does other things, the second is the one to compare. Targets: a fit in 60 s and cross-validation in 6 minutes on two
cores, 1e5 vectors predicted in 5 s.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.config import ProbeConfig
from cellvjepa.probing.fitting import fit_head
from cellvjepa.probing.token_cache import TokenCache

SHAPE = (1, 8, 1, 8, 8, 192)
GROUP_ROWS = 10
CLASSES = 3
SIGNAL = 0.3  # standard deviations of a token


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", default="auto", choices=["auto", "attentive", "linear", "knn"])
    parser.add_argument("--rows", type=int, default=2000, help="labelled clips")
    parser.add_argument("--folds", type=int, default=5, help="of the cross-validation; 0: none")
    parser.add_argument("--vectors", type=int, default=100_000, help="predicted by linear and kNN probes")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    codes = np.arange(options.rows) % CLASSES
    groups = np.arange(options.rows) // GROUP_ROWS
    config = ProbeConfig(kind=options.kind)
    with tempfile.TemporaryDirectory() as folder:
        cache = TokenCache(Path(folder), 10**12)
        with timed("fill the cache"):
            fill(cache, codes)
        with timed("read the cache"):
            tokens = read(cache, len(codes))
    with timed(f"fit {options.kind} on {options.rows} clips"):
        head = fit_head(tokens, codes, CLASSES, config, groups_N=groups)
    print(f"  chosen: {head.choice['chosen']}, temperature {head.choice['temperature']}")
    if options.folds:
        with timed(f"cross-validate it in {options.folds} folds"):
            right = 0
            for fold in range(options.folds):
                test = groups % options.folds == fold
                found = fit_head(tokens[~test], codes[~test], CLASSES, config, groups_N=groups[~test]).probabilities(tokens[test])
                right += int((found.argmax(axis=1) == codes[test]).sum())
        print(f"  right: {right / options.rows:.3f}")
    predicting(options.vectors)


def fill(cache: TokenCache, codes: npt.NDArray[np.int64]) -> None:
    rng = np.random.default_rng(0)
    for row, code in enumerate(codes):
        tokens = rng.standard_normal(SHAPE, np.float32)
        tokens[:, :, :, 2:4] += SIGNAL * code
        cache.keep({f"{row:032x}"[::-1]: tokens.astype(np.float16)})


def read(cache: TokenCache, rows: int) -> npt.NDArray[np.float16]:
    tokens = np.empty((rows, *SHAPE), np.float16)
    for row in range(rows):
        found = cache.recall(f"{row:032x}"[::-1])
        assert found is not None, row
        tokens[row] = found
    return tokens


def predicting(count: int) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((count, SHAPE[-1]), np.float32)
    codes = np.arange(2000) % CLASSES
    for kind in ("linear", "knn"):
        head = fit_head(vectors[:2000], codes, CLASSES, ProbeConfig(kind=kind))
        with timed(f"predict {count} vectors, {kind}"):
            head.probabilities(vectors)


@contextmanager
def timed(what: str) -> Iterator[None]:
    wall, processor = time.perf_counter(), time.process_time()
    yield
    print(f"{what}: {time.perf_counter() - wall:.1f} s, {time.process_time() - processor:.1f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
