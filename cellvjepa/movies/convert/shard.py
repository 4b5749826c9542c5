"""One file of an array: chunks that are compressed one by one, and an index of where each of them is (Zarr 3, ``sharding_indexed``).

Written here and not by zarr-python, because a shard is then put together while its pixels are decoded, without ever being in memory
as pixels, and because every chunk can be checked on the way (workflows/benchmarks/convert.md compares the two).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.convert.layout import Level
from cellvjepa.movies.movie import Shape5
from cellvjepa.writing import readable_write_errors

# Of what was measured (workflows/benchmarks/convert.md), the smallest files, and faster both ways than zstd alone but for decoding a little.
COMPRESSOR = "zstd"
COMPRESSION_LEVEL = 1
BLOCK_BYTES = 2**21  # of a chunk that are compressed together: all of it, mostly

_NOT_THERE = np.iinfo(np.uint64).max
_READ_BYTES = 2**22


@dataclass(frozen=True)
class File:
    """A file that was written: its path within the image, its size [bytes], and the CRC-32 of its bytes."""

    path: str
    size: int
    crc: int


class OpenShard:
    """The chunks of one shard, as they come in; only their compressed bytes are kept."""

    def __init__(self, level: Level, index: Shape5) -> None:
        self._level = level
        self._first = tuple(i * s for i, s in zip(index, level.shard, strict=True))
        self._counts = tuple(s // c for s, c in zip(level.shard, level.chunk, strict=True))
        self._chunks: dict[int, bytes] = {}

    def add(self, pixels: npt.NDArray[Any], start: tuple[int, ...]) -> None:
        """Compress a part of the level that is made of whole chunks, but for the ends of the movie.

        Parameters
        ----------
        pixels
            T C Z Y X.
        start
            Where its first pixel is in the level.
        """
        chunk = self._level.chunk
        assert all((s - f) % c == 0 for s, f, c in zip(start, self._first, chunk, strict=True)), (start, chunk)
        whole = np.zeros(chunk, pixels.dtype.newbyteorder("<"))
        scratch = np.empty(whole.nbytes, np.uint8)
        for at in itertools.product(*(range(math.ceil(n / c)) for n, c in zip(pixels.shape, chunk, strict=True))):
            part = pixels[tuple(slice(i * c, (i + 1) * c) for i, c in zip(at, chunk, strict=True))]
            number = tuple((s - f) // c + i for s, f, c, i in zip(start, self._first, chunk, at, strict=True))
            if part.shape != chunk:
                whole[...] = 0
            whole[tuple(slice(n) for n in part.shape)] = part
            self._chunks[int(np.ravel_multi_index(number, self._counts))] = _compressed(whole, scratch)

    def write(self, path: Path) -> tuple[int, int]:
        """Write the shard and make sure that it is on the disk as it was meant.

        Returns
        -------
        size, crc
            Of the file. [bytes], CRC-32

        Raises
        ------
        UserError
            If it cannot be written, or reads back otherwise.
        """
        index = np.full((math.prod(self._counts), 2), _NOT_THERE, "<u8")
        offset = 0
        for number, encoded in sorted(self._chunks.items()):
            index[number] = offset, len(encoded)
            offset += len(encoded)
        parts = [*(self._chunks[number] for number in sorted(self._chunks)), _with_crc(index.tobytes())]
        self._chunks.clear()
        return write_checked(path, parts)


def codecs_of(level: Level, itemsize: int) -> list[dict[str, Any]]:
    """Return what the metadata of an array says of its codecs."""
    bytes_codec: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
    blosc = {"cname": COMPRESSOR, "clevel": COMPRESSION_LEVEL, "shuffle": "bitshuffle", "typesize": itemsize, "blocksize": BLOCK_BYTES}
    sharding = {
        "chunk_shape": list(level.chunk),
        "codecs": [bytes_codec, {"name": "blosc", "configuration": blosc}, {"name": "crc32c"}],
        "index_codecs": [bytes_codec, {"name": "crc32c"}],
        "index_location": "end",
    }
    return [{"name": "sharding_indexed", "configuration": sharding}]


def write_checked(path: Path, parts: Iterable[bytes]) -> tuple[int, int]:
    """Write a file to the disk, past all caches, read it back, and compare.

    Returns
    -------
    size, crc
        [bytes], CRC-32

    Raises
    ------
    UserError
        If it cannot be written, or reads back otherwise.
    """
    size = crc = 0
    with readable_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for part in parts:
                file.write(part)
                crc = zlib.crc32(part, crc)
                size += len(part)
            file.flush()
            os.fsync(file.fileno())
            _forget(file.fileno())
    if crc_of(path) != (size, crc):
        raise UserError("the disk does not give back what was written to it", "check the disk, or choose another output folder", path)
    return size, crc


def crc_of(path: Path) -> tuple[int, int] | None:
    """Return the size [bytes] and the CRC-32 of a file, or None if it cannot be read."""
    size = crc = 0
    try:
        with path.open("rb", buffering=0) as file:
            while part := file.read(_READ_BYTES):
                crc = zlib.crc32(part, crc)
                size += len(part)
    except OSError:
        return None
    return size, crc


def _compressed(chunk: npt.NDArray[Any], scratch: npt.NDArray[np.uint8]) -> bytes:
    """Compress a chunk, and make sure that it decodes to the same."""
    import imagecodecs

    encoded = bytes(
        imagecodecs.blosc_encode(
            chunk,  # type: ignore[arg-type] # any buffer will do
            level=COMPRESSION_LEVEL,
            compressor=COMPRESSOR,
            shuffle="bitshuffle",
            typesize=chunk.dtype.itemsize,
            blocksize=BLOCK_BYTES,
            numthreads=1,
        )
    )
    imagecodecs.blosc_decode(encoded, numthreads=1, out=scratch)  # type: ignore[arg-type]
    # Bytes, not values: a NaN is not equal to itself.
    if not np.array_equal(scratch, chunk.reshape(-1).view(np.uint8)):
        raise UserError("a chunk does not decode to what was compressed", "check the memory of this machine", "convert")
    return _with_crc(encoded)


def _with_crc(encoded: bytes) -> bytes:
    return encoded + int(google_crc32c.value(encoded)).to_bytes(4, "little")


def _forget(descriptor: int) -> None:
    """Ask the system to drop its copy of a file, so that reading it back reads the disk."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
