"""Decoding the strips and tiles of TIFFs."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.tiff.ifd import Page, TagFile

UNCOMPRESSED = 1
_PLAIN = (UNCOMPRESSED, 5, 8, 32773, 32946, 34926, 50000, 50013)  # their decoders fill a buffer and stop at its end
_JPEG, _JPEG2000 = (7,), (33003, 33004, 33005, 34712)
_NAMES = {
    1: "none", 5: "lzw", 7: "jpeg", 8: "deflate", 32773: "packbits", 32946: "deflate", 34926: "zstd", 50000: "zstd", 50013: "deflate",
    33003: "jpeg2000", 33004: "jpeg2000", 33005: "jpeg2000", 34712: "jpeg2000",
}  # fmt: skip
_JPEG_TABLES = 347
# What one byte can become at the most; others have no such limit.
MOST_FROM_BYTE = {5: 1600, 7: 1600, 8: 1100, 32773: 130, 32946: 1100, 50013: 1100}
_MOST_TILES = 4096  # of a JPEG 2000: each costs memory before it is decoded


@dataclass(frozen=True)
class PageKind:
    """How the pixels of a page are stored.

    Parameters
    ----------
    plane_px
        Rows and columns.
    stored
        The type of the pixels, in the file's byte order.
    bits
        Bits of each value; less than the type has where they are packed.
    samples
        Values per pixel.
    is_apart
        Whether the values of a pixel lie in different pieces, the first of all pixels before the second.
    compression, predictor
        Numbers of the TIFF standard.
    segment_px
        Rows and columns of a strip or tile.
    is_tiled
        Whether these are tiles, which reach over the edge of the image.
    is_colour
        Whether the file calls it a colour image.
    is_reversed
        Whether the bits of each byte are reversed.
    """

    plane_px: tuple[int, int]
    stored: np.dtype[Any]
    bits: int
    samples: int
    is_apart: bool
    compression: int
    predictor: int
    segment_px: tuple[int, int]
    is_tiled: bool
    is_colour: bool
    is_reversed: bool

    @property
    def codec(self) -> str:
        """Return the compression, for people."""
        return _NAMES.get(self.compression, str(self.compression))

    @property
    def plane_bytes(self) -> int:
        """Return the bytes of a plane when decoded, with all values of its pixels."""
        return math.prod(self.plane_px) * self.samples * self.stored.itemsize

    @property
    def segments(self) -> int:
        """Return the number of strips or tiles that make a plane."""
        return math.ceil(self.plane_px[0] / self.segment_px[0]) * math.ceil(self.plane_px[1] / self.segment_px[1])


def kind_of(file: TagFile, page: Page) -> PageKind:
    """Read how the pixels of a page are stored.

    Raises
    ------
    UserError
        If they are no plane of pixels, or of a type that is not read.
    """
    high, wide = file.number(page, 257, 0), file.number(page, 256, 0)
    if not (high and wide) or file.number(page, 32997, 1) != 1:
        raise UserError(f"its pages are no planes ({high} x {wide})", "save it with one plane per page", file.path)
    widths = file.values(page, 258)
    bits = int(widths[0]) if widths is not None and widths.size else 1
    formats = file.values(page, 339)
    letter = {1: "u", 2: "i", 3: "f", 4: "u"}.get(int(formats[0]) if formats is not None and formats.size else 1)
    mixed = widths is not None and widths.size and (widths != bits).any()
    is_packed = bits not in (8, 16, 32, 64)
    if letter is None or mixed or bits == 1 or bits > 64 or (is_packed and (letter != "u" or bits > 16)) or (letter == "f" and bits == 8):
        raise UserError("its pixels are of a type that is not read", "save it as 8 or 16 bit, or 32-bit float", file.path)
    stored = np.dtype(f"{file.order}{letter}{1 if bits <= 8 else 2 if bits <= 16 else bits // 8}")
    is_tiled = 322 in page
    segment_px = (file.number(page, 323, 0), file.number(page, 322, 0)) if is_tiled else (min(file.number(page, 278, high), high), wide)
    if min(segment_px) < 1:
        raise UserError("the file is damaged: its pages are cut into pieces of no size", COPY_AGAIN, file.path)
    return PageKind(
        (high, wide),
        stored,
        bits,
        max(1, file.number(page, 277, 1)),
        file.number(page, 284, 1) == 2 and file.number(page, 277, 1) > 1,
        file.number(page, 259, UNCOMPRESSED),
        file.number(page, 317, 1),
        segment_px,
        is_tiled,
        file.number(page, 262, 1) in (2, 5, 6, 8),
        file.number(page, 266, 1) == 2,
    )


@dataclass(frozen=True, eq=False)
class SegmentCodec:
    """Turns the bytes of a strip or tile into pixels.

    Parameters
    ----------
    decompress
        Fills a buffer; None where nothing is compressed.
    unpredict
        Undoes what was done to the pixels before; None where nothing was.
    stored
        The type of the pixels, in the file's byte order.
    segment_px
        Rows, columns and values per pixel of a whole strip or tile.
    image_decoder
        tifffile's decoder, for what is a picture file of its own (JPEG) or packed.
    tables
        What JPEG strips share.
    is_picture
        Whether a piece is a picture file of its own, which says how large it is.
    """

    decompress: Callable[..., Any] | None
    unpredict: Callable[..., Any] | None
    stored: np.dtype[Any]
    segment_px: tuple[int, int, int]
    image_decoder: Callable[..., Any] | None = None
    tables: bytes | None = None
    is_picture: bool = False

    @property
    def segment_bytes(self) -> int:
        """Return the bytes of a whole strip or tile when decoded."""
        return math.prod(self.segment_px) * self.stored.itemsize

    def decode(self, data: memoryview, rows: int, index: int, into: npt.NDArray[np.uint8]) -> None:
        """Decode one strip or tile.

        Parameters
        ----------
        data
            Its bytes.
        rows
            Rows that are wanted; the last strip of a plane has fewer.
        index
            Its number in the page.
        into
            ``segment_bytes`` long; :meth:`finish` makes pixels of it.

        Raises
        ------
        ValueError, RuntimeError
            If it is damaged.
        """
        if self.image_decoder is not None:
            self._decode_image(bytes(data), rows, index, into)
            return
        found = self.decompress(data, out=into).size if self.decompress is not None else min(len(data), into.size)
        if self.decompress is None:
            into[:found] = np.frombuffer(data, np.uint8, found)
        if found < into.size and found * self.segment_px[0] < rows * into.size:
            raise ValueError(f"a piece holds {found:,} of {into.size * rows // self.segment_px[0]:,} bytes")

    def _decode_image(self, data: bytes, rows: int, index: int, into: npt.NDArray[np.uint8]) -> None:
        assert self.image_decoder is not None
        if self.is_picture:
            refuse_another_picture(data, self.segment_px, (rows, 1))
        pixels = self.image_decoder(data, index, jpegtables=self.tables)[0][0]
        if pixels.shape[0] < rows or pixels.ndim != 3:
            raise ValueError(f"a piece holds {pixels.shape[0]} of {rows} rows")
        high, wide, values = (min(a, b) for a, b in zip(pixels.shape, self.segment_px, strict=True))
        into.view(self.stored.newbyteorder("=")).reshape(self.segment_px)[:high, :wide, :values] = pixels[:high, :wide, :values]

    def finish(self, decoded: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Turn decoded strips or tiles into pixels, in place.

        Parameters
        ----------
        decoded
            1-d: one or more of them, one after another.

        Returns
        -------
        numpy.ndarray
            ``(pieces, rows, columns, values)``, in the byte order of this machine.
        """
        native = self.stored.newbyteorder("=")
        pixels = decoded.view(native).reshape(-1, *self.segment_px)
        if self.image_decoder is None and self.stored != native:
            pixels.byteswap(inplace=True)
        if self.unpredict is not None:
            pixels = self.unpredict(pixels, axis=-2, out=pixels)
        return pixels


