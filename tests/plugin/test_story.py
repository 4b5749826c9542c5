"""The whole way of a biologist through the docks, with the mouse and the keys: from a folder of movies to a table of predictions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton

import cellvjepa
from cellvjepa.cli import run
from napari_cellvjepa.archive.dock import ArchiveWidget
from napari_cellvjepa.explore.dock import ExploreWidget
from napari_cellvjepa.label.dock import LabelWidget
from napari_cellvjepa.layers.points import STORE_KEY
from napari_cellvjepa.probe.dock import ProbeWidget
from tests.plugin import mouse
from tests.plugin.label.driving import press, ready

PATIENCE_MS = 300_000
FIELDS = [f"field{n}.ome.tif" for n in (1, 2, 3)]
CLASSES = ("migrating", "resting")
EACH = 3  # windows that are labelled of each class and field


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three of the simulated fields, with their tracks."""
    monkeypatch.setattr("napari_cellvjepa.archive.recent.recent_file", lambda: tmp_path / "recent.txt")
    sample, folder = cellvjepa.sample_data_folder() / "simulated", tmp_path / "archive"
    folder.mkdir()
    for name in FIELDS:
        shutil.copy(sample / name, folder / name)
    cells = pd.read_csv(sample / "cells.csv")
    cells[cells["movie"].isin(FIELDS)].to_csv(folder / "cells.csv", index=False)
    return folder


@pytest.fixture
def store(archive: Path, tmp_path: Path) -> Path:
    """What the command that the Embed dock copies makes of it."""
    path = tmp_path / "fields.zarr"
    assert run(["embed", str(archive), "--model", "encoder_tiny", "--cells", str(archive / "cells.csv"), "--out", str(path)]) == 0
    assert run(["cluster", str(path), "--projection", "pca", "--method", "kmeans"]) == 0
    return path


@pytest.fixture
def dock(make_napari_viewer: Callable[..., Any]) -> Callable[[type], Any]:
    """A function that opens a dock in one viewer."""
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1500, 1000)

    def open_dock(kind: type) -> Any:
        widget = kind(viewer)
        viewer.window.add_dock_widget(widget, name=kind.__name__.removesuffix("Widget"), tabify=True)
        return widget

    return open_dock


def windows_of_class(store: Path, name: str) -> Iterator[int]:
    """Yield rows of the store whose window the sample says to be of a class, a few of each field."""
    table = cellvjepa.open_store(store).table.reset_index(drop=True)
    truth = pd.read_csv(cellvjepa.sample_data_folder() / "simulated" / "labels.csv")
    known = table.reset_index().merge(truth, on=["movie", "track_id", "t_start", "t_stop"])
    for _, rows in known[known["label"] == name].groupby("movie"):
        yield from rows["index"].iloc[:EACH].tolist()


