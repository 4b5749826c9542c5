"""The Label dock in a real window, driven by keys and the mouse."""

from __future__ import annotations

import gc
import os
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Tracks
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

import cellvjepa
from napari_cellvjepa.explore.dock import ExploreWidget
from napari_cellvjepa.label.cells import Cell
from napari_cellvjepa.label.dock import LabelWidget
from napari_cellvjepa.label.ring import NAME
from napari_cellvjepa.label.target import ROWS, WINDOW
from napari_cellvjepa.layers.label_memory import LABELS_KEY
from napari_cellvjepa.layers.linking import stores_in
from napari_cellvjepa.layers.of_movies import labels_layer
from tests.plugin import mouse
from tests.plugin.label.driving import PATIENCE_MS, Docked, click, open_dock, press, ready, written

MOVIE = "toy.ome.tif"
UM = 0.5  # a pixel of the toy
KEY = Qt.Key
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


def points_of(viewer: Any) -> Any:
    ((layer,),) = stores_in(viewer).values()
    return layer


def ring_of(viewer: Any) -> Any:
    return viewer.layers[NAME]


def test_a_click_and_a_key_label_a_track(on_tracks: Docked, labels: Path, qtbot: Any) -> None:
    viewer, widget = on_tracks
    viewer.dims.set_current_step(0, 3)
    click(viewer, 36 * UM, 23 * UM)  # track 4 moves: it is here at frame 3
    assert widget.cell == Cell(MOVIE, 4)
    press(viewer, qtbot, KEY.Key_2)
    ready(widget, qtbot)
    assert written(labels) == [["4", "moving", "", "", "ada"]]
    assert widget.status.text() == "track 4: 'moving'. Saved."
    assert "moving (ada)" in widget.about.text()
    click(viewer, 12 * UM, 10 * UM)
    press(viewer, qtbot, KEY.Key_1)
    ready(widget, qtbot)
    assert written(labels)[1] == ["1", "resting", "", "", "ada"]


def test_a_click_beside_all_cells_chooses_none_and_a_key_says_so(on_tracks: Docked, labels: Path, notices: list[str], qtbot: Any) -> None:
    viewer, widget = on_tracks
    viewer.scene.camera.zoom = 20
    click(viewer, 24 * UM, 45 * UM)
    assert widget.cell is None
    press(viewer, qtbot, KEY.Key_1)
    assert notices == ["Label: no cell is chosen. click one in the image."]
    assert not labels.exists()


def test_start_and_end_mark_an_interval(on_tracks: Docked, labels: Path, qtbot: Any) -> None:
    viewer, widget = on_tracks
    widget.choose(Cell(MOVIE, 4))
    press(viewer, qtbot, KEY.Key_1)
    viewer.dims.set_current_step(0, 5)
    press(viewer, qtbot, KEY.Key_S)
    viewer.dims.set_current_step(0, 9)
    assert widget.over_time.panel.strip._open == (5, -1)
    press(viewer, qtbot, KEY.Key_E)
    viewer.dims.set_current_step(0, 12)
    assert widget.target.interval == (5, 9)
    press(viewer, qtbot, KEY.Key_3)
    ready(widget, qtbot)
    book = cellvjepa.LabelBook.read(labels, [MOVIE])
    assert sorted((said.start, said.label) for said in book.of_cell(MOVIE, 4)) == [(0, "resting"), (5, "dividing"), (10, "resting")]
    assert widget.target.interval == (-1, -1)
    colours = ring_of(viewer).border_color
    assert not np.allclose(colours[5], colours[4])
    np.testing.assert_allclose(colours[10], colours[4])


def test_an_interval_may_be_open_reversed_or_dropped(on_tracks: Docked, labels: Path, qtbot: Any) -> None:
    viewer, widget = on_tracks
    widget.choose(Cell(MOVIE, 1))
    viewer.dims.set_current_step(0, 8)
    press(viewer, qtbot, KEY.Key_S)
    press(viewer, qtbot, KEY.Key_Escape)
    assert widget.target.interval == (-1, -1)
    press(viewer, qtbot, KEY.Key_S)
    viewer.dims.set_current_step(0, 4)
    press(viewer, qtbot, KEY.Key_3)
    ready(widget, qtbot)
    viewer.dims.set_current_step(0, 2)
    press(viewer, qtbot, KEY.Key_E)
    press(viewer, qtbot, KEY.Key_1)
    ready(widget, qtbot)
    assert written(labels) == [["1", "dividing", "4", "9", "ada"], ["1", "resting", "0", "3", "ada"]]


