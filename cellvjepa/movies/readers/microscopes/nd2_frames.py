"""Where the frames of an ND2 lie, and reading them.

The library ``nd2`` reads the metadata. It gives zeros for frames that it does not find, and parses all metadata again whenever a file
is opened; so the frames, which are simple, are found and read here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Shape5
from cellvjepa.movies.readers.microscopes.mapped_file import MappedFile
from cellvjepa.movies.readers.microscopes.plane_pixels import Place, bare_part
from cellvjepa.movies.readers.remedies import COPY_AGAIN

MAGIC = b"\xda\xce\xbe\x0a"
OLD_MAGIC = b"\x00\x00\x00\x0c"  # a JPEG 2000 file, as NIS-Elements wrote it until about 2010

_CHUNK = struct.Struct("<4sIQ")  # magic, length of the name, length of the data
_END = struct.Struct("<32sQ")  # signature, where the map of the chunks is
_END_SIGNATURE = b"ND2 CHUNK MAP SIGNATURE 0000001!"
_MAP_SIGNATURE = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_FRAME = b"ImageDataSeq|"
_IN_MAP = struct.Struct("<QQ")  # where a chunk is, and its length
_TIME_BYTES = 8  # before the pixels: when the frame was recorded [ms]
_LONGEST_NAME = 2**16
_KEPT_FRAMES = 8


@dataclass(frozen=True, eq=False)
class Nd2Planes:
    """:class:`~cellvjepa.movies.readers.microscopes.plane_pixels.Planes` of an ND2: each frame holds all channels, pixel by pixel.

    Parameters
    ----------
    path
        The file.
    plane_px
        Rows and columns.
    stored
        The type of the pixels.
    row_bytes
        From a row of a frame to the next; rows may be padded.
    components
        Values per pixel of a frame.
    compressed
        Whether each frame is compressed with zlib.
    numbers, offsets
        ``(T, C, Z)`` int64: the number of the frame, and where its chunk starts [byte].
    channels
        ``(T, C, Z)`` int64: which of the frame's components.
    """

    path: str
    plane_px: tuple[int, int]
    stored: np.dtype[Any]
    row_bytes: int
    components: int
    compressed: bool
    numbers: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    channels: npt.NDArray[np.int64]

    @property
    def shape(self) -> Shape5:
        """Return the lengths of T, C, Z, Y, X."""
        t, c, z = self.numbers.shape
        return t, c, z, *self.plane_px

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the native type, in the byte order of this machine."""
        return self.stored.newbyteorder("=")

    @property
    def chunks(self) -> Shape5:
        """Return a frame with all its channels where it is compressed; else one pixel of all channels."""
        return (1, self.shape[1], 1, *self.plane_px) if self.compressed else (1, self.shape[1], 1, 1, 1)

    def read(self, places: Sequence[Place], rows: slice, columns: slice) -> Iterator[npt.NDArray[Any]]:
        """Yield the same part of planes."""
        mapped = MappedFile(self.path)
        unpacked: dict[int, npt.NDArray[np.uint8]] = {}  # its other channels are often read too
        strides = (self.row_bytes, self.components * self.stored.itemsize)
        for place in places:
            number, first = int(self.numbers[place]), int(self.channels[place]) * self.stored.itemsize
            start, stop = self._pixels_at(mapped, number, int(self.offsets[place]))
            if not self.compressed:
                yield bare_part(mapped, start + first, self.stored, strides, rows, columns)
                continue
            if number not in unpacked:
                if len(unpacked) >= _KEPT_FRAMES:
                    unpacked.pop(next(iter(unpacked)))
                unpacked[number] = self._unpacked(mapped.part(start, stop).tobytes())
            yield np.ndarray(self.plane_px, self.stored, unpacked[number], first, strides)[rows, columns]

    def recorded_s(self, place: Place) -> float:
        """Return when a plane was recorded, as the frame says [s].

        Raises
        ------
        ValueError, OSError
            If the frame cannot be read.
        """
        mapped = MappedFile(self.path)
        start, _ = self._pixels_at(mapped, int(self.numbers[place]), int(self.offsets[place]))
        (milliseconds,) = struct.unpack("<d", mapped.part(start - _TIME_BYTES, start).tobytes())
        return float(milliseconds) / 1000

    def _pixels_at(self, mapped: MappedFile, number: int, offset: int) -> tuple[int, int]:
        """Return from where to where the pixels of a frame lie [byte]."""
        head = mapped.part(offset, offset + _CHUNK.size + len(_FRAME) + 24).tobytes()
        magic, name_length, data_length = _CHUNK.unpack_from(head)
        if magic != MAGIC or not head[_CHUNK.size :].startswith(b"%s%d!" % (_FRAME, number)):
            raise ValueError(f"frame {number} is not where the map of the file says")
        start = offset + _CHUNK.size + name_length
        if not self.compressed and data_length < _TIME_BYTES + self.plane_px[0] * self.row_bytes:
            raise ValueError(f"frame {number} has {data_length} bytes instead of {_TIME_BYTES + self.plane_px[0] * self.row_bytes}")
        return start + _TIME_BYTES, start + data_length

    def _unpacked(self, data: bytes) -> npt.NDArray[np.uint8]:
        wanted = self.plane_px[0] * self.row_bytes
        unpacked = zlib.decompressobj().decompress(data, wanted + 1)
        if len(unpacked) != wanted:
            raise ValueError(f"a frame unpacks to {len(unpacked)} bytes instead of {wanted}")
        return np.frombuffer(unpacked, np.uint8)


def frame_offsets(path: Path) -> dict[int, int]:
    """Find the chunks of the frames: their offsets [byte] by their numbers.

    Raises
    ------
    UserError
        If the map at the end of the file is missing or damaged.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END.size))
        end = file.read(_END.size)
        if len(end) < _END.size or not end.startswith(_END_SIGNATURE):
            raise UserError("the file is truncated: the map at its end is missing", COPY_AGAIN, path)
        (at,) = struct.unpack("<Q", end[-8:])
        file.seek(min(at, size))
        magic, name_length, data_length = _CHUNK.unpack(file.read(_CHUNK.size).ljust(_CHUNK.size, b"\0"))
        name = file.read(min(name_length, _LONGEST_NAME))
        if magic != MAGIC or not name.startswith(_MAP_SIGNATURE) or name_length > _LONGEST_NAME or data_length > size:
            raise UserError("the file is damaged: the map of its frames is not where it should be", COPY_AGAIN, path)
        data = file.read(data_length)
    return _frames_in_map(data)


def _frames_in_map(data: bytes) -> dict[int, int]:
    found: dict[int, int] = {}
    at = 0
    while True:
        mark = data.find(b"!", at)
        name = data[at:mark]
        if mark < 0 or len(data) < mark + 1 + _IN_MAP.size:
            return found
        offset, _ = _IN_MAP.unpack_from(data, mark + 1)
        number = name.removeprefix(_FRAME)
        if name.startswith(_FRAME) and number.isdigit() and len(number) < 12:
            found[int(number)] = offset
        at = mark + 1 + _IN_MAP.size
