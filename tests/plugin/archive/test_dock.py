"""The Archive dock."""

from __future__ import annotations

import gc
import shlex
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers import Image, Labels, Tracks
from qtpy.QtCore import QMimeData, QModelIndex, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from qtpy.QtWidgets import QApplication

import cellvjepa
from cellvjepa.movies.movie import ArrayPixels
from napari_cellvjepa.archive import recent
from napari_cellvjepa.archive.catalogue import Catalogue, Entry
from napari_cellvjepa.archive.dock import ArchiveWidget
from napari_cellvjepa.layers.of_movies import MOVIE_KEY

PATIENT_MS = 60_000


@pytest.fixture(autouse=True)
def recent_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "config" / "recent.txt"
    monkeypatch.setattr("napari_cellvjepa.archive.recent.recent_file", lambda: file)
    return file


@pytest.fixture
def folder(toy: Path, tmp_path: Path) -> Path:
    """An archive: the toy twice with masks and tracks, a movie of another size with two channels, and two files that are no movies.

    ::

        archive/
          cells.csv                 of day1/a.ome.tif
          day1/a.ome.tif  b.ome.tif   labels/a_labels.tif
          day2/c.tif
          broken.tif  notes.h5
    """
    root = tmp_path / "archive"
    (root / "day1" / "labels").mkdir(parents=True)
    (root / "day2").mkdir()
    for name in ("a", "b"):
        shutil.copy(toy / "toy.ome.tif", root / "day1" / f"{name}.ome.tif")
    shutil.copy(toy / "labels" / "toy_labels.tif", root / "day1" / "labels" / "a_labels.tif")
    cells = (toy / "cells.csv").read_text().splitlines()
    (root / "cells.csv").write_text("\n".join([f"movie,{cells[0]}", *(f"day1/a.ome.tif,{line}" for line in cells[1:])]))
    pixels = np.random.default_rng(0).integers(0, 99, (5, 2, 20, 30), dtype=np.uint8)
    tifffile.imwrite(root / "day2" / "c.tif", pixels, imagej=True, metadata={"axes": "TCYX"})
    (root / "broken.tif").write_bytes(b"II*\0")
    (root / "notes.h5").write_bytes(b"\x89HDF")
    return root


@pytest.fixture
def widget(qtbot: Any) -> ArchiveWidget:
    """The dock for a viewer without a window."""
    made = ArchiveWidget(ViewerModel())
    qtbot.addWidget(made, before_close_func=ArchiveWidget.leave)
    made.resize(380, 700)
    made.show()
    return made


def open_archive(qtbot: Any, widget: ArchiveWidget, path: Path) -> None:
    widget.open_paths([path])
    qtbot.waitUntil(lambda: widget.found is not None, timeout=PATIENT_MS)


def titles(widget: ArchiveWidget, parent: QModelIndex | None = None) -> list[str]:
    parent = parent or QModelIndex()
    found = []
    for row in range(widget.movies.rowCount(parent)):
        index = widget.movies.index(row, 0, parent)
        assert widget.movies.parent(index) == parent
        found.append(widget.movies.node(index).title)
        found += [f"  {title}" for title in titles(widget, index)]
    return found


def number_of(widget: ArchiveWidget, name: str) -> int:
    assert widget.found is not None
    return next(number for number, entry in enumerate(widget.found.entries) if entry.movie.name == name)


def choose(widget: ArchiveWidget, name: str) -> QModelIndex:
    index = widget.movies.index_of(number_of(widget, name))
    widget.tree.setCurrentIndex(index)
    return index


def open_movie(qtbot: Any, widget: ArchiveWidget, name: str) -> None:
    widget.open_movie(number_of(widget, name))
    qtbot.waitUntil(lambda: any(getattr(layer.metadata.get(MOVIE_KEY), "name", "") == name for layer in widget._viewer.layers), timeout=PATIENT_MS)


