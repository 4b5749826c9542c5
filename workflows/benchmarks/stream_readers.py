"""The naive way: each clip is read where it lies, by the library that one would take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from stream_movie import Layout

Array = npt.NDArray[Any]
Read = Callable[[slice, slice, slice], Array]

ZARR_READERS = ("zarr", "tensorstore", "dask")
TIFF_READERS = ("tifffile",)


def readers_of(layout: Layout) -> tuple[str, ...]:
    return ZARR_READERS if layout.is_zarr else TIFF_READERS


def opened(reader: str, path: Path) -> Read:
    """Open a movie once, as a dataset would."""
    return {"zarr": _zarr, "tensorstore": _tensorstore, "dask": _dask, "tifffile": _tifffile}[reader](path)


def decoded_per_used(layout: Layout, part: tuple[slice, slice, slice], shape: tuple[int, ...]) -> float:
    """Return how much of the chunks that a part touches is not in it: decoded bytes per byte used."""
    decoded = 1
    for one, chunk, length in zip(part, layout.chunks, shape, strict=True):
        chunk = min(chunk, length)
        decoded *= ((one.stop - 1) // chunk - one.start // chunk + 1) * chunk
    return decoded / math.prod(one.stop - one.start for one in part)


def random_part(shape: tuple[int, ...], clip: tuple[int, int, int], rng: np.random.Generator) -> tuple[slice, slice, slice]:
    t, y, x = (slice(start := int(rng.integers(n - c + 1)), start + c) for n, c in zip(shape, clip, strict=True))
    return t, y, x


def measure_naive(reader: str, layout: Layout, path: Path, shape: tuple[int, ...], clip: tuple[int, int, int], seconds: float) -> dict[str, float]:
    """Read random clips for some seconds, at least three; the first one warms up."""
    read, rng = opened(reader, path), np.random.default_rng(0)
    read(*random_part(shape, clip, rng))
    began, clips, amplification = time.perf_counter(), 0, 0.0
    while clips < 3 or time.perf_counter() - began < seconds:
        part = random_part(shape, clip, rng)
        assert read(*part).shape == clip
        clips += 1
        amplification += decoded_per_used(layout, part, shape)
    return {"clips_per_s": clips / (time.perf_counter() - began), "amplification": amplification / clips}


@dataclass
class RandomClips:
    """A dataset for torch's DataLoader; each worker opens the movie for itself."""

    reader: str
    path: Path
    shape: tuple[int, ...]
    clip: tuple[int, int, int]

    def __post_init__(self) -> None:
        self._read: Read | None = None

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: int) -> Array:
        if self._read is None:
            self._read = opened(self.reader, self.path)
        return self._read(*random_part(self.shape, self.clip, np.random.default_rng(index)))


def measure_loader(
    reader: str, path: Path, shape: tuple[int, ...], clip: tuple[int, int, int], batch: int, workers: int, seconds: float
) -> dict[str, float]:
    """Read random clips through torch's DataLoader."""
    import torch

    loader = torch.utils.data.DataLoader(RandomClips(reader, path, shape, clip), batch_size=batch, num_workers=workers)  # type: ignore[arg-type]
    batches = iter(loader)
    for _ in range(workers + 1):
        next(batches)
    began, clips = time.perf_counter(), 0
    while clips < 2 * batch * workers or time.perf_counter() - began < seconds:
        clips += len(next(batches))
    rate = clips / (time.perf_counter() - began)
    del batches  # its workers stop
    return {"clips_per_s": rate}


def _zarr(path: Path) -> Read:
    import zarr

    array = zarr.open_array(str(path / "0"), mode="r")
    return lambda t, y, x: np.asarray(array[t, y, x])


def _tensorstore(path: Path) -> Read:
    import tensorstore

    context = tensorstore.Context({"data_copy_concurrency": {"limit": 1}, "file_io_concurrency": {"limit": 1}})
    found = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/0/"}}, context=context).result()
    return lambda t, y, x: np.asarray(found[t, y, x].read().result())


def _dask(path: Path) -> Read:
    import dask.array

    array = dask.array.from_zarr(str(path / "0"))
    return lambda t, y, x: np.asarray(array[t, y, x].compute(scheduler="synchronous"))


def _tifffile(path: Path) -> Read:
    import tifffile

    try:
        movie = tifffile.memmap(path, mode="r")
    except ValueError:  # it is compressed
        pages = tifffile.TiffFile(path).pages
        return lambda t, y, x: np.stack([pages[i].asarray(maxworkers=1)[y, x] for i in range(t.start, t.stop)])
    return lambda t, y, x: np.array(movie[t, y, x])
