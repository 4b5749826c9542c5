"""TIFFs that are damaged, lie about their sizes, or go away while they are read."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.readers import open_movie
from cellvjepa.movies.readers.tiff import planes as tiff_planes

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]


def written(path: Path, array: np.ndarray[Any, Any], *, pages: bool = False, **how: Any) -> Path:
    how = {"photometric": "minisblack"} | how
    with tifffile.TiffWriter(path, bigtiff=how.pop("bigtiff", False)) as file:
        for part in array if pages else [array]:
            file.write(part, **how)
    return path


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"the file is empty \(0 bytes\)\. copy the file again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "only a pointer of Git LFS, not the image. fetch the image with: git lfs pull",
        ),
        (b"/annex/objects/MD5E-s1048576--d41d8.tif\n", "only a pointer of git-annex, not the image"),
        (b"\x89PNG\r\n\x1a\n", r"this is not a TIFF: it begins with b'\\x89PNG"),
        (b"II*\0\x08\0\0\0", "m.tif"),
        (b"II*\0", "m.tif: the file is truncated"),
    ],
)
def test_what_is_no_tiff_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.tif").write_bytes(content)
    with pytest.raises(UserError, match=message):
        open_movie(tmp_path / "m.tif")


def test_a_link_to_a_file_that_is_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.tif").symlink_to(tmp_path / ".git/annex/objects/gone.tif")
    with pytest.raises(UserError, match="a link to a file that is not here"):
        open_movie(tmp_path / "m.tif")


@pytest.mark.parametrize(
    "how", [{}, {"compression": "zlib"}, {"metadata": None, "pages": True}, {"bigtiff": True}, {"compression": "lzw", "rowsperstrip": 4}]
)
@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, how: dict[str, Any], share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 60_000, (12, 32, 40), dtype="uint16")
    path = written(tmp_path / "m.tif", noise, **how)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(UserError, match=r"m\.tif: the file is truncated: .*copy the file again"):
        open_movie(path)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_a_description_that_does_not_fit_its_pages_is_not_believed(tmp_path: Path, told: Told, kind: str) -> None:
    path = tmp_path / ("m.ome.tif" if kind == "ome" else "m.tif")
    tifffile.imwrite(path, told(6, 32, 40), imagej=kind == "imagej", metadata={"axes": "TYX"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"the file is truncated|does not fit its pages"):
        open_movie(path)


def test_a_file_that_claims_a_terabyte_is_not_believed(tmp_path: Path, told: Told) -> None:
    for how in ({}, {"compression": "zlib"}):
        path = written(tmp_path / "m.tif", told(1, 64, 64), metadata=None, **how)
        with tifffile.TiffFile(path, mode="r+b") as file:
            for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
                file.pages.first.tags[tag].overwrite(60_000)
        with pytest.raises(UserError, match=r"its pixels should end at byte 7,200,000|a piece of a page claims 60000 x 60000 pixels"):
            open_movie(path)


def test_damage_inside_is_named_when_it_is_read(tmp_path: Path, told: Told) -> None:
    path = written(tmp_path / "m.tif", told(4, 64, 64), compression="zlib")
    with tifffile.TiffFile(path) as file:
        at = file.pages[2].dataoffsets[0]
    raw = bytearray(path.read_bytes())
    raw[at : at + 40] = b"\xff" * 40
    path.write_bytes(bytes(raw))
    movie = open_movie(path)
    np.testing.assert_array_equal(movie.pixels[1, 0, 0], told(4, 64, 64)[1])
    with pytest.raises(UserError, match=r"m\.tif: the pixels cannot be read in plane 2 .*copy the file again"):
        movie.pixels[:]


def test_pages_that_come_round_again_are_refused(tmp_path: Path, told: Told) -> None:
    path = written(tmp_path / "m.tif", told(4, 16, 16), pages=True, metadata=None, compression="zlib")
    with tifffile.TiffFile(path) as file:
        first, last = file.pages[0].offset, file.pages[3]
    overwrite(path, last.offset + 2 + 12 * len(last.tags), struct.pack("<I", first))
    with pytest.raises(UserError, match=r"m\.tif: the file is damaged: after page 3 its pages come round again"):
        open_movie(path)


def test_a_page_of_too_many_tags_is_refused(tmp_path: Path, told: Told) -> None:
    path = written(tmp_path / "m.tif", told(16, 16), metadata=None)
    overwrite(path, 8, struct.pack("<H", 60_000))
    with pytest.raises(UserError, match="a page claims 60,000 tags"):
        open_movie(path)


@pytest.mark.parametrize("tag", [270, 273, 279, 330])
def test_a_tag_that_claims_gigabytes_is_not_read(tmp_path: Path, told: Told, tag: int) -> None:
    path = tmp_path / "m.tif"
    how: dict[str, Any] = {"subifds": 2} if tag == 330 else {}
    with tifffile.TiffWriter(path) as file:
        file.write(told(16, 16), metadata=None, compression="zlib", rowsperstrip=4, description="x" * 40, **how)
        for _ in range(how.get("subifds", 0)):
            file.write(told(8, 8), metadata=None)
    with tifffile.TiffFile(path) as file:
        at = file.pages.first.tags[tag].offset
    overwrite(path, at + 4, struct.pack("<I", 2**31))
    with pytest.raises(UserError, match=r"m\.tif: the file is truncated: pages are missing"):
        open_movie(path)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000"])
def test_a_picture_inside_that_claims_more_than_its_strip_is_refused(tmp_path: Path, told: Told, compression: str) -> None:
    path = written(tmp_path / "m.tif", told(3, 32, 40, dtype="uint8"), compression=compression, metadata=None)
    movie = open_movie(path)
    assert movie.pixels[:].shape == (3, 1, 1, 32, 40)
    raw = path.read_bytes()
    if compression == "jpeg":
        at = raw.index(b"\xff\xc0") + 5
        overwrite(path, at, struct.pack(">HH", 60_000, 60_000))
    else:
        at = raw.index(b"\xff\x4f\xff\x51") + 8
        overwrite(path, at, struct.pack(">II", 2**31 - 1, 2**31 - 1))
    with pytest.raises(UserError, match=r"cannot be read in plane 0 \(a piece of 32 x 40 px claims to be "):
        movie.pixels[:]
    with pytest.raises(UserError, match=r"m\.tif: the file is damaged: a piece of 32 x 40 px claims to be "):
        open_movie(path)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits"])
def test_more_pixels_than_bytes_can_be_are_not_believed(tmp_path: Path, told: Told, compression: str) -> None:
    path = written(tmp_path / "m.tif", 0 * told(1, 1024, 1024), metadata=None, compression=compression, rowsperstrip=1024)
    assert open_movie(path).pixels[:].max() == 0  # as much as they can be
    with tifffile.TiffFile(path, mode="r+b") as file:
        for tag in ("ImageLength", "RowsPerStrip"):
            file.pages.first.tags[tag].overwrite(200_000)
    with pytest.raises(UserError, match=r"m\.tif: the file is damaged: [0-9,]+ bytes cannot be 200000 x 1024 pixels"):
        open_movie(path)


def test_a_compression_that_nobody_reads_is_named(tmp_path: Path, told: Told) -> None:
    path = written(tmp_path / "m.tif", told(16, 16), metadata=None, compression="lzma")
    with pytest.raises(UserError, match=r"its compression is not read \(LZMA\)\. save it uncompressed, or with deflate"):
        open_movie(path)


def test_a_strip_that_ends_too_early_is_damage(tmp_path: Path, told: Told) -> None:
    path = written(tmp_path / "m.tif", told(2, 16, 16), metadata=None, pages=True, compression="lzw")
    movie = open_movie(path)
    with tifffile.TiffFile(path) as file:
        at, count = file.pages[1].dataoffsets[0], file.pages[1].databytecounts[0]
    overwrite(path, at + count // 2, b"\xff\xf0" * (count // 4))
    with pytest.raises(UserError, match=r"m\.tif: the pixels cannot be read in plane 1") as caught:
        movie.pixels[:]
    assert not isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
def test_what_the_system_says_is_the_cause(tmp_path: Path, told: Told, how: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "m.tif", told(4, 16, 16), metadata={"axes": "TYX"}, **how)
    movie = open_movie(path)

    def gone(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(tiff_planes, "FileIO", gone)
    with pytest.raises(UserError, match=r"m\.tif: the pixels cannot be read .*Stale file handle.*check the disk or share") as caught:
        movie.pixels[:]
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ESTALE


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
def test_a_file_that_became_shorter_is_damage(tmp_path: Path, told: Told, how: dict[str, str]) -> None:
    path = written(tmp_path / "m.tif", told(4, 64, 64), metadata={"axes": "TYX"}, **how)
    movie = open_movie(path)
    os.truncate(path, 6000)
    with pytest.raises(UserError, match=r"m\.tif: the pixels cannot be read in plane \d") as caught:
        movie.pixels[:]
    assert not isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("part", [np.s_[:, 0, 0], np.s_[1:, 0, 0, 5:47:3, 9::2], np.s_[2, 0, 0, 100:, 30_000:30_050], np.s_[:, 0, 0, ::7, 12_345]])
def test_few_columns_of_wide_rows_are_read_as_numpy_gives_them(tmp_path: Path, told: Told, part: tuple[Any, ...]) -> None:
    array = told(3, 120, 40_000)
    movie = open_movie(written(tmp_path / "m.tif", array, metadata={"axes": "TYX"}))
    np.testing.assert_array_equal(movie.pixels[part], array[:, None, None][part])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, told: Told) -> None:
    path = written(tmp_path / "m.tif", told(4, 16, 16))
    path.chmod(0)
    with pytest.raises(UserError, match=r"m\.tif: reading is not permitted\. ask for the right"):
        open_movie(path)