def test_an_archive_is_a_tree_with_facts_and_reasons(qtbot: Any, widget: ArchiveWidget, folder: Path) -> None:
    open_archive(qtbot, widget, folder)
    assert titles(widget)[:5] == ["day1", "  a.ome.tif", "  b.ome.tif", "day2/c.tif", "Not used: 3"]
    assert {"  broken.tif", "  day1/labels/a_labels.tif"} < set(titles(widget)[5:])
    assert widget.about.text() == "3 movies, 3 with something to know (⚠)"

    index = choose(widget, "day2/c.tif")
    assert widget.movies.data(index) == "day2/c.tif\n5 frames, 20 x 30 px, 2 channels  ⚠"
    for part in ("5 frames, interval unknown", "20 x 30 px, pixel size unknown", "uint8, none, 6 kB"):
        assert part in widget.details.facts.text()
    assert "⚠ the pixel size is unknown" in widget.details.problems.text()
    choose(widget, "day1/a.ome.tif")
    assert "16 frames, every 60 s (15 min)" in widget.details.facts.text()
    assert "48 x 48 px of 0.5 µm" in widget.details.facts.text()
    assert "is smaller than a clip" in widget.details.problems.text()
    widget.tree.setCurrentIndex(widget.movies.index(0, 0))
    assert widget.details.problems.text() == ""

    unused = widget.movies.index(2, 0)
    assert not widget.tree.isExpanded(unused)
    place = next(row for row in range(3) if widget.movies.node(widget.movies.index(row, 0, unused)).title == "broken.tif")
    widget.tree.setCurrentIndex(widget.movies.index(place, 0, unused))
    assert widget.details.problems.text().startswith(str(folder / "broken.tif"))


def test_pictures_come_for_the_rows_that_are_seen(qtbot: Any, widget: ArchiveWidget, folder: Path) -> None:
    open_archive(qtbot, widget, folder)
    index = choose(widget, "day1/a.ome.tif")
    number = number_of(widget, "day1/a.ome.tif")
    assert widget.found is not None
    movie = widget.found.entries[number].movie
    qtbot.waitUntil(lambda: widget.pictures.picture(number, movie) is not None, timeout=PATIENT_MS)
    image = widget.pictures.picture(number, movie).toImage()
    cell, ground = image.pixelColor(10 * 160 // 48, 12 * 160 // 48), image.pixelColor(80, 80)
    assert cell.lightness() > 200
    assert ground.lightness() < 60
    assert not widget.details.picture.pixmap().isNull()
    assert not widget.movies.data(index, Qt.ItemDataRole.DecorationRole).isNull()
    branch = widget.movies.index(0, 0)
    assert widget.movies.data(branch, Qt.ItemDataRole.DecorationRole) is None


def test_typing_finds_movies_and_the_chosen_one_stays(qtbot: Any, widget: ArchiveWidget, folder: Path) -> None:
    open_archive(qtbot, widget, folder)
    choose(widget, "day2/c.tif")
    qtbot.keyClicks(widget.search, "2 channels")
    qtbot.waitUntil(lambda: titles(widget) == ["day2/c.tif"], timeout=PATIENT_MS)
    assert widget.about.text() == "1 of 3 movies"
    assert widget.movies.node(widget.tree.currentIndex()).title == "day2/c.tif"
    widget.search.setText("no such movie")
    qtbot.waitUntil(lambda: titles(widget) == [], timeout=PATIENT_MS)
    assert widget.about.text() == "0 of 3 movies"
    widget.search.clear()
    qtbot.waitUntil(lambda: len(titles(widget)) == 8, timeout=PATIENT_MS)


@pytest.mark.parametrize("how", ["Enter", "double click", "button"])
def test_a_movie_opens_with_its_labels_and_tracks(qtbot: Any, widget: ArchiveWidget, folder: Path, how: str) -> None:
    open_archive(qtbot, widget, folder)
    index = choose(widget, "day1/a.ome.tif")
    if how == "Enter":
        qtbot.keyClick(widget.tree, Qt.Key.Key_Return)
    elif how == "double click":
        place = widget.tree.visualRect(index).center()
        qtbot.mouseClick(widget.tree.viewport(), Qt.MouseButton.LeftButton, pos=place)
        qtbot.mouseDClick(widget.tree.viewport(), Qt.MouseButton.LeftButton, pos=place)
    else:
        qtbot.mouseClick(widget.open, Qt.MouseButton.LeftButton)
    layers = widget._viewer.layers
    qtbot.waitUntil(lambda: len(layers) == 3, timeout=PATIENT_MS)
    assert [type(layer) for layer in layers] == [Image, Labels, Tracks]
    assert [layer.visible for layer in layers] == [True, False, True]
    np.testing.assert_allclose(layers[0].scale, (60, 0.5, 0.5))
    assert [str(unit) for unit in layers[0].units] == ["second", "micrometer", "micrometer"]
    assert len({tuple(layer.scale) for layer in layers}) == 1
    assert layers.selection.active is layers[0]


def test_others_are_hidden_and_a_movie_is_opened_once(qtbot: Any, widget: ArchiveWidget, folder: Path) -> None:
    open_archive(qtbot, widget, folder)
    layers = widget._viewer.layers
    mine = widget._viewer.add_points(np.zeros((1, 2)), name="mine")
    open_movie(qtbot, widget, "day1/a.ome.tif")
    open_movie(qtbot, widget, "day2/c.tif")
    visible = {layer.name: layer.visible for layer in layers}
    assert visible == {
        "day1/a.ome.tif": False,
        "day1/a.ome.tif labels": False,
        "day1/a.ome.tif tracks": False,
        "day2/c.tif [c0]" if "day2/c.tif [c0]" in visible else layers[0].name: True,
        layers[1].name: True,
        "mine": True,
    }
    assert mine.visible
    there = len(layers)
    widget.open_movie(number_of(widget, "day1/a.ome.tif"))  # it is open: only shown
    assert len(layers) == there
    assert next(layer for layer in layers if layer.name == "day1/a.ome.tif").visible
    assert not layers[0].visible
    widget.alone.setChecked(False)
    widget.open_movie(number_of(widget, "day2/c.tif"))
    assert layers[0].visible
    assert next(layer for layer in layers if layer.name == "day1/a.ome.tif").visible


def drop(widget: ArchiveWidget, *paths: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    how = Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    over = QDragEnterEvent(QPoint(20, 20), *how)
    QApplication.sendEvent(widget, over)
    assert over.isAccepted()
    QApplication.sendEvent(widget, QDropEvent(QPointF(20, 20), *how))


def test_folders_and_movies_are_dropped(qtbot: Any, widget: ArchiveWidget, folder: Path) -> None:
    drop(widget, folder)
    qtbot.waitUntil(lambda: len(titles(widget)) == 8, timeout=PATIENT_MS)
    drop(widget, folder / "day1", folder / "day2")
    qtbot.waitUntil(lambda: "c.tif" in titles(widget), timeout=PATIENT_MS)
    drop(widget, folder / "day2" / "c.tif")  # one movie: it is opened at once
    qtbot.waitUntil(lambda: len(widget._viewer.layers) == 2, timeout=PATIENT_MS)
    assert all("c.tif" in layer.name for layer in widget._viewer.layers)  # its two channels


def test_a_store_that_is_dropped_is_opened(qtbot: Any, widget: ArchiveWidget, toy_store: Path, notices: list[str]) -> None:
    drop(widget, toy_store)
    qtbot.waitUntil(lambda: [layer.name for layer in widget._viewer.layers] == ["toy"], timeout=PATIENT_MS)
    (toy_store / "X" / "c" / "0" / "0").unlink()
    drop(widget, toy_store)
    qtbot.waitUntil(lambda: "pieces of the vectors are missing" in widget.details.problems.text(), timeout=PATIENT_MS)
    assert len(notices) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda place: place / "nothing", "there is no such file or folder. check the path"),
        (lambda place: place.mkdir() or place, "there are no movies in this folder"),
        (lambda place: place.write_text("a,b") and place, "this is no movie that can be read"),
    ],
)
def test_what_is_no_archive_is_told(
    qtbot: Any, widget: ArchiveWidget, tmp_path: Path, notices: list[str], make: Callable[[Path], Path], message: str
) -> None:
    widget.open_paths([make(tmp_path / "place")])
    qtbot.waitUntil(lambda: message in widget.about.text(), timeout=PATIENT_MS)
    assert len(notices) == 1
    assert message in notices[0]
    assert titles(widget) == []