def test_undo_takes_back_several_steps_and_redo_does_them_again(on_tracks: Docked, labels: Path, qtbot: Any) -> None:
    viewer, widget = on_tracks
    seen = []

    def now() -> list[tuple[str, int]]:
        ready(widget, qtbot)
        return sorted((said.label, said.start) for said in cellvjepa.LabelBook.read(labels, [MOVIE]).of_cell(MOVIE, 2))

    widget.choose(Cell(MOVIE, 2))
    for key in (KEY.Key_1, KEY.Key_2, KEY.Key_3):
        press(viewer, qtbot, key)
        seen.append(now())
    before = labels.read_bytes()
    for expected in (seen[1], seen[0], []):
        press(viewer, qtbot, KEY.Key_Z, CTRL)
        assert now() == expected
    press(viewer, qtbot, KEY.Key_Z, CTRL)
    assert widget.status.text() == "There is nothing to undo."
    for expected in seen:
        press(viewer, qtbot, KEY.Key_Z, CTRL | SHIFT)
        assert now() == expected
    assert labels.read_bytes().startswith(before)
    press(viewer, qtbot, KEY.Key_0)
    assert now() == []
    widget.steps.undo.click()
    assert now() == [("dividing", 0)]


def test_keys_do_not_fight_with_naparis_own(on_tracks: Docked, labels: Path, qtbot: Any) -> None:
    """Digits choose the tools of a Points layer, unless the dock has them."""
    viewer, widget = on_tracks
    other = viewer.add_points(np.zeros((0, 3)), name="mine")
    widget.choose(Cell(MOVIE, 1))
    viewer.layers.selection.active = other
    press(viewer, qtbot, KEY.Key_2)
    ready(widget, qtbot)
    assert other.mode == "pan_zoom"
    assert len(written(labels)) == 1
    widget.steps.use_keys.click()
    press(viewer, qtbot, KEY.Key_2)
    assert other.mode == "add"
    assert len(written(labels)) == 1
    other.mode = "pan_zoom"
    widget.steps.use_keys.click()
    viewer.window.remove_dock_widget(widget)
    press(viewer, qtbot, KEY.Key_2)
    assert other.mode == "add"
    assert len(written(labels)) == 1


def test_where_one_types_keys_are_text(on_tracks: Docked, labels: Path, qtbot: Any) -> None:
    _, widget = on_tracks
    widget.choose(Cell(MOVIE, 1))
    widget.classes.name.setFocus()
    qtbot.waitUntil(widget.classes.name.hasFocus, timeout=PATIENCE_MS)
    QTest.keyClicks(widget.classes.name, "2s")
    assert widget.classes.name.text() == "2s"
    assert not labels.exists()
    assert widget.target.interval == (-1, -1)


def test_a_store_labels_windows_and_selected_rows(on_store: Docked, labels: Path, qtbot: Any) -> None:
    viewer, widget = on_store
    layer = points_of(viewer)
    widget.choose(Cell(MOVIE, 3))
    widget.target.box.setCurrentIndex(widget.target.box.findData(WINDOW))
    widget.over_time.ground().go(viewer, 10)
    press(viewer, qtbot, KEY.Key_1)
    ready(widget, qtbot)
    assert written(labels) == [["3", "resting", "8", "16", "ada"]]
    assert layer.features["label"].tolist() == [None] * 5 + ["resting", None, None]
    widget.target.box.setCurrentIndex(widget.target.box.findData(ROWS))
    layer.selected_data = {6, 7}
    press(viewer, qtbot, KEY.Key_2)
    ready(widget, qtbot)
    assert layer.features["label"].tolist() == [None] * 5 + ["resting", "moving", "moving"]
    press(viewer, qtbot, KEY.Key_Z, CTRL)
    ready(widget, qtbot)
    assert layer.features["label"].tolist() == [None] * 5 + ["resting", None, None]


