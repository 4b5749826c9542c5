"""Movies in memory for tests of what clips are cut from, and streams over them."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from cellvjepa.movies.batch import Batch
from cellvjepa.movies.clips import ClipShape
from cellvjepa.movies.finishing import finish
from cellvjepa.movies.levels import measure_levels
from cellvjepa.movies.movie import AXES, ArrayPixels, LazyPixels, Movie, PixelSize
from cellvjepa.movies.schedule import WHOLE, Part
from cellvjepa.movies.stream import Stream
from cellvjepa.movies.trouble import Patience

SHAPE = ClipShape(frames=4, interval_s=20.0, size_px=8, pixel_um=1.0, channels=None, z="max")


def movie_of(
    name: str,
    array: np.ndarray[Any, Any],
    *,
    pixel_um: float | None = 1.0,
    interval_s: float | None = 20.0,
    chunk: int = 1,
    pixels: LazyPixels | None = None,
) -> Movie:
    """Return a movie whose chunks are ``chunk`` long along T, Y and X."""
    pixels = pixels or (ArrayPixels(array) if chunk == 1 else Chunked(array, chunk))
    movie = Movie(
        uri=f"/archive/{name}",
        name=name,
        pixels=pixels,
        channels=tuple("abcdef"[: array.shape[1]]),
        pixel_um=None if pixel_um is None else PixelSize(None, pixel_um, pixel_um),
        interval_s=interval_s,
        axes=dict.fromkeys(AXES, "file"),
        codec="none",
        size_bytes=array.nbytes,
    )
    return replace(movie, levels=measure_levels(replace(movie, pixels=ArrayPixels(array))))


class Chunked:
    """An array that claims to be stored in chunks, counts its reads, and can be out of order."""

    def __init__(self, array: np.ndarray[Any, Any], chunk: int = 1) -> None:
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.chunks = (chunk, 1, 1, chunk, chunk)
        self.reads = 0
        self.works = threading.Event()
        self.works.set()
        self.broken: Exception | None = None

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        self.works.wait()
        if self.broken is not None:
            raise self.broken
        self.reads += 1
        return np.array(self.array[key])


def noise(seed: int, *shape: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).gamma(2.0, 50.0, shape)


# Movies that differ in every way they may: size, channels, planes, dtype, pixel size, interval, chunks, missing values.
MIXED = (
    movie_of("plain.tif", noise(0, 40, 1, 1, 60, 70).astype("u1")),
    movie_of("two_channels.zarr", noise(1, 30, 2, 3, 33, 41).astype("u2"), chunk=16),
    movie_of("fast_and_fine.zarr", noise(2, 41, 1, 1, 50, 64).astype("f4"), pixel_um=0.45, interval_s=6.0, chunk=8),
    movie_of("smaller_than_a_clip.tif", noise(3, 9, 1, 1, 5, 40).astype("i4")),
    movie_of("no_units.tif", np.where(noise(4, 12, 3, 1, 20, 20) > 300, np.nan, noise(4, 12, 3, 1, 20, 20)), pixel_um=None, interval_s=None),
)


def stream_of(
    movies: tuple[Movie, ...] = MIXED,
    shape: ClipShape = SHAPE,
    *,
    batch_size: int = 6,
    seed: int = 0,
    live_blocks: int = 4,
    clips_per_block: int = 9,
    foreground_share: float = 0.5,
    workers: int = 1,
    memory_mb: int = 2048,
    patience: Patience | None = None,
    part: Part = WHOLE,
) -> Stream:
    return Stream(movies, shape, batch_size, seed, live_blocks, clips_per_block, foreground_share, workers, memory_mb, patience, part)


def kept(batch: Batch) -> Batch:
    """Return a batch that stays what it is when the next one is asked for."""
    return replace(batch, native=batch.native.copy())


def pixels_of(batch: Batch) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return what the network sees, B 1 T Z Y X."""
    return finish(batch, torch.device("cpu")).numpy()


def assert_same(one: Batch, other: Batch) -> None:
    assert (one.clips, one.channels, one.shapes) == (other.clips, other.channels, other.shapes)
    np.testing.assert_array_equal(one.native, other.native)
    np.testing.assert_array_equal(one.levels_B2, other.levels_B2)
