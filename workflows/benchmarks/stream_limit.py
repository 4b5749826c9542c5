"""The limit: the blocks of a layout decoded by the raw codec and clips copied from them, by the shortest code that does it."""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from stream_movie import Layout

BLOCK = (32, 512, 512)
CLIPS_PER_BLOCK = 16

Array = npt.NDArray[Any]
Place = tuple[Path, int, int]  # file, offset, bytes


@dataclass(frozen=True)
class Limit:
    """What decoding and cropping take on this machine, in one thread, from a warm cache.

    Parameters
    ----------
    decode_bytes_per_s
        Bytes of pixels that come out of the codec; infinite where there is none.
    crop_s
        To copy one clip out of a block.
    """

    decode_bytes_per_s: float
    crop_s: float

    def clips_per_s(self, amplification: float, clip_bytes: int) -> float:
        """Return the limit for a reader that decodes so many bytes for each that it uses."""
        return 1 / (amplification * clip_bytes / self.decode_bytes_per_s + self.crop_s)


def measure_limit(layout: Layout, path: Path, clip: tuple[int, int, int], seconds: float) -> Limit:
    """Decode random blocks for some seconds, and cut clips from each."""
    _warm(path)
    rng = np.random.default_rng(0)
    batch = np.empty((CLIPS_PER_BLOCK, *clip), np.uint16)
    if layout.name == "tiff contiguous":
        movie = tifffile.memmap(path, mode="r")
        crops = [_crop(movie, clip, rng, batch) for _ in _for(seconds)]
        return Limit(math.inf, float(np.median(crops)))
    shape, chunks, places, decode = _zarr(path) if layout.is_zarr else _tiff(path)
    block_shape = tuple(min(-(-b // c) * c, n // c * c or n) for b, c, n in zip(BLOCK, chunks, shape, strict=True))
    block, scratch, encoded = np.empty(block_shape, np.uint16), np.empty(chunks, np.uint16), np.empty(4 * math.prod(chunks) + 4096, np.uint8)
    decoded, decode_s, crops = 0, 0.0, []
    for _ in _for(seconds):
        first = [int(rng.integers((n - b) // c + 1)) for n, b, c in zip(shape, block_shape, chunks, strict=True)]
        began = time.perf_counter()
        for index in itertools.product(*(range(-(-b // c)) for b, c in zip(block_shape, chunks, strict=True))):
            file, offset, size = places(tuple(f + i for f, i in zip(first, index, strict=True)))
            with FileIO(file) as opened:
                opened.seek(offset)
                opened.readinto(encoded[:size].data)
            target = block[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]
            straight = target.flags.c_contiguous and target.shape == scratch.shape
            decode(encoded[:size], (target if straight else scratch).reshape(-1).view(np.uint8))
            if not straight:
                target[...] = scratch[tuple(slice(0, n) for n in target.shape)]
        decode_s += time.perf_counter() - began
        decoded += block.nbytes
        crops.append(_crop(block, clip, rng, batch))
    return Limit(decoded / decode_s, float(np.median(crops)))


def _warm(path: Path) -> None:
    """Read all of it once, so that what follows comes from memory and not from the disk."""
    for file in [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]:
        with FileIO(file) as opened:
            while opened.read(2**24):
                pass


def _for(seconds: float) -> Iterator[None]:
    ends = time.perf_counter() + seconds
    yield
    while time.perf_counter() < ends:
        yield


def _crop(block: Array, clip: tuple[int, int, int], rng: np.random.Generator, batch: Array) -> float:
    """Copy clips from random places; return the time for one [s]."""
    starts = [[int(rng.integers(n - c + 1)) for n, c in zip(block.shape, clip, strict=True)] for _ in batch]
    began = time.perf_counter()
    for one, (t, y, x) in zip(batch, starts, strict=True):
        one[...] = block[t : t + clip[0], y : y + clip[1], x : x + clip[2]]
    return (time.perf_counter() - began) / len(batch)


def _zarr(path: Path) -> tuple[tuple[int, ...], tuple[int, ...], Callable[[tuple[int, ...]], Place], Callable[[Array, Array], Any]]:
    metadata = json.loads((path / "0" / "zarr.json").read_bytes())
    files = chunks = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    codecs = metadata["codecs"]
    sharded = codecs[0]["name"] == "sharding_indexed"
    if sharded:
        chunks, codecs = codecs[0]["configuration"]["chunk_shape"], codecs[0]["configuration"]["codecs"]
    tables: dict[Path, Array] = {}

    def places(index: tuple[int, ...]) -> Place:
        in_file = [f // c for f, c in zip(files, chunks, strict=True)]
        file = path / "0" / "c" / "/".join(str(i // n) for i, n in zip(index, in_file, strict=True))
        if not sharded:
            return file, 0, file.stat().st_size
        if file not in tables:
            table_bytes = math.prod(in_file) * 16
            with FileIO(file) as opened:  # the index at its end only: a shard is large
                opened.seek(-table_bytes - 4, os.SEEK_END)
                tables[file] = np.frombuffer(opened.read(table_bytes), "<u8").reshape(*in_file, 2)
        offset, size = tables[file][tuple(i % n for i, n in zip(index, in_file, strict=True))]
        return file, int(offset), int(size)

    return tuple(metadata["shape"]), tuple(chunks), places, {"zstd": _zstd, "blosc": _blosc}[codecs[1]["name"]]


def _tiff(path: Path) -> tuple[tuple[int, ...], tuple[int, ...], Callable[[tuple[int, ...]], Place], Callable[[Array, Array], Any]]:
    with tifffile.TiffFile(path) as tiff:
        first, pages = tiff.pages.first, [(page.dataoffsets, page.databytecounts) for page in tiff.pages]
        chunks = (1, *first.chunks)
        across = first.chunked[-1]
    shape = (len(pages), *first.shape)

    def places(index: tuple[int, ...]) -> Place:
        offsets, counts = pages[index[0]]
        number = index[1] * across + index[2]
        return path, offsets[number], counts[number]

    return shape, chunks, places, _lzw if first.compression == tifffile.COMPRESSION.LZW else _zlib


def _zstd(encoded: Array, out: Array) -> Any:
    return imagecodecs.zstd_decode(encoded, out=out)


def _blosc(encoded: Array, out: Array) -> Any:
    return imagecodecs.blosc_decode(encoded, out=out, numthreads=1)


def _zlib(encoded: Array, out: Array) -> Any:
    return imagecodecs.deflate_decode(encoded, out=out)


def _lzw(encoded: Array, out: Array) -> Any:
    return imagecodecs.lzw_decode(encoded, out=out)
