"""Damaged chunks of Zarr arrays: a ValueError that names the chunk; nothing is allocated, followed or waited for on their word."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from cellvjepa.movies.readers.zarr.chunks import ChunkedArray, open_chunks
from cellvjepa.movies.readers.zarr.codec import Codec

Array = np.ndarray[Any, Any]

PIXELS = np.random.default_rng(0).poisson(200, (8, 32, 32)).astype("uint16")
WHOLE = tuple(slice(0, length, 1) for length in PIXELS.shape)
CHUNK = "c/0/0/0"

ENCODERS: dict[str, Callable[[Array], bytes]] = {
    "blosc": numcodecs.Blosc("lz4", 5, numcodecs.Blosc.BITSHUFFLE).encode,
    "zstd": numcodecs.Zstd(1).encode,
    "lz4": numcodecs.LZ4().encode,
    "gzip": numcodecs.GZip(1).encode,
    "zlib": numcodecs.Zlib(1).encode,
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., tuple[ChunkedArray, Path]]:
    """Write an array of two chunks, or of two shards with four chunks each; return it and the file of the first."""

    def write(*compressors: Any, shards: tuple[int, ...] | None = None) -> tuple[ChunkedArray, Path]:
        folder = tmp_path / "a"
        zarr.create_array(str(folder), data=PIXELS, chunks=(4, 32, 32) if shards is None else (4, 16, 16), shards=shards, compressors=compressors)
        array = open_chunks(folder, json.loads((folder / "zarr.json").read_bytes()))
        assert array is not None
        return array, folder / CHUNK

    return write


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", r"chunk c/0/0/0: it is empty \(0 bytes\)"),
        (b"no such thing" * 50, "chunk c/0/0/0: its zstd data is damaged"),
        (bytes(2**18), r"chunk c/0/0/0: it has 262,144 bytes, but decoded it would have 8,192"),
        (numcodecs.Zstd(1).encode(PIXELS), "chunk c/0/0/0: its zstd data is damaged: .* too small"),
        (numcodecs.Zstd(1).encode(PIXELS[:1]), "chunk c/0/0/0: it decodes to 2,048 bytes where 8,192 are due"),
    ],
)
def test_a_damaged_chunk_is_named(write: Callable[..., tuple[ChunkedArray, Path]], contents: bytes, message: str, nothing_left_open: None) -> None:
    array, chunk = write(ZstdCodec())
    chunk.write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        array.read(WHOLE)
    np.testing.assert_array_equal(array.read((slice(4, 8, 1), *WHOLE[1:])), PIXELS[4:])  # the other chunk is as good as before


def test_an_uncompressed_chunk_of_another_size_is_damaged(write: Callable[..., tuple[ChunkedArray, Path]]) -> None:
    array, chunk = write()
    chunk.write_bytes(chunk.read_bytes()[:-2])
    with pytest.raises(ValueError, match="it has 8,190 bytes where 8,192 are due"):
        array.read(WHOLE)


def test_a_wrong_checksum_is_damage(write: Callable[..., tuple[ChunkedArray, Path]]) -> None:
    array, chunk = write(ZstdCodec(), Crc32cCodec())
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    with pytest.raises(ValueError, match="c/0/0/0: its checksum is wrong"):
        array.read(WHOLE)
    chunk.write_bytes(b"abc")
    with pytest.raises(ValueError, match="too few for a checksum"):
        array.read(WHOLE)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (4, 2**31 - 1, "it decodes to 2,147,483,647 bytes where 8,192 are due"),
        (4, 8190, "it decodes to 8,190 bytes"),
        (8, 2**30, "it decodes to"),  # blocks larger than the whole
        (12, 2**20, "claims 1,048,576 bytes, but has"),
        (12, 17, "claims 17 bytes"),
        (0, 255, "unknown version"),
    ],
)
def test_a_blosc_header_is_not_believed(write: Callable[..., tuple[ChunkedArray, Path]], place: int, value: int, message: str) -> None:
    array, chunk = write(BloscCodec(cname="lz4"))
    data = bytearray(chunk.read_bytes())
    struct.pack_into("<I", data, place, value)
    chunk.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        array.read(WHOLE)
    chunk.write_bytes(data[:12])
    with pytest.raises(ValueError, match="too few for blosc"):
        array.read(WHOLE)


def _shards(write: Callable[..., tuple[ChunkedArray, Path]]) -> tuple[ChunkedArray, Path, bytearray, int]:
    """Return a sharded array, the first shard, its bytes, and where its index begins."""
    array, shard = write(ZstdCodec(), shards=(4, 32, 32))
    data = bytearray(shard.read_bytes())
    return array, shard, data, len(data) - 4 * 16 - 4


def _sum_again(data: bytearray, begin: int) -> None:
    data[-4:] = google_crc32c.value(bytes(data[begin:-4])).to_bytes(4, "little")


def test_a_damaged_shard_is_named(write: Callable[..., tuple[ChunkedArray, Path]], nothing_left_open: None) -> None:
    array, shard, data, begin = _shards(write)
    np.testing.assert_array_equal(array.read(WHOLE), PIXELS)
    for contents, message in (
        (data[: begin + 9], "the index of the shard is damaged: its checksum is wrong"),
        (data[:20], "the shard has 20 bytes, too few for its index"),
        (b"", "the shard has 0 bytes, too few for its index"),
    ):
        shard.write_bytes(contents)
        with pytest.raises(ValueError, match=f"chunk c/0/0/0: {message}"):
            array.read(WHOLE)


@pytest.mark.parametrize(
    ("offset", "length", "message"),
    [
        (2**63, 10, "the index places it at bytes 9,223,372,036,854,775,808 to"),
        (0, 2**40, "but the file has"),
        (2**64 - 1, 5, "the index places it"),
        (0, 0, "it is empty"),
    ],
)
def test_an_index_that_points_out_of_its_shard_is_refused(
    write: Callable[..., tuple[ChunkedArray, Path]], offset: int, length: int, message: str
) -> None:
    array, shard, data, begin = _shards(write)
    struct.pack_into("<QQ", data, begin + 16, offset, length)
    _sum_again(data, begin)
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        array.read(WHOLE)


def test_a_chunk_that_its_shard_does_not_have_is_filled(write: Callable[..., tuple[ChunkedArray, Path]]) -> None:
    array, shard, data, begin = _shards(write)
    struct.pack_into("<QQ", data, begin + 16, 2**64 - 1, 2**64 - 1)
    _sum_again(data, begin)
    shard.write_bytes(data)
    due = PIXELS.copy()
    due[:4, :16, 16:] = 0
    np.testing.assert_array_equal(array.read(WHOLE), due)


def test_no_link_leads_out_of_the_array(write: Callable[..., tuple[ChunkedArray, Path]], tmp_path: Path) -> None:
    array, chunk = write(ZstdCodec())
    outside = tmp_path / "outside"
    chunk.rename(outside)
    chunk.symlink_to(outside)
    with pytest.raises(ValueError, match="c/0/0/0: it is a link that leads out of the array"):
        array.read(WHOLE)
    chunk.unlink()
    chunk.symlink_to(chunk)
    with pytest.raises(ValueError, match="c/0/0/0: it is a link that leads nowhere"):
        array.read(WHOLE)
    chunk.unlink()
    outside.rename(tmp_path / "a" / "inside")
    chunk.symlink_to(tmp_path / "a" / "inside")
    np.testing.assert_array_equal(array.read(WHOLE), PIXELS)
    (tmp_path / "a" / "inside").unlink()
    with pytest.raises(ValueError, match="leads nowhere"):
        array.read(WHOLE)


def test_a_folder_that_is_a_link_may_not_lead_out_either(write: Callable[..., tuple[ChunkedArray, Path]], tmp_path: Path) -> None:
    array, _ = write(ZstdCodec())
    (tmp_path / "a" / "c").rename(tmp_path / "elsewhere")
    (tmp_path / "a" / "c").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="leads out of the array"):
        array.read(WHOLE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes on this system")
def test_nothing_but_a_file_is_opened(write: Callable[..., tuple[ChunkedArray, Path]]) -> None:
    array, chunk = write(ZstdCodec())
    chunk.unlink()
    os.mkfifo(chunk)  # who opens it waits until somebody writes into it
    with pytest.raises(ValueError, match="it is not a file"):
        array.read(WHOLE)
    chunk.unlink()
    chunk.mkdir()
    with pytest.raises(ValueError, match="it is not a file"):
        array.read(WHOLE)
    chunk.rmdir()
    chunk.parent.rmdir()
    chunk.parent.write_bytes(b"")
    with pytest.raises(ValueError, match="a file where its folder should be"):
        array.read(WHOLE)


def test_a_disk_that_goes_away_is_no_empty_image(write: Callable[..., tuple[ChunkedArray, Path]], tmp_path: Path) -> None:
    array, chunk = write(ZstdCodec())
    chunk.unlink()
    assert not array.read(WHOLE)[:4].any()  # a chunk that was not written is filled
    (tmp_path / "a").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="not there any more") as caught:
        array.read(WHOLE)
    assert caught.value.errno == errno.ENOENT


def test_a_file_that_may_not_be_read_stays_an_error_of_the_system(
    write: Callable[..., tuple[ChunkedArray, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    array, _ = write(ZstdCodec())

    def stale(path: str) -> os.stat_result:
        raise OSError(errno.ESTALE, "Stale file handle", path)

    monkeypatch.setattr(os, "lstat", stale)
    with pytest.raises(OSError, match="Stale file handle"):
        array.read(WHOLE)


@settings(deadline=None, max_examples=400)
@given(codec=st.sampled_from(sorted(ENCODERS)), at=st.integers(0, 2**16), value=st.integers(1, 255), cut=st.integers(0, 200), head=st.booleans())
def test_flipped_bits_and_cut_ends_give_pixels_or_a_clear_error(codec: str, at: int, value: int, cut: int, head: bool) -> None:
    data = bytearray(ENCODERS[codec](PIXELS))
    data[at % (24 if head else len(data))] ^= value
    encoded = np.frombuffer(bytes(data[: len(data) - cut // 4]), np.uint8)
    out = np.zeros(PIXELS.nbytes, np.uint8)
    tracemalloc.start()
    try:
        with contextlib.suppress(ValueError):
            Codec(codec, has_crc=False, order=(0, 1, 2), big_endian=False).decode(encoded, out)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
