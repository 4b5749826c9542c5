"""Our decoder of Zarr chunks gives what zarr-python gives, whatever the format, the codec and the part."""

from __future__ import annotations

import itertools
import json
import pickle
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec

from cellvjepa.movies.readers.zarr.chunks import ChunkedArray, open_chunks

Array = np.ndarray[Any, Any]

V2_CODECS: dict[str, Any] = {
    "none": None,
    "blosc": numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE),
    "blosc zstd": numcodecs.Blosc("zstd", 1, numcodecs.Blosc.BITSHUFFLE),
    "zstd": numcodecs.Zstd(1),
    "lz4": numcodecs.LZ4(),
    "gzip": numcodecs.GZip(1),
    "zlib": numcodecs.Zlib(1),
}
V3_CODECS: dict[str, Any] = {
    "none": [],
    "crc": [Crc32cCodec()],
    "blosc": [BloscCodec(cname="lz4", shuffle="bitshuffle")],
    "zstd": [ZstdCodec(level=1)],
    "zstd with its own checksum": [ZstdCodec(level=1, checksum=True)],
    "gzip": [GzipCodec(level=1)],
    "zstd and crc": [ZstdCodec(level=1), Crc32cCodec()],
}
DTYPES = ("uint8", "int16", "uint16", "uint32", "float32", "float64")


def opened(folder: Path) -> ChunkedArray:
    found = [folder / name for name in ("zarr.json", ".zarray") if (folder / name).is_file()]
    array = open_chunks(folder, json.loads(found[0].read_bytes()))
    assert array is not None
    return array


def everything(array: ChunkedArray) -> Array:
    return array.read(tuple(slice(0, length, 1) for length in array.shape))


@st.composite
def written(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[slice, ...], tuple[slice, ...]]:
    """Draw what :func:`zarr.create_array` is told, the part that is written to it, and the part that is read."""
    shape = tuple(draw(st.lists(st.integers(1, 17), min_size=1, max_size=4)))
    chunks = tuple(draw(st.integers(1, length + 3)) for length in shape)
    dtype = draw(st.sampled_from(DTYPES))
    fills = st.sampled_from([0.0, 1.5, float("nan"), float("inf")]) if dtype.startswith("f") else st.integers(0, 99)
    how: dict[str, Any] = {"shape": shape, "chunks": chunks, "fill_value": draw(fills), "config": {"write_empty_chunks": draw(st.booleans())}}
    big = draw(st.booleans())
    if draw(st.booleans()):
        how |= {"zarr_format": 2, "dtype": np.dtype(dtype).newbyteorder(">" if big else "<"), "order": draw(st.sampled_from("CF"))}
        how |= {"chunk_key_encoding": {"name": "v2", "separator": draw(st.sampled_from("./"))}}
        how["compressors"] = V2_CODECS[draw(st.sampled_from(sorted(V2_CODECS)))]
    else:
        encoding = {"name": draw(st.sampled_from(["default", "v2"])), "separator": draw(st.sampled_from("./"))}
        how |= {"zarr_format": 3, "dtype": dtype, "chunk_key_encoding": encoding}
        how["serializer"] = BytesCodec(endian="big" if big else "little")
        how["filters"] = [TransposeCodec(order=draw(st.permutations(range(len(shape)))))] if draw(st.booleans()) else None
        how["compressors"] = V3_CODECS[draw(st.sampled_from(sorted(V3_CODECS)))]
        if draw(st.booleans()):
            shards = tuple(chunk * draw(st.integers(1, 3)) for chunk in chunks)
            how["shards"] = {"shape": shards, "index_location": draw(st.sampled_from(["start", "end"]))}
    return how, tuple(draw(part_of(length)) for length in shape), tuple(draw(part_of(length)) for length in shape)


@st.composite
def part_of(draw: st.DrawFn, length: int) -> slice:
    start = draw(st.integers(0, length - 1))
    return slice(start, draw(st.integers(start, length)), draw(st.integers(1, 5)))


