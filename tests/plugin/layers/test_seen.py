"""Pixels as a viewer looks at them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

import cellvjepa
from cellvjepa.movies.movie import ArrayPixels, Shape5
from napari_cellvjepa.layers.of_movies import image_layers
from napari_cellvjepa.layers.seen import SeenPixels


class Damaged(ArrayPixels):
    """Frame 2 is damaged, and from frame 4 on the disk has gone; what is read is remembered."""

    def __init__(self, array: np.ndarray) -> None:
        super().__init__(array)
        object.__setattr__(self, "read", [])

    @property
    def chunks(self) -> Shape5:
        return 1, 1, 1, *self.shape[3:]

    def __getitem__(self, key: Any, /) -> np.ndarray:
        first = key[0] if isinstance(key[0], slice) else slice(key[0], key[0] + 1)
        frames = range(self.shape[0])[first]
        self.read.append(frames)
        if 2 in frames:
            raise cellvjepa.UserError("chunk 2 is damaged", "copy the file again", "/data/a.zarr")
        if frames[0] >= 4:
            raise OSError("stale file handle")
        return super().__getitem__(key)


@pytest.fixture
def pixels() -> Damaged:
    return Damaged(np.arange(6 * 2 * 4 * 5, dtype=np.uint16).reshape(6, 2, 1, 4, 5) + 1)


def at(frame: int) -> tuple[slice, ...]:
    return slice(frame, frame + 1), slice(0, 1), slice(0, 1), slice(0, 4), slice(0, 5)


def test_what_cannot_be_read_is_black_and_told_once(pixels: Damaged) -> None:
    told: list[str] = []
    seen = SeenPixels(pixels, "a.zarr", told.append)
    np.testing.assert_array_equal(seen[at(1)], pixels.array[at(1)])
    assert told == []
    for frame in (2, 4, 5, 2):
        found = seen[at(frame)]
        assert (found.shape, found.dtype, found.max()) == ((1, 1, 1, 4, 5), np.uint16, 0)
    assert told == ["a.zarr cannot be read everywhere; what cannot is shown black. /data/a.zarr: chunk 2 is damaged. copy the file again."]
    assert seen[(2, 0, slice(0, 1), slice(1, 3))].shape == (1, 2, 5)


def test_what_was_read_last_is_at_hand_but_not_what_failed(pixels: Damaged) -> None:
    seen = SeenPixels(pixels, "a", lambda _: None)
    for frame in (0, 1, 0, 2, 2):
        _ = seen[at(frame)]
    assert pixels.read == [range(1), range(1, 2), range(2, 3), range(2, 3)]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch, pixels: Damaged) -> None:
    monkeypatch.setattr("napari_cellvjepa.layers.seen._KEPT_BYTES", 2 * 40)
    seen = SeenPixels(pixels, "a", lambda _: None)
    for frame in (0, 1, 3, 0):
        _ = seen[at(frame)]
    assert len(pixels.read) == 4


def test_no_exception_reaches_a_viewer(pixels: Damaged, notices: list[str]) -> None:
    axes = dict.fromkeys("TCZYX", "given")
    movie = cellvjepa.Movie("/data/a.zarr", "a.zarr", pixels, ("a", "b"), None, None, axes, "none", 1, levels=np.array([[0, 9.0]] * 2))
    viewer = ViewerModel()
    for data, settings, _ in image_layers(movie):
        viewer.add_image(data, **settings)
    for frame in range(6):
        viewer.dims.set_current_step(0, frame)
        shown = np.asarray(viewer.layers[0]._slice.image.raw)
        np.testing.assert_array_equal(shown, pixels.array[frame, 0, 0] * (frame not in (2, 4, 5)))
    assert [text.partition(".zarr cannot")[0] for text in notices] == ["a"]


def test_the_frame_that_is_seen_first_is_read_before(pixels: Damaged) -> None:
    axes = dict.fromkeys("TCZYX", "given")
    movie = cellvjepa.Movie("/data/a.zarr", "a.zarr", pixels, ("a", "b"), None, None, axes, "none", 1, levels=np.array([[0, 9.0]] * 2))
    layers: list[Any] = []
    thread = threading.Thread(target=lambda: layers.extend(image_layers(movie, ahead=1)))
    thread.start()
    thread.join()
    before = len(pixels.read)
    assert before == 2  # both channels
    viewer = ViewerModel()
    viewer.add_image(np.zeros((6, 4, 5)))
    viewer.dims.set_current_step(0, 1)
    for data, settings, _ in layers:
        viewer.add_layer(Image(data, **settings))
    viewer.dims.set_current_step(0, 1)
    assert range(1, 2) not in pixels.read[before:]


def test_a_pyramid_is_shown_as_one(tmp_path: Path) -> None:
    import tifffile

    array = np.random.default_rng(0).integers(1, 99, (2, 700, 640), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TYX"})
    cellvjepa.convert(cellvjepa.open_archive(tmp_path / "a.tif"), tmp_path / "a.zarr", {})
    movie = cellvjepa.with_levels(cellvjepa.open_movie(tmp_path / "a.zarr"))
    assert movie.pyramid
    ((data, settings, _),) = image_layers(movie)
    layer = Image(data, **settings)
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(2, *copy.shape[3:]) for copy in (movie.pixels, *(level.pixels for level in movie.pyramid))]
    assert all(hasattr(level, "dask") for level in layer.data)
    np.testing.assert_array_equal(np.asarray(layer.data[0]), array)
    for level, copy in zip(layer.data[1:], movie.pyramid, strict=True):
        np.testing.assert_array_equal(np.asarray(level), copy.pixels[:, 0, 0])
    np.testing.assert_allclose(layer.extent.world[1], [1, 699.5, 639.5], atol=0.6)
