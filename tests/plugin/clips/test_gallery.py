"""The gallery: moving pictures that lead to their cells."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

import cellvjepa
from napari_cellvjepa.clips.gallery import Gallery
from napari_cellvjepa.layers.store_movies import Movies
from tests.plugin import mouse

PATIENCE_MS = 120_000


@pytest.fixture
def found(toy_store: Path) -> cellvjepa.Embeddings:
    return cellvjepa.open_store(toy_store)


@pytest.fixture
def gallery(found: cellvjepa.Embeddings, qtbot: Any) -> Gallery:
    """A gallery that shows nothing yet of the toy's store."""
    shown = Gallery()
    qtbot.addWidget(shown, before_close_func=lambda it: it.cancel())
    shown.resize(380, 420)
    shown.follow(found, Movies(found))
    shown.show()
    qtbot.waitExposed(shown)
    return shown


def read(gallery: Gallery, rows: list[int], qtbot: Any) -> None:
    qtbot.waitUntil(lambda: all(gallery.thumbnails.get(row) is not None for row in rows), timeout=PATIENCE_MS)


def place(gallery: Gallery, number: int) -> tuple[float, float]:
    centre = gallery.grid.visualRect(gallery.grid.model().index(number, 0)).center()
    return centre.x(), centre.y()


def pixels(widget: QWidget) -> np.ndarray[Any, Any]:
    image = widget.grab().toImage().convertToFormat(image_format())
    return np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())[:, : image.width()].copy()


def image_format() -> Any:
    from qtpy.QtGui import QImage

    return QImage.Format.Format_Grayscale8


def test_rows_are_shown_in_their_order_with_what_they_are(gallery: Gallery, qtbot: Any) -> None:
    gallery.show_rows([7, 0, 3], ["1 · 0.93\ntrack 4"])
    assert gallery.rows() == [7, 0, 3]
    read(gallery, [7, 0, 3], qtbot)
    model = gallery.grid.model()
    assert model.index(0, 0).data() == "1 · 0.93\ntrack 4"
    assert model.index(1, 0).data() == "track 1\nframes 0-7"
    assert model.index(2, 0).data(Qt.ItemDataRole.ToolTipRole) == "toy.ome.tif: track 2, frames 8-15"
    assert gallery.status.isHidden()


def test_pictures_fill_the_width_and_the_slider_makes_them_larger(gallery: Gallery, qtbot: Any) -> None:
    gallery.show_rows(range(8))

    def in_first_line() -> list[Any]:
        rects = [gallery.grid.visualRect(gallery.grid.model().index(i, 0)) for i in range(8)]
        return [rect for rect in rects if rect.y() == rects[0].y() and rect.width() > 0]

    qtbot.waitUntil(lambda: len(in_first_line()) == 4, timeout=PATIENCE_MS)
    assert gallery.grid.viewport().width() - in_first_line()[-1].right() < 30  # room for a scroll bar
    gallery.zoom.setValue(170)
    qtbot.waitUntil(lambda: len(in_first_line()) == 2, timeout=PATIENCE_MS)
    assert in_first_line()[0].width() > 150


def test_the_pictures_move_until_they_are_paused(gallery: Gallery, qtbot: Any) -> None:
    gallery.show_rows([7])  # a cell that moves
    read(gallery, [7], qtbot)
    first = pixels(gallery.grid)
    assert first.max() > 200
    qtbot.waitUntil(lambda: not np.array_equal(pixels(gallery.grid), first), timeout=PATIENCE_MS)
    gallery.grid.setFocus()
    qtbot.keyClick(gallery.grid, Qt.Key.Key_Space)
    assert gallery.play.text() == "Play"
    assert not gallery._playing.isActive()
    gallery.play.click()
    assert gallery._playing.isActive()
    gallery.hide()
    assert not gallery._playing.isActive()


def test_a_click_chooses_once_and_keys_go_on_from_there(gallery: Gallery, qtbot: Any) -> None:
    chosen: list[int] = []
    gallery.chosen.connect(chosen.append)
    gallery.show_rows([5, 2, 6])
    read(gallery, [5, 2, 6], qtbot)
    mouse.click(gallery.grid.viewport(), place(gallery, 1))
    assert chosen == [2]
    qtbot.keyClick(gallery.grid, Qt.Key.Key_Right)
    assert chosen == [2, 6]
    qtbot.keyClick(gallery.grid, Qt.Key.Key_Right)  # there is none
    assert chosen == [2, 6]
    qtbot.keyClick(gallery.grid, Qt.Key.Key_Return)
    assert chosen == [2, 6, 6]
    mouse.click(gallery.grid.viewport(), place(gallery, 2))
    assert chosen == [2, 6, 6, 6]