@settings(deadline=None, max_examples=150)
@given(written())
def test_any_part_of_any_array_is_what_zarr_reads(drawn: tuple[dict[str, Any], tuple[slice, ...], tuple[slice, ...]]) -> None:
    how, region, part = drawn
    with tempfile.TemporaryDirectory() as folder:
        array = zarr.create_array(folder, **how)
        due = np.full(how["shape"], how["fill_value"], np.dtype(how["dtype"]).newbyteorder("="))
        due[region] = np.arange(due[region].size).reshape(due[region].shape) % 251
        array[region] = due[region]

        ours = opened(Path(folder))
        found = ours.read(part)

        assert found.dtype == ours.dtype == due.dtype
        np.testing.assert_array_equal(found, due[part])
        np.testing.assert_array_equal(found, array[part])
        assert (ours.shape, ours.chunks, ours.shards) == (array.shape, array.chunks, array.shards)


@pytest.mark.parametrize("fill", [None, "NaN", "-Infinity", "0x7fc00000", 2.5])
def test_the_fill_value_may_be_written_as_zarr_allows(tmp_path: Path, fill: Any) -> None:
    v3 = isinstance(fill, str) and fill.startswith("0x")
    array = zarr.create_array(str(tmp_path / "a"), shape=(3,), chunks=(2,), dtype="float32", zarr_format=3 if v3 else 2)
    file = tmp_path / "a" / ("zarr.json" if v3 else ".zarray")
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"fill_value": fill}))
    array = zarr.open_array(str(tmp_path / "a"), mode="r")
    np.testing.assert_array_equal(everything(opened(tmp_path / "a")), array[:])


@pytest.mark.parametrize("codec", ["blosc", "zstd", "lz4", "gzip", "zlib"])
def test_the_codecs_of_numcodecs_in_zarr_3_are_known(tmp_path: Path, codec: str) -> None:
    zarr.create_array(str(tmp_path / "a"), shape=(40, 50), chunks=(40, 50), dtype="uint16", compressors=None)[...] = 7
    file, chunk = tmp_path / "a" / "zarr.json", tmp_path / "a" / "c" / "0" / "0"
    metadata = json.loads(file.read_bytes())
    settings = {"cname": "lz4"} if codec == "blosc" else {}
    metadata["codecs"].append({"name": f"numcodecs.{codec}", "configuration": settings})
    file.write_text(json.dumps(metadata))
    chunk.write_bytes(V2_CODECS[codec].encode(chunk.read_bytes()))
    assert (everything(opened(tmp_path / "a")) == 7).all()


def test_only_the_chunks_that_are_touched_are_read(tmp_path: Path) -> None:
    array = zarr.create_array(str(tmp_path / "a"), shape=(12, 8), chunks=(2, 4), dtype="uint8")
    array[...] = 3
    for chunk in (tmp_path / "a" / "c").rglob("*"):
        if chunk.is_file() and chunk.relative_to(tmp_path / "a" / "c").as_posix() not in ("0/1", "3/1"):
            chunk.write_bytes(b"")
    assert (opened(tmp_path / "a").read((slice(1, 12, 6), slice(5, 8, 1))) == 3).all()


def test_several_threads_read_the_same_and_leave_nothing_open(tmp_path: Path, nothing_left_open: None) -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (24, 70, 90)).astype("uint16")
    zarr.create_array(str(tmp_path / "a"), data=pixels, chunks=(4, 16, 16), shards=(8, 64, 32))
    ours = opened(tmp_path / "a")
    parts = [
        (slice(t, t + 9, 1), slice(y, y + 33, 2), slice(x, x + 40, 1))
        for t, y, x in itertools.product(range(0, 16, 5), range(0, 38, 9), range(0, 51, 10))
    ]
    with ThreadPoolExecutor(8) as pool:
        for part, found in zip(parts, pool.map(ours.read, parts), strict=True):
            np.testing.assert_array_equal(found, pixels[part])


def test_it_pickles_as_an_address(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "a"), shape=(300, 300), chunks=(100, 100), dtype="uint16")[...] = 5
    pickled = pickle.dumps(opened(tmp_path / "a"))
    assert len(pickled) < 1000
    assert (everything(pickle.loads(pickled)) == 5).all()  # noqa: S301 - our own


def _metadata(**changes: Any) -> dict[str, Any]:
    """Return what ``zarr.json`` holds, changed."""
    sound = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [4, 6],
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
        "chunk_key_encoding": {"name": "default"},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }
    return sound | changes


