"""The plot and recoloured labels look as they did: pictures compared with stored ones (see stored_pictures.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cellvjepa
from napari_cellvjepa.layers.label_colours import LabelColours
from napari_cellvjepa.layers.linking import add_movie
from napari_cellvjepa.layers.of_movies import image_layers, labels_layer
from napari_cellvjepa.layers.opening import read_store
from napari_cellvjepa.plot import dots
from napari_cellvjepa.plot.palette import colouring
from napari_cellvjepa.plot.scatter import Scatter
from napari_cellvjepa.plot.trails import Trail
from tests.plugin.stored_pictures import FOLDER, apart, assert_looks_like

SIDE = 240
POINTS = 600


@pytest.fixture
def plot(qtbot: Any) -> Any:
    widget = Scatter()
    widget.resize(SIDE, SIDE)
    widget.show()
    qtbot.addWidget(widget, before_close_func=lambda it: it.close_canvas())
    qtbot.waitExposed(widget)
    qtbot.waitUntil(lambda: tuple(widget._canvas.physical_size) == (SIDE, SIDE))
    return widget


def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Return places and names of four clouds; the last one has no name."""
    generator = np.random.default_rng(0)
    kind = np.arange(POINTS) % 4
    middles = np.array([[0, 0], [3, 0.5], [1, 3], [3, 3]], float)
    return middles[kind] + 0.5 * generator.normal(size=(POINTS, 2)), np.array(["0", "1", "2", "unassigned"], dtype=object)[kind]


def drawn(plot: Scatter, chosen: np.ndarray) -> np.ndarray:
    places, names = clouds()
    plot.show_points(places[:, 0], places[:, 1], False, colouring("cluster", names), chosen)
    return plot.picture()


def test_points_with_a_selection_a_mark_and_a_track(plot: Scatter) -> None:
    drawn(plot, np.arange(POINTS) % 8 < 2)
    plot.mark(3)
    rows = np.array([0, 4, 1, 5, 9, 2])
    plot.draw_trails([Trail("a", 1, rows, np.arange(6.0), 0, 6)])
    plot.mark_trails({"a": 2.5})
    assert_looks_like(plot.picture(), "points")


@pytest.mark.parametrize(("name", "smooth", "markers"), [("stamps", 100, 1000), ("density", 100, 100)])
def test_many_points(plot: Scatter, monkeypatch: pytest.MonkeyPatch, name: str, smooth: int, markers: int) -> None:
    monkeypatch.setattr(dots, "MOST_SMOOTH", smooth)
    monkeypatch.setattr(dots, "MOST_MARKERS", markers)
    assert_looks_like(drawn(plot, np.zeros(POINTS, bool)), name)


def test_recoloured_labels(make_napari_viewer: Callable[..., Any], toy: Path, mapped_store: Path) -> None:
    viewer = make_napari_viewer(show=True)
    movie = cellvjepa.with_levels(cellvjepa.open_archive(toy).movies[0])
    labels, settings, kind = labels_layer(cellvjepa.open_movie(toy / "labels" / "toy_labels.tif"), movie)
    add_movie(viewer, [*image_layers(movie), (labels, {**settings, "visible": True, "opacity": 1.0}, kind)])
    ((data, points, _),) = read_store(str(mapped_store))
    viewer.add_points(data, **points).opacity = 0
    found = cellvjepa.open_store(mapped_store)
    colours = LabelColours(viewer)
    colours.follow(found)
    colours.paint(colouring("cluster", found.table["cluster"].to_numpy()), np.arange(8) != 0)
    viewer.dims.set_current_step(0, 3)
    assert_looks_like(viewer.export_figure(scale_factor=4, flash=False), "labels")
    colours.close()


@pytest.mark.parametrize("name", ["points", "stamps", "density", "labels"])
def test_another_picture_would_be_noticed(name: str) -> None:
    picture = np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB"))
    for other in (picture[:, ::-1], picture[..., ::-1], np.roll(picture, 8, axis=0)):
        mean, somewhere = apart(picture, other)
        assert mean > 3
        assert somewhere > 40
