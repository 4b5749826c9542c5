"""Opening files and samples in napari."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels, Points, Tracks

import cellvjepa
from napari_cellvjepa.layers import opening
from napari_cellvjepa.layers.opening import get_reader, read_folder, read_movie, read_store


def test_movies_and_stores_are_told_apart(toy: Path, toy_store: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    tifffile.imwrite(frames / "t1.tif", np.zeros((8, 8), np.uint8))
    image = tmp_path / "image.zarr"
    image.mkdir()
    (image / "zarr.json").write_text(json.dumps({"node_type": "group", "attributes": {"ome": {}}}))

    assert get_reader(str(toy / "toy.ome.tif")) is read_movie
    assert get_reader(str(frames)) is read_folder
    assert get_reader(str(image)) is read_movie
    assert get_reader(str(toy_store)) is read_store


def test_what_is_not_ours_is_left_to_others(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read me.txt").write_text("nothing to see")
    strange = tmp_path / "strange.zarr"
    strange.mkdir()

    for path in (tmp_path / "missing.tif", toy / "cells.csv", tmp_path / "empty", tmp_path / "notes", strange):
        assert get_reader(str(path)) is None
    assert get_reader([str(toy / "toy.ome.tif")]) is None  # files to be stacked


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"attributes": 3}', '{"attributes": {"encoding-type": ["anndata"]}}'])
def test_odd_metadata_make_no_trouble(text: str, tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(text)
    assert get_reader(str(tmp_path)) is read_movie


def test_a_movie_opens_lazily_with_its_units(make_napari_viewer: Callable[..., Any], toy: Path) -> None:
    viewer = make_napari_viewer()
    (layer,) = viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")

    assert isinstance(layer, Image)
    assert layer.name == "toy.ome.tif"
    assert hasattr(layer.data, "dask")
    assert layer.data.shape == (16, 48, 48)
    np.testing.assert_allclose(layer.scale, (60, 0.5, 0.5))
    assert [str(unit) for unit in layer.units] == ["second", "micrometer", "micrometer"]
    assert layer.axis_labels == ("t", "y", "x")
    levels = cellvjepa.measure_levels(cellvjepa.open_movie(toy / "toy.ome.tif"))
    assert tuple(layer.contrast_limits) == tuple(levels[0])
    np.testing.assert_array_equal(np.asarray(layer.data), tifffile.imread(toy / "toy.ome.tif"))


def test_a_store_opens_where_its_cells_are(make_napari_viewer: Callable[..., Any], toy: Path, toy_store: Path) -> None:
    viewer = make_napari_viewer()
    (image,) = viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    (points,) = viewer.open(toy_store, plugin="cellvjepa")

    assert isinstance(points, Points)
    assert points.name == "toy"
    assert len(points.data) == len(points.features) == 8
    assert points.units == image.units
    np.testing.assert_array_equal(viewer.dims.range[0], (0, 15 * 60, 60))  # the slider still steps by frames


def test_a_broken_file_is_refused_in_one_readable_line(make_napari_viewer: Callable[..., Any], tmp_path: Path) -> None:
    viewer = make_napari_viewer()
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"")
    with pytest.raises(cellvjepa.UserError, match=r"broken\.tif: .*empty.*\. .+\.$"):
        viewer.open(broken, plugin="cellvjepa")
    assert len(viewer.layers) == 0


def test_a_folder_with_a_few_movies_opens_them_all(toy_archive: Path, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_movie(str(toy_archive))
    assert [(settings["name"], settings["visible"]) for _, settings, _ in found] == [("field1.tif", True), ("field2.tif", False)]
    own = [(settings["name"], kind) for _, settings, kind in read_movie(str(toy))]
    assert own == [("toy.ome.tif", "image"), ("toy.ome.tif labels", "labels"), ("toy.ome.tif tracks", "tracks")]  # its masks are no movie

    monkeypatch.setattr(opening, "MOST_MOVIES", 1)
    with pytest.raises(cellvjepa.UserError, match=r"there are 2 movies here \(field1\.tif, field2\.tif, \.\.\.\)\. open one of them, or use"):
        read_movie(str(toy_archive))


def test_an_unfinished_store_is_refused_in_one_readable_line(toy_store: Path) -> None:
    (toy_store / "X" / "c" / "0" / "0").unlink()
    with pytest.raises(cellvjepa.UserError, match="pieces of the vectors are missing"):
        read_store(str(toy_store))


@pytest.mark.parametrize(
    ("sample", "kinds"),
    [("simulated", [Image, Labels, Tracks]), ("phase", [Image, Tracks]), ("nuclei", [Image, Labels, Tracks])],
)
def test_samples_open(make_napari_viewer: Callable[..., Any], sample: str, kinds: list[type]) -> None:
    viewer = make_napari_viewer()
    layers = viewer.open_sample("cellvjepa", sample)
    assert [type(layer) for layer in layers] == kinds
    assert len({tuple(layer.scale) for layer in layers}) == 1
    assert len({layer.data.shape for layer in layers if not isinstance(layer, Tracks)}) == 1
    tracks = layers[-1]
    assert (tracks.data[:, 1:] <= np.array(layers[0].data.shape) - 0.5).all()


def test_an_image_in_zarr_opens_with_its_channels_and_planes(make_napari_viewer: Callable[..., Any], tmp_path: Path) -> None:
    import zarr

    axes = [{"name": "t", "type": "time", "unit": "minute"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scale = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [2, 1, 3, 0.5, 0.5]}]}
    image = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [scale]}], "omero": {"channels": [{"label": "DIC"}, {"label": "mCherry"}]}}
    group = zarr.open_group(tmp_path / "plate.zarr", mode="w", attributes={"ome": image})
    pixels = np.random.default_rng(0).integers(0, 99, (4, 2, 3, 16, 17), dtype=np.uint16)
    group.create_array("0", data=pixels, chunks=(2, 1, 1, 8, 8), dimension_names=list("tczyx"))

    viewer = make_napari_viewer()
    layers = viewer.open(tmp_path / "plate.zarr", plugin="cellvjepa")
    assert [layer.name for layer in layers] == ["plate.zarr [DIC]", "plate.zarr [mCherry]"]
    assert [layer.colormap.name for layer in layers] == ["gray", "green"]
    for c, layer in enumerate(layers):
        np.testing.assert_allclose(layer.scale, (120, 3, 0.5, 0.5))
        np.testing.assert_array_equal(np.asarray(layer.data), pixels[:, c])


def test_a_converted_movie_opens_with_its_labels_and_units(make_napari_viewer: Callable[..., Any], toy: Path, tmp_path: Path) -> None:
    movie = cellvjepa.open_movie(toy / "toy.ome.tif")
    labels = {movie.name: {"cells": cellvjepa.open_movie(toy / "labels" / "toy_labels.tif")}}
    cellvjepa.convert(cellvjepa.open_archive(toy / "toy.ome.tif"), tmp_path / "toy.zarr", labels)
    viewer = make_napari_viewer()
    image, masks = viewer.open(tmp_path / "toy.zarr", plugin="cellvjepa")
    (original,) = viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    assert (image.name, masks.name) == ("toy.zarr", "toy.zarr cells")
    assert isinstance(masks, Labels)
    np.testing.assert_array_equal(image.scale, original.scale)
    np.testing.assert_array_equal(masks.scale, original.scale)
    np.testing.assert_array_equal(np.asarray(image.data), np.asarray(original.data))


def test_labels_of_another_size_are_named_and_do_not_keep_the_movie_from_opening(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 20, 20), np.uint8), imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "a_labels.tif", np.zeros((4, 10, 10), np.uint8), imagej=True, metadata={"axes": "TYX"})
    said: list[str] = []
    monkeypatch.setattr("napari_cellvjepa.layers.opening.show_info", said.append)
    assert [kind for _, _, kind in read_movie(str(tmp_path / "a.tif"))] == ["image"]
    assert said == ["The labels 'labels' are not shown: their size is not that of a.tif."]
    (tmp_path / "a_labels.tif").write_bytes(b"II*\0garbage")
    assert [kind for _, _, kind in read_movie(str(tmp_path / "a.tif"))] == ["image"]
    assert "The labels are not shown: " in said[-1]


def test_a_folder_with_many_movies_goes_to_the_archive_dock(
    make_napari_viewer: Callable[..., Any], toy_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    monkeypatch.setattr("napari_cellvjepa.archive.recent.recent_file", lambda: tmp_path / "recent")
    monkeypatch.setattr(opening, "MOST_MOVIES", 1)
    viewer = make_napari_viewer()
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    assert viewer.open(toy_archive, plugin="cellvjepa") == []
    dock = viewer.window.dock_widgets["Archive (cellvjepa)"]
    qtbot.waitUntil(lambda: dock.found is not None, timeout=60_000)
    assert [entry.movie.name for entry in dock.found.entries] == ["field1.tif", "field2.tif"]


def test_a_large_store_is_read_in_another_thread(
    make_napari_viewer: Callable[..., Any], two_fields: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    monkeypatch.setattr(opening, "ROWS_AT_ONCE", 15)
    viewer = make_napari_viewer()
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    viewer.open(two_fields.with_name("fields") / "b.ome.tif", plugin="cellvjepa")
    assert viewer.open(two_fields, plugin="cellvjepa") == []
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=60_000)
    assert [(layer.name, layer.visible) for layer in viewer.layers[2:]] == [("fields: a.ome.tif", False), ("fields: b.ome.tif", True)]