def _metadata_2(**changes: Any) -> dict[str, Any]:
    sound = {"zarr_format": 2, "shape": [4, 6], "chunks": [2, 3], "dtype": "<u2", "compressor": None, "fill_value": 0, "order": "C", "filters": None}
    return sound | changes


def _sharded(**changes: Any) -> dict[str, Any]:
    plain = {"name": "bytes", "configuration": {"endian": "little"}}
    sharding = {"chunk_shape": [1, 3], "codecs": [plain], "index_codecs": [plain, {"name": "crc32c"}]} | changes
    return _metadata(codecs=[{"name": "sharding_indexed", "configuration": sharding}])


def test_the_metadata_that_the_next_test_changes_is_sound() -> None:
    for metadata in (_metadata(), _metadata_2(), _sharded()):
        assert open_chunks(Path("anywhere"), metadata) is not None


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        _metadata(zarr_format=4),
        _metadata(shape=None),
        _metadata(shape=[4]),
        _metadata(shape=[4, -6]),
        _metadata(shape=[4, True]),
        _metadata(shape=[]),
        _metadata(data_type="string"),
        _metadata(data_type=">u2"),
        _metadata(data_type="(1,"),
        _metadata(data_type={"name": "numpy.datetime64"}),
        _metadata(data_type="complex64"),
        _metadata(chunk_grid={"name": "rectilinear"}),
        _metadata(chunk_grid={"name": "regular", "configuration": []}),
        _metadata(chunk_grid={"name": "regular", "configuration": {"chunk_shape": [2**20, 2**20]}}),
        _metadata(chunk_key_encoding={"name": "fanciful"}),
        _metadata(chunk_key_encoding={"name": "default", "configuration": {"separator": "/../../"}}),
        _metadata(fill_value=70000),
        _metadata(fill_value="NaN"),
        _metadata(fill_value=None),
        _metadata(codecs=[]),
        _metadata(codecs=["bytes"]),
        _metadata(codecs=[{"name": "zstd"}]),
        _metadata(codecs=[{"name": "bytes"}, {"name": "packed_by_us"}]),
        _metadata(codecs=[{"name": "bytes", "configuration": {"endian": "middle"}}]),
        _metadata(codecs=[{"name": "transpose", "configuration": {"order": [0, 0]}}, {"name": "bytes"}]),
        _metadata(codecs=[{"name": "bytes"}, {"name": "blosc", "configuration": {"cname": "snappy"}}]),
        _metadata(storage_transformers=[{"name": "anything"}]),
        _metadata(an_extension={"name": "that we do not know"}),
        _metadata_2(dtype=[["r", "<u2"], ["g", "<u2"]]),
        _metadata_2(dtype="|S4"),
        _metadata_2(dtype="|O"),
        _metadata_2(filters=[{"id": "delta"}]),
        _metadata_2(compressor={"id": "lzma"}),
        _metadata_2(compressor="zstd"),
        _metadata_2(dimension_separator="\\"),
        _metadata_2(order="K"),
        _sharded(chunk_shape=[2, 2]),
        _sharded(index_location="middle"),
        _sharded(index_codecs=[{"name": "bytes"}, {"name": "zstd"}]),
        _sharded(index_codecs=None),
        _sharded(codecs=[{"name": "sharding_indexed"}]),
    ],
    ids=lambda metadata: json.dumps(metadata)[:60],
)
def test_what_is_not_supported_is_left_to_zarr(metadata: dict[str, Any]) -> None:
    assert open_chunks(Path("anywhere"), metadata) is None


def test_a_sharding_codec_of_zarr_is_what_we_take_it_for(tmp_path: Path) -> None:
    """What zarr-python calls a sharded array, spelt out as a codec."""
    codec = ShardingCodec(chunk_shape=(2, 2), codecs=[BytesCodec(), ZstdCodec()], index_codecs=[BytesCodec()])
    zarr.create_array(str(tmp_path / "a"), shape=(8, 8), chunks=(4, 4), dtype="uint8", serializer=codec, compressors=None)[...] = 9
    ours = opened(tmp_path / "a")
    assert (ours.chunks, ours.shards) == ((2, 2), (4, 4))
    assert (everything(ours) == 9).all()
