from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, PixelSize
from cellvjepa.movies.readers import open_movie

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
ThroughPickle = Callable[[Movie], Movie]

STORED: dict[str, dict[str, Any]] = {
    "bare": {},
    "bare, pages apart": {"contiguous": False, "metadata": None},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "deflate": {"compression": "zlib"},
    "LZW strips": {"compression": "lzw", "rowsperstrip": 7},
    "zstd tiles with predictor": {"compression": "zstd", "tile": (16, 32), "predictor": True},
    "big-endian deflate": {"compression": "zlib", "byteorder": ">", "predictor": True},
    "bare tiles": {"tile": (16, 16)},
    "packbits": {"compression": "packbits"},
}


def written(path: Path, array: np.ndarray[Any, Any], *, pages: bool = False, **how: Any) -> Path:
    how = {"photometric": "minisblack"} | how  # or else tifffile takes 3 or 4 frames for colours
    with tifffile.TiffWriter(path, bigtiff=how.pop("bigtiff", False), byteorder=how.pop("byteorder", None)) as file:
        for part in array if pages or how.get("metadata", 0) is None else [array]:
            file.write(part, **how)
    return path


@pytest.mark.parametrize("how", STORED)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_storage_gives_the_pixels_that_were_written(tmp_path: Path, told: Told, how: str, dtype: str) -> None:
    array = told(5, 37, 45, dtype="uint8").astype(dtype)
    movie = open_movie(written(tmp_path / "m.tif", array, **STORED[how]))
    assert movie.pixels.shape == (5, 1, 1, 37, 45)
    assert movie.pixels.dtype == np.dtype(dtype)
    everything = movie.pixels[:]
    assert everything.dtype.isnative
    np.testing.assert_array_equal(everything[:, 0, 0], array)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("how", ["bare", "LZW strips", "zstd tiles with predictor"])
def test_a_part_is_what_numpy_gives_of_the_whole(tmp_path: Path, told: Told, how: str, data: st.DataObject) -> None:
    path, array = tmp_path / "m.tif", told(5, 37, 45)
    if not path.exists():
        written(path, array, **STORED[how])
    movie = open_movie(path)
    bounds = [
        st.integers(-n, n - 1) | st.builds(slice, *[st.none() | st.integers(-n, n)] * 2, st.none() | st.integers(1, 4)) for n in movie.pixels.shape
    ]
    key = data.draw(st.tuples(*bounds))
    np.testing.assert_array_equal(movie.pixels[key], array[:, None, None][key])


def test_what_is_bare_is_mapped_and_the_rest_decoded_by_piece(tmp_path: Path, told: Told) -> None:
    array = told(3, 64, 48)
    assert open_movie(written(tmp_path / "a.tif", array)).pixels.chunks == (1, 1, 1, 1, 1)
    assert open_movie(written(tmp_path / "b.tif", array, compression="lzw", rowsperstrip=8)).pixels.chunks == (1, 1, 1, 8, 48)
    assert open_movie(written(tmp_path / "c.tif", array, compression="zlib", tile=(16, 32))).pixels.chunks == (1, 1, 1, 16, 32)


def test_reading_a_corner_decodes_only_the_pieces_it_touches(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "m.tif", told(4, 64, 64), compression="zlib", tile=(16, 16))
    pixels = open_movie(path).pixels
    decoded: list[int] = []
    (file,) = pixels.files  # type: ignore[attr-defined]
    decode = file.codec.decode
    object.__setattr__(file.codec, "decode", lambda data, rows, index, into: decoded.append(index) or decode(data, rows, index, into))
    np.testing.assert_array_equal(pixels[2, 0, 0, 10:20, 60:64], told(4, 64, 64)[2, 10:20, 60:64])
    assert decoded == [3, 7]


def test_an_ome_tiff_says_what_everything_is(tmp_path: Path, told: Told) -> None:
    array = told(3, 2, 4, 20, 24)
    metadata = {
        "axes": "TCZYX",
        "PhysicalSizeX": 325.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.325,
        "PhysicalSizeZ": 2.0,
        "TimeIncrement": 5.0,
        "TimeIncrementUnit": "min",
        "Channel": {"Name": ["phase", "GFP"]},
    }
    tifffile.imwrite(tmp_path / "m.ome.tif", array, metadata=metadata, compression="zlib")
    movie = open_movie(tmp_path / "m.ome.tif")
    np.testing.assert_array_equal(movie.pixels[:], array)
    assert movie.shape == {"T": 3, "C": 2, "Z": 4, "Y": 20, "X": 24}
    assert movie.pixel_um is not None
    assert (movie.pixel_um.z, movie.pixel_um.y, movie.pixel_um.x) == pytest.approx((2.0, 0.325, 0.325))
    assert (movie.interval_s, movie.channels, movie.codec) == (300.0, ("phase", "GFP"), "deflate")
    assert set(movie.axes.values()) == {"file"}
    assert movie.problems == ()
    assert movie.size_bytes == array.nbytes