def codec_of(kind: PageKind, file: TagFile, page: Page) -> SegmentCodec:
    """Return what decodes the pieces of a page.

    Raises
    ------
    UserError
        If the compression is not known.
    """
    segment_px = (*kind.segment_px, 1 if kind.is_apart else kind.samples)
    is_picture = kind.compression in (*_JPEG, *_JPEG2000)
    try:
        if is_picture or kind.is_reversed or kind.bits < 8 * kind.stored.itemsize:
            tables = file.values(page, _JPEG_TABLES)
            decoder = _image_decoder(file.path, page.offset) if is_picture or kind.compression in _PLAIN else None
            if decoder is not None:
                return SegmentCodec(None, None, kind.stored, segment_px, decoder, None if tables is None else tables.tobytes(), is_picture)
        if kind.compression in _PLAIN and not (kind.predictor == 3 and kind.stored.kind != "f"):
            decompress = None if kind.compression == UNCOMPRESSED else tifffile.TIFF.DECOMPRESSORS[kind.compression]
            unpredict = None if kind.predictor == 1 else _float_unpredict if kind.predictor == 3 else tifffile.TIFF.UNPREDICTORS[kind.predictor]
            # The bytes of floats are sorted by their weight before they are predicted, whatever the file's byte order.
            stored = kind.stored.newbyteorder("=") if kind.predictor == 3 else kind.stored
            return SegmentCodec(decompress, unpredict, stored, segment_px)
    except (KeyError, ValueError, RuntimeError, NotImplementedError) as error:
        raise _unread(f"{error}", file.path) from error
    name = kind.codec if not kind.codec.isdigit() else _tifffile_name(kind.compression)
    raise _unread(name, file.path)


