from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, PixelSize
from cellvjepa.movies.readers import open_archive, open_movie

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteFrames = Callable[..., Path]
ThroughPickle = Callable[[Movie], Movie]


def test_frames_come_in_the_order_of_their_numbers(write_frames: WriteFrames, told: Told) -> None:
    array = told(12, 20, 24)
    folder = write_frames({f"cells_t{t}.tif": array[t] for t in range(12)})
    movie = open_movie(folder)
    assert (movie.name, movie.uri) == ("frames", str(folder))
    assert movie.shape == {"T": 12, "C": 1, "Z": 1, "Y": 20, "X": 24}
    assert movie.axes["T"] == "file"
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], array)  # t2 before t10
    np.testing.assert_array_equal(movie.pixels[10:1:1, 0, 0, 3:9:2], array[10:1:1, 3:9:2])
    np.testing.assert_array_equal(movie.pixels[9::2, 0, 0, 3:9:2], array[9::2, 3:9:2])
    assert [problem.what for problem in movie.problems] == ["the pixel size is unknown", "the time between frames is unknown"]


@pytest.mark.parametrize("how", [{"compression": "lzw", "rowsperstrip": 6}, {"compression": "zlib", "tile": (16, 16)}, {"byteorder": ">"}])
def test_frames_may_be_stored_in_any_way(write_frames: WriteFrames, told: Told, how: dict[str, Any]) -> None:
    array = told(3, 40, 24)
    movie = open_movie(write_frames({f"t{t}.tif": array[t] for t in range(3)}, **how))
    np.testing.assert_array_equal(movie.pixels[1:, 0, 0, 3:39, 5:9], array[1:, 3:39, 5:9])


def test_frames_stored_each_in_its_own_way_are_one_movie(write_frames: WriteFrames, told: Told) -> None:
    array = told(3, 40, 24)
    write_frames({"t0.tif": array[0]}, compression="lzw", rowsperstrip=6)
    write_frames({"t1.tif": array[1]}, byteorder=">")
    folder = write_frames({"t2.tif": array[2]}, compression="zlib", tile=(16, 16))
    np.testing.assert_array_equal(open_movie(folder).pixels[:, 0, 0], array)


def test_a_bare_number_is_assumed_to_be_time(write_frames: WriteFrames, told: Told) -> None:
    movie = open_movie(write_frames({f"img_{t:03d}.tif": told(8, 8) for t in range(3)}))
    assert movie.axes["T"] == "assumed"
    assert movie.problems[0].what == "the number in the names (img_000.tif) is taken as time"


def test_time_stamps_give_order_interval_and_gaps(write_frames: WriteFrames, told: Told) -> None:
    stamps = ["00d00h00m", "00d00h30m", "00d01h00m", "01d00h00m", "01d00h30m"]
    folder = write_frames({f"HC01501_P_B2_1_{stamp}.tif": told(8, 8) + t for t, stamp in enumerate(stamps)})
    movie = open_movie(folder)
    assert (movie.interval_s, movie.axes["T"]) == (1800.0, "file")
    np.testing.assert_array_equal(movie.pixels[:, 0, 0, 0, 0], told(8, 8)[0, 0] + np.arange(5))
    (gap,) = [problem for problem in movie.problems if "missing" in problem.what]
    assert gap.what.endswith("in 1 place, first between HC01501_P_B2_1_00d01h00m.tif and HC01501_P_B2_1_01d00h00m.tif")


def test_a_second_tiny_page_in_every_frame_is_ignored(tmp_path: Path, told: Told) -> None:
    for t in range(3):
        with tifffile.TiffWriter(tmp_path / f"t{t}.tif") as file:
            file.write(told(40, 56) + t, compression="lzw", metadata=None)
            file.write(told(1, 1), compression="lzw", metadata=None)
    movie = open_movie(tmp_path)
    assert movie.shape["T"] == 3
    np.testing.assert_array_equal(movie.pixels[2, 0, 0], told(40, 56) + 2)


