"""Where the planes of a TIFF lie, and reading parts of them: mapped where they lie bare in the file, else strip by strip."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Key, LazyPixels, Shape5, region_of, reopened
from cellvjepa.movies.readers.tiff_pages import COPY_AGAIN, check_alike, check_complete

LARGEST_SEGMENT_BYTES = 2**30  # a strip or tile that claims to be larger is not believed

_DAMAGE = (OSError, ValueError, TypeError, RuntimeError, MemoryError)  # what reading and decoders raise at damaged bytes


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
    decode
        Turns the bytes of a strip or tile into pixels (:attr:`tifffile.TiffPage.decode`); None where planes lie bare.
    tables
        The tables that JPEG strips share.
    """

    path: str
    plane_px: tuple[int, int]
    stored: np.dtype[Any]
    segment_px: tuple[int, int]
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    decode: Callable[..., Any] | None
    tables: bytes | None

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
            If the file cannot be read or decoded (any more).
        """
        plane = -1
        try:
            if self.decode is None:
                bare = np.memmap(self.path, np.uint8, "r")
                for plane, out in zip(planes, into, strict=True):
                    out[...] = np.ndarray(self.plane_px, self.stored, bare, int(self.offsets[plane, 0]))[rows, columns]
            else:
                with Path(self.path).open("rb", buffering=0) as file:
                    for plane, out in zip(planes, into, strict=True):
                        self._decode_plane(file, plane, rows, columns, out)
        except _DAMAGE as error:
            at = "" if plane < 0 else f" in plane {plane}"
            raise UserError(f"the pixels cannot be read{at} ({str(error) or type(error).__name__})", COPY_AGAIN, self.path) from error

    def _decode_plane(self, file: BinaryIO, plane: int, rows: slice, columns: slice, out: npt.NDArray[Any]) -> None:
        assert self.decode is not None
        high, wide = self.segment_px
        across = math.ceil(self.plane_px[1] / wide)
        part = np.empty((max(0, rows.stop - rows.start), max(0, columns.stop - columns.start)), self.stored.newbyteorder("="))
        for down, right in itertools.product(_touched(rows, high), _touched(columns, wide)):
            index = down * across + right
            file.seek(int(self.offsets[plane, index]))
            data = file.read(int(self.counts[plane, index]))
            segment, (_, _, y, x, _), _ = self.decode(data, index, jpegtables=self.tables)
            pixels = segment[0, :, :, 0]
            top, bottom = max(rows.start, y), min(rows.stop, y + pixels.shape[0])
            left, right_end = max(columns.start, x), min(columns.stop, x + pixels.shape[1])
            part[top - rows.start : bottom - rows.start, left - columns.start : right_end - columns.start] = pixels[
                top - y : bottom - y, left - x : right_end - x
            ]
        out[...] = part[:: rows.step, :: columns.step]


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
        return (1, 1, 1, *self.files[0].segment_px) if self.files[0].decode else (1, 1, 1, 1, 1)

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


def _touched(part: slice, length: int) -> range:
    return range(part.start // length, math.ceil(part.stop / length)) if part.stop > part.start else range(0)


def planes_of(series: tifffile.TiffPageSeries, path: str) -> TiffPlanes:
    """Find the planes of a series of pages, believing nothing that the file's own size contradicts.

    Raises
    ------
    UserError
        If the pages are no grey images, the file is shorter than they claim, or their compression is not known.
    """
    page = series.keyframe
    _check_grey(page, path)
    plane_px = (int(page.imagelength), int(page.imagewidth))
    assert page.dtype is not None, "_check_grey lets no other page pass"
    stored = page.dtype.newbyteorder(page.parent.byteorder)
    size = page.parent.filehandle.size
    number = math.prod(series.get_shape(False)) // math.prod(plane_px)
    bytes_per_plane = math.prod(plane_px) * stored.itemsize
    check_complete(page.parent, series, path)
    first = series.dataoffset
    if first is not None:
        offsets = first + bytes_per_plane * np.arange(number, dtype=np.int64)[:, None]
        return _bare(path, plane_px, stored, offsets, size)
    pages = [p for p in series if p is not None]
    check_alike(page.parent, pages, number, path)
    offsets, counts = _table([p.dataoffsets for p in pages], path), _table([p.databytecounts for p in pages], path)
    side_by_side = bool(np.all(offsets[:, :-1] + counts[:, :-1] == offsets[:, 1:]))
    if page.is_final and side_by_side:
        return _bare(path, plane_px, stored, offsets[:, :1], size)
    high, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, plane_px[0]), plane_px[1])
    segments = math.ceil(plane_px[0] / high) * math.ceil(plane_px[1] / wide) if high > 0 < wide else 0
    if offsets.shape != (number, segments) or counts.shape != (number, segments):
        raise UserError(f"the file is damaged: it has {offsets.shape[1]} pieces per page instead of {segments}", COPY_AGAIN, path)
    if high * wide * stored.itemsize > LARGEST_SEGMENT_BYTES:
        raise UserError(f"a piece of a page claims {high} x {wide} pixels", "save it in strips or tiles, or uncompressed", path)
    _check_end(int((offsets + counts).max()), size, path)
    if (counts <= 0).any() or (offsets <= 0).any():
        raise UserError("some pages were never written", "record or export the movie again", path)
    return TiffPlanes(path, plane_px, stored, (high, wide), offsets, counts, _decoder(page, path), page.jpegtables)


def _bare(path: str, plane_px: tuple[int, int], stored: np.dtype[Any], offsets: npt.NDArray[np.int64], size: int) -> TiffPlanes:
    counts = np.full_like(offsets, math.prod(plane_px) * stored.itemsize)
    _check_end(int(offsets.max()) + int(counts[0, 0]), size, path)
    return TiffPlanes(path, plane_px, stored, plane_px, offsets, counts, None, None)


def _table(rows: list[tuple[int, ...]], path: str) -> npt.NDArray[np.int64]:
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise UserError("the file is damaged: its pages are not stored alike", COPY_AGAIN, path)
    return np.array(rows, dtype=np.int64)


def _check_end(end: int, size: int, path: str) -> None:
    if end > size:
        raise UserError(f"the file is truncated: its pixels should end at byte {end:,}, but it has only {size:,}", COPY_AGAIN, path)


def _check_grey(page: tifffile.TiffPage, path: str) -> None:
    if page.samplesperpixel > 1:
        kind = "a colour image (RGB)" if page.photometric in (2, 6) else f"an image of {page.samplesperpixel} values per pixel"
        remedy = "save it in grey, one channel per image (in ImageJ: Image > Type > 16-bit, or Split Channels)"
        raise UserError(f"this is {kind}, not a grey one", remedy, path)
    if page.dtype is None or page.dtype.kind not in "uif" or page.bitspersample == 1:
        raise UserError("its pixels are of a type that is not read", "save it as 8 or 16 bit, or 32-bit float", path)
    if page.imagedepth != 1 or 0 in page.shape:
        raise UserError(f"its pages are no planes ({page.shape})", "save it with one plane per page", path)


def _decoder(page: tifffile.TiffPage, path: str) -> Callable[..., Any]:
    decode: Callable[..., Any] = page.decode
    try:
        decode(None, 0)  # what cannot be decoded says so without being given anything
    except _DAMAGE as error:
        raise UserError(f"its compression is not read ({error})", "save it uncompressed, or with deflate, LZW or zstd", path) from error
    return decode
