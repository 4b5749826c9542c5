"""Movies at a glance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import ArrayPixels, Movie, Resolution
from cellvjepa.movies.thumbnail import thumbnail


def movie_of(array: np.ndarray, channels: tuple[str, ...] = ("a",), low: float = 0, high: float = 100) -> Movie:
    levels = np.array([[low, high]] * len(channels), float)
    return Movie("made", "made", ArrayPixels(array), channels, None, None, dict.fromkeys("TCZYX", "given"), "none", array.nbytes, levels=levels)


def test_it_is_the_middle_of_the_movie_made_small_by_means() -> None:
    array = np.zeros((5, 1, 3, 10, 7), np.uint16)
    array[2, 0, 1] = 50 * (np.arange(10)[:, None] >= 5)
    array[2, 0, 1, 0, :2] = 100
    picture = thumbnail(movie_of(array), 5)
    assert picture.shape == (5, 4, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:, 0, 0], [128, 0, 64, 128, 128])  # of the third, one row of two
    np.testing.assert_array_equal(picture[3], np.full((4, 3), 128))


def test_a_small_movie_stays_small_and_levels_are_black_and_white() -> None:
    array = np.array([0, 10, 60, 110, 200], np.float32).reshape(1, 1, 1, 1, 5)
    np.testing.assert_array_equal(thumbnail(movie_of(array, low=10, high=110), 64)[0, :, 1], [0, 0, 128, 255, 255])
    array[0, 0, 0, 0, 2] = np.nan
    assert thumbnail(movie_of(array, low=10, high=110), 64)[0, 2, 0] == 0


def test_channels_are_in_colour_over_each_other() -> None:
    array = np.zeros((1, 3, 1, 1, 3), np.uint8)
    for c in range(3):
        array[0, c, 0, 0, c] = 100
    picture = thumbnail(movie_of(array, ("phase", "GFP", "RFP")), 8)[0]
    np.testing.assert_array_equal(picture, [[179, 179, 179], [0, 255, 0], [255, 0, 255]])


class Unread(ArrayPixels):
    def __getitem__(self, key: object, /) -> np.ndarray:
        raise AssertionError("this copy need not be read")


def test_of_a_pyramid_the_smallest_copy_that_is_large_enough_is_read() -> None:
    array = np.full((1, 1, 1, 64, 64), 50, np.uint8)
    movie = movie_of(array)
    copies = (Resolution(ArrayPixels(array[..., ::2, ::2]), (1, 2, 2)), Resolution(Unread(array[..., ::8, ::8]), (1, 8, 8)))
    assert thumbnail(replace(movie, pixels=Unread(array), pyramid=copies), 32).shape == (32, 32, 3)


def test_levels_must_have_been_measured() -> None:
    with pytest.raises(UserError, match=r"made: its levels have not been measured\. use levelled\(\)"):
        thumbnail(replace(movie_of(np.zeros((1, 1, 1, 4, 4))), levels=None), 8)
