"""Where the chunks of a Zarr array lie, and what is in them: what its metadata says, in one form for Zarr 2 and 3."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cellvjepa.movies.readers.zarr.codec import Codec, codec_of_v2, codec_of_v3

LARGEST_CHUNK_BYTES = 2**30
LARGEST_INDEX_BYTES = 2**26

_KNOWN_V3 = {
    "attributes",
    "chunk_grid",
    "chunk_key_encoding",
    "codecs",
    "consolidated_metadata",
    "data_type",
    "dimension_names",
    "fill_value",
    "node_type",
    "shape",
    "storage_transformers",
    "zarr_format",
}
_INDEX_CODECS: tuple[tuple[str, ...], ...] = (("bytes",), ("bytes", "crc32c"))


@dataclass(frozen=True)
class ShardIndex:
    """The table in a shard that says where its chunks are: two little-endian uint64 for each, offset and length.

    Parameters
    ----------
    is_first
        Whether it is at the beginning of the shard and not at its end.
    has_crc
        Whether a CRC-32C follows it.
    """

    is_first: bool
    has_crc: bool


@dataclass(frozen=True)
class Layout:
    """What the metadata of an array says about its chunks.

    Parameters
    ----------
    metadata_file
        The name of the file that says so.
    shape, dtype
        Of the array; the type is the native one.
    chunks
        Lengths of what is decoded at once; in a sharded array those of a chunk within a shard.
    shards
        Lengths of what lies in one file, if that is more than one chunk.
    codec
        Of a chunk.
    index
        Of a shard.
    fill
        The value of pixels that are not there.
    prefix, separator
        A file is called ``prefix`` and the indices joined by ``separator``.
    """

    metadata_file: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    codec: Codec
    index: ShardIndex | None
    fill: Any
    prefix: str
    separator: str

    @property
    def chunk_bytes(self) -> int:
        """Return the size of a decoded chunk."""
        return math.prod(self.chunks) * self.dtype.itemsize

    @property
    def chunks_per_shard(self) -> tuple[int, ...]:
        """Return the chunks along each axis that lie in one file."""
        return tuple(shard // chunk for shard, chunk in zip(self.shards or self.chunks, self.chunks, strict=True))


def layout_of(metadata: Mapping[str, Any]) -> Layout | None:
    """Read the parsed ``.zarray`` or ``zarr.json`` of an array; None if something in it is not supported, or wrong."""
    try:
        layout = _layout_of_v2(metadata) if metadata.get("zarr_format") == 2 else _layout_of_v3(metadata)
    except (TypeError, ValueError, OverflowError, SyntaxError):  # the last is what numpy makes of odd names of types
        return None
    if layout is None or layout.dtype.kind not in "uif" or layout.chunk_bytes > LARGEST_CHUNK_BYTES:
        return None
    return layout if math.prod(layout.chunks_per_shard) * 16 <= LARGEST_INDEX_BYTES else None


def _layout_of_v2(metadata: Mapping[str, Any]) -> Layout | None:
    shape = _lengths(metadata.get("shape"))
    chunks = _lengths(metadata.get("chunks"), len(shape))
    codec = codec_of_v2(metadata, len(shape))
    stored = metadata.get("dtype")
    if codec is None or not isinstance(stored, str):
        return None
    dtype = np.dtype(stored).newbyteorder("=")
    separator = metadata.get("dimension_separator", ".")
    if separator not in (".", "/"):
        return None
    fill = _fill(0 if metadata.get("fill_value") is None else metadata["fill_value"], dtype)
    return Layout(".zarray", shape, dtype, chunks, None, codec, None, fill, "", separator)


def _layout_of_v3(metadata: Mapping[str, Any]) -> Layout | None:
    if metadata.get("zarr_format") != 3 or not set(metadata) <= _KNOWN_V3 or metadata.get("storage_transformers"):
        return None
    shape = _lengths(metadata.get("shape"))
    grid, encoding, stored = metadata.get("chunk_grid"), metadata.get("chunk_key_encoding"), metadata.get("data_type")
    if not isinstance(grid, dict) or grid.get("name") != "regular" or not isinstance(encoding, dict) or not isinstance(stored, str):
        return None
    chunks = _lengths(_settings(grid).get("chunk_shape"), len(shape))
    prefix, usual = {"default": ("c", "/"), "v2": ("", ".")}.get(str(encoding.get("name")), ("", ""))
    separator = _settings(encoding).get("separator", usual)
    if not usual or separator not in (".", "/"):
        return None
    dtype = np.dtype(stored)
    if dtype.name != stored:  # in Zarr 3 types have names, and no byte order
        return None
    shards, index, codecs = None, None, metadata.get("codecs")
    if isinstance(codecs, list) and len(codecs) == 1 and isinstance(codecs[0], dict) and codecs[0].get("name") == "sharding_indexed":
        sharding = _settings(codecs[0])
        shards, chunks, codecs = chunks, _lengths(sharding.get("chunk_shape"), len(shape)), sharding.get("codecs")
        index = _index(sharding)
        if index is None or any(shard % chunk for shard, chunk in zip(shards, chunks, strict=True)):
            return None
    codec = codec_of_v3(codecs, len(shape))
    if codec is None:
        return None
    fill = _fill(metadata.get("fill_value"), dtype)
    return Layout("zarr.json", shape, dtype, chunks, shards, codec, index, fill, prefix + separator if prefix else "", separator)


def _index(sharding: Mapping[str, Any]) -> ShardIndex | None:
    codecs, place = sharding.get("index_codecs"), sharding.get("index_location", "end")
    if not isinstance(codecs, list) or not all(isinstance(codec, dict) for codec in codecs) or place not in ("start", "end"):
        return None
    names = tuple(codec.get("name") for codec in codecs)
    if names not in _INDEX_CODECS or _settings(codecs[0]).get("endian", "little") != "little":
        return None
    return ShardIndex(place == "start", "crc32c" in names)


def _settings(described: Mapping[str, Any]) -> Mapping[str, Any]:
    found = described.get("configuration", {})
    if not isinstance(found, dict):
        raise TypeError(f"a configuration is no object: {found}")
    return found


def _lengths(found: object, ndim: int | None = None) -> tuple[int, ...]:
    """Return lengths of at least 1, as many as are due."""
    if not isinstance(found, list) or not found or (ndim is not None and len(found) != ndim):
        raise ValueError(f"not the lengths of the axes: {found}")
    if any(type(length) is not int or length < 1 for length in found):
        raise ValueError(f"not the lengths of the axes: {found}")
    return tuple(found)


def _fill(found: object, dtype: np.dtype[Any]) -> Any:
    """Return the fill value; a float may be called by its name, or by its bits as ``"0x7fc00000"``."""
    if isinstance(found, str) and dtype.kind == "f":
        if found.startswith("0x"):
            return np.frombuffer(int(found, 16).to_bytes(dtype.itemsize, "big"), dtype.newbyteorder(">"))[0].astype(dtype)
        return (
            dtype.type({"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}[found])
            if found in ("NaN", "Infinity", "-Infinity")
            else _no_fill(found)
        )
    if isinstance(found, bool) or not isinstance(found, int | float):
        return _no_fill(found)
    fill = dtype.type(found)
    return fill if dtype.kind == "f" or fill == found else _no_fill(found)


def _no_fill(found: object) -> Any:
    raise ValueError(f"no fill value: {found}")