def test_these_are_all_or_those_picked_out(gallery: Gallery, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[list[int]] = []
    gallery.wanted.connect(wanted.append)
    assert not gallery.select.isEnabled()
    gallery.show_rows([5, 2, 6])
    read(gallery, [5, 2, 6], qtbot)
    mouse.click(gallery.select, (5, 5))
    places = [gallery.grid.visualRect(gallery.grid.model().index(i, 0)).center() for i in (0, 2)]
    qtbot.mouseClick(gallery.grid.viewport(), Qt.MouseButton.LeftButton, pos=places[0])
    qtbot.mouseClick(gallery.grid.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier, pos=places[1])
    assert gallery.select.text() == "Select these 2"
    mouse.click(gallery.select, (5, 5))
    assert wanted == [[5, 2, 6], [5, 6]]


def test_of_thousands_only_those_in_view_are_read(gallery: Gallery, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    monkeypatch.setattr(gallery.thumbnails, "want", lambda rows: asked.append(list(rows)))
    gallery.show_rows([*[0] * 10_000, *[7] * 10_000])
    qtbot.waitUntil(lambda: bool(asked), timeout=PATIENCE_MS)
    assert asked[-1] == [0] * len(asked[-1])
    assert 8 <= len(asked[-1]) <= 40
    bar = gallery.grid.verticalScrollBar()
    bar.setValue(bar.maximum())
    qtbot.waitUntil(lambda: asked[-1][0] == 7, timeout=PATIENCE_MS)
    assert asked[-1] == [7] * len(asked[-1])
    assert 8 <= len(asked[-1]) <= 40
    assert gallery.grid.in_view()[1] == 20_000


def test_missing_movies_are_told_once_and_can_be_tried_again(
    found: cellvjepa.Embeddings, tmp_path: Path, toy: Path, notices: list[str], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = replace(found.provenance.source, archives=(str(tmp_path / "nowhere"),))
    moved = replace(found, provenance=replace(found.provenance, source=source))
    gallery = Gallery()
    qtbot.addWidget(gallery, before_close_func=lambda it: it.cancel())
    gallery.resize(380, 420)
    gallery.follow(moved, Movies(moved))
    gallery.show()
    gallery.show_rows([0, 7])
    qtbot.waitUntil(lambda: "cannot be shown" in gallery.status.text(), timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: gallery.status.text().startswith("2 of these"), timeout=PATIENCE_MS)
    assert "is not there (looked in" in gallery.status.text()
    assert "is not there" in gallery.grid.model().index(0, 0).data(Qt.ItemDataRole.ToolTipRole)
    assert notices == []
    (tmp_path / "nowhere").symlink_to(toy)
    mouse.click(gallery.retry, (5, 5))
    read(gallery, [0, 7], qtbot)
    qtbot.waitUntil(gallery.status.isHidden, timeout=PATIENCE_MS)


def test_nothing_is_read_before_it_is_seen(found: cellvjepa.Embeddings, qtbot: Any) -> None:
    gallery = Gallery()
    qtbot.addWidget(gallery, before_close_func=lambda it: it.cancel())
    gallery.follow(found, Movies(found))
    gallery.show_rows([0])
    mouse.wait(100)
    assert gallery.thumbnails.outstanding == 0
    assert gallery.thumbnails.get(0) is None
    gallery.show()
    read(gallery, [0], qtbot)


def test_without_a_store_there_is_nothing(qtbot: Any) -> None:
    gallery = Gallery()
    qtbot.addWidget(gallery)
    gallery.follow(None, None)
    gallery.show_rows([])
    gallery.show()
    qtbot.keyClick(gallery.grid, Qt.Key.Key_Return)
    assert gallery.rows() == []
    assert not gallery.select.isEnabled()


def test_nothing_is_left_of_it(found: cellvjepa.Embeddings, qtbot: Any) -> None:
    gallery = Gallery()
    gallery.follow(found, Movies(found))
    gallery.show()
    gallery.show_rows(range(8))
    read(gallery, [0], qtbot)
    gone = [weakref.ref(part) for part in (gallery, gallery.thumbnails, gallery.grid, gallery.figure)]
    gallery.cancel()
    gallery.close()
    gallery.deleteLater()
    del gallery
    qtbot.wait(50)
    gc.collect()
    assert [ref() for ref in gone] == [None] * 4


def test_an_archive_that_opens_slowly_is_told_and_can_be_stopped(gallery: Gallery, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def endless(path: str, given: Any, *, progress: Any) -> None:
        try:
            while True:
                progress("looking for movies", 3, 9)
                threading.Event().wait(0.01)
        finally:
            ended.append(path)

    monkeypatch.setattr(cellvjepa, "open_archive", endless, raising=False)
    gallery.show_rows([0])
    qtbot.waitUntil(lambda: gallery.status.text() == "looking for movies (3 of 9) …", timeout=PATIENCE_MS)
    assert gallery.retry.text() == "Stop"
    gallery.hide()  # another tab: what has been begun goes on
    gallery.show()
    mouse.wait(100)
    assert not ended
    mouse.click(gallery.retry, (5, 5))
    qtbot.waitUntil(lambda: bool(ended), timeout=PATIENCE_MS)
    assert gallery.status.isHidden()
    assert gallery.thumbnails.get(0) is None
