"""Rows saved as a figure."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from qtpy.QtWidgets import QFileDialog

import cellvjepa
from napari_cellvjepa.clips.figure import SaveFigure
from napari_cellvjepa.layers.store_movies import Movies

PATIENCE_MS = 120_000


@pytest.fixture
def found(toy_store: Path) -> cellvjepa.Embeddings:
    return cellvjepa.open_store(toy_store)


@pytest.fixture
def button(found: cellvjepa.Embeddings, qtbot: Any) -> SaveFigure:
    """The button for rows 7 and 0."""
    made = SaveFigure(lambda: [(7, "mover"), (0, "rester")])
    qtbot.addWidget(made, before_close_func=lambda it: it.cancel())
    made.follow(found, Movies(found), lambda: None)
    return made


def answer(monkeypatch: pytest.MonkeyPatch, path: str) -> list[str]:
    """Answer the dialog with a path; return a list of what it suggested."""
    suggested: list[str] = []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda parent, title, name, kinds: (suggested.append(name), (path, ""))[1])
    return suggested


def test_a_gallery_is_saved(button: SaveFigure, tmp_path: Path, notices: list[str], qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    suggested = answer(monkeypatch, str(tmp_path / "cells"))
    button.gallery.trigger()
    assert not button.isEnabled()
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE_MS)
    assert suggested == [str(tmp_path / "toy_gallery.png")]
    with Image.open(tmp_path / "cells.png") as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    assert notices == [f"The gallery is in {tmp_path / 'cells.png'}."]
    qtbot.waitUntil(button.isEnabled, timeout=PATIENCE_MS)


def test_a_montage_tells_times_and_a_scale(
    button: SaveFigure, tmp_path: Path, notices: list[str], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, str(tmp_path / "cells.svg"))
    button.montage.trigger()
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE_MS)
    text = (tmp_path / "cells.svg").read_text(encoding="utf-8")
    for said in ("mover", "rester", ">0 min<", ">7 min<", "Scale bar: "):
        assert said in text


def test_no_path_no_figure(button: SaveFigure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(tmp_path.iterdir())
    answer(monkeypatch, "")
    button.gallery.trigger()
    assert button.isEnabled()
    assert sorted(tmp_path.iterdir()) == before


def test_a_movie_that_is_gone_is_told(
    button: SaveFigure, found: cellvjepa.Embeddings, tmp_path: Path, notices: list[str], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = replace(found.provenance.source, archives=(str(tmp_path / "nowhere"),))
    moved = replace(found, provenance=replace(found.provenance, source=source))
    button.follow(moved, Movies(moved), lambda: None)
    answer(monkeypatch, str(tmp_path / "cells.png"))
    button.gallery.trigger()
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE_MS)
    assert "is not there (looked in" in notices[0]
    assert not (tmp_path / "cells.png").exists()
    qtbot.waitUntil(button.isEnabled, timeout=PATIENCE_MS)


def test_cancelled_nothing_is_written(button: SaveFigure, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    real = cellvjepa.read_pictures

    def slowly(*what: Any) -> Any:
        begun.set()
        go_on.wait(20)
        return real(*what)

    monkeypatch.setattr(cellvjepa, "read_pictures", slowly, raising=False)
    answer(monkeypatch, str(tmp_path / "cells.png"))
    button.gallery.trigger()
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE_MS)
    button.cancel()
    assert button.isEnabled()
    go_on.set()
    qtbot.wait(300)
    assert not (tmp_path / "cells.png").exists()
