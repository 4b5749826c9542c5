"""The Explore dock: a store as a plot, linked with the viewer."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Labels, Points
from napari.utils.colormaps import CyclicLabelColormap

import cellvjepa
from napari_cellvjepa.explore.dock import ExploreWidget
from napari_cellvjepa.layers import journey
from napari_cellvjepa.layers.linking import selected_rows
from napari_cellvjepa.layers.of_movies import labels_layer
from napari_cellvjepa.layers.opening import read_movie, read_store
from napari_cellvjepa.layers.points import ROW_COLUMN, STORE_KEY
from napari_cellvjepa.plot import columns
from tests.plugin import mouse
from tests.plugin.explore.exploring import PATIENCE_MS, Explored, around, at, canvas, chosen, image_of, only, points_of, show


def test_with_no_layer_and_with_wrong_layers_it_says_what_to_do(make_napari_viewer: Callable[..., Any]) -> None:
    viewer = make_napari_viewer()
    widget = ExploreWidget(viewer)
    viewer.window.add_dock_widget(widget)
    viewer.add_points([[0, 0, 0]])
    viewer.add_image(np.zeros((2, 8, 8)))
    assert widget.store.list.count() == 0
    assert "Open a store" in widget.about.text()
    widget.toolbar.inverted.emit()
    widget.toolbar.cleared.emit()
    mouse.click(canvas(widget), (20, 20))
    assert chosen(widget) == []


@pytest.mark.usefixtures("toy_store")
def test_what_is_no_store_is_told_in_a_sentence(make_napari_viewer: Callable[..., Any], tmp_path: Path, notices: list[str], qtbot: Any) -> None:
    widget = ExploreWidget(make_napari_viewer())
    qtbot.addWidget(widget, before_close_func=lambda it: it.leave())
    widget.open_store(tmp_path / "nothing.zarr")
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE_MS)
    assert "no such store of embeddings" in notices[0]
    assert widget.about.text() == notices[0]


def test_a_store_brings_its_points_map_clusters_and_legend(explored: Explored, mapped_store: Path) -> None:
    viewer, widget = explored
    layer = points_of(viewer)
    assert layer.metadata[STORE_KEY] == str(mapped_store)
    assert layer.features[ROW_COLUMN].tolist() == list(range(8))
    assert widget.plotted.names() == ["UMAP 1", "UMAP 2", "cluster"]
    assert widget.legend.texts() == [f"{i}  2" for i in range(4)]
    assert widget.about.text() == "8 embeddings"
    np.testing.assert_allclose(layer.border_color[0], layer.border_color[1])
    assert len(np.unique(layer.border_color, axis=0)) == 4


def test_a_store_that_is_open_already_is_plotted(make_napari_viewer: Callable[..., Any], mapped_store: Path, qtbot: Any) -> None:
    viewer = make_napari_viewer()
    ((data, settings, _),) = read_store(str(mapped_store))
    viewer.add_points(data, **settings)
    widget = ExploreWidget(viewer)
    viewer.window.add_dock_widget(widget)
    qtbot.waitUntil(lambda: len(widget.link.chosen_N) == 8, timeout=PATIENCE_MS)
    assert len(viewer.layers) == 1


def test_a_lasso_selects_in_the_plot_and_in_the_viewer(explored: Explored) -> None:
    viewer, widget = explored
    layer = points_of(viewer)
    widget.toolbar.choose_tool("lasso")
    mouse.drag(canvas(widget), around(widget, 5))
    assert chosen(widget) == [5]
    assert sorted(selected_rows(layer)) == [5]
    assert layer.face_color[5, 3] > 0.3
    assert layer.face_color[4, 3] == 0
    mouse.drag(canvas(widget), around(widget, 2), mouse.SHIFT)
    assert chosen(widget) == sorted(selected_rows(layer)) == [2, 5]
    mouse.drag(canvas(widget), around(widget, 5), mouse.ALT)
    assert chosen(widget) == sorted(selected_rows(layer)) == [2]
    widget.toolbar.inverted.emit()
    assert chosen(widget) == sorted(selected_rows(layer)) == [0, 1, 3, 4, 5, 6, 7]
    assert widget.about.text() == "7 of 8 embeddings selected, in 1 of 1 movies"
    widget.toolbar.choose_how("subtract")
    mouse.drag(canvas(widget), around(widget, 0))
    assert chosen(widget) == [1, 3, 4, 5, 6, 7]
    widget.toolbar.cleared.emit()
    assert chosen(widget) == sorted(selected_rows(layer)) == []


def test_what_is_selected_among_the_points_is_selected_in_the_plot(explored: Explored) -> None:
    viewer, widget = explored
    layer = points_of(viewer)
    layer.selected_data = {1, 6}
    assert chosen(widget) == [1, 6]
    layer.selected_data.add(3)
    assert chosen(widget) == [1, 3, 6]
    layer.selected_data.clear()
    assert chosen(widget) == []


def test_points_that_were_taken_away_do_not_shift_the_others(explored: Explored) -> None:
    viewer, widget = explored
    layer = points_of(viewer)
    layer.selected_data = {0, 1}
    layer.remove_selected()
    layer.selected_data = {0}
    assert chosen(widget) == [2]
    widget.link.select(only(7))
    assert sorted(layer.selected_data) == [5]


def test_a_click_in_the_plot_opens_the_movie_and_goes_to_the_cell(explored: Explored, qtbot: Any) -> None:
    viewer, widget = explored
    row = 7  # the second window of the cell that moves
    mouse.click(canvas(widget), widget.plot.position_px(row))
    at(widget, row, qtbot)
    facts = widget.found.table.iloc[row]
    image = image_of(viewer)
    assert image.name == "toy.ome.tif"
    frame = viewer.dims.point[0] / image.scale[0]
    assert facts["t_start"] <= frame < facts["t_stop"]
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], (facts["y_px"] * 0.5, facts["x_px"] * 0.5))
    assert widget.facts.text().startswith("toy.ome.tif · track 4 · frames 8-15")
    assert len([layer for layer in viewer.layers if isinstance(layer, Image)]) == 1
    mouse.click(canvas(widget), widget.plot.position_px(0))
    at(widget, 0, qtbot)
    assert viewer.dims.point[0] / image.scale[0] < 8
    assert image_of(viewer) is image


def test_another_movie_is_opened_and_the_first_is_hidden(make_napari_viewer: Callable[..., Any], two_fields: Path, qtbot: Any) -> None:
    viewer = make_napari_viewer()
    widget = ExploreWidget(viewer)
    viewer.window.add_dock_widget(widget)
    show(widget, two_fields, qtbot)
    for row in (0, 15):
        widget.go(row)
        at(widget, row, qtbot)
    assert {layer.name: layer.visible for layer in viewer.layers if isinstance(layer, Image)} == {"a.ome.tif": False, "b.ome.tif": True}
    points = {layer.features["movie"].iloc[0]: layer for layer in viewer.layers if isinstance(layer, Points)}
    assert {name: layer.visible for name, layer in points.items()} == {"a.ome.tif": False, "b.ome.tif": True}
    both = np.isin(np.arange(16), [3, 12])
    widget.link.select(both)
    assert selected_rows(points["a.ome.tif"]).tolist() == [3]
    assert selected_rows(points["b.ome.tif"]).tolist() == [12]
    points["a.ome.tif"].selected_data = {0}
    assert chosen(widget) == [0, 12]


def test_of_two_cells_asked_for_at_once_the_last_is_shown(explored: Explored, qtbot: Any) -> None:
    viewer, widget = explored
    widget.go(1)
    widget.go(6)
    at(widget, 6, qtbot)
    assert len([layer for layer in viewer.layers if isinstance(layer, Image)]) == 1


def test_a_movie_that_is_gone_is_told_and_may_be_elsewhere(
    explored: Explored, toy: Path, tmp_path: Path, notices: list[str], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _viewer, widget = explored
    monkeypatch.setattr(widget.journey.movies, "_found", moved(widget.found, tmp_path / "gone"))
    widget.go(2)
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE_MS)
    assert "the movie 'toy.ome.tif' is not there (looked in" in notices[0]
    assert "say under 'Movies' where they are now" in notices[0]
    widget.elsewhere.line.set_text(str(shutil.copytree(toy, tmp_path / "new")))
    widget.go(2)
    at(widget, 2, qtbot)


def moved(found: cellvjepa.Embeddings, place: Path) -> cellvjepa.Embeddings:
    from dataclasses import replace

    source = replace(found.provenance.source, archives=(str(place),))
    return replace(found, provenance=replace(found.provenance, source=source))


def test_labels_have_the_colours_of_the_plot_and_get_theirs_back(explored: Explored, toy: Path, qtbot: Any) -> None:
    viewer, widget = explored
    widget.go(0)
    at(widget, 0, qtbot)
    data, settings, _ = labels_layer(cellvjepa.open_movie(toy / "labels" / "toy_labels.tif"), image_of(viewer).metadata["cellvjepa_movie"])
    layer = viewer.add_labels(data, **{**settings, "visible": True})
    colours = widget.plot.dots._colouring.rgba()
    for frame, rows in ((2, [0, 2, 4, 6]), (10, [1, 3, 5, 7])):
        viewer.dims.set_current_step(0, frame)
        for track_id, row in zip((1, 2, 3, 4), rows, strict=True):
            np.testing.assert_allclose(layer.get_color(track_id), colours[row], atol=1e-5)
    widget.link.select(only(7))
    assert layer.get_color(4)[3] == pytest.approx(1)
    assert layer.get_color(1)[3] == pytest.approx(0.25)
    viewer.window.remove_dock_widget(widget)
    assert isinstance(layer.colormap, CyclicLabelColormap)


def test_a_click_on_a_cell_in_the_image_selects_it_in_the_plot(explored: Explored, qtbot: Any) -> None:
    viewer, widget = explored
    widget.go(0)
    at(widget, 0, qtbot)
    viewer.dims.set_current_step(0, 3)
    qtbot.wait(50)
    in_viewer = viewer.window._qt_viewer.canvas.native
    middle = (in_viewer.width() / 2, in_viewer.height() / 2)  # the camera is at track 1
    mouse.click(in_viewer, middle)
    assert chosen(widget) == [0]
    assert widget.shown_row == 0
    mouse.drag(in_viewer, [middle, (middle[0] + 30, middle[1]), (middle[0] + 60, middle[1])])
    assert chosen(widget) == [0]


def test_a_kind_in_the_legend_selects_its_cells(explored: Explored) -> None:
    _, widget = explored
    widget.legend.chosen.emit(2)
    assert chosen(widget) == [4, 5]


def test_other_columns_are_plotted_also_those_that_must_be_read(explored: Explored, qtbot: Any) -> None:
    _, widget = explored
    dimension = str(widget.found.features.index[3])
    widget.plotted.across.setCurrentText(dimension)
    widget.plotted.axes_changed.emit()
    values = np.asarray(widget.found.vectors_ND[slice(0, 8)])[:, 3]
    qtbot.waitUntil(lambda: widget.plot.limits()[0][0] < values.min() < values.max() < widget.plot.limits()[0][1], timeout=PATIENCE_MS)
    widget.plotted.colour.setCurrentText("x_px")
    widget.plotted.colour_changed.emit()
    assert len(widget.legend.texts()) == 2


def test_the_plot_and_the_selection_come_back_with_the_dock(explored: Explored, qtbot: Any) -> None:
    viewer, widget = explored
    widget.plotted.colour.setCurrentText("track_id")
    widget.plotted.colour_changed.emit()
    widget.link.select(only(1, 2))
    viewer.window.remove_dock_widget(widget)
    again = ExploreWidget(viewer)
    viewer.window.add_dock_widget(again)
    qtbot.waitUntil(lambda: len(again.link.chosen_N) == 8, timeout=PATIENCE_MS)
    assert chosen(again) == [1, 2]
    assert again.plotted.names()[2] == "track_id"


def test_similar_cells_are_listed_and_lead_to_them(explored: Explored, qtbot: Any) -> None:
    _viewer, widget = explored
    widget.go(0)
    at(widget, 0, qtbot)
    widget.similar.count.setValue(3)
    widget.similar.search.click()
    qtbot.waitUntil(lambda: len(widget.similar.rows()) == 3, timeout=PATIENCE_MS)
    expected = cellvjepa.open_index(widget.found.path).similar(0, 3).table["row"].tolist()
    assert widget.similar.rows() == expected
    assert widget.similar.command()[:2] == ["cellvjepa", "similar"]
    assert widget.similar.command()[2:] == [str(widget.found.path), "--clip", widget.found.table["clip_id"][0], "--count", "3"]
    widget.similar.gallery.select.click()
    assert chosen(widget) == sorted(expected)
    widget.similar.gallery.grid.clicked.emit(widget.similar.gallery.grid.model().index(1, 0))
    at(widget, expected[1], qtbot)


def test_a_selection_becomes_labels(explored: Explored, tmp_path: Path, notices: list[str], qtbot: Any) -> None:
    _, widget = explored
    widget.link.select(only(6, 7))
    widget.naming.name.setText("moving")
    widget.naming.annotator.setText("ada")
    widget.naming.file.set_text(str(tmp_path / "labels.csv"))
    widget.naming.as_labels.click()
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE_MS)
    written = pd.read_csv(tmp_path / "labels.csv")
    assert written[["movie", "track_id", "label", "t_start", "t_stop", "annotator"]].to_numpy().tolist() == [
        ["toy.ome.tif", 4, "moving", 0, 8, "ada"],
        ["toy.ome.tif", 4, "moving", 8, 16, "ada"],
    ]


@pytest.mark.parametrize(("rows", "name", "said"), [((), "a", "nothing is selected"), ((1,), " ", "the selection has no name")])
def test_what_is_missing_for_a_name_is_told(explored: Explored, rows: tuple[int, ...], name: str, said: str, notices: list[str]) -> None:
    _, widget = explored
    widget.link.select(only(*rows))
    widget.naming.name.setText(name)
    widget.naming.as_labels.click()
    widget.naming.as_cluster.click()
    assert len(notices) == 2
    assert all(said in text for text in notices)


def test_a_selection_becomes_a_cluster_in_the_store(explored: Explored, qtbot: Any) -> None:
    viewer, widget = explored
    widget.link.select(only(0, 1))
    widget.naming.name.setText("resting")
    widget.naming.as_cluster.click()
    qtbot.waitUntil(lambda: widget.plotted.names()[2] == "named", timeout=PATIENCE_MS)
    assert cellvjepa.open_store(widget.found.path).table["named"].tolist() == ["resting"] * 2 + ["unassigned"] * 6
    assert widget.legend.texts() == ["resting  2", "unassigned  6"]
    assert chosen(widget) == [0, 1]
    assert points_of(viewer).features["named"].tolist() == ["resting"] * 2 + ["unassigned"] * 6


def test_the_layer_is_removed_and_so_is_the_plot(explored: Explored) -> None:
    viewer, widget = explored
    widget.link.select(only(3))
    viewer.layers.clear()
    assert widget.found is None
    assert widget.store.list.count() == 0
    assert "Open a store" in widget.about.text()
    mouse.click(canvas(widget), (50, 50))


def test_the_layer_is_removed_while_its_movie_is_opened(explored: Explored, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, widget = explored
    begun, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(journey, "labels_of", lambda movie: (begun.set(), go_on.wait(20), [])[2])
    widget.go(3)
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE_MS)
    viewer.layers.clear()
    go_on.set()
    qtbot.wait(300)
    assert len(viewer.layers) == 0


def test_two_viewers_do_not_know_of_each_other(make_napari_viewer: Callable[..., Any], mapped_store: Path, qtbot: Any) -> None:
    both = []
    for _ in range(2):
        viewer = make_napari_viewer()
        widget = ExploreWidget(viewer)
        viewer.window.add_dock_widget(widget)
        show(widget, mapped_store, qtbot)
        both.append((viewer, widget))
    (one, first), (other, second) = both
    first.link.select(only(4))
    assert chosen(second) == []
    points_of(other).selected_data = {2}
    assert chosen(first) == [4]
    one.window.remove_dock_widget(first)
    points_of(other).selected_data = {1}
    assert chosen(second) == [1]


def test_closing_while_a_store_is_read(
    make_napari_viewer: Callable[..., Any], mapped_store: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    real = cellvjepa.open_store

    def slowly(path: Path) -> cellvjepa.Embeddings:
        begun.set()
        go_on.wait(20)
        return real(path)

    monkeypatch.setattr(columns.cellvjepa, "open_store", slowly, raising=False)
    viewer = make_napari_viewer()
    widget = ExploreWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.open_store(mapped_store)
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE_MS)
    viewer.window.remove_dock_widget(widget)
    go_on.set()
    qtbot.wait(300)
    assert len(viewer.layers) == 0


def test_nothing_of_it_is_left_when_it_is_closed(make_napari_viewer: Callable[..., Any], mapped_store: Path, qtbot: Any) -> None:
    viewer = make_napari_viewer()
    listeners = len(viewer.mouse_drag_callbacks)
    widget = ExploreWidget(viewer)
    viewer.window.add_dock_widget(widget)
    show(widget, mapped_store, qtbot)
    widget.go(2)
    at(widget, 2, qtbot)
    widget.link.select(only(2))
    parts = (widget, widget.plot, widget.plot._canvas, widget.link, widget.journey, widget.labels, widget.similar, widget.found)
    gone = {type(part).__name__: weakref.ref(part) for part in parts}
    viewer.window.remove_dock_widget(widget)
    del widget, parts
    qtbot.wait(100)
    gc.collect()
    assert [name for name, ref in gone.items() if ref() is not None] == []
    assert len(viewer.mouse_drag_callbacks) == listeners
    points_of(viewer).selected_data = {0}
    viewer.dims.set_current_step(0, 1)
    viewer.layers.clear()


def test_movies_of_any_make_are_found_by_their_names(explored: Explored, toy: Path, qtbot: Any) -> None:
    """Whoever opened the movie, it is not opened again."""
    viewer, widget = explored
    ((data, settings, _), *_) = read_movie(str(toy / "toy.ome.tif"))
    viewer.add_image(data, **{**settings, "metadata": {}})
    widget.go(5)
    at(widget, 5, qtbot)
    assert image_of(viewer).metadata == {}
    assert not [layer for layer in viewer.layers if isinstance(layer, Labels)]