def test_a_movie_that_has_gone_is_told(qtbot: Any, widget: ArchiveWidget, folder: Path, notices: list[str]) -> None:
    open_archive(qtbot, widget, folder)
    (folder / "day2" / "c.tif").unlink()
    widget.open_movie(number_of(widget, "day2/c.tif"))
    qtbot.waitUntil(lambda: len(notices) == 1, timeout=PATIENT_MS)
    assert "c.tif" in notices[0]
    assert len(widget._viewer.layers) == 0


def test_opening_can_be_cancelled(qtbot: Any, widget: ArchiveWidget, monkeypatch: pytest.MonkeyPatch, notices: list[str]) -> None:
    begun = threading.Event()

    def slow(paths: list[str], progress: cellvjepa.Progress) -> None:
        while True:
            begun.set()
            progress("opening movies", 1, 9)

    monkeypatch.setattr("napari_cellvjepa.archive.dock.catalogue", slow)
    widget.open_paths(["/somewhere"])
    qtbot.waitUntil(lambda: begun.is_set() and widget.busy.isVisible(), timeout=PATIENT_MS)
    assert "Opening the archive" in widget.busy.text.text()
    qtbot.mouseClick(widget.busy.stop, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: widget.about.text() == "Opening the archive was cancelled.", timeout=PATIENT_MS)
    assert not widget.busy.isVisible()
    assert notices == []


