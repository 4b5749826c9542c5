"""An array of a Zarr store as its metadata describe it, checked against what is there before anything is believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Problem
from cellvjepa.movies.readers.zarr.folder import ZarrFolder
from cellvjepa.movies.readers.zarr.metadata import WRITE_AGAIN, Node, array_node

COPY_AGAIN = "copy the store again"
LARGEST_CHUNK_BYTES = 2**30  # a chunk is decoded whole to get at one pixel; one that claims to be larger is not believed

_LONGEST = 2**48  # of an axis
_MOST_AXES = 16
_MOST_CHUNKS_IN_SHARD = 2**24  # its index has 16 bytes for each
_SPARSEST = 1000  # an array must have at least one in so many of the chunks it claims, ...
_MOST_COUNTED = 1000  # ... but after so many it is believed,
_BELIEVED_BYTES = 2**36  # and one that claims no more than this may have fewer
_PLAIN_CODECS = ("bytes", "transpose", "crc32c")
_NUMBERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")


@dataclass(frozen=True)
class StoredArray:
    """An array that can be opened.

    Parameters
    ----------
    folder
        Where it lies.
    zarr_format
        2 or 3.
    shape, dtype
        Of all pixels; the type in the byte order of this machine.
    chunks
        Shape of what is decoded at the least; in a sharded array that of a chunk within a shard.
    files
        Shape of what is one file: a chunk, or a shard.
    metadata
        All that is said of it.
    """

    folder: ZarrFolder
    zarr_format: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    files: tuple[int, ...]
    metadata: Mapping[str, Any]

    @property
    def codec(self) -> str:
        """Return the compression for people: ``blosc/lz4``, ``zstd``, ``none``."""
        compressor = self.metadata.get("compressor")
        if isinstance(compressor, dict):
            return "/".join(str(compressor[key]) for key in ("id", "cname") if key in compressor)
        return _codec(self.metadata.get("codecs"))


def array_at(image: Node, inner: str) -> StoredArray:
    """Read what is said of an array of an image.

    Raises
    ------
    UserError
        If it is not there, leads out of the image, cannot be read, or claims what cannot be.
    """
    where = image.folder.address
    folder = image.folder.child(inner)
    node = array_node(folder, image.zarr_format)
    if node is None or not node.is_array:
        raise UserError(f"the array {inner} that the metadata names is not there", COPY_AGAIN, where)
    shape = _lengths(node.metadata.get("shape"), f"the shape of the array {inner}", where)
    dtype = _dtype(node, where)
    if not shape or 0 in shape:
        raise UserError(f"the array is empty ({shape})", WRITE_AGAIN, where)
    files, chunks = _grid(node, inner, where)
    if not len(shape) == len(files) == len(chunks):
        raise UserError(f"the array {inner} has {len(shape)} axes, but its chunks have {len(chunks)}", WRITE_AGAIN, where)
    array = StoredArray(folder, image.zarr_format, shape, dtype, chunks, files, node.metadata)
    _refuse_huge_chunks(array, where)
    return array


def refuse_what_is_not_there(array: StoredArray, image: str) -> tuple[Problem, ...]:
    """Believe no size that the files themselves contradict. Chunks may be missing, as they hold nothing but the fill value, but not all.

    Returns
    -------
    problems
        What should be known of an array that has hardly any.

    Raises
    ------
    UserError
        If too few are there.
    """
    claimed = math.prod(math.ceil(n / c) for n, c in zip(array.shape, array.files, strict=True))
    enough = min(math.ceil(claimed / _SPARSEST), _MOST_COUNTED)
    there = array.folder.count_files(enough)
    if there is None or there >= enough:
        return ()
    what = f"the array claims {claimed:,} chunks, but {there:,} are there"
    if there == 0 or math.prod(array.shape) * array.dtype.itemsize > _BELIEVED_BYTES:
        raise UserError(what, COPY_AGAIN, image)
    return (Problem(what, "the rest is read as empty; if it should not be, copy the store again"),)


def _lengths(found: object, what: str, where: str) -> tuple[int, ...]:
    if isinstance(found, list) and len(found) <= _MOST_AXES and all(type(n) is int and 0 <= n <= _LONGEST for n in found):
        return tuple(found)
    raise UserError(f"{what} cannot be ({found!r:.80})", WRITE_AGAIN, where)


def _dtype(node: Node, where: str) -> np.dtype[Any]:
    found = node.metadata.get("data_type" if node.zarr_format == 3 else "dtype")
    dtype: np.dtype[Any] | None = None
    if node.zarr_format == 3:
        dtype = np.dtype(found) if found in _NUMBERS else None
    elif isinstance(found, str):
        try:
            dtype = np.dtype(found).newbyteorder("=")
        except (TypeError, ValueError, SyntaxError):
            dtype = None
    if dtype is None or dtype.name not in _NUMBERS:
        raise UserError(f"its pixels are of a type that is not read ({found!r:.80})", "save it as 8 or 16 bit, or 32-bit float", where)
    return dtype


def _grid(node: Node, inner: str, where: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape of a file and that of what is decoded at the least."""
    what = f"the chunks of the array {inner}"
    if node.zarr_format == 2:
        chunks = _lengths(node.metadata.get("chunks"), what, where)
        files = chunks
    else:
        grid = node.metadata.get("chunk_grid")
        settings = grid.get("configuration") if isinstance(grid, dict) and grid.get("name") == "regular" else None
        files = _lengths(settings.get("chunk_shape") if isinstance(settings, dict) else grid, what, where)
        chunks = files
        codecs = node.metadata.get("codecs")
        for codec in codecs if isinstance(codecs, list) else ():
            if isinstance(codec, dict) and codec.get("name") == "sharding_indexed":
                within = codec.get("configuration")
                chunks = _lengths(within.get("chunk_shape") if isinstance(within, dict) else None, f"{what} within a shard", where)
    if 0 in files or 0 in chunks:
        raise UserError(f"{what} cannot be ({list(chunks)})", WRITE_AGAIN, where)
    return files, chunks


def _refuse_huge_chunks(array: StoredArray, where: str) -> None:
    if math.prod(array.chunks) * array.dtype.itemsize > LARGEST_CHUNK_BYTES:
        shown = " x ".join(map(str, array.chunks))
        raise UserError(f"one chunk claims {shown} pixels", "write it again with smaller chunks, such as 16 x 256 x 256", where)
    within = math.prod(math.ceil(f / c) for f, c in zip(array.files, array.chunks, strict=True))
    if within > _MOST_CHUNKS_IN_SHARD:
        raise UserError(f"one shard claims {within:,} chunks", "write it again with smaller shards", where)


def _codec(codecs: object) -> str:
    for codec in codecs if isinstance(codecs, list) else ():
        if not isinstance(codec, dict) or codec.get("name") in _PLAIN_CODECS:
            continue
        settings = codec.get("configuration")
        settings = settings if isinstance(settings, dict) else {}
        if codec.get("name") == "sharding_indexed":
            return _codec(settings.get("codecs"))
        return "/".join(str(part) for part in (codec.get("name"), settings.get("cname")) if part)
    return "none"
