"""The moving picture beside the mouse."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QCursor, QGuiApplication
from qtpy.QtWidgets import QLineEdit

import cellvjepa
from napari_cellvjepa.clips import hover
from napari_cellvjepa.clips.hover import HoverClip
from napari_cellvjepa.layers.store_movies import Movies
from napari_cellvjepa.plot.palette import plain
from napari_cellvjepa.plot.scatter import Scatter
from tests.plugin import mouse

PATIENCE_MS = 120_000


@pytest.fixture
def plot(qtbot: Any) -> Iterator[Scatter]:
    """A plot of eight points in a line."""
    scatter = Scatter()
    qtbot.addWidget(scatter)
    scatter.resize(400, 300)
    scatter.show_points(np.arange(8.0), np.zeros(8), False, plain(8), np.zeros(8, bool))
    scatter.show()
    qtbot.waitExposed(scatter)
    yield scatter
    scatter.close_canvas()


@pytest.fixture
def shown(plot: Scatter, toy_store: Path) -> HoverClip:
    found = cellvjepa.open_store(toy_store)
    clip = HoverClip(plot)
    plot.hovered.connect(clip.over)
    clip.follow(found, Movies(found))
    return clip


def over(plot: Scatter, row: int) -> QPoint:
    """Move the mouse over a point."""
    x, y = plot.position_px(row)
    there = plot._canvas.native.mapToGlobal(QPoint(round(x), round(y)))
    QCursor.setPos(there)
    mouse.move(plot._canvas.native, (x, y))
    return there


def test_a_picture_comes_beside_the_mouse_and_goes(plot: Scatter, shown: HoverClip, qtbot: Any) -> None:
    there = over(plot, 6)
    assert shown.shown_row == -1  # not at once
    qtbot.waitUntil(lambda: shown.shown_row == 6, timeout=PATIENCE_MS)
    assert not shown.geometry().contains(QCursor.pos())
    beside = shown.geometry().center() - there
    assert max(abs(beside.x()), abs(beside.y())) < 200
    first = shown.grab().toImage()
    qtbot.waitUntil(lambda: shown.grab().toImage() != first, timeout=PATIENCE_MS)
    x, y = plot.position_px(6)
    mouse.move(plot._canvas.native, (x, y - 60))
    qtbot.waitUntil(lambda: shown.shown_row == -1, timeout=PATIENCE_MS)
    assert not shown._playing.isActive()


def test_who_sweeps_across_sees_only_the_last(plot: Scatter, shown: HoverClip, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    real = shown.thumbnails.want
    monkeypatch.setattr(shown.thumbnails, "want", lambda rows: (asked.append(list(rows)), real(rows))[1])
    for row in range(8):
        shown.over(row)
    qtbot.waitUntil(lambda: shown.shown_row == 7, timeout=PATIENCE_MS)
    assert asked == [[7]]


def test_it_takes_no_focus(plot: Scatter, shown: HoverClip, qtbot: Any) -> None:
    line = QLineEdit()
    qtbot.addWidget(line)
    line.show()
    qtbot.waitExposed(line)
    line.setFocus()
    before = QGuiApplication.focusWindow()
    over(plot, 2)
    qtbot.waitUntil(lambda: shown.shown_row == 2, timeout=PATIENCE_MS)
    assert QGuiApplication.focusWindow() is before
    assert shown.windowFlags() & Qt.WindowType.WindowTransparentForInput


def test_a_row_that_cannot_be_shown_says_so_without_a_notice(
    plot: Scatter, shown: HoverClip, notices: list[str], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise cellvjepa.UserError("the movie is gone", "look for it")

    monkeypatch.setattr(Movies, "_open", missing)
    over(plot, 1)
    qtbot.waitUntil(lambda: shown.shown_row == 1, timeout=PATIENCE_MS)
    assert "the movie is gone" in shown.thumbnails.problem(1)
    shown.grab()
    assert notices == []


def test_it_stays_on_the_screen(shown: HoverClip) -> None:
    area = QGuiApplication.primaryScreen().availableGeometry()
    for corner in (area.topLeft(), area.topRight(), area.bottomLeft(), area.bottomRight()):
        box = shown.frameGeometry()
        box.moveTo(hover._beside(corner, box))
        assert area.contains(box)
        assert not box.contains(corner)


def test_with_another_store_or_none_it_goes(plot: Scatter, shown: HoverClip, qtbot: Any) -> None:
    over(plot, 1)
    qtbot.waitUntil(lambda: shown.shown_row == 1, timeout=PATIENCE_MS)
    shown.follow(None, None)
    assert shown.shown_row == -1
    shown.over(3)
    assert not shown._waiting.isActive()


def test_it_goes_with_its_plot(toy_store: Path, qtbot: Any) -> None:
    found = cellvjepa.open_store(toy_store)
    plot = Scatter()
    clip = HoverClip(plot)
    plot.hovered.connect(clip.over)
    clip.follow(found, Movies(found))
    clip.over(0)
    gone = [weakref.ref(part) for part in (clip, clip.thumbnails, plot)]
    clip.cancel()
    plot.close_canvas()
    plot.deleteLater()
    del plot, clip
    qtbot.wait(50)
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3