def test_what_was_open_is_remembered(qtbot: Any, widget: ArchiveWidget, folder: Path, recent_file: Path) -> None:
    assert recent.recent_archives() == []
    open_archive(qtbot, widget, folder)
    open_archive(qtbot, widget, folder / "day1")
    assert recent.recent_archives() == [str(folder / "day1"), str(folder)]
    assert [widget.place.line.itemText(row) for row in range(widget.place.line.count())] == recent.recent_archives()
    for number in range(30):
        recent.remember_archive(f"/many/{number}")
    assert recent.recent_archives()[0] == "/many/29"
    assert len(recent.recent_archives()) == recent.MOST
    recent_file.write_bytes(b"\xff\xfe\0")
    assert recent.recent_archives() == []
    recent_file.unlink()
    recent_file.mkdir()
    recent.remember_archive("/cannot be written")  # nothing happens
    assert recent.recent_archives() == []


def test_a_path_can_be_typed_or_pasted(qtbot: Any, widget: ArchiveWidget, folder: Path) -> None:
    edit = widget.place.line.lineEdit()
    edit.setText(f" '{folder}' ")
    qtbot.keyClick(edit, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: len(titles(widget)) == 8, timeout=PATIENT_MS)
    assert widget.place.line.currentText() == str(folder)


def test_the_command_does_the_same(qtbot: Any, widget: ArchiveWidget, folder: Path, notices: list[str]) -> None:
    qtbot.mouseClick(widget.command, Qt.MouseButton.LeftButton)
    assert notices == ["Archive: no archive is open. choose a folder with movies first."]
    open_archive(qtbot, widget, folder)
    qtbot.mouseClick(widget.command, Qt.MouseButton.LeftButton)
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words == ["cellvjepa", "inspect", str(folder)]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=True)
    assert "day1/a.ome.tif" in done.stdout


def test_thousands_of_movies(qtbot: Any, widget: ArchiveWidget) -> None:
    facts = {"problems": [], "shape": {}, "channels": []}
    names = [f"plate{i // 960}.zarr/{'ABCDEFGH'[i % 8]}/{i // 80 % 12}/{i}" for i in range(20_000)]
    axes = dict.fromkeys("TCZYX", "given")
    array = ArrayPixels(np.zeros((1, 1, 1, 2, 2)))
    movies = [cellvjepa.Movie(name, name, array, ("a",), None, None, axes, "none", 4) for name in names]
    entries = tuple(Entry(movie, facts, "1 frame", movie.name.lower()) for movie in movies)
    asked: list[int] = []
    original = widget.pictures.picture
    widget.pictures.picture = lambda number, movie: asked.append(number) or original(number, movie)  # type: ignore[method-assign]
    widget._show_catalogue(Catalogue(cellvjepa.Archive("/", tuple(movies), ()), entries))
    assert widget.movies.rowCount() == 21
    widget.tree.expandAll()
    QApplication.processEvents()
    assert len(set(asked)) < 100
    widget.search.setText("plate20.zarr 19999")
    qtbot.waitUntil(lambda: widget.about.text().startswith("1 of 20,000"), timeout=PATIENT_MS)


def test_a_session_keeps_the_archive(qtbot: Any, widget: ArchiveWidget, folder: Path) -> None:
    assert widget.state() == {"paths": [], "search": ""}
    open_archive(qtbot, widget, folder)
    state = {**widget.state(), "paths": [str(path) for path in widget.state()["paths"]]}
    other = ArchiveWidget(ViewerModel())
    qtbot.addWidget(other, before_close_func=ArchiveWidget.leave)
    other.take_state({"paths": 3})
    other.take_state({})
    assert other.found is None
    other.take_state(state)
    qtbot.waitUntil(lambda: len(titles(other)) == 8, timeout=PATIENT_MS)
    other.take_state({"paths": [str(folder / "day2" / "c.tif")]})
    qtbot.waitUntil(lambda: titles(other) == ["c.tif"], timeout=PATIENT_MS)
    qtbot.waitUntil(lambda: not other.busy.running(), timeout=PATIENT_MS)
    assert len(other._viewer.layers) == 0


def test_it_leaves_nothing_behind(make_napari_viewer: Callable[..., Any], qtbot: Any, folder: Path) -> None:
    viewer = make_napari_viewer()
    dock, widget = viewer.window.add_plugin_dock_widget("cellvjepa", "Archive")
    open_archive(qtbot, widget, folder)
    gone = weakref.ref(widget)
    widget.open_movie(0)  # and it is closed while a movie is being opened
    dock.close()
    del dock, widget
    viewer.window.remove_dock_widget("all") if gone() is not None and gone() in viewer.window.dock_widgets.values() else None

    def collected() -> bool:
        gc.collect()
        return gone() is None

    qtbot.waitUntil(collected, timeout=PATIENT_MS)
    assert not [thread for thread in threading.enumerate() if thread.name == "cellvjepa-pictures" and not thread.daemon]
    assert len(viewer.layers) == 0
