"""More like this: pictures of the most similar cells."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import cellvjepa
from napari_cellvjepa.explore import similar
from napari_cellvjepa.explore.similar import SimilarCells
from napari_cellvjepa.layers.store_movies import Movies
from tests.plugin import mouse

PATIENCE_MS = 120_000


@pytest.fixture
def page(toy_store: Path, qtbot: Any) -> SimilarCells:
    made = SimilarCells()
    qtbot.addWidget(made, before_close_func=lambda it: it.cancel())
    made.resize(380, 400)
    found = cellvjepa.open_store(toy_store)
    made.follow(found, Movies(found))
    made.show()
    qtbot.waitExposed(made)
    return made


def test_the_most_similar_come_first_with_rank_and_similarity(page: SimilarCells, toy_store: Path, qtbot: Any) -> None:
    assert not page.search.isEnabled()
    page.ask_for(6)
    page.count.setValue(4)
    page.search.click()
    assert not page.search.isEnabled()
    qtbot.waitUntil(lambda: len(page.rows()) == 4, timeout=PATIENCE_MS)
    expected = cellvjepa.open_index(toy_store).similar(6, 4).table
    assert page.rows() == expected["row"].tolist()
    model = page.gallery.grid.model()
    facts = page._found.table.iloc[page.rows()[0]]  # type: ignore[union-attr]
    whose = f"track {facts['track_id']} · {facts['t_start']}-{facts['t_stop'] - 1}"
    assert model.index(0, 0).data() == f"1 · {expected['similarity'].iloc[0]:.3f}\n{whose}"
    assert model.index(3, 0).data().startswith("4 · ")
    qtbot.waitUntil(lambda: all(page.gallery.thumbnails.get(row) is not None for row in page.rows()), timeout=PATIENCE_MS)
    assert page.status.text().startswith("4 cells most similar to toy.ome.tif#id4_t0.")


def test_a_click_leads_there_and_these_are_selected(page: SimilarCells, qtbot: Any) -> None:
    chosen: list[int] = []
    wanted: list[list[int]] = []
    page.chosen.connect(chosen.append)
    page.wanted.connect(wanted.append)
    page.ask_for(0)
    page.count.setValue(3)
    page.search.click()
    qtbot.waitUntil(lambda: len(page.rows()) == 3, timeout=PATIENCE_MS)
    grid = page.gallery.grid
    qtbot.waitUntil(lambda: grid.visualRect(grid.model().index(1, 0)).isValid(), timeout=PATIENCE_MS)
    centre = grid.visualRect(grid.model().index(1, 0)).center()
    mouse.click(grid.viewport(), (centre.x(), centre.y()))
    mouse.click(page.gallery.select, (5, 5))
    assert chosen == [page.rows()[1]]
    assert wanted == [page.rows()]


def test_a_search_that_is_given_up_leaves_nothing(page: SimilarCells, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slowly(*_: Any, **__: Any) -> None:
        begun.set()
        go_on.wait(20)
        raise AssertionError("it has been given up")

    monkeypatch.setattr(similar.cellvjepa, "open_index", slowly, raising=False)
    page.ask_for(0)
    page.search.click()
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE_MS)
    page.follow(None, None)
    go_on.set()
    qtbot.wait(200)
    assert page.rows() == []
    assert page.status.text() == ""
    assert not page.search.isEnabled()


def test_without_a_cell_the_command_says_what_to_do(page: SimilarCells) -> None:
    with pytest.raises(cellvjepa.UserError, match="no cell is chosen"):
        page.command()
