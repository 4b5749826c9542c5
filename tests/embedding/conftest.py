"""A toy archive: two movies in which squares drift, an encoder with random weights, and a window around each square.

a.tif  12 frames, 40 x 48 px, channels dna, actin      b.tif  12 frames, 32 x 32 px, channels actin, dna
  . . . . . .                                            . . . .
  . # # . . .   -> drifts to the right                   . # . .   -> stands still
  . # # . . .                                            . . . .
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from cellvjepa.cells.windows import Windows, windows_at
from cellvjepa.config import EmbedConfig
from cellvjepa.embedding.provenance import Provenance, Source, levels_table
from cellvjepa.embedding.unfinished import begin_store
from cellvjepa.model.encoder import Encoder, EncoderShape, new_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie, PixelSize

SHAPE = ClipShape(frames=4, interval_s=None, size_px=16, pixel_um=None, channels=None, z="max")


@dataclass(frozen=True)
class Toy:
    """All that an embedding needs."""

    encoder: Encoder
    movies: tuple[Movie, ...]
    windows: Windows
    shape: ClipShape
    config: EmbedConfig
    source: Source


def make_movie(name: str, pixels_TCZYX: np.ndarray, channels: tuple[str, ...], interval_s: float | None = 60.0) -> Movie:
    levels = np.tile([0.0, 1000.0], (len(channels), 1))
    axes = dict.fromkeys(AXES, "given")
    pixels = ArrayPixels(pixels_TCZYX)
    return Movie(f"/archive/{name}", name, pixels, channels, PixelSize(None, 0.5, 0.5), interval_s, axes, "none", pixels_TCZYX.nbytes, (), levels)


def drifting(frames: int, height: int, width: int, speed: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 200, (frames, 2, 1, height, width)).astype(np.uint16)
    for t in range(frames):
        pixels[t, :, 0, 10:18, 8 + t * speed : 16 + t * speed] += 700
    return pixels


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    shape = EncoderShape(tubelet=(2, 1, 8, 8), dim=24, depth=2, heads=2, rope="interleaved", axes=("t", "y", "x"))
    return new_encoder(shape, torch.Generator().manual_seed(0)).requires_grad_(False).eval()


@pytest.fixture(scope="session")
def toy(encoder: Encoder) -> Toy:
    movies = (
        make_movie("a.tif", drifting(12, 40, 48, 2, seed=1), ("dna", "actin")),
        make_movie("b.tif", drifting(12, 32, 32, 0, seed=2), ("actin", "dna")),
    )
    parts = [
        windows_at(
            movie,
            SHAPE,
            pd.DataFrame([{"track_id": i, "t_start": t, "y_px": 8.0 + 5 * i, "x_px": 9.0 + 3 * t} for i in range(4) for t in range(9)]),
        )
        for movie in movies
    ]
    windows = Windows(tuple(clip for part in parts for clip in part.clips), pd.concat([part.table for part in parts], ignore_index=True))
    source = Source("0" * 64, "runs/toy", "{}", ("archive",))
    return Toy(encoder, movies, windows, SHAPE, EmbedConfig(pool="mean", batch_size=5, device="cpu"), source)


@pytest.fixture(scope="session")
def first_rows():
    """Return a function that keeps the first rows of windows."""

    def first(windows: Windows, rows: int) -> Windows:
        return replace(windows, clips=windows.clips[:rows], table=windows.table.iloc[:rows].reset_index(drop=True))

    return first


@pytest.fixture(scope="session")
def write_store(toy):
    """Return a function that writes vectors as a finished store of one-channel embeddings."""

    def make(path: Path, vectors_ND: np.ndarray) -> Path:
        rows, dim = vectors_ND.shape
        table = pd.concat([toy.windows.table.iloc[:1]] * rows, ignore_index=True)
        table = table.assign(clip_id=[f"a.tif#{i}" for i in range(rows)], track_id=np.arange(rows))
        features = pd.DataFrame({"channel": ["dna"] * dim, "statistic": "mean"}, index=[f"e{i:03d}" for i in range(dim)])
        provenance = Provenance(toy.source, SHAPE, ("dna",), "mean", "float32", levels_table(toy.movies, ("dna",)))
        unfinished = begin_store(path, table, features, provenance)
        for chunk in unfinished.missing():
            unfinished.fill(chunk, vectors_ND[unfinished.chunks[chunk]])
        return unfinished.finish()

    return make


@pytest.fixture
def store_of(write_store, tmp_path):
    """Return a function that does so in a folder of the test."""
    return lambda vectors_ND, name="s.zarr": write_store(tmp_path / name, vectors_ND)


@pytest.fixture(scope="session")
def three_groups() -> np.ndarray:
    """40 + 30 + 20 vectors around three far points."""
    rng = np.random.default_rng(0)
    centres = np.repeat(10 * rng.normal(size=(3, 12)), [40, 30, 20], axis=0)
    return (centres + rng.normal(size=centres.shape))[rng.permutation(90)].astype(np.float32)