def test_explore_is_coloured_by_labels_as_they_are_given(on_store: Docked, mapped_store: Path, qtbot: Any) -> None:
    viewer, widget = on_store
    explore = ExploreWidget(viewer)
    viewer.window.add_dock_widget(explore, name="Explore")
    qtbot.waitUntil(lambda: len(explore.link.chosen_N) == 8, timeout=PATIENCE_MS)
    widget.choose(Cell(MOVIE, 4))
    press(viewer, qtbot, KEY.Key_2)
    ready(widget, qtbot)
    qtbot.waitUntil(lambda: explore.plotted.colour.findText("label") >= 0, timeout=PATIENCE_MS)
    explore.plotted.colour.setCurrentText("label")
    explore.plotted.colour_changed.emit()
    qtbot.waitUntil(lambda: explore.legend.texts() == ["moving  2", "not known  6"], timeout=PATIENCE_MS)
    assert explore.drawing.colouring.kinds[0].colour == widget._classes["moving"]
    widget.choose(Cell(MOVIE, 1))
    press(viewer, qtbot, KEY.Key_1)
    qtbot.waitUntil(lambda: explore.legend.texts() == ["moving  2", "resting  2", "not known  4"], timeout=PATIENCE_MS)
    assert {kind.label: kind.colour for kind in explore.drawing.colouring.kinds[:2]} == {
        name: widget._classes[name] for name in ("moving", "resting")
    }
    assert explore.found.path == mapped_store


def test_points_and_label_images_are_clicked(on_store: Docked, toy: Path, qtbot: Any) -> None:
    viewer, widget = on_store
    click(viewer, 12 * UM, 36 * UM)
    assert widget.cell == Cell(MOVIE, 2)
    widget.journey.go(0)
    qtbot.waitUntil(lambda: widget.cell == Cell(MOVIE, 1), timeout=PATIENCE_MS)
    points_of(viewer).visible = False
    data, settings, _ = labels_layer(cellvjepa.open_movie(toy / "labels" / "toy_labels.tif"), viewer.layers[MOVIE].metadata["cellvjepa_movie"])
    viewer.add_labels(data, **{**settings, "visible": True})
    viewer.dims.set_current_step(0, 2)
    click(viewer, 36 * UM, 22 * UM)
    assert widget.cell == Cell(MOVIE, 4)