def _unread(name: str, path: str) -> UserError:
    return UserError(f"its compression is not read ({name})", "save it uncompressed, or with deflate, LZW or zstd", path)


def _tifffile_name(compression: int) -> str:
    try:
        return tifffile.COMPRESSION(compression).name
    except ValueError:
        return str(compression)


def _float_unpredict(segment: npt.NDArray[Any], axis: int, out: npt.NDArray[Any]) -> npt.NDArray[Any]:
    unpredicted: npt.NDArray[Any] = tifffile.TIFF.UNPREDICTORS[3](segment, axis=axis, out=np.empty_like(out))  # not in place
    return unpredicted


def _image_decoder(path: str, offset: int) -> Callable[..., Any]:
    with tifffile.TiffFile(path, _multifile=False) as file:
        file.filehandle.seek(offset)
        decode: Callable[..., Any] = tifffile.TiffPage(file, 0).decode
    decode(None, 0)  # what cannot be decoded says so without being given anything
    return decode


def refuse_another_picture(data: bytes, segment_px: tuple[int, int, int], least_px: tuple[int, int]) -> None:
    """Refuse a picture that claims another size than its strip or tile: its decoder would believe it.

    Parameters
    ----------
    data
        The picture.
    segment_px
        Rows, columns and values per pixel that it may have.
    least_px
        Rows and columns that it must have.

    Raises
    ------
    ValueError
        If it has more or less, or is no picture.
    """
    tiles = 1
    at = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if data.startswith(b"\xff\xd8"):
        try:
            _, high, wide, values = tifffile.tifffile.jpeg_shape(data)
        except struct.error as error:
            raise ValueError("a piece is no complete JPEG") from error
    elif at >= 0 and len(data) >= at + 42:
        wide, high, left, top, tile_wide, tile_high = (int.from_bytes(data[at + 8 + 4 * i : at + 12 + 4 * i], "big") for i in range(6))
        wide, high, values = wide - left, high - top, int.from_bytes(data[at + 40 : at + 42], "big")
        tiles = math.ceil(wide / max(1, tile_wide)) * math.ceil(high / max(1, tile_high))
    else:
        raise ValueError("a piece is no JPEG")
    fits = least_px[0] <= high <= segment_px[0] and least_px[1] <= wide <= segment_px[1] and values <= max(segment_px[2], 4)
    if not fits or tiles > _MOST_TILES:
        raise ValueError(f"a piece of {segment_px[0]} x {segment_px[1]} px claims to be {high:,} x {wide:,}")
