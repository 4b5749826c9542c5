"""Where the planes of a TIFF lie, and reading parts of them: rows where they lie bare in the file, else strips or tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Key, LazyPixels, Region, Shape5, region_of, reopened
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.tiff.codec import SegmentCodec

_DAMAGE = (OSError, ValueError, TypeError, RuntimeError, MemoryError)  # what reading and decoders raise at damaged bytes
_READ_AT_ONCE = 2**22  # bytes of neighbouring pieces that are read together
_WORTH_SKIPPING, _NARROW = 2**16, 8  # rows of so many bytes are read in part where less than this fraction of them is wanted
_WORTH_READING = 2**14  # bytes between pieces that are read along rather than skipped


@dataclass(frozen=True, eq=False)
class TiffPlanes:
    """The planes of one TIFF: where they lie and how they are stored.

    Parameters
    ----------
    path
        The file.
    plane_px
        Rows and columns of every plane.
    stored
        The type of the pixels, in the file's byte order.
    segment_px
        Rows and columns of a strip or tile.
    offsets, counts
        ``(planes, segments)`` int64: where each strip or tile starts [byte] and how long it is [bytes]; one segment, the whole
        plane, where it lies bare.
    codec
        Decodes strips or tiles; None where planes lie bare.
    samples, sample
        Values per pixel that lie side by side, and which of them is read.
    """

    path: str
    plane_px: tuple[int, int]
    stored: np.dtype[Any]
    segment_px: tuple[int, int]
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    codec: SegmentCodec | None
    samples: int = 1
    sample: int = 0

    def read(self, planes: Iterable[int], rows: slice, columns: slice, into: Iterable[npt.NDArray[Any]]) -> None:
        """Read the same part of several planes.

        Parameters
        ----------
        planes
            Indices of planes.
        rows, columns
            The part; start, stop and step given.
        into
            One array per plane to write to.

        Raises
        ------
        UserError
            If the file cannot be read or decoded (any more); what the system said is its cause.
        """
        plane = -1
        if rows.stop <= rows.start or columns.stop <= columns.start:
            return
        try:
            with FileIO(self.path) as file:
                if self.codec is None:
                    for plane, out in zip(planes, into, strict=True):
                        self._read_bare(file, plane, rows, columns, out)
                else:
                    pieces = len(_touched(rows, self.segment_px[0])) * len(_touched(columns, self.segment_px[1]))
                    decoded = np.empty(pieces * self.codec.segment_bytes, np.uint8)
                    for plane, out in zip(planes, into, strict=True):
                        self._decode_plane(file, plane, rows, columns, out, decoded)
        except _DAMAGE as error:
            at = "" if plane < 0 else f" in plane {plane}"
            remedy = "check the disk or share it is on" if isinstance(error, OSError) else COPY_AGAIN
            raise UserError(f"the pixels cannot be read{at} ({str(error) or type(error).__name__})", remedy, self.path) from error

    def _read_bare(self, file: FileIO, plane: int, rows: slice, columns: slice, out: npt.NDArray[Any]) -> None:
        """Read whole rows: that is faster than mapping the file, and does not end the process where a disk fails or a share goes away."""
        wide, pixel_bytes = self.plane_px[1], self.stored.itemsize * self.samples
        start, row_bytes = int(self.offsets[plane, 0]), wide * pixel_bytes
        if out.shape[1] == wide and rows.step == self.samples == 1 and out.dtype == self.stored and out.flags.c_contiguous:
            _fill(file, start + rows.start * row_bytes, out)
            return
        width = columns.stop - columns.start
        if row_bytes > _WORTH_SKIPPING and width * _NARROW < wide:
            one = np.empty((width, self.samples), self.stored)
            for index, row in enumerate(range(rows.start, rows.stop, rows.step)):
                _fill(file, start + row * row_bytes + columns.start * pixel_bytes, one)
                out[index] = one[:: columns.step, self.sample]
            return
        at_once = max(1, _READ_AT_ONCE // row_bytes // rows.step) * rows.step
        band = np.empty((min(at_once, rows.stop - rows.start), wide, self.samples), self.stored)
        for top in range(rows.start, rows.stop, at_once):
            part = band[: rows.stop - top]
            _fill(file, start + top * row_bytes, part)
            kept = part[:: rows.step, columns, self.sample]
            index = (top - rows.start) // rows.step
            out[index : index + len(kept)] = kept

    def _decode_plane(self, file: FileIO, plane: int, rows: slice, columns: slice, out: npt.NDArray[Any], decoded: npt.NDArray[np.uint8]) -> None:
        """Decode the strips or tiles of a plane that a part touches, all into one buffer, and copy the part out of it."""
        assert self.codec is not None
        high, wide = self.segment_px
        across = math.ceil(self.plane_px[1] / wide)
        down, right = _touched(rows, high), _touched(columns, wide)
        indices = [i * across + j for i in down for j in right]
        length = self.codec.segment_bytes
        for place, (index, data) in enumerate(_pieces(file, indices, self.offsets[plane], self.counts[plane])):
            there = min(high, self.plane_px[0] - index // across * high)
            self.codec.decode(data, there, index, decoded[place * length : (place + 1) * length])
        pixels = self.codec.finish(decoded)[..., self.sample]
        y, x = rows.start - down.start * high, columns.start - right.start * wide
        lower, end = y + rows.stop - rows.start, x + columns.stop - columns.start
        if len(right) == 1:
            out[...] = pixels.reshape(-1, wide)[y : lower : rows.step, x : end : columns.step]
        elif rows.step == columns.step == 1:
            for place, piece in enumerate(pixels):
                top, left = place // len(right) * high, place % len(right) * wide
                part = piece[max(y - top, 0) : lower - top, max(x - left, 0) : end - left]
                out[max(top - y, 0) : top - y + high, max(left - x, 0) : left - x + wide] = part
        else:
            whole = pixels.reshape(len(down), len(right), high, wide).transpose(0, 2, 1, 3).reshape(len(down) * high, -1)
            out[...] = whole[y : lower : rows.step, x : end : columns.step]


def _fill(file: FileIO, start: int, into: npt.NDArray[Any]) -> None:
    """Read bytes into a contiguous array.

    Raises
    ------
    OSError
        If the disk or share does not give them.
    ValueError
        If the file ends before.
    """
    wanted = into.reshape(-1).view(np.uint8).data
    file.seek(start)
    filled = 0
    while filled < len(wanted):
        more = file.readinto(wanted[filled:])
        if not more:
            raise ValueError(f"the file should go on to byte {start + len(wanted):,}, but ends at {start + filled:,}")
        filled += more


def _touched(part: slice, length: int) -> range:
    return range(part.start // length, math.ceil(part.stop / length))


def _pieces(
    file: FileIO, indices: Sequence[int], all_offsets: npt.NDArray[np.int64], all_counts: npt.NDArray[np.int64]
) -> Iterator[tuple[int, memoryview]]:
    """Read pieces of a file, neighbours in one go."""
    offsets, counts = all_offsets[indices].tolist(), all_counts[indices].tolist()
    first = 0
    while first < len(indices):
        start, end, last = offsets[first], offsets[first] + counts[first], first + 1
        while last < len(indices) and 0 <= offsets[last] - end <= _WORTH_READING and offsets[last] + counts[last] - start <= _READ_AT_ONCE:
            end = offsets[last] + counts[last]
            last += 1
        file.seek(start)
        data = memoryview(file.read(end - start))
        for i in range(first, last):
            yield indices[i], data[offsets[i] - start : offsets[i] - start + counts[i]]
        first = last


@dataclass(frozen=True, eq=False)
class TiffPixels:
    """:class:`~cellvjepa.movies.movie.LazyPixels` made of the planes of one or more TIFFs.

    Parameters
    ----------
    uri
        Where they are, for messages.
    reopen
        Makes these pixels again; pickling is calling it elsewhere (:func:`cellvjepa.movies.movie.reopened`).
    files
        The files.
    table
        ``(T, C, Z, 2)`` int64: for each frame, channel and plane the index of the file and of the plane in it.
    """

    uri: str
    reopen: Callable[[], LazyPixels]
    files: tuple[TiffPlanes, ...]
    table: npt.NDArray[np.int64]

    @property
    def shape(self) -> Shape5:
        """Return the lengths of T, C, Z, Y, X."""
        t, c, z, _ = self.table.shape
        return t, c, z, *self.files[0].plane_px

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the native type, in the byte order of this machine."""
        return self.files[0].stored.newbyteorder("=")

    @property
    def chunks(self) -> Shape5:
        """Return the size of a strip or tile; 1 everywhere where nothing has to be decoded."""
        return (1, 1, 1, 1, 1) if self.files[0].codec is None else (1, 1, 1, *self.files[0].segment_px)

    def __getitem__(self, key: Key, /) -> npt.NDArray[Any]:
        """Return a part, as numpy indexing does it.

        Raises
        ------
        UserError
            If a file cannot be read or decoded (any more).
        """
        region = region_of(key, self.shape)
        out = np.empty(region.shape, self.dtype)
        self._fill(region, out)
        return np.squeeze(out, axis=region.dropped)

    def read_into(self, key: Key, out: npt.NDArray[Any], /) -> None:
        """Read a part into memory that is there already (:class:`cellvjepa.movies.movie.FillsMemory`).

        Raises
        ------
        UserError
            As indexing.
        """
        region = region_of(key, self.shape)
        self._fill(region, out.reshape(region.shape))

    def __reduce__(self) -> tuple[Callable[..., LazyPixels], tuple[Callable[[], LazyPixels], str, Shape5, str]]:
        """Pickle by re-opening."""
        return reopened, (self.reopen, self.uri, self.shape, self.dtype.str)

    def _fill(self, region: Region, out: npt.NDArray[Any]) -> None:
        *leading, rows, columns = region.slices
        if out.size:
            planes = self.table[tuple(leading)].reshape(-1, 2)
            outs = out.reshape(-1, *out.shape[3:])
            for file in np.unique(planes[:, 0]):
                mine = np.flatnonzero(planes[:, 0] == file)
                self.files[file].read(planes[mine, 1].tolist(), rows, columns, (outs[i] for i in mine))
