"""Clips as people look at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import clip_at
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie
from cellvjepa.movies.pictures import read_pictures


def movie_of(array_TCZYX: np.ndarray[Any, Any], channels: tuple[str, ...]) -> Movie:
    """A movie whose levels are 0 and 100."""
    return Movie(
        uri="toy.tif",
        name="toy.tif",
        pixels=ArrayPixels(array_TCZYX),
        channels=channels,
        pixel_um=None,
        interval_s=None,
        axes=dict.fromkeys(AXES, "file"),
        codec="none",
        size_bytes=array_TCZYX.nbytes,
        levels=np.tile([0.0, 100.0], (len(channels), 1)),
    )


def shape_of(channels: tuple[str, ...] | None = None, z: Any = "max") -> ClipShape:
    return ClipShape(2, None, 4, None, channels, z)


def test_levels_are_black_and_white() -> None:
    pixels = np.zeros((2, 1, 1, 8, 8))
    pixels[0, 0, 0, 2:6, 2:6] = [0, 50, 100, 300]
    movie = movie_of(pixels, ("gfp",))
    shown = read_pictures(movie, clip_at(movie, shape_of(), 0, 3.5, 3.5), shape_of())
    assert shown.dtype == np.uint8
    assert shown.shape == (2, 4, 4)
    assert shown[0, 0].tolist() == [0, 128, 255, 255]
    assert shown[1].max() == 0


def test_small_pictures_show_the_same_place() -> None:
    pixels = np.zeros((2, 1, 1, 8, 8))
    pixels[:, :, :, 2:4, 2:4] = 100
    movie, shape = movie_of(pixels, ("gfp",)), ClipShape(2, None, 8, None, None, "max")
    shown = read_pictures(movie, clip_at(movie, shape, 0, 3.5, 3.5), shape, 4)
    assert shown.shape == (2, 4, 4)
    assert shown[0].argmax() == 5  # row 1, column 1 of four
    assert shown[0, 2:].max() < 60


def test_fluorescence_is_coloured_and_lies_over_transmitted_light() -> None:
    pixels = np.zeros((2, 3, 1, 4, 4))
    pixels[:, 0], pixels[:, 1, 0, 0], pixels[:, 2, 0, 1] = 100, 100, 100
    movie = movie_of(pixels, ("Phase", "gfp", "rfp"))
    shown = read_pictures(movie, clip_at(movie, shape_of(), 0, 2, 2), shape_of())
    assert shown.shape == (2, 4, 4, 3)
    grey = shown[0, 3, 0, 0]
    assert shown[0, 3, 0].tolist() == [grey] * 3
    assert 100 < grey < 255
    assert shown[0, 0, 0].tolist() == [grey, 255, grey]
    assert shown[0, 1, 0].tolist() == [255, grey, 255]


def test_one_of_several_channels_is_grey() -> None:
    pixels = np.zeros((2, 2, 1, 4, 4))
    pixels[:, 1] = 100
    movie = movie_of(pixels, ("phase", "gfp"))
    shape = shape_of(("gfp",))
    shown = read_pictures(movie, clip_at(movie, shape, 0, 2, 2), shape)
    assert shown.shape == (2, 4, 4)
    assert shown.min() == 255


@pytest.mark.parametrize("z", ["max", "stack"])
def test_of_a_stack_the_brightest_is_seen(z: str) -> None:
    pixels = np.zeros((2, 1, 3, 4, 4))
    pixels[:, 0, 2, 1, 1] = 100
    movie = movie_of(pixels, ("gfp",))
    shown = read_pictures(movie, clip_at(movie, shape_of(z=z), 0, 2, 2), shape_of(z=z))
    assert shown.shape == (2, 4, 4)
    assert shown[0, 1, 1] == 255


def test_a_channel_that_is_not_there_is_told() -> None:
    movie = movie_of(np.zeros((2, 1, 1, 4, 4)), ("gfp",))
    clip = clip_at(movie, shape_of(), 0, 2, 2)
    with pytest.raises(UserError, match="there is no channel 'rfp'"):
        read_pictures(movie, clip, shape_of(("rfp",)))
