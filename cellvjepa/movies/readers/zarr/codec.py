"""How the bytes of a Zarr chunk become pixels: the codecs that decode into a buffer that is already there, and let other threads run meanwhile.

A chunk cannot make us allocate anything: its size is known from the metadata, and what decodes to another size is damaged.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import google_crc32c
import imagecodecs
import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]

CRC_BYTES = 4

_decoders: Any = imagecodecs  # typed as if for bytes alone; an array will do, too
_crc32c: Any = google_crc32c.value

_COMPRESSORS = ("blosc", "zstd", "lz4", "gzip", "zlib")
_BLOSC_HEADER = struct.Struct("<BBBBIII")  # version, version of the compressor, flags, item size, decoded, block and encoded bytes
_BLOSC_KINDS = ("blosclz", "lz4", "lz4hc", "zlib", "zstd", None)  # snappy is not in every build


@dataclass(frozen=True)
class Codec:
    """What was done to a chunk when it was written.

    Parameters
    ----------
    compressor
        ``"blosc"``, ``"zstd"``, ``"lz4"``, ``"gzip"``, ``"zlib"``, or None.
    has_crc
        Whether a CRC-32C of the compressed bytes follows them.
    order
        The axes of the array in the order in which they lie in the chunk.
    big_endian
        Whether its pixels are.
    """

    compressor: str | None
    has_crc: bool
    order: tuple[int, ...]
    big_endian: bool

    @property
    def is_plain(self) -> bool:
        """Whether the bytes in the file are the pixels."""
        return self.compressor is None and not self.has_crc

    def decode(self, encoded: Bytes, out: Bytes) -> None:
        """Decode a chunk.

        Parameters
        ----------
        encoded
            One-dimensional: all the bytes of the chunk.
        out
            One-dimensional, contiguous: as many bytes as the chunk has pixels in it; all of it is written.

        Raises
        ------
        ValueError
            If the chunk is damaged, or says that it decodes to another size.
        """
        if self.has_crc:
            encoded = checked(encoded)
        try:
            there = _decompress(self.compressor, encoded, out)
        except (RuntimeError, TypeError, MemoryError) as error:  # what imagecodecs raises
            raise ValueError(f"its {self.compressor} data is damaged: {error}") from error
        if there != out.size:
            raise ValueError(f"it decodes to {there:,} bytes where {out.size:,} are due")


def checked(encoded: Bytes) -> Bytes:
    """Return the bytes before the CRC-32C at their end.

    Raises
    ------
    ValueError
        If they have another sum.
    """
    if encoded.size < CRC_BYTES:
        raise ValueError(f"it has {encoded.size} bytes, too few for a checksum")
    body, stored = encoded[:-CRC_BYTES], int.from_bytes(encoded[-CRC_BYTES:].tobytes(), "little")
    if _crc32c(body) != stored:
        raise ValueError("its checksum is wrong")
    return body


def codec_of_v2(metadata: Mapping[str, Any], ndim: int) -> Codec | None:
    """Read the codec of a Zarr 2 array; None if it is not one of ours."""
    compressor, dtype = metadata.get("compressor"), metadata.get("dtype")
    order = {"C": tuple(range(ndim)), "F": tuple(reversed(range(ndim)))}.get(str(metadata.get("order", "C")))
    if metadata.get("filters") or order is None or not isinstance(dtype, str):
        return None
    name = None
    if compressor is not None:
        name = _compressor(compressor.get("id"), compressor) if isinstance(compressor, dict) else None
        if name is None:
            return None
    return Codec(name, has_crc=False, order=order, big_endian=dtype.startswith(">"))


def codec_of_v3(codecs: object, ndim: int) -> Codec | None:
    """Read the codec of a Zarr 3 array, or of the chunks in its shards; None if it is not one of ours."""
    order, big_endian, compressor, has_crc = tuple(range(ndim)), None, None, False
    for codec in codecs if isinstance(codecs, list) else ():
        settings = codec.get("configuration", {}) if isinstance(codec, dict) else None
        if not isinstance(settings, dict):
            return None
        name = codec.get("name")
        if name == "transpose" and big_endian is None:
            wanted = settings.get("order")
            if not isinstance(wanted, list) or sorted(map(str, wanted)) != sorted(map(str, range(ndim))):
                return None
            order = tuple(order[int(axis)] for axis in wanted)
        elif name == "bytes" and big_endian is None:
            big_endian = {"little": False, "big": True}.get(str(settings.get("endian", "little")))
            if big_endian is None:
                return None
        elif name == "crc32c" and big_endian is not None and not has_crc:
            has_crc = True
        elif big_endian is not None and compressor is None and not has_crc:
            compressor = _compressor(str(name).removeprefix("numcodecs."), settings)
            if compressor is None:
                return None
        else:
            return None
    return None if big_endian is None else Codec(compressor, has_crc, order, big_endian)


def _compressor(name: object, settings: Mapping[str, Any]) -> str | None:
    known = name in _COMPRESSORS and (name != "blosc" or settings.get("cname") in _BLOSC_KINDS)
    return str(name) if known else None


def _decompress(compressor: str | None, encoded: Bytes, out: Bytes) -> int:
    """Decode into ``out`` and return how many bytes there were."""
    if encoded.size == 0:
        return 0  # some decoders take nothing for nothing wrong
    if compressor == "blosc":
        _check_blosc(encoded, out.size)
        return len(_decoders.blosc_decode(encoded, out=out, numthreads=1))
    if compressor == "zstd":
        return len(_decoders.zstd_decode(encoded, out=out))
    if compressor == "lz4":
        claimed = int.from_bytes(encoded[:4].tobytes(), "little")
        return len(_decoders.lz4_decode(encoded[4:], out=out)) if claimed == out.size and encoded.size > 4 else claimed
    if compressor == "gzip":
        return len(_decoders.gzip_decode(encoded, out=out))
    if compressor == "zlib":
        return len(_decoders.deflate_decode(encoded, out=out))
    if encoded.size == out.size:
        out[:] = encoded
    return encoded.size


def _check_blosc(encoded: Bytes, due: int) -> None:
    """Refuse a header that is wrong: the decoder is not told how many bytes there are, and believes it."""
    if encoded.size < _BLOSC_HEADER.size:
        raise ValueError(f"it has {encoded.size} bytes, too few for blosc data")
    version, _, _, _, decoded, block, there = _BLOSC_HEADER.unpack(encoded[: _BLOSC_HEADER.size].tobytes())
    if version != 2:  # of the format; all of Blosc 1 since 2012
        raise ValueError("its blosc data is damaged: unknown version")
    if there != encoded.size:
        raise ValueError(f"its blosc data claims {there:,} bytes, but has {encoded.size:,}")
    if decoded != due or block > max(decoded, 1):
        raise ValueError(f"it decodes to {decoded:,} bytes where {due:,} are due")