@pytest.mark.parametrize("axes", ["CTYX", "ZTYX", "TZYX", "TYX", "YX", "CYX"])
def test_axes_of_an_ome_tiff_come_in_any_order_and_number(tmp_path: Path, told: Told, axes: str) -> None:
    lengths = {"T": 3, "C": 2, "Z": 4, "Y": 20, "X": 24}
    array = told(*(lengths[axis] for axis in axes))
    tifffile.imwrite(tmp_path / "m.ome.tif", array, metadata={"axes": axes})
    movie = open_movie(tmp_path / "m.ome.tif")
    expected = array.transpose([axes.index(axis) for axis in "TCZYX" if axis in axes])
    np.testing.assert_array_equal(np.squeeze(movie.pixels[:]), expected)
    assert movie.shape == {axis: lengths[axis] if axis in axes else 1 for axis in "TCZYX"}


def test_the_interval_is_taken_from_the_planes_where_the_image_does_not_give_it(tmp_path: Path, told: Told) -> None:
    planes = {"DeltaT": [0.0, 20.0, 40.5, 61.0], "DeltaTUnit": ["s"] * 4}
    tifffile.imwrite(tmp_path / "m.ome.tif", told(4, 8, 8), metadata={"axes": "TYX", "Plane": planes})
    assert open_movie(tmp_path / "m.ome.tif").interval_s == pytest.approx(20.5)


def test_an_imagej_movie_says_time_and_scale(tmp_path: Path, told: Told) -> None:
    array = told(6, 2, 20, 24)
    how = {"axes": "TCYX", "unit": "\\u00B5m", "finterval": 2.0, "tunit": "min"}
    tifffile.imwrite(tmp_path / "m.tif", array, imagej=True, metadata=how, resolution=(4.0, 4.0))
    movie = open_movie(tmp_path / "m.tif")
    np.testing.assert_array_equal(movie.pixels[:, :, 0], array)
    assert (movie.pixel_um, movie.interval_s) == (PixelSize(None, 0.25, 0.25), 120.0)
    assert movie.axes["T"] == "file"
    assert movie.problems == ()


def test_slices_of_an_imagej_file_without_time_are_assumed_to_be_time(tmp_path: Path, told: Told) -> None:
    tifffile.imwrite(tmp_path / "m.tif", told(6, 20, 24), imagej=True, metadata={"axes": "ZYX"})
    movie = open_movie(tmp_path / "m.tif")
    assert (movie.shape["T"], movie.shape["Z"]) == (6, 1)
    assert (movie.axes["T"], movie.axes["Z"]) == ("assumed", "assumed")
    assert "calls its 6 planes slices and has no time" in movie.problems[0].what


def test_slices_beside_time_stay_slices(tmp_path: Path, told: Told) -> None:
    tifffile.imwrite(tmp_path / "m.tif", told(2, 6, 20, 24), imagej=True, metadata={"axes": "TZYX"})
    movie = open_movie(tmp_path / "m.tif")
    assert (movie.shape["T"], movie.shape["Z"], movie.axes["Z"]) == (2, 6, "file")


@pytest.mark.parametrize("metadata", [{}, None])
def test_three_axes_without_names_are_assumed_to_be_time_y_x(tmp_path: Path, told: Told, metadata: dict[str, str] | None) -> None:
    path = written(tmp_path / "m.tif", told(9, 20, 24), metadata=metadata, pages=metadata is None)
    movie = open_movie(path)
    assert movie.shape["T"] == 9
    assert movie.axes["T"] == "assumed"
    assert {axis for axis, origin in movie.axes.items() if origin == "file"} == {"C", "Z", "Y", "X"}
    whats = [problem.what for problem in movie.problems]
    assert whats == [
        "the file does not say what its axis of 9 planes is; it is taken as time",
        "the pixel size is unknown",
        "the time between frames is unknown",
    ]


