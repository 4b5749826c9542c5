"""The parts that a Zeiss CZI is made of: the list of its tiles, what is said about it, and the tiles' pixels.

Written by the format's public description (DS_ZISRAW-FileFormat). Every length is checked against the file before it is used.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.microscopes.mapped_file import MappedFile
from cellvjepa.movies.readers.microscopes.plane_pixels import bare_part
from cellvjepa.movies.readers.remedies import COPY_AGAIN

_SEGMENT = struct.Struct("<16sqq")  # name, length that is kept, length that is used
_FILE = struct.Struct("<16x16x16xiqqiq")  # file part, directory, metadata, unfinished, directory of attachments
_ENTRY = struct.Struct("<2siqiiB5xi")  # "DV", pixel type, where, file part, compression, pyramid, number of dimensions
_DIMENSION = struct.Struct("<4siifi")  # name, start, size, coordinate, stored size
_TILE = struct.Struct("<iiq")  # lengths of metadata, attachment, pixels
_DIRECTORY_HEAD, _METADATA_HEAD, _TILE_HEAD, _ATTACHED_HEAD = 128, 256, 256, 256
_ATTACHMENT = struct.Struct("<2s10xqi16s8s80s")  # "A1", where, file part, GUID, kind, name
_MOST_DIMENSIONS = 40
_LARGEST_TILE_BYTES = 2**30

_PIXELS = {0: "u1", 1: "<u2", 2: "<f4", 12: "<i4"}
_COLOUR = (3, 4, 8, 9, 11)
_CODECS = {0: "none", 4: "jpegxr", 5: "zstd", 6: "zstd"}
_ZSTD_WITH_HEADER = 6
_JPEGXR, _JPEGXR_WIDE, _JPEGXR_HIGH, _MOST_TAGS = b"II\xbc", 0xBC80, 0xBC81, 64


@dataclass(frozen=True)
class Tile:
    """One piece of a plane.

    Parameters
    ----------
    at
        Where its segment starts [byte].
    kind, compression
        Of its pixels, as the format numbers them.
    starts
        Its place along each axis: ``{"X": 1024, "Y": 0, "C": 1, "T": 7, "S": 0, "M": 3}``.
    size_px
        Rows and columns.
    is_full
        Whether it is of full resolution, not a coarser copy.
    entry_bytes
        Length of its entry in the list, which is repeated before its pixels.
    """

    at: int
    kind: int
    compression: int
    starts: dict[str, int]
    size_px: tuple[int, int]
    is_full: bool
    entry_bytes: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of its pixels."""
        return np.dtype(_PIXELS[self.kind])

    @property
    def codec(self) -> str:
        """Return its compression, for people."""
        return _CODECS[self.compression]


@dataclass(frozen=True)
class CziContents:
    """What a file holds: its tiles, its XML, and when its frames were recorded [s]."""

    tiles: list[Tile]
    xml: bytes
    times_s: tuple[float, ...]


