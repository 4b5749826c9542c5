"""The chunks of a local Zarr array, decoded straight into numpy arrays.

Faster than zarr-python where a read takes a few chunks, and it scales over threads: there is no event loop, and the decoders let go
of the interpreter. What is not supported here (:func:`open_chunks` gives None), zarr-python reads.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.readers.zarr.codec import CRC_BYTES, Bytes, checked
from cellvjepa.movies.readers.zarr.layout import Layout, ShardIndex, layout_of

_MOST_KEPT_BYTES = 2**26
_KEPT = threading.local()

_NOT_THERE = 2**64 - 1  # what an index says of a chunk that was never written


class _Place(NamedTuple):
    """Where a chunk and what is read of it lie along one axis."""

    chunk: int  # its number within the file
    inside: slice  # in the chunk
    outside: slice  # in what is read


@dataclass(frozen=True)
class ChunkedArray:
    """A Zarr array in a local folder. It holds no file open, may be read from several threads, and pickles as an address.

    Parameters
    ----------
    folder
        Where its metadata is.
    layout
        What that says.
    """

    folder: Path
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the lengths of its axes."""
        return self.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the native type, in the byte order of this machine."""
        return self.layout.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Return the lengths of a chunk; in a sharded array those of a chunk within a shard."""
        return self.layout.chunks

    @property
    def shards(self) -> tuple[int, ...] | None:
        """Return the lengths of a shard, if it is sharded."""
        return self.layout.shards

    def read(self, part: tuple[slice, ...], out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Read a part: decode each chunk that it touches once, and no other.

        Parameters
        ----------
        part
            One slice per axis, with 0 <= start, stop <= the axis' length, and a positive step.
        out
            Where to put it: as large as the part, of the native type; None: new memory.

        Returns
        -------
        pixels
            Of the native type; chunks that are not there have the fill value.

        Raises
        ------
        ValueError
            If a chunk is damaged, does not fit the metadata, or lies outside of the folder.
        OSError
            If a file cannot be read, or the whole array is gone.
        """
        layout = self.layout
        assert len(part) == len(layout.shape), part
        lengths = tuple(len(range(one.start, one.stop, one.step)) for one in part)
        out = np.empty(lengths, layout.dtype) if out is None else out
        assert (out.shape, out.dtype) == (lengths, layout.dtype), (out.shape, lengths, out.dtype)
        per_axis = [
            _by_file(_places(one, chunk), per_file) for one, chunk, per_file in zip(part, layout.chunks, layout.chunks_per_shard, strict=True)
        ]
        scratch = _scratch_of_this_thread()
        for files in itertools.product(*per_axis):
            name = layout.prefix + layout.separator.join(str(number) for number, _ in files)
            try:
                self._read_file(name, itertools.product(*(places for _, places in files)), out, scratch)
            except ValueError as error:
                raise ValueError(f"chunk {name}: {error}") from error
        return out

    def _read_file(self, name: str, wanted: Iterator[tuple[_Place, ...]], out: npt.NDArray[Any], scratch: _Scratch) -> None:
        path = self._path(name)
        if path is None:
            for places in wanted:
                out[tuple(place.outside for place in places)] = self.layout.fill
            return
        with FileIO(path) as file:
            size = os.fstat(file.fileno()).st_size
            table = None if self.layout.index is None else _table(file, size, self.layout.index, self.layout.chunks_per_shard)
            for places in wanted:
                target = out[tuple(place.outside for place in places)]
                offset, length = (0, size) if table is None else (int(value) for value in table[tuple(place.chunk for place in places)])
                if table is not None and offset == length == _NOT_THERE:
                    target[...] = self.layout.fill
                else:
                    self._check_place(offset, length, size)
                    self._read_chunk(file, offset, length, tuple(place.inside for place in places), target, scratch)

    def _read_chunk(self, file: FileIO, offset: int, length: int, inside: tuple[slice, ...], target: npt.NDArray[Any], scratch: _Scratch) -> None:
        """Decode one chunk, straight into the target if all of it belongs there as it is."""
        layout, codec = self.layout, self.layout.codec
        stored = layout.dtype.newbyteorder(">" if codec.big_endian else "<")
        in_order = codec.order == tuple(range(len(layout.shape)))
        is_whole = target.shape == layout.chunks and target.flags.c_contiguous and in_order and stored == layout.dtype
        decoded: Bytes = target.reshape(-1).view(np.uint8) if is_whole else scratch.decoded(layout.chunk_bytes)
        if codec.is_plain:
            if length != decoded.size:
                raise ValueError(f"it has {length:,} bytes where {decoded.size:,} are due")
            _fill_from(file, offset, decoded)
        else:
            encoded = scratch.encoded(length)
            _fill_from(file, offset, encoded)
            codec.decode(encoded, decoded)
        if not is_whole:
            chunk = decoded.view(stored).reshape([layout.chunks[axis] for axis in codec.order])
            target[...] = chunk.transpose(np.argsort(codec.order))[inside]

    def _check_place(self, offset: int, length: int, size: int) -> None:
        if length == 0:
            raise ValueError("it is empty (0 bytes)")
        if offset + length > size:
            raise ValueError(f"the index places it at bytes {offset:,} to {offset + length:,}, but the file has {size:,}")
        if length > 2 * self.layout.chunk_bytes + 2**16:  # no codec makes more of it
            raise ValueError(f"it has {length:,} bytes, but decoded it would have {self.layout.chunk_bytes:,}")

    def _path(self, name: str) -> str | None:
        """Return the path of a file, None if there is none.

        Not even a link may lead out of the folder, nor to anything that is no file: opening a pipe would wait for ever.
        """
        path = os.fspath(self.folder)
        is_linked = False
        try:
            for part in name.split("/"):
                path = f"{path}/{part}"
                found = os.lstat(path)
                is_linked = is_linked or stat.S_ISLNK(found.st_mode)
        except FileNotFoundError:
            self._check_presence()
            return None
        except NotADirectoryError:
            raise ValueError("there is a file where its folder should be") from None
        if is_linked:
            try:
                real = Path(path).resolve()
                found = real.stat()
            except (OSError, RuntimeError) as error:  # the latter is a loop, up to Python 3.12
                raise ValueError("it is a link that leads nowhere") from error
            if not real.is_relative_to(self.folder.resolve()):
                raise ValueError("it is a link that leads out of the array")
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a file")
        return path

    def _check_presence(self) -> None:
        """Tell a chunk that was never written from a disk that went away."""
        metadata = self.folder / self.layout.metadata_file
        if not metadata.is_file():
            raise FileNotFoundError(errno.ENOENT, "the array is not there any more", str(metadata))


def open_chunks(folder: Path, metadata: Mapping[str, Any]) -> ChunkedArray | None:
    """Make an array of its metadata, without looking at a file.

    Parameters
    ----------
    folder
        The folder of the array.
    metadata
        The parsed ``.zarray`` (Zarr 2) or ``zarr.json`` (Zarr 3) in it.

    Returns
    -------
    array
        None where something in it is not supported, or wrong: ask zarr-python then.
    """
    layout = layout_of(metadata)
    return None if layout is None else ChunkedArray(folder, layout)


class _Scratch:
    """Room for one chunk, encoded and decoded, used again for the next."""

    def __init__(self) -> None:
        self._encoded: Bytes = np.empty(0, np.uint8)
        self._decoded: Bytes = np.empty(0, np.uint8)

    def encoded(self, size: int) -> Bytes:
        if self._encoded.size < size:
            self._encoded = np.empty(size + size // 4, np.uint8)
        return self._encoded[:size]

    def decoded(self, size: int) -> Bytes:
        if self._decoded.size < size:
            self._decoded = np.empty(size, np.uint8)
        return self._decoded[:size]

    @property
    def is_small(self) -> bool:
        return self._encoded.size + self._decoded.size <= _MOST_KEPT_BYTES


def _scratch_of_this_thread() -> _Scratch:
    """Return what this thread used before: memory that is asked for again and again costs as much as decoding into it."""
    scratch: _Scratch | None = getattr(_KEPT, "scratch", None)
    if scratch is None or not scratch.is_small:
        scratch = _KEPT.scratch = _Scratch()
    return scratch


def _places(part: slice, chunk: int) -> Iterator[_Place]:
    """Split a slice at the borders of chunks."""
    wanted = range(part.start, part.stop, part.step)
    first = 0
    while first < len(wanted):
        number = wanted[first] // chunk
        begin = number * chunk
        after = min(len(wanted), -((part.start - begin - chunk) // part.step))
        yield _Place(number, slice(wanted[first] - begin, wanted[after - 1] - begin + 1, part.step), slice(first, after))
        first = after


def _by_file(places: Iterator[_Place], per_file: int) -> list[tuple[int, list[_Place]]]:
    """Sort places by the file they are in, and number their chunks within it."""
    files = itertools.groupby(places, lambda place: place.chunk // per_file)
    return [(number, [place._replace(chunk=place.chunk % per_file) for place in of_file]) for number, of_file in files]


def _table(file: FileIO, size: int, index: ShardIndex, per_shard: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    """Read the index of a shard: offset and length of each chunk, along the last axis.

    It is read with the chunks, every time: a few kilobytes beside megabytes, and nothing that could grow or go stale.
    """
    table_bytes = int(np.prod(per_shard)) * 16
    whole = table_bytes + CRC_BYTES * index.has_crc
    if whole > size:
        raise ValueError(f"the shard has {size:,} bytes, too few for its index")
    encoded = np.empty(whole, np.uint8)
    _fill_from(file, 0 if index.is_first else size - whole, encoded)
    try:
        plain = checked(encoded) if index.has_crc else encoded
    except ValueError as error:
        raise ValueError(f"the index of the shard is damaged: {error}") from error
    return plain.view("<u8").reshape(*per_shard, 2)


def _fill_from(file: FileIO, offset: int, out: Bytes) -> None:
    """Fill a buffer from a place in a file."""
    file.seek(offset)
    left = out.data
    while left:
        count = file.readinto(left)
        if not count:
            raise ValueError("the file is shorter than it was a moment ago")
        left = left[count:]
