"""The index of a Micro-Manager NDTiff data set: which plane lies where."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Problem
from cellvjepa.movies.readers.remedies import COPY_AGAIN

NAME = "NDTiff.index"

_LARGEST_INDEX_BYTES = 2**30
_MOST_AXES = 32
_LENGTH = struct.Struct("<I")
_PLANE = struct.Struct("<8I")  # offset, width, height, pixel type, compression, and offset, length, compression of the metadata


@dataclass(frozen=True)
class Entry:
    """One plane of the index.

    Parameters
    ----------
    axes
        Its place: ``{"time": 3, "channel": "GFP"}``.
    file
        The name of the stack file, in the folder of the index.
    offset
        Where its pixels start [byte].
    height, width
        Rows and columns.
    pixel_type
        0: 8 bit; 2: colour; 1, 3 to 6: 16 bit, of which not all may be used.
    compression
        0: none.
    metadata
        Where its metadata, JSON, start and how long they are [bytes].
    """

    axes: dict[str, int | str]
    file: str
    offset: int
    height: int
    width: int
    pixel_type: int
    compression: int
    metadata: tuple[int, int]


def read_index(path: Path) -> tuple[list[Entry], tuple[Problem, ...]]:
    """Read an index; one that ends in the middle of an entry is read as far as it goes.

    Raises
    ------
    UserError
        If it cannot be read, is empty, or is damaged.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_INDEX_BYTES:
            raise UserError(f"the index is too large ({size:,} bytes)", COPY_AGAIN, path)
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"the index cannot be read ({error.strerror})", "check its permissions and the disk it is on", path) from error
    entries: list[Entry] = []
    at = 0
    while any(data[at : at + _LENGTH.size]):  # where recording was ended by force, zeros follow
        try:
            entry, at = _entry(data, at)
        except struct.error:
            cut = Problem(f"{NAME} ends in the middle of an entry: {len(entries)} planes are known, later ones are not", COPY_AGAIN)
            if entries:
                return entries, (cut,)
            break
        except (ValueError, RecursionError) as error:
            raise UserError(f"the index is damaged at plane {len(entries)} ({error})", COPY_AGAIN, path) from error
        entries.append(entry)
    if not entries:
        raise UserError("the index names no plane: nothing was recorded, or the file was cut", COPY_AGAIN, path)
    return entries, ()


def _entry(data: bytes, at: int) -> tuple[Entry, int]:
    raw_axes, at = _bytes(data, at)
    raw_name, at = _bytes(data, at)
    offset, width, height, pixel_type, compression, *metadata, _ = _PLANE.unpack_from(data, at)
    axes = json.loads(raw_axes)
    if not isinstance(axes, dict) or len(axes) > _MOST_AXES or any(isinstance(v, bool) or not isinstance(v, (int, str)) for v in axes.values()):
        raise ValueError("the axes of a plane are not understood")
    name = raw_name.decode("utf-8")
    if not name or name != Path(name).name or "\\" in name or name == ".." or not name.isprintable():
        raise ValueError(f"{name!r} is no file of this folder")
    return Entry(axes, name, offset, height, width, pixel_type, compression, (metadata[0], metadata[1])), at + _PLANE.size


def _bytes(data: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack_from(data, at)
    start = at + _LENGTH.size
    if start + length > len(data):
        raise struct.error("the index ends")
    return data[start : start + length], start + length