def read_czi(path: Path) -> CziContents:
    """Read what a CZI holds, without its pixels.

    Raises
    ------
    UserError
        If it is truncated or damaged, was not finished, or its pixels are of a kind that is not read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        head = _segment(file, 0, size, b"ZISRAWFILE", path)
        part, directory_at, metadata_at, unfinished, attachments_at = _FILE.unpack_from(head)
        if unfinished or not directory_at:
            raise UserError("the recording was not finished: the list of its tiles is missing", "open it in ZEN and save it again", path)
        tiles = _tiles(_segment(file, directory_at, size, b"ZISRAWDIRECTORY", path), path)
        if part or not tiles:
            raise UserError("this is a part of a set of files, or holds no image", "save it in ZEN as one file", path)
        xml = _segment(file, metadata_at, size, b"ZISRAWMETADATA", path) if metadata_at else b""
        length = int.from_bytes(xml[:4], "little")
        times_s = _times_s(file, attachments_at, size, path)
    for tile in tiles:
        _refuse_unread(tile, size, path)
    return CziContents(tiles, xml[_METADATA_HEAD : _METADATA_HEAD + length], times_s)


def read_tile(mapped: MappedFile, tile: Tile, rows: slice, columns: slice) -> npt.NDArray[Any]:
    """Return a part of a tile: as it lies in the file, or decoded.

    Parameters
    ----------
    mapped
        The file.
    tile
        Which one.
    rows, columns
        Which part of the tile, not empty; start, stop and step given.

    Raises
    ------
    OSError, ValueError, RuntimeError
        If it is damaged; decoders raise whatever they do.
    """
    at = tile.at + _SEGMENT.size
    head = mapped.part(tile.at, at + _TILE_HEAD).tobytes()
    name, _, _ = _SEGMENT.unpack_from(head)
    metadata_bytes, _, data_bytes = _TILE.unpack_from(head, _SEGMENT.size)
    schema, kind, _, _, compression, _, _ = _ENTRY.unpack_from(head, _SEGMENT.size + _TILE.size)
    start = at + max(_TILE_HEAD, _TILE.size + tile.entry_bytes) + metadata_bytes
    if not name.startswith(b"ZISRAWSUBBLOCK") or (schema, kind, compression) != (b"DV", tile.kind, tile.compression):
        raise ValueError("a tile is not where the list of tiles says")
    wanted = math.prod(tile.size_px) * tile.dtype.itemsize
    if metadata_bytes < 0 or data_bytes < 0 or (tile.codec == "none" and data_bytes < wanted):
        raise ValueError(f"a tile has {data_bytes} bytes, its metadata {metadata_bytes}")
    if tile.codec == "none":
        return bare_part(mapped, start, tile.dtype, (tile.size_px[1] * tile.dtype.itemsize, tile.dtype.itemsize), rows, columns)
    pixels = _decoded(mapped.part(start, start + data_bytes).tobytes(), tile)
    if pixels.size != math.prod(tile.size_px) or pixels.dtype != tile.dtype:
        raise ValueError(f"a tile decodes to {pixels.shape} {pixels.dtype} instead of {tile.size_px} {tile.dtype}")
    return pixels.reshape(tile.size_px)[rows, columns]


def _decoded(data: bytes, tile: Tile) -> npt.NDArray[Any]:
    import imagecodecs

    if tile.codec == "jpegxr":
        _refuse_odd_jpegxr(data, tile)
        pixels: npt.NDArray[Any] = imagecodecs.jpegxr_decode(data)
        return pixels
    swapped = False
    if tile.compression == _ZSTD_WITH_HEADER:
        # One byte: the length of this header; then pairs of a byte 1 and a byte that says whether low and high bytes are apart.
        length = data[0]
        if length not in (1, 3) or (length == 3 and data[1] != 1):
            raise ValueError("the header of a compressed tile is not understood")
        swapped, data = length == 3 and bool(data[2] & 1), data[length:]
    wanted = math.prod(tile.size_px) * tile.dtype.itemsize
    plain = np.frombuffer(imagecodecs.zstd_decode(data, out=wanted), np.uint8)
    if plain.size != wanted:
        raise ValueError(f"a tile unpacks to {plain.size} bytes instead of {wanted}")
    if swapped:
        plain = np.ascontiguousarray(plain.reshape(tile.dtype.itemsize, -1).T).reshape(-1)
    return plain.view(tile.dtype)


def _refuse_odd_jpegxr(data: bytes, tile: Tile) -> None:
    """Refuse what claims another size: the decoder believes it, and writes a line to the terminal for every tag it does not know."""
    at = int.from_bytes(data[4:8], "little")
    number = int.from_bytes(data[at : at + 2], "little")
    entries = data[at + 2 : at + 2 + 12 * number]
    if not data.startswith(_JPEGXR) or number > _MOST_TAGS or len(entries) < 12 * number:
        raise ValueError("a tile is no JPEG XR")
    # Each entry: its code, the type of its value (3: of two bytes), how many there are, and the value.
    tags = {code: value & 0xFFFF if kind == 3 else value for code, kind, _, value in struct.iter_unpack("<HHII", entries)}
    if (tags.get(_JPEGXR_HIGH), tags.get(_JPEGXR_WIDE)) != tile.size_px:
        raise ValueError(f"a tile claims {tags.get(_JPEGXR_HIGH)} x {tags.get(_JPEGXR_WIDE)} instead of {tile.size_px}")


def _segment(file: BinaryIO, at: int, size: int, name: bytes, path: Path) -> bytes:
    """Return the bytes of a segment after its header."""
    if not 0 <= at < size:
        raise UserError("the file is truncated: a part of it lies beyond its end", COPY_AGAIN, path)
    file.seek(at)
    found, kept, used = _SEGMENT.unpack(file.read(_SEGMENT.size).ljust(_SEGMENT.size, b"\0"))
    length = used or kept
    if found.rstrip(b"\0") != name:
        raise UserError(f"the file is damaged: {name.decode()} is not where it should be", COPY_AGAIN, path)
    if not 0 < length <= size - at - _SEGMENT.size:
        raise UserError("the file is truncated: a part of it goes on beyond its end", COPY_AGAIN, path)
    return file.read(length)


def _tiles(data: bytes, path: Path) -> list[Tile]:
    number = int.from_bytes(data[:4], "little")
    tiles = []
    at = _DIRECTORY_HEAD
    for _ in range(number):
        if at + _ENTRY.size > len(data):
            raise UserError("the file is damaged: the list of its tiles is cut", COPY_AGAIN, path)
        schema, kind, where, _, compression, pyramid, dimensions = _ENTRY.unpack_from(data, at)
        end = at + _ENTRY.size + dimensions * _DIMENSION.size
        if schema != b"DV" or not 0 < dimensions <= _MOST_DIMENSIONS or end > len(data):
            raise UserError("the file is damaged: the list of its tiles is not understood", COPY_AGAIN, path)
        starts, sizes, stored = {}, {}, {}
        for name, start, size, _, kept in _DIMENSION.iter_unpack(data[at + _ENTRY.size : end]):
            axis = name.rstrip(b"\0").decode("ascii", "replace")
            starts[axis], sizes[axis], stored[axis] = start, size, kept or size
        size_px = (sizes.get("Y", 0), sizes.get("X", 0))
        is_full = pyramid == 0 and size_px == (stored.get("Y"), stored.get("X"))
        tiles.append(Tile(where, kind, compression, starts, size_px, is_full, end - at))
        at = end
    return tiles


def _refuse_unread(tile: Tile, size: int, path: Path) -> None:
    if not tile.is_full:
        return
    if tile.kind in _COLOUR:
        raise UserError("this is a colour image (RGB), not a grey one", "save it in grey, one channel per image", path)
    if tile.kind not in _PIXELS or tile.compression not in _CODECS:
        what = f"pixel type {tile.kind}, compression {tile.compression}"
        raise UserError(f"its pixels are of a kind that is not read ({what})", "save it in ZEN uncompressed or with zstd, or as OME-TIFF", path)
    bytes_of_tile = math.prod(tile.size_px) * tile.dtype.itemsize
    if min(tile.size_px) < 1 or bytes_of_tile > _LARGEST_TILE_BYTES:
        raise UserError(f"the file is damaged: a tile claims {tile.size_px[0]:,} x {tile.size_px[1]:,} pixels", COPY_AGAIN, path)
    needed = bytes_of_tile if tile.codec == "none" else 1
    if tile.at < 0 or tile.at + _SEGMENT.size + _TILE_HEAD + needed > size:
        raise UserError(f"the file is truncated: a tile lies beyond its end ({size:,} bytes)", COPY_AGAIN, path)


def _times_s(file: BinaryIO, at: int, size: int, path: Path) -> tuple[float, ...]:
    """Return when frames were recorded; nothing where the file does not say it, or not in a way that is understood."""
    try:
        directory = _segment(file, at, size, b"ZISRAWATTDIR", path) if at else b""
        number = min(int.from_bytes(directory[:4], "little"), (len(directory) - _ATTACHED_HEAD) // _ATTACHMENT.size)
        for index in range(number):
            _, where, _, _, _, name = _ATTACHMENT.unpack_from(directory, _ATTACHED_HEAD + index * _ATTACHMENT.size)
            if name.rstrip(b"\0") == b"TimeStamps":
                data = _segment(file, where, size, b"ZISRAWATTACH", path)[_ATTACHED_HEAD:]
                (count,) = struct.unpack_from("<4xi", data)
                return tuple(float(time) for time in np.frombuffer(data, "<f8", count, 8))
    except (UserError, ValueError, struct.error):
        pass  # pixels do not need it
    return ()
