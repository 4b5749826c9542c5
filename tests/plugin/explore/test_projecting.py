"""Maps and clusters from the dock, and the line that tells what is under way."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QComboBox, QSpinBox

import cellvjepa
from cellvjepa.cli import run
from napari_cellvjepa.explore import projecting
from tests.plugin import mouse
from tests.plugin.explore.exploring import PATIENCE_MS, Explored, chosen, only, points_of


def choose(widget: Any, **values: Any) -> None:
    for name, value in values.items():
        box = widget.projecting.form.findChild((QComboBox, QSpinBox)[isinstance(value, int)], name)
        box.setCurrentText(value) if isinstance(value, str) else box.setValue(value)


def test_a_map_and_clusters_are_written_drawn_and_coloured(explored: Explored, qtbot: Any) -> None:
    viewer, widget = explored
    widget.link.select(only(1))
    choose(widget, projection="pca", method="kmeans", seed=3)
    widget.tabs.setCurrentWidget(widget.projecting)
    mouse.click(widget.projecting.begin, (5, 5))
    assert not widget.projecting.begin.isEnabled()
    qtbot.waitUntil(
        lambda: widget.found.steps["cluster"].get("method") == "kmeans" if "cluster" in widget.found.steps else False, timeout=PATIENCE_MS
    )
    found = cellvjepa.open_store(widget.found.path)
    assert found.steps["cluster"]["seed"] == 3
    assert widget.plotted.names() == ["UMAP 1", "UMAP 2", "cluster"]
    assert widget.drawing.colouring.name == "cluster"
    assert sum(kind.rows for kind in widget.drawing.colouring.kinds) == 8
    assert points_of(viewer).features["cluster"].tolist() == found.table["cluster"].tolist()
    assert chosen(widget) == [1]
    assert "by kmeans" in widget.projecting.status.text()
    assert widget.projecting.begin.isEnabled()


def test_the_command_does_the_same(explored: Explored, capsys: pytest.CaptureFixture[str]) -> None:
    _, widget = explored
    choose(widget, projection="pca", method="kmeans", seed=2, landmarks=6)
    words = shlex.split(widget.projecting.copy.text_of_command())
    assert words[:3] == ["cellvjepa", "cluster", str(widget.found.path)]
    assert run(words[1:]) == 0
    assert cellvjepa.open_store(widget.found.path).steps["cluster"]["landmarks"] == 6


def test_a_store_that_is_damaged_meanwhile_is_told_in_a_sentence(explored: Explored, notices: list[str], qtbot: Any) -> None:
    _, widget = explored
    for piece in (widget.found.path / "X").rglob("*"):
        if piece.is_file() and piece.name != "zarr.json":
            piece.unlink()
    widget.projecting.begin.click()
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE_MS)
    assert "pieces of the vectors are missing" in notices[0]
    assert widget.projecting.status.text() == notices[0]
    assert widget.projecting.begin.isEnabled()


def test_work_is_told_and_stopped_in_the_dock(explored: Explored, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, widget = explored
    begun, written = threading.Event(), threading.Event()

    def long(store: Path, options: Any, progress: cellvjepa.Progress) -> None:
        for i in range(100_000):
            progress("principal components", i, 100_000)
            begun.set()
            threading.Event().wait(0.005)
        written.set()

    monkeypatch.setattr(projecting, "_projected", long)
    assert widget.busy.isHidden()
    widget.projecting.begin.click()
    qtbot.waitUntil(lambda: begun.is_set() and widget.busy.isVisible(), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: "principal components" in widget.busy.text.text(), timeout=PATIENCE_MS)
    mouse.click(widget.busy.stop, (5, 5))
    assert widget.busy.text.text() == "stopping …"
    qtbot.waitUntil(lambda: widget.busy.isHidden() and widget.projecting.begin.isEnabled(), timeout=PATIENCE_MS)
    assert not written.is_set()
    assert widget.busy.running() == []
    assert np.count_nonzero(widget.link.chosen_N) == 0


def test_closing_the_dock_stops_the_work(explored: Explored, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, widget = explored
    begun, stopped = threading.Event(), threading.Event()

    def long(store: Path, options: Any, progress: cellvjepa.Progress) -> None:
        try:
            while True:
                progress("", 0, 0)
                begun.set()
                threading.Event().wait(0.005)
        finally:
            stopped.set()

    monkeypatch.setattr(projecting, "_projected", long)
    widget.projecting.begin.click()
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE_MS)
    assert not stopped.is_set()
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(stopped.is_set, timeout=PATIENCE_MS)
    assert "Explore" not in viewer.window.dock_widgets
