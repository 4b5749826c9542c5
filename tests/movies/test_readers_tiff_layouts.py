from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import PixelSize
from cellvjepa.movies.readers import Given, open_movie

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Array = np.ndarray[Any, Any]
Told = Callable[..., Array]


def stk(path: Path, frames: Array, depths: list[tuple[int, int]], times_ms: list[int], *, calibration: tuple[int, int] = (650, 1000)) -> Path:
    """Write a MetaMorph stack: tags | planes in a row | calibration | list of it | table of depths (fractions) and times."""
    head = 8 + 2 + 12 * 11 + 4
    at = head + frames.nbytes
    said = struct.pack("<II", *calibration) + struct.pack("<I", 2) + b"um"
    entries = [(3, 1), (4, at), (5, at), (6, at + 8)]
    lists = at + len(said)
    table = lists + 8 * len(entries)
    high, wide = frames.shape[1:]
    tags = [
        (254, 4, 1, 0), (256, 4, 1, wide), (257, 4, 1, high), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, head),
        (278, 4, 1, high), (279, 4, 1, frames[0].nbytes), (33628, 4, len(entries), lists), (33629, 5, len(frames), table),
    ]  # fmt: skip
    rows = b"".join(struct.pack("<6I", *depth, 2457320, ms, 0, 0) for depth, ms in zip(depths, times_ms, strict=True))
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    pairs = b"".join(struct.pack("<II", *entry) for entry in entries)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + ifd + frames.astype("<u2").tobytes() + said + pairs + rows)
    return path


def test_a_metamorph_stack_of_different_times_is_a_time_lapse(tmp_path: Path, told: Told) -> None:
    array = told(4, 10, 12)
    movie = open_movie(stk(tmp_path / "m.stk", array, [(0, 1)] * 4, [0, 30_000, 60_100, 90_000]))
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], array)
    assert (movie.pixel_um, movie.interval_s) == (PixelSize(None, 0.65, 0.65), pytest.approx(30.0))
    assert (movie.axes["T"], movie.problems) == ("file", ())


def test_a_metamorph_stack_of_different_depths_is_a_z_stack(tmp_path: Path, told: Told) -> None:
    array = told(4, 10, 12)
    movie = open_movie(stk(tmp_path / "m.stk", array, [(1, 2)] * 4, [0, 100, 200, 300]))
    np.testing.assert_array_equal(movie.pixels[0, 0], array)
    assert movie.pixel_um == PixelSize(0.5, 0.65, 0.65)


@pytest.mark.parametrize(("times_ms", "interval_s"), [([0, 1000, 900_000, 901_000], None), ([5, 5, 5, 5], None)])
def test_uneven_or_equal_times_give_no_interval(tmp_path: Path, told: Told, times_ms: list[int], interval_s: None) -> None:
    movie = open_movie(stk(tmp_path / "m.stk", told(4, 10, 12), [(0, 1)] * 4, times_ms, calibration=(0, 0)))
    assert (movie.shape["T"], movie.interval_s, movie.pixel_um) == (4, interval_s, None)
    assert movie.axes["T"] == ("file" if times_ms[0] != times_ms[1] else "assumed")


def test_a_metamorph_table_that_is_not_there_is_truncated(tmp_path: Path, told: Told) -> None:
    path = stk(tmp_path / "m.stk", told(4, 10, 12), [(0, 1)] * 4, [0, 1, 2, 3])
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"m\.stk: the file is truncated"):
        open_movie(path)


GREY = pytest.mark.parametrize(
    "how", [{}, {"compression": "zlib", "rowsperstrip": 7}, {"planarconfig": "separate"}, {"planarconfig": "separate", "compression": "lzw"}]
)


@GREY
def test_grey_that_is_stored_as_colour_is_read_as_grey(tmp_path: Path, told: Told, how: dict[str, Any]) -> None:
    array = told(3, 20, 24)
    colour = np.stack([array] * 3, axis=1 if how.get("planarconfig") else -1)
    tifffile.imwrite(tmp_path / "m.tif", colour, photometric="rgb", metadata={"axes": "TSYX" if how.get("planarconfig") else "TYXS"}, **how)
    movie = open_movie(tmp_path / "m.tif")
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], array)
    np.testing.assert_array_equal(movie.pixels[1:, 0, 0, 3:9, 5:20:2], array[1:, 3:9, 5:20:2])
    assert movie.problems[0].what == "its pixels are stored as colours, but red, green and blue are equal: it is read as grey"


@GREY
def test_one_hue_is_read_as_grey_and_two_are_not(tmp_path: Path, how: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 200, (2, 2, 40, 48))
    axis, axes = (1, "TSYX") if how.get("planarconfig") else (-1, "TYXS")

    def written(*colours: Array) -> Path:
        tifffile.imwrite(tmp_path / "m.tif", np.stack(colours, axis=axis).astype("uint8"), photometric="rgb", metadata={"axes": axes}, **how)
        return tmp_path / "m.tif"

    movie = open_movie(written(one // 50, one, one // 2 + 3))
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], one)
    assert movie.problems[0].what == "its pixels are stored as colours of one hue: only green is read"
    with pytest.raises(UserError, match=r"this is a colour image \(RGB\), not a grey one\. save it in grey, .* Split Channels"):
        open_movie(written(one, other, 0 * one))


def test_rows_that_are_dark_do_not_make_a_colour_image_grey(tmp_path: Path) -> None:
    colour = np.zeros((64, 64, 3), np.uint8)
    colour[1, ::2, 0] = colour[1, 1::3, 1] = 200
    tifffile.imwrite(tmp_path / "m.tif", colour, photometric="rgb")
    with pytest.raises(UserError, match="this is a colour image"):
        open_movie(tmp_path / "m.tif")


