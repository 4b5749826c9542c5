"""``--pattern``: what the user says files are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Given, open_archive, open_movie

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteFrames = Callable[..., Path]
WriteZarr = Callable[..., Path]

# The toy archive, in which nothing says what the numbers mean:
#
#     day1/a_1_001.tif ... day1/a_2_003.tif    two of something, three of something else
#     day2/a_1_001.tif ... day2/a_2_003.tif
#     day2/overview.tif, day2/a_1_001_mask.tif, notes.txt, plate.zarr


@pytest.fixture
def archive(tmp_path: Path, told: Told, write_frames: WriteFrames, write_zarr: WriteZarr) -> Path:
    for day in (1, 2):
        frames = {f"a_{c}_{t:03d}.tif": told(8, 10) + 100 * day + 10 * c + t for c in (1, 2) for t in (1, 2, 3)}
        write_frames(frames, f"archive/day{day}")
    write_frames({"overview.tif": told(30, 30), "a_1_001_mask.tif": told(8, 10)}, "archive/day2")
    (tmp_path / "archive/notes.txt").write_text("nothing to see")
    write_zarr(told(2, 8, 8), "tyx", store="archive/plate.zarr")
    return tmp_path / "archive"


def opened(archive: Path, pattern: str) -> dict[str, Movie]:
    return {movie.name: movie for movie in open_archive(archive, Given(pattern=pattern), remember=False).movies}


def test_without_a_pattern_the_doubt_has_the_remedy(archive: Path) -> None:
    skipped = {Path(one.path).name: one for one in open_archive(archive, remember=False).skipped}
    assert skipped["day1"].what == "the names differ in 2 numbers (a_1_001.tif to a_2_003.tif): which one is time is not known"
    assert skipped["day1"].remedy == 'say it with --pattern, as --pattern "a_{channel}_{t}.tif"'


def test_a_pattern_without_slash_is_for_the_names_alone(archive: Path) -> None:
    movies = opened(archive, "a_{channel}_{t}.tif")
    assert list(movies) == ["day1", "day2"]
    movie = movies["day2"]
    assert movie.uri == f"{archive}/day2/a_{{channel}}_{{t}}.tif"
    assert movie.shape == {"T": 3, "C": 2, "Z": 1, "Y": 8, "X": 10}
    assert (movie.axes["T"], movie.axes["C"], movie.axes["Y"]) == ("given", "given", "file")
    np.testing.assert_array_equal(movie.pixels[:, :, 0, 0, 0], [[211, 221], [212, 222], [213, 223]])


def test_a_pattern_with_slashes_is_for_the_path_from_the_archive_on(archive: Path) -> None:
    movies = opened(archive, "day{t}/a_{movie}_{z}.tif")
    assert list(movies) == ["a_1", "a_2"]
    assert (movies["a_2"].shape["T"], movies["a_2"].shape["Z"]) == (2, 3)
    np.testing.assert_array_equal(movies["a_2"].pixels[:, 0, :, 0, 0], [[121, 122, 123], [221, 222, 223]])


def test_what_tells_movies_apart_becomes_their_groups(archive: Path) -> None:
    movies = opened(archive, "{plate}/a_{field}_{t}.tif")
    assert list(movies) == ["day1/a_1", "day1/a_2", "day2/a_1", "day2/a_2"]
    assert movies["day2/a_1"].groups == {"plate": "day2", "field": "1"}
    again = open_movie(movies["day2/a_1"].uri)
    np.testing.assert_array_equal(again.pixels[:], movies["day2/a_1"].pixels[:])


def test_a_star_leaves_out_what_means_nothing(archive: Path) -> None:
    assert list(opened(archive, "day1/*_2_{t}.tif")) == ["archive"]
    with pytest.raises(UserError, match=r"two files have the same number \(a_1_001\.tif and a_2_001\.tif\) .*remove one of them, or say"):
        open_archive(archive, Given(pattern="day1/a_*_{t}.tif"), remember=False)


def test_what_does_not_fit_is_counted(archive: Path) -> None:
    (line,) = open_archive(archive, Given(pattern="a_{channel}_{t}.tif"), remember=False).skipped
    assert line.what == "3 files do not fit the pattern (day2/a_1_001_mask.tif, ...)"
    assert "change the --pattern" in line.remedy


def test_a_pattern_that_nothing_fits_shows_what_is_there(archive: Path) -> None:
    with pytest.raises(
        UserError, match=r"no file fits the pattern 'x_\{t\}\.tif'; there is day1/a_1_001\.tif\. write the pattern as the names are"
    ) as no:
        open_archive(archive, Given(pattern="x_{t}.tif"))
    assert str(no.value).startswith(str(archive))
    with pytest.raises(UserError, match="a brace is alone"):
        open_archive(archive, Given(pattern="x_{t.tif"))


def test_labels_are_left_out_unless_the_pattern_says_labels(archive: Path) -> None:
    assert list(opened(archive, "day2/a_{channel}_{t}*.tif")) == ["archive"]
    movies = opened(archive, "day2/a_{channel}_{t}_mask.tif")
    assert [movie.shape["T"] for movie in movies.values()] == [1]


def test_one_folder_is_opened_with_a_pattern(archive: Path) -> None:
    assert open_movie(archive / "day1", given=Given(pattern="a_{channel}_{t}.tif")).shape["C"] == 2
    with pytest.raises(UserError, match=r"the folder holds 2 movies: 3 like a_1_001\.tif, 3 like a_2_001\.tif\. give it as an archive"):
        open_movie(archive / "day1", given=Given(pattern="a_{movie}_{t}.tif"))


def test_a_pattern_as_path_is_opened(archive: Path) -> None:
    movie = open_movie(archive / "day1" / "a_{channel}_{t}.tif", name="mine")
    assert (movie.name, movie.shape["C"]) == ("mine", 2)
    with pytest.raises(UserError, match=r"no file fits the pattern\. check the path"):
        open_movie(archive / "day1" / "b_{channel}_{t}.tif")
    with pytest.raises(UserError, match=r"nowhere: the folder cannot be read \(No such file or directory\)\. check the path"):
        open_movie(archive / "nowhere" / "a_{channel}_{t}.tif")


def test_files_that_are_movies_get_their_groups_from_a_pattern(write_frames: WriteFrames, told: Told) -> None:
    folder = write_frames({f"{well}_f{field}.tif": told(5, 8, 8) for well in ("B2", "C3") for field in (1, 2)}, metadata={"axes": "TYX"})
    movies = opened(folder, "{well}_f{field}.tif")
    assert list(movies) == ["B2_f1", "B2_f2", "C3_f1", "C3_f2"]
    assert (movies["C3_f1"].groups, movies["C3_f1"].shape["T"]) == ({"well": "C3", "field": "1"}, 5)
    assert open_movie(movies["C3_f1"].uri).shape["T"] == 5


def test_the_axes_of_the_files_may_be_given_too(write_frames: WriteFrames, told: Told) -> None:
    folder = write_frames({f"a_{c}_{t}.tif": told(5, 8, 8) + c for c in (1, 2) for t in (1, 2)})
    (movie,) = open_archive(folder, Given(axes="TCZYX", pattern="a_{channel}_{t}.tif"), remember=False).movies
    assert (movie.shape["T"], movie.shape["C"], movie.shape["Z"]) == (2, 2, 5)
    assert movie.axes == dict.fromkeys("TCZYX", "given")


def test_a_link_that_leads_round_in_a_circle_ends(archive: Path) -> None:
    (archive / "day1" / "again").symlink_to(archive)
    assert list(opened(archive, "a_{channel}_{t}.tif")) == ["day1", "day2"]
    assert len(open_archive(archive, remember=False).movies) == 2  # overview and plate
