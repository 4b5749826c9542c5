"""OME-Zarr stores that are damaged, or want to be: a line with a remedy, no crash, no endless wait, no giant allocation."""

from __future__ import annotations

import json
import os
import shutil
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.readers import open_archive, open_movie
from cellvjepa.movies.readers.zarr import folder as zarr_folder

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteZarr = Callable[..., Path]
VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Fail a test that allocates much, or takes long."""
    tracemalloc.start()
    begin = time.monotonic()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26, f"{peak:,} bytes"
    assert time.monotonic() - begin < 10


def edit_array(image: Path, change: dict[str, Any], level: str = "0") -> None:
    (path,) = (image / level / name for name in (".zarray", "zarr.json") if (image / level / name).exists())
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def grid(version: str, chunks: list[Any]) -> dict[str, Any]:
    return {"chunks": chunks} if version == "0.4" else {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}}}


def chunk(image: Path, version: str, *index: int) -> Path:
    return image / "0" / (".".join(map(str, index)) if version == "0.4" else "c/" + "/".join(map(str, index)))


@VERSIONS
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x28\xb5\x2f\xfd" + b"\xff" * 12, b"\x02\x01\x33\x02" + b"\xff" * 60])
def test_a_damaged_chunk_is_named_and_the_others_are_read(
    write_zarr: WriteZarr, told: Told, little_memory: None, version: str, content: bytes
) -> None:
    array = told(3, 8, 8)
    image = write_zarr(array, "tyx", version, chunks=(1, 8, 8))
    chunk(image, version, 1, 0, 0).write_bytes(content)
    movie = open_movie(image)
    with pytest.raises(UserError, match=r"movie\.zarr: the pixels from T=1, C=0, Z=0, Y=0, X=0 on cannot be read \(.+\)\. copy the store again"):
        movie.pixels[1]
    np.testing.assert_array_equal(movie.pixels[::2, 0, 0], array[::2])


@pytest.mark.parametrize("left", [0, 1, 40, -1])
def test_a_truncated_shard_is_named(write_zarr: WriteZarr, told: Told, little_memory: None, left: int) -> None:
    image = write_zarr(told(4, 32, 32), "tyx", chunks=(1, 16, 16), shards=(2, 32, 32))
    shard = image / "0/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:left])
    movie = open_movie(image)
    with pytest.raises(UserError, match="the pixels from T=0, C=0, Z=0, Y=0, X=0 on cannot be read"):
        movie.pixels[0]
    np.testing.assert_array_equal(movie.pixels[2:, 0, 0], told(4, 32, 32)[2:])


@VERSIONS
@pytest.mark.parametrize(
    ("shape", "chunks", "message"),
    [
        ([2**20, 2**10, 2**10], [1, 2**10, 2**10], r"the array claims 1,048,576 chunks, but 3 are there\. copy the store again"),
        ([2**20, 2**20, 1], [2**20, 2**20, 1], r"one chunk claims 1048576 x 1048576 x 1 pixels\. write it again with smaller chunks"),
        ([2**60, 1, 1], [1, 1, 1], "the shape of the array 0 cannot be"),
        ([10**5000, 1, 1], [1, 1, 1], "the metadata cannot be read|the shape of the array 0 cannot be"),
        ([-3, 8, 8], [1, 8, 8], "the shape of the array 0 cannot be"),
        ([3.5, 8, 8], [1, 8, 8], "the shape of the array 0 cannot be"),
        ([3, 8, True], [1, 8, 8], "the shape of the array 0 cannot be"),
        ("big", [1, 8, 8], "the shape of the array 0 cannot be"),
        ([0, 8, 8], [1, 8, 8], "the array is empty"),
        ([3, 8, 8], [1, 8, 0], "the chunks of the array 0 cannot be"),
        ([3, 8, 8], [1, 8], "the array 0 has 3 axes, but its chunks have 2"),
        ([3, 8, 8], None, "the chunks of the array 0 cannot be"),
        ([1] * 99, [1] * 99, "the shape of the array 0 cannot be"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    write_zarr: WriteZarr, told: Told, little_memory: None, version: str, shape: Any, chunks: Any, message: str
) -> None:
    image = write_zarr(told(3, 8, 8), "tyx", version, chunks=(1, 8, 8))
    text = json.dumps({"shape": shape if shape != [10**5000, 1, 1] else "HUGE", **grid(version, chunks)})
    path = image / "0" / (".zarray" if version == "0.4" else "zarr.json")
    merged = json.dumps(json.loads(path.read_text()) | json.loads(text))
    path.write_text(merged.replace('"HUGE"', "[1" + "0" * 5000 + ", 1, 1]"))
    with pytest.raises(UserError, match=message) as caught:
        open_movie(image)
    assert len(str(caught.value)) < 500


def test_a_shard_of_countless_chunks_is_refused(write_zarr: WriteZarr, told: Told, little_memory: None) -> None:
    image = write_zarr(told(4, 32, 32), "tyx", chunks=(1, 16, 16), shards=(4, 32, 32))
    edit_array(image, {"shape": [2**20, 2**10, 2**10], **grid("0.5", [2**20, 2**10, 2**10])})
    with pytest.raises(UserError, match=r"one shard claims 4,294,967,296 chunks\. write it again with smaller shards"):
        open_movie(image)


@VERSIONS
def test_a_nearly_empty_array_is_legal_and_says_so(write_zarr: WriteZarr, told: Told, version: str) -> None:
    image = write_zarr(told(3, 8, 8) + 1, "tyx", version, chunks=(1, 1, 1))
    edit_array(image, {"shape": [300, 8, 8]})
    movie = open_movie(image)
    assert "chunks" not in " ".join(problem.what for problem in movie.problems)
    assert not movie.pixels[200].any()
    edit_array(image, {"shape": [9000, 8, 8]})
    (problem,) = (problem for problem in open_movie(image).problems if "chunks" in problem.what)
    assert problem.what == "the array claims 576,000 chunks, but 192 are there"
    assert problem.remedy == "the rest is read as empty; if it should not be, copy the store again"
    with_none = image / "0"
    for path in with_none.rglob("*"):
        if path.is_file() and path.name not in zarr_folder.METADATA_FILES:
            path.unlink()
    with pytest.raises(UserError, match="the array claims 576,000 chunks, but 0 are there"):
        open_movie(image)


def test_counting_chunks_looks_at_no_more_than_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        (tmp_path / f"0.{number}").touch()
        (tmp_path / f"empty{number}").mkdir()
    (tmp_path / ".zarray").touch()
    folder = zarr_folder.LocalFolder(tmp_path)
    assert [folder.count_files(most) for most in (1, 7, 1000)] == [1, 7, 300]
    monkeypatch.setattr(zarr_folder, "_MOST_ENTRIES", 50)
    assert folder.count_files(1000) <= 50


@VERSIONS
@pytest.mark.parametrize("path", ["../other.zarr/0", "/etc", "0/../../other.zarr/0", "..", "C:\\data\\0", "0\\..\\..\\other.zarr\\0"])
def test_a_path_may_not_leave_the_image(write_zarr: WriteZarr, told: Told, version: str, path: str) -> None:
    write_zarr(told(3, 8, 8), "tyx", version, store="other.zarr")
    image = point_to(write_zarr(told(3, 8, 8), "tyx", version), path)
    with pytest.raises(UserError, match=r"the metadata points out of the image, to .*tampered|does not say where the pixels are"):
        open_movie(image)


@pytest.mark.parametrize("path", ["0\0", "\ud800", "x" * 5000, "nothing"])
def test_a_path_that_is_none_is_not_followed(write_zarr: WriteZarr, told: Told, path: str) -> None:
    image = point_to(write_zarr(told(3, 8, 8), "tyx"), path)
    with pytest.raises(UserError, match="which is no path|that the metadata names is not there") as caught:
        open_movie(image)
    str(caught.value).encode()


def point_to(image: Path, path: str) -> Path:
    file = image / (".zattrs" if (image / ".zattrs").exists() else "zarr.json")
    metadata = json.loads(file.read_text())
    metadata.get("attributes", {}).get("ome", metadata)["multiscales"][0]["datasets"][0]["path"] = path
    file.write_text(json.dumps(metadata))
    return image


def test_a_link_may_not_leave_the_image_but_lead_within(write_zarr: WriteZarr, told: Told) -> None:
    other = write_zarr(told(3, 8, 8), "tyx", store="other.zarr")
    image = write_zarr(told(3, 8, 8), "tyx")
    (image / "0").rename(image / "full")
    (image / "0").symlink_to("full")
    np.testing.assert_array_equal(open_movie(image).pixels[:, 0, 0], told(3, 8, 8))
    (image / "0").unlink()
    (image / "0").symlink_to(other / "0")
    with pytest.raises(UserError, match="the metadata points out of the image, to 0"):
        open_movie(image)


@VERSIONS
def test_links_that_go_round_end_nowhere(write_zarr: WriteZarr, told: Told, tmp_path: Path, version: str) -> None:
    image = write_zarr(told(3, 8, 8), "tyx", version, store="set.zarr", within="a")
    (tmp_path / "set.zarr/a/labels").symlink_to(tmp_path / "set.zarr")
    (tmp_path / "set.zarr/again").symlink_to(tmp_path)
    assert [movie.name for movie in open_archive(tmp_path).movies] == ["set.zarr/a"]
    shutil.rmtree(image / "0")
    (image / "0").symlink_to("0")
    with pytest.raises(UserError, match="the array 0 that the metadata names is not there|points out of"):
        open_movie(image)


@pytest.mark.skipif(os.name == "nt", reason="names are always Unicode there")
def test_names_that_are_no_utf8_are_named_and_skipped(write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    write_zarr(told(3, 8, 8), "tyx", store="set.zarr", within="good")
    write_zarr(told(3, 8, 8), "tyx", store="set.zarr", within="bad")
    write_zarr(told(3, 8, 8), "tyx", store="worse.zarr")
    try:
        os.rename(tmp_path / "set.zarr/bad", os.fsencode(tmp_path / "set.zarr") + b"/b\xffd")  # noqa: PTH104 - bytes
    except OSError:
        pytest.skip("this file system has Unicode names only")
    os.rename(tmp_path / "worse.zarr", os.fsencode(tmp_path) + b"/w\xff.zarr")  # noqa: PTH104 - bytes
    archive = open_archive(tmp_path)
    assert [movie.name for movie in archive.movies] == ["set.zarr/good"]
    assert [(s.path, s.what) for s in archive.skipped] == [
        (f"{tmp_path}/set.zarr/b\\xffd", "its name is no UTF-8"),
        (f"{tmp_path}/w\\xff.zarr", "its name is no UTF-8"),
    ]
    with pytest.raises(UserError, match=r"w\\xff\.zarr: its name is no UTF-8\. rename"):
        open_movie(os.fsdecode(os.fsencode(tmp_path) + b"/w\xff.zarr"))


def test_what_may_not_be_read_is_named(write_zarr: WriteZarr, told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        write_zarr(told(3, 8, 8), "tyx", store="set.zarr", within=name)
    really_open, really_scan = os.open, os.scandir

    def refusing(real: Callable[..., Any], *ends: str) -> Callable[..., Any]:
        def opened(path: Any, *how: Any) -> Any:
            if str(path).endswith(ends):
                raise PermissionError(13, "Permission denied")
            return real(path, *how)

        return opened

    monkeypatch.setattr(zarr_folder.os, "open", refusing(really_open, "set.zarr/a/zarr.json"))
    monkeypatch.setattr(zarr_folder.os, "scandir", refusing(really_scan, "set.zarr/b"))
    archive = open_archive(tmp_path)
    assert [movie.name for movie in archive.movies] == ["set.zarr/b", "set.zarr/c"]
    assert [(s.path, s.what) for s in archive.skipped] == [
        (f"{tmp_path}/set.zarr/a/zarr.json", "the metadata cannot be read (Permission denied)"),
        (f"{tmp_path}/set.zarr/b", "the folder cannot be read (Permission denied)"),
    ]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_instead_of_metadata_is_not_waited_for(write_zarr: WriteZarr, told: Told) -> None:
    image = write_zarr(told(3, 8, 8), "tyx")
    (image / "0/zarr.json").unlink()
    os.mkfifo(image / "0/zarr.json")
    with pytest.raises(UserError, match="the array 0 that the metadata names is not there"):
        open_movie(image)


@VERSIONS
@pytest.mark.parametrize("text", ['{"a":' * 100_000, "[" * 100_000, '{"multiscales": ' + "[" * 900 + "]" * 900 + "}"])
def test_metadata_of_countless_levels_are_refused(write_zarr: WriteZarr, told: Told, version: str, text: str) -> None:
    image = write_zarr(told(3, 8, 8), "tyx", version)
    (image / (".zattrs" if version == "0.4" else "zarr.json")).write_text(text)
    with pytest.raises(UserError, match="the metadata (cannot be read|is no JSON object|has no usable)|has no OME-Zarr image|no Zarr store"):
        open_movie(image)