def test_a_frame_may_be_a_stack_where_the_names_say_time(write_frames: WriteFrames, told: Told) -> None:
    array = told(3, 5, 20, 24)
    folder = write_frames(
        {f"T{t:04d}.tif": array[t] for t in range(3)}, imagej=True, metadata={"axes": "ZYX", "unit": "um", "spacing": 2.0}, resolution=(2, 2)
    )
    movie = open_movie(folder)
    assert movie.shape == {"T": 3, "C": 1, "Z": 5, "Y": 20, "X": 24}
    np.testing.assert_array_equal(movie.pixels[:, 0], array)
    assert movie.pixel_um == PixelSize(2.0, 0.5, 0.5)
    assert open_archive(folder).movies[0].shape == movie.shape


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
def test_a_frame_may_hold_its_channels(write_frames: WriteFrames, told: Told, how: dict[str, Any]) -> None:
    array = told(6, 2, 20, 24)
    metadata = {"axes": "CYX"}
    write_frames({f"t{t}.tif": array[t] for t in range(3)}, byteorder=">", metadata=metadata, photometric="minisblack", **how)
    folder = write_frames({f"t{t}.tif": array[t] for t in range(3, 6)}, metadata=metadata, photometric="minisblack", **how)
    movie = open_movie(folder)
    assert (movie.shape["T"], movie.shape["C"], movie.axes["C"]) == (6, 2, "file")
    for _ in range(2):  # the second time headers are known
        np.testing.assert_array_equal(movie.pixels[:, 1, 0], array[:, 1])
        np.testing.assert_array_equal(movie.pixels[:, :, 0, 3:9], array[:, :, 3:9])


def test_unexplained_planes_of_a_frame_are_assumed_to_be_depth(write_frames: WriteFrames, told: Told) -> None:
    movie = open_movie(write_frames({f"T{t}.tif": told(5, 20, 24) for t in range(3)}))
    assert (movie.shape["T"], movie.shape["Z"], movie.axes["Z"]) == (3, 5, "assumed")
    assert "their 5 planes are; they are taken as depth" in movie.problems[0].what


@pytest.mark.parametrize("dtype", ["uint16", "uint8"])
def test_the_odd_frame_is_named(write_frames: WriteFrames, told: Told, dtype: str) -> None:
    frames = {f"t{t}.tif": told(20, 24) for t in range(6)}
    frames["t0.tif"] = told(21 if dtype == "uint16" else 20, 24, dtype=dtype)
    with pytest.raises(UserError, match=r"t0\.tif: this frame is 2[01]x24 uint(8|16), but the others of its folder are 20x24 uint16\. replace it"):
        open_movie(write_frames(frames))


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"), (None, "truncated")]
)
def test_a_frame_that_cannot_be_read_is_named(write_frames: WriteFrames, told: Told, content: bytes | None, message: str) -> None:
    folder = write_frames({f"t{t}.tif": told(20, 24) for t in range(4)}, metadata=None)
    (folder / "t2.tif").write_bytes((folder / "t2.tif").read_bytes()[:700] if content is None else content)
    with pytest.raises(UserError, match=rf"t2\.tif: .*{message}"):
        open_movie(folder)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["img_0_0", "img_0_1", "img_1_0", "img_1_1"],
            r'the names differ in 2 numbers \(img_0_0\.tif to img_1_1\.tif\): which one is time is not known\. say it with --pattern, as .*"img_\{ch',
        ),
        (["P_t0", "P_t1", "G_t0", "G_t1"], r"the folder holds 2 movies: 2 like G_t0\.tif, 2 like P_t0\.tif\. give it as an archive"),
        (["t1", "t01", "t2"], r"two files have the same number \((t1\.tif and t01\.tif|t01\.tif and t1\.tif)\)"),
    ],
)
def test_names_that_do_not_give_one_series_are_refused(write_frames: WriteFrames, told: Told, names: list[str], message: str) -> None:
    folder = write_frames({f"{name}.tif": told(8, 8) for name in names})
    with pytest.raises(UserError, match=message):
        open_movie(folder)


def test_files_of_several_frames_are_movies_not_frames(write_frames: WriteFrames, told: Told) -> None:
    folder = write_frames({f"t{t}.tif": told(5, 8, 8) for t in range(3)}, metadata={"axes": "TYX"})
    assert [movie.name for movie in open_archive(folder).movies] == ["t0.tif", "t1.tif", "t2.tif"]
    with pytest.raises(UserError, match="this folder is no movie"):
        open_movie(folder)


def test_label_images_and_hidden_files_are_no_frames(write_frames: WriteFrames, told: Told) -> None:
    frames = {f"t{t}.tif": told(8, 8) for t in range(3)}
    folder = write_frames(frames | {"t0_mask.tif": told(8, 8), "._t0.tif": told(8, 8)})
    assert open_movie(folder).shape["T"] == 3


def test_a_movie_pickles_by_opening_its_folder_again(write_frames: WriteFrames, told: Told, through_pickle: ThroughPickle) -> None:
    movie = open_movie(write_frames({f"t{t}.tif": told(8, 8) + t for t in range(12)}, folder="day1/pos3"), name="day1/pos3")
    again = through_pickle(movie)
    assert again.name == "day1/pos3"
    np.testing.assert_array_equal(again.pixels[:], movie.pixels[:])
