"""The rows of a store as points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Points

import cellvjepa
from napari_cellvjepa.layers.of_movies import Space
from napari_cellvjepa.layers.points import MOST_LAYERS, ROW_COLUMN, STORE_KEY, points_layers


@pytest.fixture
def found(toy_store: Path) -> cellvjepa.Embeddings:
    return cellvjepa.open_store(toy_store)


def test_points_lie_where_the_cells_are(found: cellvjepa.Embeddings) -> None:
    ((data, settings, kind),) = points_layers(found)
    layer = Points(data, **settings)
    assert kind == "points"
    world = data * layer.scale + layer.translate
    middle_s = 60 * (found.table["t_start"] + found.table["t_stop"] - 1) / 2
    np.testing.assert_allclose(world, np.column_stack([middle_s, found.table["y_um"], found.table["x_um"]]))
    assert [str(unit) for unit in layer.units] == ["second", "micrometer", "micrometer"]
    assert layer.metadata[STORE_KEY] == str(found.path)


def test_a_point_is_seen_through_all_frames_of_its_window(found: cellvjepa.Embeddings) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((16, 48, 48)), scale=(60, 0.5, 0.5), units=("s", "um", "um"))
    ((data, settings, _),) = points_layers(found)
    layer = viewer.add_points(data, **settings)
    for frame in range(16):
        viewer.dims.set_current_step(0, frame)
        inside = (found.table["t_start"] <= frame) & (frame < found.table["t_stop"])
        assert len(layer._view_data) == inside.sum() == 4


def test_a_clip_of_the_whole_stack_is_seen_in_every_plane(found: cellvjepa.Embeddings) -> None:
    deep = replace(found, table=found.table.assign(z_px=3.0))  # the middle of seven planes
    viewer = ViewerModel()
    viewer.add_image(np.zeros((16, 7, 48, 48)), scale=(60, 2, 0.5, 0.5))
    ((data, settings, _),) = points_layers(deep, Space((60, 2, 0.5, 0.5), (0, 0, 0, 0), ("s", "um", "um", "um")))
    layer = viewer.add_points(data, **settings)
    for plane in range(7):
        viewer.dims.set_current_step((0, 1), (5, plane))
        assert len(layer._view_data) == 4

    one_plane = replace(deep, provenance=replace(found.provenance, clip_shape=replace(found.provenance.clip_shape, z="middle")))
    ((data, settings, _),) = points_layers(one_plane)
    assert (data * settings["scale"])[:, 1] == pytest.approx(3 * 0.5)  # depth unknown: as large as a pixel


def test_features_are_the_columns_and_the_map(found: cellvjepa.Embeddings) -> None:
    umap = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    ((data, settings, _),) = points_layers(replace(found, projections={"X_umap": umap}))
    layer = Points(data, **settings)
    assert {*found.table.columns, "umap_1", "umap_2", ROW_COLUMN} == {*layer.features.columns}
    np.testing.assert_array_equal(layer.features["umap_2"], umap[:, 1])
    assert len(np.unique(layer.border_color, axis=0)) > 4  # coloured by the place on the map


def test_clusters_have_colours_and_noise_is_gray(found: cellvjepa.Embeddings) -> None:
    clustered = replace(found, table=found.table.assign(cluster=["0", "0", "1", "1", "unassigned", "unassigned", "2", "2"]))
    ((data, settings, _),) = points_layers(clustered)
    layer = Points(data, **settings)
    noise = layer.border_color[4]
    assert noise[0] == noise[1] == noise[2]
    assert len(np.unique(layer.border_color, axis=0)) == 4


def test_without_units_points_are_in_pixels_and_frames(found: cellvjepa.Embeddings) -> None:
    bare = replace(found, table=found.table.assign(time_s=np.nan, y_um=np.nan, x_um=np.nan))
    ((data, settings, _),) = points_layers(bare)
    np.testing.assert_allclose((data * settings["scale"])[:, 1:], found.table[["y_px", "x_px"]])
    assert settings["units"] == ("pixel",) * 3


def test_one_layer_per_movie_and_only_the_first_is_seen(found: cellvjepa.Embeddings) -> None:
    parts = [found.table.assign(movie=f"field{i}.tif") for i in range(MOST_LAYERS + 3)]
    layers = points_layers(replace(found, table=pd.concat(parts, ignore_index=True)))
    assert len(layers) == MOST_LAYERS
    assert [settings["visible"] for _, settings, _ in layers] == [True] + [False] * (MOST_LAYERS - 1)
    assert layers[1][1]["name"] == "toy: field1.tif"


def test_a_grid_is_drawn_as_tiles(found: cellvjepa.Embeddings) -> None:
    ((_, settings, _),) = points_layers(replace(found, table=found.table.assign(track_id=-1)))
    assert settings["symbol"] == "square"
    assert settings["size"] == pytest.approx(0.92 * found.provenance.clip_shape.size_px)