def test_a_label_image_alone_is_enough(make_napari_viewer: Callable[..., Any], toy_masks: np.ndarray, labels: Path, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(toy_masks.astype(np.float32), name="film")
    viewer.add_labels(toy_masks, name="mine")
    widget = open_dock(viewer, qtbot, labels)
    click(viewer, 12, 36)
    assert widget.cell == Cell("film", 2)
    press(viewer, qtbot, KEY.Key_3)
    ready(widget, qtbot)
    assert written(labels) == [["2", "dividing", "", "", "ada"]]
    assert widget.over_time.frames() == 16


def test_the_strip_shows_labels_and_leads_through_time(on_tracks: Docked, qtbot: Any) -> None:
    viewer, widget = on_tracks
    panel = widget.over_time.panel
    widget.choose(Cell(MOVIE, 2))
    viewer.dims.set_current_step(0, 8)
    press(viewer, qtbot, KEY.Key_S)
    viewer.dims.set_current_step(0, 11)
    press(viewer, qtbot, KEY.Key_2)
    ready(widget, qtbot)
    panel.strip.resize(320, 60)
    picture = panel.strip.grab().toImage()
    x, _ = panel.strip.position_px(10)
    assert picture.pixelColor(int(x), 2).name() == widget._classes["moving"]
    assert picture.pixelColor(int(panel.strip.position_px(3)[0]), 2).name() == "#5c616a"
    mouse.click(panel.strip, panel.strip.position_px(4))
    assert viewer.dims.current_step[0] == 4
    panel.all.click()
    mouse.click(panel.strip, panel.strip.position_px(6, 3))
    assert viewer.dims.current_step[0] == 6
    assert widget.cell == Cell(MOVIE, 4)


def test_classes_are_added_moved_renamed_and_removed(on_tracks: Docked, labels: Path, qtbot: Any) -> None:
    viewer, widget = on_tracks
    colours = dict(widget._classes)
    widget.choose(Cell(MOVIE, 1))
    press(viewer, qtbot, KEY.Key_1)
    ready(widget, qtbot)
    widget.classes.list.setCurrentItem(widget.classes._item(2))
    widget.classes.buttons["↑"].click()
    assert widget.classes.names() == ["resting", "dividing", "moving"]
    assert widget._classes == colours
    item = widget.classes._item(0)
    item.setText(1, "still")
    ready(widget, qtbot)
    assert widget.classes.names() == ["still", "dividing", "moving"]
    assert [row[:2] for row in written(labels)] == [["1", "resting"], ["1", "still"]]
    assert widget._classes["still"] == colours["resting"]
    widget.classes.list.setCurrentItem(widget.classes._item(0))
    widget.classes.buttons["Remove"].click()
    ready(widget, qtbot)
    assert widget.classes.names() == ["dividing", "moving"]
    assert [row[:2] for row in written(labels)][-1] == ["1", ""]
    press(viewer, qtbot, KEY.Key_Z, CTRL)
    ready(widget, qtbot)
    assert "still" in widget.classes.names()


def test_counts_are_live_and_a_class_in_one_group_is_told(make_napari_viewer: Callable[..., Any], two_fields: Path, labels: Path, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open(two_fields, plugin="cellvjepa")
    widget = open_dock(viewer, qtbot, labels)
    for movie, track, key in (("a.ome.tif", 1, KEY.Key_1), ("b.ome.tif", 1, KEY.Key_1), ("a.ome.tif", 2, KEY.Key_2)):
        widget.choose(Cell(movie, track))
        press(viewer, qtbot, key)
        ready(widget, qtbot)
    texts = [[widget.classes._item(i).text(column) for column in range(4)] for i in range(3)]
    assert texts == [["1", "resting", "2", "2 of 2"], ["2", "moving", "1", "1 of 2"], ["3", "dividing", "0", "0 of 2"]]
    assert widget.tally.hint.text().startswith("'moving' has labels in one movie only (a.ome.tif). A probe is tested on a movie it has not seen")
    widget.choose(Cell("b.ome.tif", 2))
    press(viewer, qtbot, KEY.Key_2)
    ready(widget, qtbot)
    assert widget.tally.hint.text() == ""


def test_all_is_back_when_the_dock_is_opened_again(on_tracks: Docked, labels: Path, qtbot: Any) -> None:
    viewer, widget = on_tracks
    widget.choose(Cell(MOVIE, 1))
    press(viewer, qtbot, KEY.Key_3)
    ready(widget, qtbot)
    classes = dict(widget._classes)
    viewer.window.remove_dock_widget(widget)
    kept = next(layer for layer in viewer.layers if isinstance(layer, Tracks)).metadata[LABELS_KEY]
    assert kept == {"file": str(labels), "annotator": "ada", "classes": classes, "scope": "track"}
    assert NAME not in viewer.layers
    again = LabelWidget(viewer)
    viewer.window.add_dock_widget(again)
    qtbot.waitUntil(lambda: again.subject is not None, timeout=PATIENCE_MS)
    ready(again, qtbot)
    assert again._classes == classes
    assert again.pen.book.of_cell(MOVIE, 1)[0].label == "dividing"


def test_with_no_layer_and_with_wrong_layers_it_says_what_to_do(make_napari_viewer: Callable[..., Any]) -> None:
    viewer = make_napari_viewer()
    widget = LabelWidget(viewer)
    viewer.window.add_dock_widget(widget)
    viewer.add_image(np.zeros((2, 8, 8)))
    viewer.add_labels(np.zeros((8, 8), int))
    viewer.add_points([[0, 0, 0]])
    assert widget.about.text() == "Open a store of embeddings, or a movie with tracks or labels."
    assert not widget.keys.taken
    assert not widget.classes.isEnabled()


def test_the_layer_is_removed_while_a_label_is_written(on_tracks: Docked, labels: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, widget = on_tracks
    begun, go_on, real = threading.Event(), threading.Event(), cellvjepa.append_labels

    def slowly(path: Path, lines: Any) -> tuple[int, int]:
        begun.set()
        go_on.wait(20)
        return real(path, lines)

    monkeypatch.setattr(cellvjepa, "append_labels", slowly, raising=False)
    widget.choose(Cell(MOVIE, 1))
    press(viewer, qtbot, KEY.Key_1)
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE_MS)
    press(viewer, qtbot, KEY.Key_2)  # waits for its turn
    viewer.layers.clear()
    assert widget.subject is None
    assert not widget.keys.taken
    go_on.set()
    qtbot.waitUntil(lambda: labels.exists() and len(written(labels)) == 2, timeout=PATIENCE_MS)
    assert [row[1] for row in written(labels)] == ["resting", "moving"]


def test_two_viewers_label_into_one_file(make_napari_viewer: Callable[..., Any], toy_masks: np.ndarray, labels: Path, qtbot: Any) -> None:
    """Each hears of what the other has written, as it would of another program."""
    both = []
    for _ in range(2):
        viewer = make_napari_viewer(show=True)
        viewer.add_image(toy_masks.astype(np.float32), name="film")
        viewer.add_labels(toy_masks, name="mine")
        both.append((viewer, open_dock(viewer, qtbot, labels)))
    (one, first), (_other, second) = both
    first.choose(Cell("film", 1))
    second.choose(Cell("film", 1))
    press(one, qtbot, KEY.Key_1)
    ready(first, qtbot)
    second.label("moving")
    ready(second, qtbot)
    qtbot.waitUntil(lambda: [said.label for said in first.pen.book.of_cell("film", 1)] == ["moving"], timeout=PATIENCE_MS)
    assert [said.label for said in second.pen.book.of_cell("film", 1)] == ["moving"]


def test_a_read_only_folder_is_told(on_tracks: Docked, labels: Path, notices: list[str], qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, widget = on_tracks
    really = os.open

    def not_there(path: Any, *others: Any, **named: Any) -> int:
        # By the mode of the folder it could not be tested as root, who may write anywhere.
        if str(labels.parent) in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, *others, **named)

    monkeypatch.setattr(os, "open", not_there)
    widget.choose(Cell(MOVIE, 1))
    press(viewer, qtbot, KEY.Key_1)
    ready(widget, qtbot)
    monkeypatch.undo()
    assert "writing is not permitted" in notices[0]
    assert not labels.exists()


def test_a_file_that_cannot_be_written_is_told_and_nothing_is_remembered(
    on_tracks: Docked, labels: Path, notices: list[str], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, widget = on_tracks

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    widget.choose(Cell(MOVIE, 1))
    press(viewer, qtbot, KEY.Key_1)
    ready(widget, qtbot)
    assert "the disk is full" in notices[0]
    assert widget.status.text().startswith("Nothing was saved.")
    assert widget.pen.book.of_cell(MOVIE, 1) == ()
    assert not widget.pen.done
    monkeypatch.undo()
    press(viewer, qtbot, KEY.Key_2)
    ready(widget, qtbot)
    assert [row[1] for row in written(labels)] == ["moving"]


def test_a_foreign_file_is_told_and_left_alone(on_tracks: Docked, tmp_path: Path, notices: list[str], qtbot: Any) -> None:
    viewer, widget = on_tracks
    foreign = tmp_path / "notes.csv"
    foreign.write_text("when,what\n1,2\n")
    widget.form.file.set_text(str(foreign))
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE_MS)
    assert "missing columns: track_id, label" in notices[0]
    widget.choose(Cell(MOVIE, 1))
    press(viewer, qtbot, KEY.Key_1)
    qtbot.waitUntil(lambda: not widget.pen.busy, timeout=PATIENCE_MS)
    assert foreign.read_text() == "when,what\n1,2\n"


def test_a_line_that_was_not_written_to_its_end_is_told(on_tracks: Docked, tmp_path: Path, qtbot: Any) -> None:
    _, widget = on_tracks
    torn = tmp_path / "torn.csv"
    torn.write_text(f"movie,track_id,label,t_start,t_stop,annotator,date\n{MOVIE},1,resting,,,ada,2026\n{MOVIE},2,mov")
    widget.form.file.set_text(str(torn))
    qtbot.waitUntil(lambda: widget.pen.path == torn, timeout=PATIENCE_MS)
    ready(widget, qtbot)
    assert widget.status.text() == (
        f"The last line of the label file was not written to its end ('{MOVIE},2,mov'): it does not count, and the next label takes its place."
    )
    assert widget.pen.book.of_cell(MOVIE, 2) == ()
    widget.choose(Cell(MOVIE, 3))
    widget.label("moving")
    ready(widget, qtbot)
    assert [row[:2] for row in written(torn)] == [["1", "resting"], ["3", "moving"]]


def test_whoever_has_no_name_is_asked_for_it(on_tracks: Docked, labels: Path, notices: list[str], qtbot: Any) -> None:
    viewer, widget = on_tracks
    widget.form.annotator.clear()
    widget.choose(Cell(MOVIE, 1))
    press(viewer, qtbot, KEY.Key_1)
    assert notices == ["Annotator: nobody is named. type your name: labels of nobody in particular could not be taken back."]
    assert not labels.exists()


def test_the_next_clip_is_proposed_and_labelled_ones_are_passed_over(on_store: Docked, qtbot: Any) -> None:
    viewer, widget = on_store
    seen = []
    for _ in range(4):
        before = widget.cell
        press(viewer, qtbot, KEY.Key_N)
        qtbot.waitUntil(lambda before=before: widget.cell not in (None, before), timeout=PATIENCE_MS)
        assert widget.suggesting.why.text().startswith("Proposed: stands for")
        seen.append(widget.cell.track_id)
        press(viewer, qtbot, KEY.Key_1)
        ready(widget, qtbot)
    assert sorted(seen) == [1, 2, 3, 4]
    press(viewer, qtbot, KEY.Key_N)
    qtbot.waitUntil(lambda: "every clip of this store overlaps a label" in widget.suggesting.why.text(), timeout=PATIENCE_MS)


def test_looking_for_the_next_clip_can_be_cancelled(on_store: Docked, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer, widget = on_store
    begun, over = threading.Event(), threading.Event()

    def endless(*arguments: Any) -> None:
        progress = arguments[-1]
        try:
            while True:
                progress("choosing clips", 1, 2)
                begun.set()
        finally:
            over.set()

    monkeypatch.setattr(cellvjepa, "suggest", endless, raising=False)
    press(viewer, qtbot, KEY.Key_N)
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE_MS)
    assert not widget.suggesting.next.isEnabled()
    widget.suggesting.stop.click()
    qtbot.waitUntil(over.is_set, timeout=PATIENCE_MS)
    assert widget.suggesting.next.isEnabled()
    assert widget.cell is None


def test_the_command_suggests_the_same(on_store: Docked, labels: Path, mapped_store: Path, qtbot: Any) -> None:
    viewer, widget = on_store
    from typer.testing import CliRunner

    from cellvjepa.cli import app

    widget.choose(Cell(MOVIE, 1))
    press(viewer, qtbot, KEY.Key_1)
    ready(widget, qtbot)
    words = widget.suggesting.command()
    assert words[:3] == ["cellvjepa", "suggest", str(mapped_store)]
    assert str(labels) in words
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, done.output


def test_closing_while_cells_are_read(
    make_napari_viewer: Callable[..., Any], mapped_store: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, real = threading.Event(), threading.Event(), cellvjepa.open_store
    viewer = make_napari_viewer()
    viewer.open(mapped_store, plugin="cellvjepa")

    def slowly(path: Path) -> cellvjepa.Embeddings:
        begun.set()
        go_on.wait(20)
        return real(path)

    monkeypatch.setattr(cellvjepa, "open_store", slowly, raising=False)
    widget = LabelWidget(viewer)
    viewer.window.add_dock_widget(widget)
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE_MS)
    viewer.window.remove_dock_widget(widget)
    go_on.set()
    qtbot.wait(200)
    assert LABELS_KEY not in points_of(viewer).metadata


def test_nothing_of_it_is_left_when_it_is_closed(make_napari_viewer: Callable[..., Any], toy_masks: np.ndarray, labels: Path, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_labels(toy_masks, name="mine")
    listeners = len(viewer.mouse_drag_callbacks)
    widget = open_dock(viewer, qtbot, labels)
    widget.choose(Cell("mine", 1))
    press(viewer, qtbot, KEY.Key_1)
    ready(widget, qtbot)
    docked = (widget, widget.pen, widget.choice, widget.classes, widget.over_time)
    parts = (*docked, widget.over_time.panel, widget.clicks, widget.keys, widget.point_labels)
    gone = {type(part).__name__: weakref.ref(part) for part in parts}
    viewer.window.remove_dock_widget(widget)
    del widget, docked, parts
    qtbot.wait(200)
    gc.collect()
    assert [name for name, ref in gone.items() if ref() is not None] == []
    assert len(viewer.mouse_drag_callbacks) == listeners
    viewer.dims.set_current_step(0, 3)
    viewer.layers.clear()


def test_a_copy_of_the_file_elsewhere_is_a_file_of_its_own(on_tracks: Docked, labels: Path, tmp_path: Path, qtbot: Any) -> None:
    viewer, widget = on_tracks
    widget.choose(Cell(MOVIE, 1))
    press(viewer, qtbot, KEY.Key_1)
    ready(widget, qtbot)
    copied = Path(shutil.copy(labels, tmp_path / "copy.csv"))
    widget.form.file.set_text(str(copied))
    press(viewer, qtbot, KEY.Key_2)  # at once: the key counts for what the form says
    ready(widget, qtbot)
    assert [row[1] for row in written(labels)] == ["resting"]
    assert [row[1] for row in written(copied)] == ["resting", "moving"]
