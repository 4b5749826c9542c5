"""Movies as layers, and layers as movies."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import dask.array
import numpy as np
import pytest
from napari.layers import Image, Labels, Points, Tracks

import cellvjepa
from cellvjepa.movies.movie import ArrayPixels
from napari_cellvjepa.embed.request import LabelImage, Places, Tracked
from napari_cellvjepa.layers.layer_pixels import LayerPixels
from napari_cellvjepa.layers.of_movies import Space, cells_from, described, image_layers, shown_by


def movie_of(array_TCZYX: np.ndarray, channels: tuple[str, ...], **facts: Any) -> cellvjepa.Movie:
    return cellvjepa.Movie(
        uri="made in the test",
        name="made.tif",
        pixels=ArrayPixels(array_TCZYX),
        channels=channels,
        pixel_um=facts.get("pixel_um"),
        interval_s=facts.get("interval_s"),
        axes=dict.fromkeys("TCZYX", "given"),
        codec="none",
        size_bytes=array_TCZYX.nbytes,
    )


@pytest.fixture
def stack() -> cellvjepa.Movie:
    """Five frames, two channels, three planes."""
    array = np.arange(5 * 2 * 3 * 8 * 9, dtype=np.uint16).reshape(5, 2, 3, 8, 9)
    return cellvjepa.with_levels(movie_of(array, ("phase", "GFP"), pixel_um=cellvjepa.PixelSize(2.0, 0.5, 0.25), interval_s=30.0))


def test_one_layer_per_channel_with_units(stack: cellvjepa.Movie) -> None:
    layers = [Image(data, **settings) for data, settings, _ in image_layers(stack)]
    assert [layer.name for layer in layers] == ["made.tif [phase]", "made.tif [GFP]"]
    assert [layer.colormap.name for layer in layers] == ["gray", "green"]
    for c, layer in enumerate(layers):
        np.testing.assert_array_equal(np.asarray(layer.data), stack.pixels[:, c])
        np.testing.assert_allclose(layer.scale, (30, 2, 0.5, 0.25))
        assert layer.axis_labels == ("t", "z", "y", "x")


def test_a_movie_without_units_is_shown_in_pixels_and_frames() -> None:
    movie = cellvjepa.with_levels(movie_of(np.zeros((4, 1, 1, 8, 8), np.uint8), ("a",)))
    ((data, settings, _),) = image_layers(movie)
    layer = Image(data, **settings)
    assert layer.data.shape == (4, 8, 8)
    assert {str(unit) for unit in layer.units} == {"pixel"}
    np.testing.assert_array_equal(layer.scale, (1, 1, 1))


def test_a_layer_leads_back_to_its_movie(stack: cellvjepa.Movie) -> None:
    data, settings, _ = image_layers(stack)[1]
    shown = shown_by(Image(data, **settings))
    assert shown.movie is stack
    assert shown.channel == "GFP"
    assert shown.space == Space.of_movie(stack)
    assert described(shown) == "5 frames, every 30 s\n8 x 9 px of 0.5 µm, 3 planes, 2 channels"


def test_the_layer_of_another_program_is_a_movie_too() -> None:
    layer = Image(np.zeros((6, 8, 9), np.float32), name="mine", scale=(2, 500, 250), units=("min", "nm", "nm"))
    movie = shown_by(layer).movie
    assert movie.shape == {"T": 6, "C": 1, "Z": 1, "Y": 8, "X": 9}
    assert movie.channels == ("mine",)
    assert movie.interval_s == pytest.approx(120)
    assert movie.pixel_um is not None
    assert (movie.pixel_um.y, movie.pixel_um.x) == pytest.approx((0.5, 0.25))


def test_a_layer_whose_data_was_replaced_is_no_longer_the_movie(stack: cellvjepa.Movie) -> None:
    data, settings, _ = image_layers(stack)[0]
    layer = Image(data, **settings)
    layer.data = np.asarray(data)[:, :, 2:5]
    assert shown_by(layer).movie.shape["Y"] == 3


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: Image(np.zeros((8, 8))), r"the layer 'Image'.*has the axes t, y, x or t, z, y, x, but this has 2\."),
        (lambda: Image(np.zeros((2, 2, 2, 8, 8))), "but this has 5"),
        (lambda: Image(np.zeros((5, 8, 8, 3), np.uint8), rgb=True), r"colour \(RGB\) image.*split it into channels"),
    ],
)
def test_a_layer_that_is_no_movie_is_refused(layer: Any, message: str) -> None:
    with pytest.raises(cellvjepa.UserError, match=message):
        shown_by(layer())


@pytest.mark.parametrize("make", [np.asarray, dask.array.from_array])
@pytest.mark.parametrize("shape", [(4, 6, 7), (4, 3, 6, 7)])
def test_pixels_of_a_layer_are_indexed_as_numpy_indexes_them(make: Any, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    whole = array[:, None, None] if array.ndim == 3 else array[:, None]
    pixels = LayerPixels(make(array))
    assert pixels.shape == whole.shape
    keys = itertools.product([0, -1, slice(None), slice(1, 4, 2)], [0, slice(0, 1)], [0, slice(None)], [slice(1, 3), -2], [slice(None), 3])
    for key in keys:
        np.testing.assert_array_equal(pixels[key], whole[key])
    for key in (..., 1, (1, ...), (..., 2), (slice(0, 2), 0)):
        np.testing.assert_array_equal(pixels[key], whole[key])
    read = pixels[0]
    read[...] = -1
    assert array.min() == 0  # what was read is a copy


def test_cells_of_the_kinds_of_layers() -> None:
    shown = shown_by(Image(np.zeros((6, 8, 9)), scale=(60, 0.5, 0.5), translate=(0, 10, 10)))

    assert cells_from(None, shown) is None

    labels = cells_from(Labels(np.ones((6, 8, 9), np.uint8)), shown)
    assert isinstance(labels, LabelImage)
    assert labels.movie.shape["T"] == 6

    tracks = cells_from(Tracks(np.array([[7, 0, 1, 2], [7, 1, 2, 4]]), scale=(60, 1, 1), translate=(0, 10, 10)), shown)
    assert isinstance(tracks, Tracked)
    np.testing.assert_allclose(tracks.table[["track_id", "t", "y_px", "x_px"]], [[7, 0, 2, 4], [7, 1, 4, 8]])

    points = Points(np.array([[120.0, 11.0, 13.0]]))  # in s and um
    places = cells_from(points, shown)
    assert isinstance(places, Places)
    np.testing.assert_allclose(places.table[["t", "y_px", "x_px"]], [[2, 2, 6]])

    points.features = {"track_id": [3]}
    followed = cells_from(points, shown)
    assert isinstance(followed, Tracked)
    assert followed.table["track_id"].tolist() == [3]


def test_cells_with_other_axes_are_refused() -> None:
    shown = shown_by(Image(np.zeros((6, 8, 9)), name="plane"))
    with pytest.raises(cellvjepa.UserError, match=r"the layer 'deep': its positions have 4 axes and those of the image are t, y, x\. choose"):
        cells_from(Points(np.zeros((2, 4)), name="deep"), shown)


def test_levels_are_needed(stack: cellvjepa.Movie) -> None:
    with pytest.raises(AssertionError):
        image_layers(replace(stack, levels=None))