def test_axes_that_tifffile_was_told_are_kept(tmp_path: Path, told: Told) -> None:
    tifffile.imwrite(tmp_path / "m.tif", told(9, 20, 24), metadata={"axes": "TYX"})
    assert open_movie(tmp_path / "m.tif").axes["T"] == "file"


def test_a_resolution_for_printers_is_no_pixel_size(tmp_path: Path, told: Told) -> None:
    tifffile.imwrite(tmp_path / "m.tif", told(20, 24), resolution=(72, 72), resolutionunit="inch")
    assert open_movie(tmp_path / "m.tif").pixel_um is None


@pytest.mark.parametrize("interval_s", [0.0, -3.0])
def test_an_interval_of_zero_is_unknown_and_said(tmp_path: Path, told: Told, interval_s: float) -> None:
    how = {"axes": "TYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "TimeIncrement": interval_s}
    tifffile.imwrite(tmp_path / "m.ome.tif", told(4, 8, 8), metadata=how)
    movie = open_movie(tmp_path / "m.ome.tif")
    assert movie.interval_s is None
    assert [problem.what for problem in movie.problems] == [
        f"the time between frames cannot be {interval_s:g} s as the file says; it is taken as unknown"
    ]


def test_a_tiny_second_page_is_no_frame(tmp_path: Path, told: Told) -> None:
    with tifffile.TiffWriter(tmp_path / "incucyte.tif") as file:  # as IncuCyte exports it
        file.write(told(40, 56), compression="lzw", rowsperstrip=11, metadata=None)
        file.write(told(1, 1), compression="lzw", metadata=None)
    movie = open_movie(tmp_path / "incucyte.tif")
    assert movie.shape == {"T": 1, "C": 1, "Z": 1, "Y": 40, "X": 56}
    np.testing.assert_array_equal(movie.pixels[0, 0, 0], told(40, 56))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("pages", [5, 12])  # tifffile looks at all of a few pages, but only at some of many
def test_a_page_of_another_size_is_named(tmp_path: Path, told: Told, compression: str | None, pages: int) -> None:
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for index in range(pages):
            file.write(told(30 if index == 3 else 32, 40), compression=compression, metadata=None, contiguous=False)
    with pytest.raises(UserError, match=r"m\.tif: its pages differ: page 3 is 30 x 40 .*32 x 40 .*save pages of one kind only"):
        open_movie(tmp_path / "m.tif")


@pytest.mark.parametrize(("shape", "photometric"), [((4, 20, 24, 3), "rgb"), ((20, 24, 3), "rgb"), ((20, 24, 4), "rgb")])
def test_colour_is_refused(tmp_path: Path, told: Told, shape: tuple[int, ...], photometric: str) -> None:
    how = {"extrasamples": ["unassalpha"]} if shape[-1] == 4 else {}
    tifffile.imwrite(tmp_path / "m.tif", told(*shape, dtype="uint8"), photometric=photometric, **how)
    with pytest.raises(UserError, match=r"m\.tif: this is a colour image \(RGB\), not a grey one\. save it in grey"):
        open_movie(tmp_path / "m.tif")


def test_a_type_of_pixel_that_is_no_intensity_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((4, 16, 16), dtype=bool))
    with pytest.raises(UserError, match="its pixels are of a type that is not read"):
        open_movie(tmp_path / "m.tif")


def test_a_movie_pickles_by_opening_its_file_again(tmp_path: Path, told: Told, through_pickle: ThroughPickle) -> None:
    path = written(tmp_path / "m.tif", told(4, 64, 64), compression="zlib")
    movie = open_movie(path, name="day1/m.tif")
    again = through_pickle(movie)
    assert again.name == "day1/m.tif"
    np.testing.assert_array_equal(again.pixels[:], movie.pixels[:])


@pytest.mark.parametrize("how", ["bare", "LZW strips"])
def test_many_threads_may_read_one_movie(tmp_path: Path, told: Told, how: str) -> None:
    array = told(16, 37, 45)
    pixels = open_movie(written(tmp_path / "m.tif", array, **STORED[how])).pixels
    start = threading.Barrier(8)

    def read(worker: int) -> bool:
        start.wait(timeout=30)
        order = np.random.default_rng(worker).permutation(16)
        return all(np.array_equal(pixels[t, 0, 0, 3:30, 5:40], array[t, 3:30, 5:40]) for t in [*order, *order])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
