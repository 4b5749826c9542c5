"""A viewer with the Label dock, on tracks or on a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cellvjepa
from napari_cellvjepa.layers.of_movies import image_layers, tracks_layer
from napari_cellvjepa.layers.opening import read_store
from tests.plugin.label.driving import Docked, open_dock


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


@pytest.fixture
def on_tracks(make_napari_viewer: Callable[..., Any], toy: Path, labels: Path, qtbot: Any) -> Docked:
    """The toy's movie with its tracks, and no store."""
    viewer = make_napari_viewer(show=True)
    archive = cellvjepa.open_archive(toy)
    movie = cellvjepa.with_levels(archive.movies[0])
    for data, settings, kind in (*image_layers(movie), tracks_layer(cellvjepa.read_cells(toy / "cells.csv", archive), movie)):
        getattr(viewer, f"add_{kind}")(data, **settings)
    return viewer, open_dock(viewer, qtbot, labels)


@pytest.fixture
def on_store(make_napari_viewer: Callable[..., Any], mapped_store: Path, labels: Path, qtbot: Any) -> Docked:
    """The toy's store, whose movie is not open yet."""
    viewer = make_napari_viewer(show=True)
    for data, settings, _ in read_store(str(mapped_store)):
        viewer.add_points(data, **settings)
    return viewer, open_dock(viewer, qtbot, labels)
