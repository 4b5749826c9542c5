"""Where the planes of a TIFF lie, and reading parts of them: mapped where they lie bare in the file, else strip by strip."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Key, LazyPixels, Shape5, region_of, reopened
from cellvjepa.movies.readers.mapped_file import MappedFile
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.tiff_codec import SegmentCodec

_DAMAGE = (OSError, ValueError, TypeError, RuntimeError, MemoryError)  # what reading and decoders raise at damaged bytes
_READ_AT_ONCE = 2**22  # bytes of neighbouring pieces that are read together
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
            if self.codec is None:
                mapped = MappedFile(self.path)
                for plane, out in zip(planes, into, strict=True):
                    out[...] = self._bare(mapped, plane, rows, columns)
            else:
                pieces = len(_touched(rows, self.segment_px[0])) * len(_touched(columns, self.segment_px[1]))
                decoded = np.empty(pieces * self.codec.segment_bytes, np.uint8)
                with open(self.path, "rb", buffering=0) as file:  # noqa: PTH123 - opened for every read
                    for plane, out in zip(planes, into, strict=True):
                        self._decode_plane(file, plane, rows, columns, out, decoded)
        except _DAMAGE as error:
            at = "" if plane < 0 else f" in plane {plane}"
            remedy = "check the disk or share it is on" if isinstance(error, OSError) else COPY_AGAIN
            raise UserError(f"the pixels cannot be read{at} ({str(error) or type(error).__name__})", remedy, self.path) from error

    def _bare(self, mapped: MappedFile, plane: int, rows: slice, columns: slice) -> npt.NDArray[Any]:
        pixel = self.stored.itemsize * self.samples
        row = self.plane_px[1] * pixel
        start = int(self.offsets[plane, 0]) + rows.start * row + columns.start * pixel
        shape = len(range(rows.start, rows.stop)), columns.stop - columns.start
        found = mapped.scattered(start, row, shape[1] * pixel, shape[0])
        return np.ndarray(shape, self.stored, found, self.sample * self.stored.itemsize, (row, pixel))[:: rows.step, :: columns.step]

    def _decode_plane(self, file: BinaryIO, plane: int, rows: slice, columns: slice, out: npt.NDArray[Any], decoded: npt.NDArray[np.uint8]) -> None:
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
        pixels = self.codec.finish(decoded)[..., self.sample].reshape(len(down), len(right), high, wide)
        y, x = rows.start - down.start * high, columns.start - right.start * wide
        lower, end = y + rows.stop - rows.start, x + columns.stop - columns.start
        if len(right) == 1:
            out[...] = pixels.reshape(-1, wide)[y : lower : rows.step, x : end : columns.step]
        else:
            out[...] = pixels.transpose(0, 2, 1, 3).reshape(len(down) * high, -1)[y : lower : rows.step, x : end : columns.step]


def _touched(part: slice, length: int) -> range:
    return range(part.start // length, math.ceil(part.stop / length))


def _pieces(
    file: BinaryIO, indices: Sequence[int], all_offsets: npt.NDArray[np.int64], all_counts: npt.NDArray[np.int64]
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
        *leading, rows, columns = region.slices
        out = np.empty(region.shape, self.dtype)
        if out.size:
            planes = self.table[tuple(leading)].reshape(-1, 2)
            outs = out.reshape(-1, *out.shape[3:])
            for file in np.unique(planes[:, 0]):
                mine = np.flatnonzero(planes[:, 0] == file)
                self.files[file].read(planes[mine, 1].tolist(), rows, columns, (outs[i] for i in mine))
        return np.squeeze(out, axis=region.dropped)

    def __reduce__(self) -> tuple[Callable[..., LazyPixels], tuple[Callable[[], LazyPixels], str, Shape5, str]]:
        """Pickle by re-opening."""
        return reopened, (self.reopen, self.uri, self.shape, self.dtype.str)
