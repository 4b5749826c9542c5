"""The coarser copies that come with an OME-Zarr image."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import ArrayPixels, Movie
from cellvjepa.movies.readers import Given, open_movie
from cellvjepa.movies.readers.zarr.pyramid import factor_of

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteZarr = Callable[..., Path]


def levels_of(array: np.ndarray[Any, Any], *steps: tuple[int, ...]) -> list[np.ndarray[Any, Any]]:
    return [array[tuple(slice(None, None, step) for step in each)] for each in steps]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_coarser_copies_come_with_their_factors(write_zarr: WriteZarr, told: Told, through_pickle: Callable[[Movie], Movie], version: str) -> None:
    array = told(3, 2, 4, 21, 24)
    coarser = levels_of(array, (1, 1, 1, 2, 2), (1, 1, 2, 4, 4))
    movie = open_movie(write_zarr(array, version=version, chunks=(1, 1, 2, 8, 8), coarser=coarser))
    assert [level.factor for level in movie.pyramid] == [(1, 2, 2), (2, 4, 4)]
    assert [level.pixels.shape for level in movie.pyramid] == [(3, 2, 4, 11, 12), (3, 2, 2, 6, 6)]
    again = through_pickle(movie)
    for level, same, expected in zip(movie.pyramid, again.pyramid, coarser, strict=True):
        np.testing.assert_array_equal(level.pixels[1:, 0, :, 3:5], expected[1:, 0, :, 3:5])
        np.testing.assert_array_equal(same.pixels[:], expected)


def test_copies_follow_the_axes_of_the_image(write_zarr: WriteZarr, told: Told) -> None:
    array = told(24, 20, 3)
    image = write_zarr(array, "xyt", coarser=levels_of(array, (4, 2, 1)))
    for movie in (open_movie(image), open_movie(image, given=Given(axes="XYT"))):
        (level,) = movie.pyramid
        assert level.factor == (1, 2, 4)
        np.testing.assert_array_equal(level.pixels[:, 0, 0], array[::4, ::2].T)


@given(many=st.integers(1, 5000), factor=st.integers(1, 64), round_up=st.booleans())
def test_any_whole_factor_gives_back_the_length_of_its_copy(many: int, factor: int, round_up: bool) -> None:
    few = -(-many // factor) if round_up else many // factor
    if few == 0 or factor > many:
        return
    full, coarse = (ArrayPixels(np.broadcast_to(np.uint8(0), (1, 1, 1, n, 64))) for n in (many, few))
    found = factor_of(coarse, full)
    if few == many:
        assert found is None
    else:
        assert found is not None
        assert few in (many // found[1], -(-many // found[1]))
        assert factor_of(coarse, full, (None, float(factor), None)) == (1, factor, 1)


@pytest.mark.parametrize(
    ("many", "few", "said", "factor"), [(300, 18, None, 16), (300, 18, 16.0, 16), (300, 18, 16.67, 17), (300, 18, 4.0, 16), (7, 2, 3.0, 3)]
)
def test_where_lengths_allow_two_factors_the_scale_decides(many: int, few: int, said: float | None, factor: int) -> None:
    full, coarse = (ArrayPixels(np.broadcast_to(np.uint8(0), (1, 1, 1, n, 1))) for n in (many, few))
    assert factor_of(coarse, full, (None, said, None)) == (1, factor, 1)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_a_scale_that_cannot_be_decides_nothing(write_zarr: WriteZarr, told: Told, bad: float) -> None:
    array = told(3, 16, 16)
    image = write_zarr(array, "tyx", coarser=levels_of(array, (1, 2, 2)))
    metadata = json.loads((image / "zarr.json").read_text())
    metadata["attributes"]["ome"]["multiscales"][0]["datasets"][1]["coordinateTransformations"] = [{"type": "scale", "scale": [bad, bad, bad]}]
    (image / "zarr.json").write_text(json.dumps(metadata))
    assert [level.factor for level in open_movie(image).pyramid] == [(1, 2, 2)]


def test_a_copy_by_a_fraction_or_of_the_same_size_is_left_out_silently(write_zarr: WriteZarr, told: Told) -> None:
    array = told(3, 20, 20)
    movie = open_movie(write_zarr(array, "tyx", coarser=[array, array[:, :13, :13], array[:, ::2, ::2]]))
    assert [level.factor for level in movie.pyramid] == [(1, 2, 2)]
    assert not [problem for problem in movie.problems if "coarser" in problem.what]


def test_the_finest_copy_comes_first_whatever_the_order_of_the_metadata(write_zarr: WriteZarr, told: Told) -> None:
    array = told(3, 16, 16)
    movie = open_movie(write_zarr(array, "tyx", coarser=levels_of(array, (1, 8, 8), (1, 2, 2), (1, 4, 4))))
    assert [level.factor for level in movie.pyramid] == [(1, 2, 2), (1, 4, 4), (1, 8, 8)]


@pytest.mark.parametrize(
    ("copy", "what"),
    [
        (np.zeros((3, 8, 8), "uint8"), "its pixels are uint8, those of the full resolution uint16"),
        (np.zeros((2, 8, 8), "uint16"), "it has 2 frames and 1 channels instead of 3 and 1"),
        (np.zeros((3, 32, 8), "uint16"), "it is larger than the full resolution"),
        (np.zeros((3, 1, 8, 8), "uint16"), "it has 4 axes"),
    ],
)
def test_a_copy_that_can_be_none_is_left_out_with_a_line(write_zarr: WriteZarr, told: Told, copy: np.ndarray[Any, Any], what: str) -> None:
    array = told(3, 16, 16)
    image = write_zarr(array, "tyx", "0.4", coarser=[copy + copy.dtype.type(1), array[:, ::4, ::4]])
    movie = open_movie(image)
    assert [level.factor for level in movie.pyramid] == [(1, 4, 4)]
    (problem,) = (problem for problem in movie.problems if "coarser" in problem.what)
    assert problem.what == f"its coarser copy 1 is not used: {what}"
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], array)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda image: (image / "1/zarr.json").unlink(), "the array 1 that the metadata names is not there"),
        (lambda image: (image / "1/zarr.json").write_text("{"), "the metadata cannot be read"),
        (lambda image: [path.unlink() for path in (image / "1/c").rglob("*") if path.is_file()], "the array claims 3 chunks, but 0 are there"),
        (lambda image: say_path(image, "../../elsewhere"), "the metadata points out of the image, to ../../elsewhere"),
        (lambda image: say_codec(image, "magic"), "the array 1 cannot be opened"),
    ],
)
def test_a_damaged_copy_is_never_in_the_way_of_the_movie(write_zarr: WriteZarr, told: Told, damage: Callable[[Path], object], what: str) -> None:
    array = told(3, 16, 16)
    image = write_zarr(array, "tyx", chunks=(1, 16, 16), coarser=levels_of(array, (1, 2, 2), (1, 4, 4)))
    damage(image)
    movie = open_movie(image)
    assert [level.factor for level in movie.pyramid] == [(1, 4, 4)]
    (problem,) = (problem for problem in movie.problems if "coarser" in problem.what)
    assert what in problem.what
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], array)


def say_path(image: Path, path: str) -> None:
    metadata = json.loads((image / "zarr.json").read_text())
    metadata["attributes"]["ome"]["multiscales"][0]["datasets"][1]["path"] = path
    (image / "zarr.json").write_text(json.dumps(metadata))


def say_codec(image: Path, name: str) -> None:
    metadata = json.loads((image / "1/zarr.json").read_text())
    metadata["codecs"][-1] = {"name": name, "configuration": {}}
    (image / "1/zarr.json").write_text(json.dumps(metadata))


def test_pixels_of_a_copy_that_has_changed_are_not_taken_for_the_old(write_zarr: WriteZarr, told: Told) -> None:
    array = told(3, 16, 16)
    image = write_zarr(array, "tyx", coarser=levels_of(array, (1, 2, 2), (1, 4, 4)))
    again, arguments = open_movie(image).pyramid[0].pixels.__reduce__()
    say_path(image, "2")
    with pytest.raises(UserError, match=r"the movie has changed: it was \(3, 1, 1, 8, 8\) uint16 and is now \(3, 1, 1, 4, 4\) uint16"):
        again(*arguments)  # type: ignore[operator]