def test_pages_after_the_movie_are_left_out_and_that_is_said(tmp_path: Path, told: Told) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in told(5, 32, 40):
            file.write(frame, metadata=None, compression="zlib")
        file.write(told(30, 36), metadata=None, compression="zlib")  # an overview
    movie = open_movie(tmp_path / "m.tif")
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], told(5, 32, 40))
    assert movie.problems[0].what.startswith("a page that is no part of the movie is left out (page 5: 30 x 36 px")


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_page_of_another_type_between_the_others_is_named(tmp_path: Path, told: Told, kind: str) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for index in range(6):
            file.write(told(32, 40, dtype="uint8").astype(kind if index == 2 else "uint16"), metadata=None, compression="zlib")
    if kind == "uint16":
        assert open_movie(tmp_path / "m.tif").shape["T"] == 6
    else:
        with pytest.raises(UserError, match=r"its pages differ: page 2 is 32 x 40 px of 8 bit, .* the first is 32 x 40 px of 16 bit"):
            open_movie(tmp_path / "m.tif")


def test_the_time_of_export_is_no_interval_and_incucyte_says_its_pixel_size(tmp_path: Path, told: Told) -> None:
    xml = "<ImageInfo><AcqInfo><FullResPixelSpacing>1.244 \u00b5m</FullResPixelSpacing></AcqInfo></ImageInfo>".encode("latin-1")
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for second, frame in enumerate(told(3, 32, 40)):
            file.write(frame, metadata=None, compression="lzw", software="Incucyte 2022A", datetime=f"2023:03:29 06:18:0{second}")
        file.write(told(1, 1), metadata=None, compression="lzw", software="Incucyte 2022A", extratags=[(60020, 7, len(xml), xml, True)])
    movie = open_movie(tmp_path / "m.tif")
    assert (movie.shape["T"], movie.pixel_um, movie.interval_s) == (3, PixelSize(None, 1.244, 1.244), None)


def test_an_export_of_nis_elements_says_pixel_size_and_period(tmp_path: Path, told: Told) -> None:
    xml = b'<variant><dCalibration runtype="double" value="0.325"/><dPeriod runtype="double" value="60000"/></variant>'
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in told(3, 32, 40):
            file.write(frame, metadata=None, contiguous=False, extratags=[(65332, 7, len(xml), xml, True)])
    movie = open_movie(tmp_path / "m.tif")
    assert (movie.pixel_um, movie.interval_s) == (PixelSize(None, 0.325, 0.325), 60.0)


def test_how_fast_imagej_plays_a_movie_is_no_interval(tmp_path: Path, told: Told) -> None:
    tifffile.imwrite(tmp_path / "m.tif", told(6, 20, 24), imagej=True, metadata={"axes": "TYX", "fps": 7.0, "finterval": 0.0})
    assert open_movie(tmp_path / "m.tif").interval_s is None


@pytest.mark.parametrize(("given", "shape"), [("ZYX", (1, 1, 6, 20, 24)), ("CYX", (1, 6, 1, 20, 24)), ("tyx", (6, 1, 1, 20, 24))])
def test_what_is_given_overrules_the_file(tmp_path: Path, told: Told, given: str, shape: tuple[int, ...]) -> None:
    tifffile.imwrite(tmp_path / "m.tif", told(6, 20, 24), metadata={"axes": "TYX"})
    movie = open_movie(tmp_path / "m.tif", given=Given(given))
    assert movie.pixels.shape == shape
    with pytest.raises(UserError, match=r"the axes given \(YXT\) do not end with Y and X"):
        open_movie(tmp_path / "m.tif", given=Given("YXT"))


def test_a_second_stack_in_the_file_is_left_out_and_that_is_said(tmp_path: Path, told: Told) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        file.write(told(5, 16, 16), metadata={"axes": "TYX"}, photometric="minisblack")
        file.write(told(3, 16, 16), metadata={"axes": "TYX"}, photometric="minisblack", contiguous=False)
    movie = open_movie(tmp_path / "m.tif")
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], told(5, 16, 16))
    assert movie.problems[0].what.startswith("3 pages that are no part of the movie are left out (page 5: 16 x 16 px")


def test_depth_that_is_really_time_can_be_given(tmp_path: Path, told: Told) -> None:
    tifffile.imwrite(tmp_path / "m.ome.tif", told(6, 20, 24), metadata={"axes": "ZYX"})
    assert open_movie(tmp_path / "m.ome.tif").shape["Z"] == 6
    movie = open_movie(tmp_path / "m.ome.tif", given=Given("TYX"))
    assert (movie.shape["T"], movie.shape["Z"], movie.axes["T"]) == (6, 1, "given")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_what_only_tifffile_understands_is_read_with_it(tmp_path: Path, told: Told, compression: str | None) -> None:
    nih_image = [(43314, 7, 256, bytes(256), True)]
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in told(5, 16, 16):
            file.write(frame, extratags=nih_image, metadata=None, compression=compression, contiguous=False)
    movie = open_movie(tmp_path / "m.tif")
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], told(5, 16, 16))
    assert movie.axes["T"] == "assumed"


@pytest.mark.parametrize("how", [{"bitspersample": 12}, {"bitspersample": 12, "rowsperstrip": 6}])
def test_packed_pixels_are_unpacked(tmp_path: Path, told: Told, how: dict[str, Any]) -> None:
    array = told(4, 20, 24) % 4096
    tifffile.imwrite(tmp_path / "m.tif", array, metadata={"axes": "TYX"}, photometric="minisblack", **how)
    movie = open_movie(tmp_path / "m.tif")
    np.testing.assert_array_equal(movie.pixels[1:, 0, 0, 3:19, 5:], array[1:, 3:19, 5:])
