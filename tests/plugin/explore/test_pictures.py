"""The Gallery page of the Explore dock."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellvjepa
from napari_cellvjepa.clips.thumbnails import nowhere
from napari_cellvjepa.explore.dock import ExploreWidget
from napari_cellvjepa.explore.pictures import Pictures, sampled
from napari_cellvjepa.layers.store_movies import Movies
from napari_cellvjepa.plot.palette import Colouring, colouring, plain
from tests.plugin import mouse

PATIENCE_MS = 120_000


@pytest.fixture
def page(mapped_store: Path, qtbot: Any) -> Pictures:
    """The page for the toy's store, coloured by its four clusters of two; nothing is selected."""
    made = Pictures()
    qtbot.addWidget(made, before_close_func=lambda it: it.cancel())
    made.resize(380, 400)
    found = cellvjepa.open_store(mapped_store)
    made.follow(found, Movies(found), nowhere)
    made.show_state(clusters(found), np.zeros(8, bool))
    made.show()
    qtbot.waitExposed(made)
    return made


def clusters(found: cellvjepa.Embeddings) -> Colouring:
    return colouring("cluster", found.table["cluster"].to_numpy())


def only(*rows: int) -> np.ndarray[Any, Any]:
    mask = np.zeros(8, bool)
    mask[list(rows)] = True
    return mask


def choose(page: Pictures, number: int) -> None:
    page.what.setCurrentIndex(number)
    page.what.activated.emit(number)


def test_the_selection_is_shown_as_it_changes(page: Pictures, qtbot: Any) -> None:
    assert page.about.text().startswith("Nothing is selected")
    assert page.gallery.rows() == []
    page.show_state(page._colouring, only(7, 2))
    assert page.gallery.rows() == [2, 7]
    assert page.about.text() == "All 2 cells, in the order of the store."
    qtbot.waitUntil(lambda: page.gallery.thumbnails.get(7) is not None, timeout=PATIENCE_MS)
    page.show_state(page._colouring, only(1))
    assert page.gallery.rows() == [1]


def test_a_kind_is_shown_and_stays_when_the_selection_changes(page: Pictures) -> None:
    assert [page.what.itemText(i) for i in range(3)] == ["the selection", "cluster 0 (2)", "cluster 1 (2)"]
    choose(page, 3)
    assert page.gallery.rows() == [4, 5]
    page.show_state(page._colouring, only(0))
    assert page.gallery.rows() == [4, 5]
    page.show_state(clusters(page._found), only(0))  # painted again in the same colours
    assert page.gallery.rows() == [4, 5]
    page.show_state(plain(8), only(0))  # there are no kinds any more
    assert page.gallery.rows() == [0]


def test_of_too_many_a_sample_is_drawn_and_that_is_said(page: Pictures) -> None:
    page.show_state(page._colouring, np.ones(8, bool))
    page.most.setValue(3)
    assert page.about.text() == "3 of 8 cells, drawn at random with seed 0."
    first = page.gallery.rows()
    assert len(first) == 3
    assert first == sorted(first)
    page.again.click()
    assert "seed 1" in page.about.text()
    assert page.gallery.rows() != first
    page.seed.setValue(0)
    assert page.gallery.rows() == first
    page.most.setValue(8)
    assert page.seed.isHidden()


def test_while_nobody_looks_nothing_is_done(page: Pictures) -> None:
    page.hide()
    page.show_state(page._colouring, only(3))
    assert page.gallery.rows() == []
    page.show()
    assert page.gallery.rows() == [3]


def test_with_another_store_or_none_it_is_empty(page: Pictures) -> None:
    page.show_state(page._colouring, only(3))
    page.follow(None, None, nowhere)
    assert page.gallery.rows() == []
    assert page.what.count() == 1


def test_a_sample_of_many_is_quick_and_without_doubles() -> None:
    rows, text = sampled(np.arange(1_000_000), 200, seed=5)
    assert len(np.unique(rows)) == 200
    assert text == "200 of 1,000,000 cells, drawn at random with seed 5."


def look_about(dock: ExploreWidget, store: Path, qtbot: Any) -> None:
    """Look at the pictures of a selection, go to a cell, and hover over another one."""
    dock.open_store(store)
    qtbot.waitUntil(lambda: dock.found is not None, timeout=PATIENCE_MS)
    dock.tabs.setCurrentWidget(dock.pictures)
    dock.link.select(only(7, 2))
    qtbot.waitUntil(lambda: dock.pictures.gallery.rows() == [2, 7], timeout=PATIENCE_MS)
    grid = dock.pictures.gallery.grid
    qtbot.waitUntil(lambda: grid.visualRect(grid.model().index(1, 0)).isValid(), timeout=PATIENCE_MS)
    centre = grid.visualRect(grid.model().index(1, 0)).center()
    mouse.click(grid.viewport(), (centre.x(), centre.y()))
    qtbot.waitUntil(lambda: dock.shown_row == 7, timeout=PATIENCE_MS)
    assert dock.pictures.gallery.rows() == [2, 7]
    mouse.move(dock.plot._canvas.native, dock.plot.position_px(4))
    qtbot.waitUntil(lambda: dock.hover.shown_row == 4, timeout=PATIENCE_MS)


def test_in_the_dock_pictures_follow_selection_and_mouse_and_lead_to_cells(
    make_napari_viewer: Callable[..., Any], mapped_store: Path, qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    dock = ExploreWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Explore")
    look_about(dock, mapped_store, qtbot)
    parts = (dock.pictures, dock.hover, dock.pictures.gallery.thumbnails, dock.pictures.gallery.grid)
    gone = [weakref.ref(part) for part in parts]
    viewer.window.remove_dock_widget(dock)
    del dock, parts
    qtbot.wait(100)
    gc.collect()
    assert [ref() for ref in gone] == [None] * 4
