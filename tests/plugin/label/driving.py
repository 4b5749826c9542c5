"""Opening and driving the Label dock with keys and the mouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_cellvjepa.label.dock import LabelWidget
from tests.plugin import mouse

PATIENCE_MS = 120_000

Docked = tuple[Any, LabelWidget]


def open_dock(viewer: Any, qtbot: Any, labels: Path) -> LabelWidget:
    """Open the dock, with three classes, and wait until it is ready."""
    widget = LabelWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Label")
    viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(lambda: widget.subject is not None, timeout=PATIENCE_MS)
    widget.form.file.set_text(str(labels))
    widget.form.annotator.setText("ada")
    for name in ("resting", "moving", "dividing"):
        widget.classes.name.setText(name)
        QTest.keyClick(widget.classes.name, Qt.Key.Key_Return)
    ready(widget, qtbot)
    return widget


def ready(widget: LabelWidget, qtbot: Any) -> None:
    """Wait until everything that was asked for is written and read."""
    qtbot.waitUntil(lambda: not widget._typed.isActive() and not widget.pen.busy and widget.pen.book is not None, timeout=PATIENCE_MS)


def press(viewer: Any, qtbot: Any, key: Qt.Key, held: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    """Press a key while the image has the focus."""
    canvas = viewer.window._qt_viewer.canvas.native
    window = viewer.window._qt_window
    window.activateWindow()
    canvas.setFocus()
    qtbot.waitUntil(lambda: window.isActiveWindow() and canvas.hasFocus(), timeout=PATIENCE_MS)
    QTest.keyClick(canvas, key, held)


def click(viewer: Any, y_um: float, x_um: float) -> None:
    """Click a place of the image with the mouse."""
    viewer.scene.camera.center = (0, y_um, x_um)
    mouse.wait(50)
    canvas = viewer.window._qt_viewer.canvas.native
    mouse.click(canvas, (canvas.width() / 2, canvas.height() / 2))


def written(labels: Path) -> list[list[object]]:
    """Return the lines of the file: track, class, from when to when, who."""
    return pd.read_csv(labels, dtype=str, keep_default_na=False)[["track_id", "label", "t_start", "t_stop", "annotator"]].to_numpy().tolist()
