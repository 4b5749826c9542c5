from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie, PixelSize, region_of, reopened

SHAPE = (3, 2, 4, 5, 6)
TOY = np.arange(np.prod(SHAPE)).reshape(SHAPE)


def movie_of(array: np.ndarray[Any, Any], **changed: Any) -> Movie:
    given_ = {
        "uri": "/a/b.tif",
        "name": "b.tif",
        "pixels": ArrayPixels(array),
        "channels": tuple(f"ch{c}" for c in range(array.shape[1])),
        "pixel_um": PixelSize(None, 0.5, 0.5),
        "interval_s": 60.0,
        "axes": dict.fromkeys(AXES, "file"),
        "codec": "none",
        "size_bytes": array.nbytes,
    }
    return Movie(**(given_ | changed))


def parts(length: int) -> st.SearchStrategy[Any]:
    bounds = st.none() | st.integers(-length - 2, length + 2)
    return st.integers(-length, length - 1) | st.builds(slice, bounds, bounds, st.none() | st.integers(1, 3))


@given(st.tuples(*(parts(n) for n in SHAPE)), st.integers(0, 5))
def test_a_region_selects_what_numpy_selects(key: tuple[Any, ...], given_axes: int) -> None:
    key = key[:given_axes]
    region = region_of(key, SHAPE)
    assert region.shape == TOY[region.slices].shape
    np.testing.assert_array_equal(np.squeeze(TOY[region.slices], region.dropped), TOY[key])


@given(parts(SHAPE[0]), parts(SHAPE[4]))
def test_an_ellipsis_stands_for_the_axes_between(t: Any, x: Any) -> None:
    region = region_of((t, ..., x), SHAPE)
    np.testing.assert_array_equal(np.squeeze(TOY[region.slices], region.dropped), TOY[t, ..., x])
    np.testing.assert_array_equal(ArrayPixels(TOY)[t, ..., x], TOY[t, ..., x])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((3,), "index 3 is out of range for axis T of length 3"),
        ((0, -3), "index -3 is out of range for axis C of length 2"),
        ((slice(None, None, -1),), "the step along T must be positive, not -1"),
        ((0, 0, 0, 0, 0, 0), "too many indices: 6 for axes TCZYX"),
    ],
)
def test_a_key_that_numpy_would_refuse_is_refused(key: tuple[Any, ...], message: str) -> None:
    with pytest.raises(IndexError, match=message):
        region_of(key, SHAPE)


def test_pixels_in_memory_are_given_out_as_copies() -> None:
    pixels = ArrayPixels(TOY.copy())
    pixels[0][...] = -1
    np.testing.assert_array_equal(pixels[:], TOY)
    assert (pixels.shape, pixels.dtype, pixels.chunks) == (SHAPE, TOY.dtype, (1, 1, 1, 1, 1))


def test_a_movie_names_the_lengths_of_its_axes() -> None:
    assert movie_of(TOY).shape == {"T": 3, "C": 2, "Z": 4, "Y": 5, "X": 6}


@pytest.mark.parametrize(
    "broken",
    [
        {"channels": ("one",)},
        {"channels": ("same", "same")},
        {"axes": {"T": "file"}},
        {"levels": np.zeros((1, 2))},
        {"pixels": ArrayPixels(TOY[:0])},
    ],
)
def test_a_movie_that_breaks_its_contract_cannot_be_made(broken: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        movie_of(TOY, **broken)


def test_a_movie_pickles_with_everything_it_knows(through_pickle: Callable[[Movie], Movie]) -> None:
    movie = movie_of(TOY.astype("uint8"), levels=np.array([[0.0, 1.0], [2.0, 3.0]]))
    again = through_pickle(movie)
    np.testing.assert_array_equal(again.pixels[:], TOY.astype("uint8"))
    assert again.levels is not None
    np.testing.assert_array_equal(again.levels, [[0.0, 1.0], [2.0, 3.0]])
    assert (again.name, again.channels, again.pixel_um, again.axes) == (movie.name, movie.channels, movie.pixel_um, movie.axes)


def test_a_movie_that_has_changed_since_is_not_taken_for_the_same() -> None:
    here = ArrayPixels(TOY.astype("uint16"))
    assert reopened(lambda: here, "/a/b.tif", SHAPE, here.dtype.str) is here
    with pytest.raises(UserError, match=r"/a/b\.tif: the movie has changed: it was \(9, 2, 4, 5, 6\) uint16 and is now \(3, 2, 4, 5, 6\) uint16"):
        reopened(lambda: here, "/a/b.tif", (9, *SHAPE[1:]), here.dtype.str)
