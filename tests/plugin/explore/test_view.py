"""What comes back when the dock is opened again, and what is saved as a picture."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as Picture
from qtpy.QtWidgets import QFileDialog

from napari_cellvjepa.explore import saving
from napari_cellvjepa.explore.dock import ExploreWidget
from napari_cellvjepa.explore.view import VIEW_KEY
from napari_cellvjepa.plot.plotted import PLOT_KEY, Plotted
from tests.plugin.explore.exploring import PATIENCE_MS, Explored, canvas, chosen, only, points_of


def again(viewer: Any, widget: ExploreWidget, qtbot: Any) -> ExploreWidget:
    """Close the dock and open it again."""
    viewer.window.remove_dock_widget(widget)
    other = ExploreWidget(viewer)
    viewer.window.add_dock_widget(other, name="Explore")
    qtbot.waitUntil(lambda: len(other.link.chosen_N) > 0, timeout=PATIENCE_MS)
    return other


def test_view_buttons_columns_and_selection_come_back_with_the_dock(explored: Explored, qtbot: Any) -> None:
    viewer, widget = explored
    widget.toolbar.choose_tool("rectangle")
    widget.toolbar.choose_how("add")
    widget.toolbar.tracks.click()
    widget.link.select(only(4, 6))
    box = widget.plot.seen()
    widget.plot._view.camera.zoom(0.5, center=widget.plot._in_plane(widget.plot.position_px(2)))
    widget.plot._after_move()
    limits = widget.plot.limits()
    assert widget.plot.seen().width == pytest.approx(box.width / 2, rel=1e-3)
    kept = points_of(viewer).metadata
    assert yaml.safe_load(yaml.safe_dump({VIEW_KEY: kept[VIEW_KEY], PLOT_KEY: kept[PLOT_KEY]}))[VIEW_KEY]["tool"] == "rectangle"
    other = again(viewer, widget, qtbot)
    np.testing.assert_allclose(other.plot.limits(), limits, rtol=0.02, atol=0.02)
    assert (other.plot.tool, other.plot.how, other.toolbar.tools["rectangle"].isChecked()) == ("rectangle", "add", True)
    assert chosen(other) == [4, 6]
    assert [trail.track_id for trail in other.plot.trails.trails] == [3, 4]


@pytest.mark.parametrize(
    "view", ["", 3, {}, {"columns": ["UMAP 1", "UMAP 2"], "x": [1], "y": "no"}, {"columns": ["UMAP 1", "UMAP 2"], "x": [2, 1], "y": [0, 0]}]
)
def test_a_view_that_makes_no_sense_is_left_out(explored: Explored, view: Any, qtbot: Any) -> None:
    viewer, widget = explored
    viewer.window.remove_dock_widget(widget)
    points_of(viewer).metadata[VIEW_KEY] = view
    other = ExploreWidget(viewer)
    viewer.window.add_dock_widget(other)
    qtbot.waitUntil(lambda: len(other.link.chosen_N) > 0, timeout=PATIENCE_MS)
    (x0, x1), (y0, y1) = other.plot.limits()
    assert x0 < -1 < 1 < x1
    assert y0 < -1 < 1 < y1


def test_a_map_has_no_numbers_and_measures_have(explored: Explored) -> None:
    _, widget = explored
    assert widget.plot.across.texts() == ["UMAP 1"]
    widget.plotted.across.setCurrentText("x_um")
    widget.plotted.up.setCurrentText("time_s")
    widget.plotted.axes_changed.emit()
    assert widget.plot.across.texts()[-1] == "x [µm]"
    assert widget.plot.up.texts()[-1] == "time [s]"
    assert len(widget.plot.up.texts()) > 2


def saved(widget: ExploreWidget, path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path.with_suffix("")), f"(*{path.suffix})"))
    widget.toolbar.saved.emit()
    qtbot.waitUntil(lambda: path.exists() and not widget.saving.working.under_way, timeout=PATIENCE_MS)
    return path


def test_the_plot_is_saved_as_it_is_seen(explored: Explored, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, widget = explored
    picture = Picture.open(saved(widget, tmp_path / "plot.png", qtbot, monkeypatch))
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert picture.width == 1500
    pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for colour in ((0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9), (0x00, 0x9E, 0x73)):
        assert (np.abs(pixels - np.array(colour)).max(axis=1) < 12).sum() > 100
    drawing = saved(widget, tmp_path / "plot.svg", qtbot, monkeypatch).read_text(encoding="utf-8")
    assert re.findall(r"<text[^>]*>([^<]*)</text>", drawing) == ["UMAP 1", "UMAP 2", "cluster", "0", "1", "2", "3"]
    assert "<image" not in drawing


def test_of_many_points_the_density_is_saved_as_a_picture_in_the_drawing(
    explored: Explored, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, widget = explored
    monkeypatch.setattr(saving, "MOST_MARKERS", 3)
    widget.link.select(only(0))
    drawing = saved(widget, tmp_path / "many.svg", qtbot, monkeypatch).read_text(encoding="utf-8")
    assert drawing.count("<image") == 1
    assert ">UMAP 1</text>" in drawing


def test_where_a_picture_cannot_be_written_it_is_told(explored: Explored, tmp_path: Path, notices: list[str], qtbot: Any) -> None:
    _, widget = explored
    widget.saving.save(tmp_path / "plot.bmp")
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE_MS)
    assert ".png or .svg" in notices[0]
    assert canvas(widget).isVisible()


@pytest.mark.parametrize("plotted", [[1], "UMAP 1", ["UMAP 1", "UMAP 2", "no such column"], None])
def test_columns_that_make_no_sense_are_left_out(plotted: Any) -> None:
    class Columns:
        """As much of a store's columns as the lists need."""

        def axes(self) -> tuple[str, ...]:
            return "UMAP 1", "UMAP 2", "x_um"

        def colours(self) -> tuple[str, ...]:
            return ("cluster",)

        def first_axes(self) -> tuple[str, str]:
            return "UMAP 1", "UMAP 2"

    lists = Plotted()
    lists.offer(Columns(), [SimpleNamespace(metadata={PLOT_KEY: plotted})])  # type: ignore[arg-type]
    assert lists.names() == ["UMAP 1", "UMAP 2", "cluster"]
    lists.deleteLater()