def test_from_a_folder_of_movies_to_a_table_of_predictions(
    dock: Callable[[type], Any], archive: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    # A movie is found in the archive and opened.
    movies = dock(ArchiveWidget)
    viewer = movies._viewer
    movies.open_paths([archive])
    qtbot.waitUntil(lambda: movies.found is not None, timeout=PATIENCE_MS)
    QTest.keyClicks(movies.search, "field2")
    qtbot.waitUntil(lambda: "field2" in str(first_movie(movies).data()), timeout=PATIENCE_MS)
    index = first_movie(movies)
    mouse.click(movies.tree.viewport(), movies.tree.visualRect(index).center().toTuple())
    QTest.keyClick(movies.tree, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: any(layer.name.startswith("field2") for layer in viewer.layers), timeout=PATIENCE_MS)

    # Its archive's store is plotted; a lasso selects, a click on a dot leads to the cell.
    explore = dock(ExploreWidget)
    monkeypatch.setattr("napari_cellvjepa.layers.store_line.QFileDialog.getExistingDirectory", lambda *_: str(store))
    mouse.click(button(explore.store, "Open"), (5, 5))
    qtbot.waitUntil(lambda: len(explore.link.chosen_N) > 0, timeout=PATIENCE_MS)
    canvas = explore.plot._canvas.native
    explore.toolbar.choose_tool("lasso")
    width, height = canvas.width(), canvas.height()
    mouse.drag(canvas, [(2, 2), (width - 2, 2), (width - 2, height - 2), (2, height - 2)])
    assert explore.link.chosen_N.all()
    explore.toolbar.choose_tool("pan")
    row = next(windows_of_class(store, CLASSES[0]))
    mouse.click(canvas, explore.plot.position_px(row))
    qtbot.waitUntil(lambda: explore.shown_row >= 0, timeout=PATIENCE_MS)
    picked = explore.found.table.iloc[explore.shown_row]
    assert viewer.dims.point[0] == pytest.approx((picked["t_start"] + picked["t_stop"] - 1) // 2 * viewer.layers[0].scale[0])

    # Cells are clicked in the image and labelled with keys.
    label = dock(LabelWidget)
    qtbot.waitUntil(lambda: label.subject is not None, timeout=PATIENCE_MS)
    label.form.annotator.setText("ada")
    for name in CLASSES:
        label.classes.name.setText(name)
        QTest.keyClick(label.classes.name, Qt.Key.Key_Return)
    label.target.box.setCurrentIndex(label.target.box.findText("the window at this time"))
    ready(label, qtbot)
    said = {}
    for key, name in zip((Qt.Key.Key_1, Qt.Key.Key_2), CLASSES, strict=True):
        for row in windows_of_class(store, name):
            explore.go(row)
            qtbot.waitUntil(lambda row=row: explore.shown_row == row, timeout=PATIENCE_MS)
            image = viewer.window._qt_viewer.canvas.native
            mouse.wait(50)
            mouse.click(image, (image.width() / 2, image.height() / 2))
            track = int(explore.found.table["track_id"].iloc[row])
            qtbot.waitUntil(lambda track=track: label.cell is not None and label.cell.track_id == track, timeout=PATIENCE_MS)
            press(viewer, qtbot, key)
            ready(label, qtbot)
            said[row] = name
    assert len(said) == 2 * len(FIELDS) * EACH
    written = pd.read_csv(label.form.path())
    assert written["label"].value_counts().to_dict() == dict.fromkeys(CLASSES, len(FIELDS) * EACH)

    # A probe learns from them, is judged on fields it has not seen, and predicts the rest.
    probe = dock(ProbeWidget)
    qtbot.waitUntil(lambda: probe.found is not None and bool(probe.teaching.labels.text()), timeout=PATIENCE_MS)
    assert Path(probe.teaching.labels.text()) == label.form.path()
    mouse.click(probe.teaching.start, (5, 5))
    qtbot.waitUntil(lambda: probe.report.confusion.rowCount() == 2, timeout=PATIENCE_MS)
    report = json.loads((tmp_path / "fields_probe" / "report.json").read_text(encoding="utf-8"))
    assert np.sum(report["confusion"]) == len(said)
    probe.tabs.setCurrentWidget(probe.using)
    mouse.click(probe.using.start, (5, 5))
    qtbot.waitUntil(lambda: "have been predicted" in probe.using.status.text(), timeout=PATIENCE_MS)
    layer = next(layer for layer in viewer.layers if STORE_KEY in layer.metadata)
    assert set(layer.features["predicted"]) <= set(CLASSES)
    mouse.click(probe.using.write, (5, 5))
    qtbot.waitUntil(lambda: "The table is in" in probe.using.status.text(), timeout=PATIENCE_MS)
    table = pd.read_csv(tmp_path / "fields_predictions.csv")
    assert len(table) == len(explore.found)
    assert table["label"].iloc[list(said)].tolist() == list(said.values())
    np.testing.assert_allclose(table[[f"p_{name}" for name in CLASSES]].sum(axis=1), 1, atol=1e-5)
    agree = table["predicted"].iloc[list(said)] == pd.Series(said)
    assert agree.mean() > 0.8  # of what it was taught


def button(parent: Any, text: str) -> Any:
    return next(widget for widget in parent.findChildren(QPushButton) if widget.text() == text)


def first_movie(movies: ArchiveWidget) -> Any:
    """Return the first movie that the tree shows."""
    model = movies.tree.model()
    index = model.index(0, 0)
    while model.hasChildren(index):
        movies.tree.expand(index)
        index = model.index(0, 0, index)
    return index
