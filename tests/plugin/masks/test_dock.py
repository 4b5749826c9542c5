"""The Masks dock in a real window."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels, Layer, Tracks
from qtpy.QtCore import Qt

import cellvjepa
from napari_cellvjepa.masks import preview as preview_module
from napari_cellvjepa.masks import request as request_module
from napari_cellvjepa.masks.dock import MasksWidget
from napari_cellvjepa.masks.preview import preview_layer
from napari_cellvjepa.masks.steps import STEP_KEY

Open = Callable[[], tuple[Any, MasksWidget]]
LONG = 60_000  # a busy machine


@pytest.fixture
def place(toy: Path, tmp_path: Path) -> Path:
    """A folder with the toy movie alone, without its labels."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "toy.ome.tif").write_bytes((toy / "toy.ome.tif").read_bytes())
    return folder


@pytest.fixture
def opened(make_napari_viewer: Any) -> Open:
    """A function that opens a viewer with the Masks dock, and returns both."""

    def make() -> tuple[Any, MasksWidget]:
        viewer = make_napari_viewer()
        widget = MasksWidget(viewer)
        viewer.window.add_dock_widget(widget, name="Masks")
        return viewer, widget

    return make


@pytest.fixture
def bare_masks(qtbot: Any) -> tuple[Any, MasksWidget]:
    """A viewer without a window, and the dock for it: much faster."""
    from napari.components import ViewerModel

    viewer = ViewerModel()
    widget = MasksWidget(viewer)
    qtbot.addWidget(widget)
    return viewer, widget


def open_toy(viewer: Any, place: Path) -> Any:
    """Show the movie as opening it does, without asking for the reader."""
    from napari_cellvjepa.layers.opening import read_movie

    layers = [viewer.add_layer(Layer.create(*layer)) for layer in read_movie(str(place / "toy.ome.tif"))]
    return layers[0]


def done(qtbot: Any, widget: MasksWidget) -> None:
    qtbot.waitUntil(lambda: not widget._work.under_way, timeout=LONG)


def press(qtbot: Any, button: Any) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def labels_of(viewer: Any) -> list[Labels]:
    return [layer for layer in viewer.layers if isinstance(layer, Labels) and STEP_KEY in layer.metadata]


class Held:
    """Stands in for a step: it turns until it is let go or cancelled."""

    def __init__(self) -> None:
        self.begun, self.let_go, self.over = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        progress = arguments[-1]
        try:
            while not self.let_go.wait(0.002):
                progress("outlining cells", 3, 10)
                self.begun.set()
        finally:
            self.over.set()
        return request_module.new_labels(arguments[0], arguments[-2], progress)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    made = Held()
    monkeypatch.setattr(request_module, "segment", made)
    yield made
    made.let_go.set()


def test_from_the_menu_to_tracks_that_embed_takes(
    qtbot: Any, make_napari_viewer: Any, place: Path, toy_masks: np.ndarray, notices: list[str]
) -> None:
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("cellvjepa", "Masks")
    viewer.open(place / "toy.ome.tif", plugin="cellvjepa")
    widget.tabs.setCurrentWidget(widget.outline)
    press(qtbot, widget.outline.all_frames)
    done(qtbot, widget)
    (segmented,) = labels_of(viewer)
    assert segmented.data.shape == (16, 48, 48)
    assert all(len(np.unique(segmented.data[t])) == 5 for t in range(16))
    assert ((segmented.data[3] > 0) == (toy_masks[3] > 0)).mean() > 0.97
    assert tuple(segmented.scale) == (60.0, 0.5, 0.5)

    widget.tabs.setCurrentWidget(widget.linking)
    press(qtbot, widget.linking.link)
    done(qtbot, widget)
    linked = widget.labels.layer()
    assert linked is not segmented
    assert not segmented.visible
    own = [np.unique(linked.data[t][toy_masks[t] == cell]) for t in range(16) for cell in (4,)]
    assert len(set(np.concatenate(own)) - {0}) == 1  # the cell that moves has one number throughout
    (tracks,) = [layer for layer in viewer.layers if isinstance(layer, Tracks)]
    assert len(np.unique(tracks.data[:, 0])) == 4

    widget.tabs.setCurrentWidget(widget.saving)
    assert widget.saving.place.text() == str(place / "toy_labels.tif")
    press(qtbot, widget.saving.save)
    done(qtbot, widget)
    assert notices[-1] == f"{place / 'toy_labels.tif'} and toy_cells.csv are written: 4 tracks."
    archive = cellvjepa.open_archive(place)
    assert [movie.name for movie in archive.movies] == ["toy.ome.tif"]  # what was written is taken for no movie
    cells = cellvjepa.read_cells(place / "toy_labels.tif", archive)
    assert cells.table["track_id"].nunique() == cellvjepa.read_cells(place / "toy_cells.csv", archive).table["track_id"].nunique() == 4
    from napari_cellvjepa.layers.of_movies import cells_from, shown_by

    shown = shown_by(widget.movie.layer())
    for layer in (linked, tracks):
        assert cells_from(layer, shown) is not None
    taken = cellvjepa.cells_in_labels(cells_from(linked, shown).movie, shown.movie)
    assert taken.table["track_id"].nunique() == 4


def test_undo_and_redo_of_steps(qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path) -> None:
    viewer, widget = bare_masks
    open_toy(viewer, place)
    for button in (widget.outline.all_frames, widget.linking.link):
        button.click()
        done(qtbot, widget)
    names = [layer.name for layer in viewer.layers]
    assert names == ["toy.ome.tif", "toy.ome.tif segmented 1", "toy.ome.tif linked 2 tracks", "toy.ome.tif linked 2"]
    widget.undo.click()
    assert [layer.name for layer in viewer.layers] == names[:2]
    assert viewer.layers[1].visible
    assert widget.labels.layer() is viewer.layers[1]
    widget.undo.click()
    assert [layer.name for layer in viewer.layers] == names[:1]
    widget.undo.click()
    assert widget.status.text() == "There is nothing to take back."
    widget.redo.click()
    widget.redo.click()
    assert [layer.name for layer in viewer.layers] == names
    assert [layer.visible for layer in viewer.layers] == [True, False, True, True]
    widget.redo.click()
    assert widget.status.text() == "There is nothing to bring back."
    assert sorted(path.name for path in (place / "toy_steps").iterdir()) == ["1_segmented.zarr", "2_linked.zarr", "2_linked_cells.csv"]


def test_steps_outlive_the_dock(qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path) -> None:
    viewer, widget = bare_masks
    open_toy(viewer, place)
    widget.outline.form.show_values(cellvjepa.Config().segment.model_copy(update={"neck": 0.5}))
    widget.outline.all_frames.click()
    done(qtbot, widget)
    widget.leave()
    again = MasksWidget(viewer)
    qtbot.addWidget(again)
    assert again.labels.layer().name == "toy.ome.tif segmented 1"
    assert again.outline.form.value().neck == 0.5
    again.undo.click()
    assert [layer.name for layer in viewer.layers] == ["toy.ome.tif"]


def test_painting_by_mouse_is_saved_and_taken_back(qtbot: Any, opened: Open, place: Path) -> None:
    from tests.plugin import mouse

    viewer, widget = opened()
    open_toy(viewer, place)
    press(qtbot, widget.start.paint)
    done(qtbot, widget)
    layer = widget.labels.layer()
    assert layer.data.shape == (16, 48, 48)
    assert viewer.layers.selection.active is layer
    viewer.dims.set_current_step(0, 5)
    layer.mode, layer.selected_label, layer.brush_size = "paint", 7, 10
    qtbot.wait(200)
    native = viewer.window._qt_viewer.canvas.native
    centre = (native.width() / 2, native.height() / 2)
    mouse.drag(native, [centre, (centre[0] + 20, centre[1]), (centre[0] + 40, centre[1])])
    qtbot.waitUntil(lambda: (np.asarray(layer.data[5]) == 7).any(), timeout=LONG)
    qtbot.keyClick(native, Qt.Key.Key_M)  # a new number for the next cell, without looking through a movie that may be large
    assert layer.selected_label == 8
    painted = np.asarray(layer.data[5]).copy()
    image = cellvjepa.open_movie(layer.data.path)
    np.testing.assert_array_equal(image.pixels[5, 0, 0], painted)  # it is on the disk
    assert not image.pixels[4].any()
    widget.undo.click()
    assert not np.asarray(layer.data[5]).any()
    assert layer in viewer.layers
    widget.redo.click()
    np.testing.assert_array_equal(np.asarray(layer.data[5]), painted)
    layer.undo()  # napari's own Ctrl+Z does the same
    assert not cellvjepa.open_movie(layer.data.path).pixels[5].any()
    widget.undo.click()
    assert layer not in viewer.layers  # no stroke is left: the step goes


def test_the_preview_follows_the_form_and_the_slider(qtbot: Any, opened: Open, place: Path, toy_masks: np.ndarray) -> None:
    viewer, widget = opened()
    open_toy(viewer, place)
    viewer.dims.set_current_step(0, 3)
    widget.tabs.setCurrentWidget(widget.outline)
    widget.outline.preview.setChecked(True)
    qtbot.waitUntil(lambda: preview_layer(viewer) is not None, timeout=LONG)
    layer = preview_layer(viewer)
    assert np.allclose(layer.translate, [180.0, 0, 0])
    assert "4 cells in frame 3; a cell measures about" in widget.outline.found.text()
    assert "µm" in widget.outline.found.text()
    assert ((layer.data[0] > 0) == (toy_masks[3] > 0)).mean() > 0.97
    viewer.dims.set_current_step(0, 9)
    qtbot.waitUntil(lambda: "frame 9" in widget.outline.found.text(), timeout=LONG)
    assert np.allclose(preview_layer(viewer).translate, [540.0, 0, 0])
    form = widget.outline.form
    form.show_values(form.value().model_copy(update={"min_area_um2": 100.0}))
    form.edited.emit()
    qtbot.waitUntil(lambda: widget.outline.found.text().startswith("0 cells in frame 9"), timeout=LONG)
    assert widget.labels.layer() is None  # the preview is no labels to work on
    assert not widget.outline.take.isEnabled()
    widget.tabs.setCurrentWidget(widget.start)
    assert preview_layer(viewer) is None


def test_a_frame_of_the_preview_is_put_into_the_labels_as_one_stroke(qtbot: Any, opened: Open, place: Path, toy_masks: np.ndarray) -> None:
    viewer, widget = opened()
    open_toy(viewer, place)
    widget.start.paint.click()
    done(qtbot, widget)
    layer = widget.labels.layer()
    layer.data[6, :4, :4] = 99
    viewer.dims.set_current_step(0, 6)
    widget.tabs.setCurrentWidget(widget.outline)
    widget.outline.preview.setChecked(True)
    qtbot.waitUntil(lambda: widget.outline.take.isEnabled(), timeout=LONG)
    press(qtbot, widget.outline.take)
    assert sorted(np.unique(layer.data[6])) == [0, 1, 2, 3, 4]
    assert ((layer.data[6] > 0) == (toy_masks[6] > 0)).mean() > 0.97
    assert not np.asarray(layer.data[5]).any()
    widget.undo.click()
    assert sorted(np.unique(layer.data[6])) == [0, 99]


def test_large_frames_are_previewed_where_one_looks(qtbot: Any, opened: Open, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_module, "_MOST_PX", 30 * 30)
    monkeypatch.setattr(preview_module, "_LEAST_SIDE_PX", 30)
    viewer, widget = opened()
    image = open_toy(viewer, place)
    viewer.dims.set_current_step(0, 0)
    viewer.scene.camera.center = (0, *image.data_to_world((0, 36, 36))[-2:])
    widget.tabs.setCurrentWidget(widget.outline)
    widget.outline.form.show_values(cellvjepa.Config().segment.model_copy(update={"diameter_um": 3.5}))
    widget.outline.preview.setChecked(True)
    qtbot.waitUntil(lambda: preview_layer(viewer) is not None, timeout=LONG)
    layer = preview_layer(viewer)
    assert layer.data.shape == (1, 30, 30)
    assert np.allclose(layer.translate, [0, 9.0, 9.0])  # from row and column 18 on, of 0.5 um
    assert "in the part in view" in widget.outline.found.text()
    assert layer.data[0, 36 - 18, 20 - 18] > 0  # cell 4


def test_import_keeps_tracks_or_says_that_there_are_none(
    qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path, toy: Path, toy_masks: np.ndarray, notices: list[str]
) -> None:
    viewer, widget = bare_masks
    open_toy(viewer, place)
    widget.start.source.set_text(str(toy / "labels" / "toy_labels.tif"))
    widget.start.bring.click()
    done(qtbot, widget)
    np.testing.assert_array_equal(np.asarray(widget.labels.layer().data), toy_masks)
    assert notices[-1] == "64 outlines of toy_labels.tif are imported, 4 tracks."
    assert sum(isinstance(layer, Tracks) for layer in viewer.layers) == 1

    anew = np.stack([np.roll([0, 1, 2, 3, 4], 0)[frame] if t % 2 else np.array([0, 4, 3, 2, 1])[frame] for t, frame in enumerate(toy_masks)])
    tifffile.imwrite(place / "anew_masks.tif", anew.astype(np.uint16), metadata={"axes": "TYX"})
    widget.start.source.set_text(str(place / "anew_masks.tif"))
    widget.start.bring.click()
    done(qtbot, widget)
    assert "They are not linked from frame to frame yet" in notices[-1]
    widget.linking.link.click()
    done(qtbot, widget)
    assert notices[-1].startswith("64 outlines are 4 tracks")


def test_an_import_that_does_not_fit_changes_nothing(qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path, notices: list[str]) -> None:
    viewer, widget = bare_masks
    open_toy(viewer, place)
    tifffile.imwrite(place / "other_labels.tif", np.ones((3, 20, 20), np.uint16), photometric="minisblack", metadata={"axes": "TYX"})
    for source, message in (("other_labels.tif", "the label image is T 3 x Y 20 x X 20"), ("nothing.tif", "there is no such file or folder")):
        widget.start.source.set_text(str(place / source))
        widget.start.bring.click()
        done(qtbot, widget)
        assert message in notices[-1]
        assert message in widget.status.text()
    widget.start.source.set_text("")
    widget.start.bring.click()
    assert notices[-1] == "Import: no label images are chosen. choose a file or folder."
    assert [layer.name for layer in viewer.layers] == ["toy.ome.tif"]


def test_without_a_layer_each_button_says_what_is_missing(bare_masks: tuple[Any, MasksWidget], notices: list[str]) -> None:
    _, widget = bare_masks
    for button in (widget.start.paint, widget.start.bring, widget.outline.all_frames, widget.linking.link, widget.saving.save):
        button.click()
        assert notices[-1] == "Movie: there is no image layer. open a movie first."
    widget.outline.preview.setChecked(True)
    widget.undo.click()
    assert notices[-1] == "There is nothing to take back."


def test_wrong_layers(qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path, notices: list[str]) -> None:
    viewer, widget = bare_masks
    flat = viewer.add_image(np.zeros((16, 16)), name="flat")
    widget.outline.all_frames.click()
    assert "a movie has the axes t, y, x or t, z, y, x, but this has 2" in notices[-1]
    viewer.layers.remove(flat)
    open_toy(viewer, place)
    widget.linking.link.click()
    assert notices[-1] == "Labels: there are no labels. outline cells, paint or import some first."
    viewer.add_labels(np.ones((4, 20, 20), int), name="other")
    widget.linking.link.click()
    done(qtbot, widget)
    assert "the label image is T 4 x Y 20 x X 20, but its movie toy.ome.tif is T 16" in notices[-1]
    assert not labels_of(viewer)


def test_labels_that_are_an_array_are_linked_too(qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path, toy_masks: np.ndarray) -> None:
    viewer, widget = bare_masks
    open_toy(viewer, place)
    mine = viewer.add_labels(toy_masks.astype(int), name="mine")
    widget.linking.link.click()
    done(qtbot, widget)
    assert len(np.unique(widget.labels.layer().data)) == 5
    np.testing.assert_array_equal(mine.data, toy_masks)


def test_progress_is_shown_and_cancel_leaves_everything_as_it_was(qtbot: Any, opened: Open, place: Path, held: Held, notices: list[str]) -> None:
    viewer, widget = opened()
    open_toy(viewer, place)
    widget.outline.all_frames.click()
    qtbot.waitUntil(held.begun.is_set, timeout=LONG)
    qtbot.waitUntil(lambda: not widget.busy.isHidden() and widget.busy.text.text() == "Outlining: outlining cells", timeout=LONG)
    assert not widget.linking.isEnabled()
    press(qtbot, widget.busy.stop)
    done(qtbot, widget)
    assert held.over.is_set()
    assert notices == ["Outlining was cancelled; nothing has changed."]
    assert [layer.name for layer in viewer.layers] == ["toy.ome.tif"]
    assert widget.linking.isEnabled()


@pytest.mark.parametrize("stage", ["measuring cells", "outlining cells", "reading cells", "linking cells", "writing labels"])
def test_cancel_at_each_stage(qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    viewer, widget = bare_masks
    open_toy(viewer, place)
    linking = stage in ("reading cells", "linking cells", "writing labels")
    if linking:
        widget.outline.all_frames.click()
        done(qtbot, widget)
    before = [layer.name for layer in viewer.layers]
    names = sorted(path.name for path in place.rglob("*"))
    real = request_module.link if linking else request_module.segment

    def stopping(*arguments: Any) -> Any:
        *others, progress = arguments

        def until(now: str, done: int, total: int) -> None:
            if now.startswith(stage):
                widget._work.stop()
            progress(now, done, total)

        return real(*others, until)

    monkeypatch.setattr(request_module, "link" if linking else "segment", stopping)
    (widget.linking.link if linking else widget.outline.all_frames).click()
    done(qtbot, widget)
    assert widget.status.text().endswith("was cancelled; nothing has changed.")
    assert [layer.name for layer in viewer.layers] == before
    assert {path.name for path in place.rglob("*")} - set(names) <= {"toy_steps"}


def test_the_layer_may_be_removed_while_it_runs(qtbot: Any, opened: Open, place: Path, held: Held) -> None:
    viewer, widget = opened()
    open_toy(viewer, place)
    widget.outline.all_frames.click()
    qtbot.waitUntil(held.begun.is_set, timeout=LONG)
    viewer.layers.clear()
    held.let_go.set()
    done(qtbot, widget)
    assert len(labels_of(viewer)) == 1
    assert not [layer for layer in viewer.layers if isinstance(layer, Image) and not isinstance(layer, Labels)]


def test_two_viewers_do_not_meet(qtbot: Any, opened: Open, place: Path) -> None:
    (one, left), (other, right) = opened(), opened()
    open_toy(one, place)
    left.outline.all_frames.click()
    done(qtbot, left)
    assert len(labels_of(one)) == 1
    assert len(other.layers) == 0
    assert right.movie.layer() is None


def test_closing_the_dock_stops_the_work_and_nothing_is_left(qtbot: Any, opened: Open, place: Path, held: Held) -> None:
    viewer, widget = opened()
    open_toy(viewer, place)
    widget.outline.all_frames.click()
    qtbot.waitUntil(held.begun.is_set, timeout=LONG)
    gone = weakref.ref(widget)
    viewer.window.remove_dock_widget(widget)
    del widget
    qtbot.waitUntil(held.over.is_set, timeout=LONG)
    qtbot.waitUntil(lambda: gc.collect() >= 0 and gone() is None, timeout=LONG)
    assert not labels_of(viewer)
    viewer.add_image(np.zeros((4, 8, 8)))  # nothing of the dock is left to mind
    viewer.dims.set_current_step(0, 1)


def test_closing_the_window_stops_the_work(qtbot: Any, opened: Open, place: Path, held: Held) -> None:
    viewer, widget = opened()
    open_toy(viewer, place)
    widget.outline.preview.setChecked(True)
    widget.tabs.setCurrentWidget(widget.outline)
    widget.outline.all_frames.click()
    qtbot.waitUntil(held.begun.is_set, timeout=LONG)
    viewer.close()
    qtbot.waitUntil(held.over.is_set, timeout=LONG)
    qtbot.wait(100)  # the last signals find nobody
    assert held.over.is_set()


def test_the_commands_are_those_that_the_command_line_takes(
    qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path, capsys: pytest.CaptureFixture[str], notices: list[str]
) -> None:
    import shlex

    from cellvjepa.cli import run

    viewer, widget = bare_masks
    open_toy(viewer, place)
    form = widget.outline.form
    form.show_values(form.value().model_copy(update={"threshold": "otsu", "diameter_um": 3.0}))
    words = shlex.split(widget.outline.copy.text_of_command())
    assert words[:3] == ["cellvjepa", "segment", str(place / "toy.ome.tif")]
    assert {"segment.threshold=otsu", "segment.diameter_um=3.0"} <= set(words)
    widget.outline.all_frames.click()
    done(qtbot, widget)
    link = shlex.split(widget.linking.copy.text_of_command())
    assert run(words[1:]) == 0
    np.testing.assert_array_equal(
        cellvjepa.open_movie(place / "toy_steps" / "1_segmented.zarr").pixels[:, 0, 0], np.asarray(widget.labels.layer().data)
    )
    assert run(link[1:]) == 0
    assert (place / "toy_steps" / "2_linked_cells.csv").is_file()
    viewer.layers.clear()
    viewer.add_image(np.zeros((3, 8, 8)), name="mine")
    widget.outline.copy.click()
    assert "this is no file, so that no command could read it" in notices[-1]


def test_session_files_keep_the_form(bare_masks: tuple[Any, MasksWidget]) -> None:
    _, widget = bare_masks
    state = widget.state()
    widget.take_state({**state, "folder": "/there", "segment": {**state["segment"], "neck": 0.4}, "link": {"gap_frames": 5, "odd": 1}})
    assert widget.folder.text() == "/there"
    assert widget.outline.form.value().neck == 0.4
    assert widget.linking.form.value().gap_frames == 2  # what is not allowed is left out
    widget.take_state({"folder": 3, "segment": "odd", "link": {"gap_frames": 5}})
    assert widget.linking.form.value().gap_frames == 5


def test_labels_of_a_step_that_were_opened_for_looking_can_be_painted(qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path) -> None:
    from napari_cellvjepa.layers.of_movies import labels_layer, shown_by

    viewer, widget = bare_masks
    image = open_toy(viewer, place)
    widget.start.paint.click()
    done(qtbot, widget)
    layer = widget.labels.layer()
    step, path = layer.metadata[STEP_KEY], layer.data.path
    viewer.layers.remove(layer)
    data, settings, _ = labels_layer(cellvjepa.open_movie(path), shown_by(image).movie)
    again = viewer.add_labels(data, **{**settings, "metadata": {**settings["metadata"], STEP_KEY: step}})
    viewer.layers.events.reordered()
    again.data[2, :5, :5] = 3
    assert cellvjepa.open_movie(path).pixels[2].sum() == 75


def test_labels_that_are_not_linked_are_saved_without_a_table(
    qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path, notices: list[str]
) -> None:
    viewer, widget = bare_masks
    open_toy(viewer, place)
    widget.start.paint.click()
    done(qtbot, widget)
    widget.saving.place.set_text(str(place / "mine_labels.zarr"))
    widget.saving.save.click()
    done(qtbot, widget)
    assert notices[-1].startswith(f"{place / 'mine_labels.zarr'} is written. There is no table of tracks: the label image holds no cell")
    assert not (place / "mine_cells.csv").exists()
    widget.saving.place.set_text(str(widget.labels.layer().data.path))
    widget.saving.save.click()
    done(qtbot, widget)
    assert "this is the place that it is read from" in notices[-1]
    widget.saving.place.set_text("")
    widget.saving.save.click()
    assert notices[-1] == "Save as: no place is chosen. give a file, NAME_labels.tif."


def test_a_folder_that_cannot_be_written_to_is_named(qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path, notices: list[str]) -> None:
    viewer, widget = bare_masks
    open_toy(viewer, place)
    widget.folder.set_text(str(place / "toy.ome.tif"))
    for button in (widget.start.paint, widget.outline.all_frames):
        button.click()
        done(qtbot, widget)
        assert "a part of the path is a file, not a folder. choose another output folder." in notices[-1]
    widget.folder.set_text("")
    widget.start.paint.click()
    assert notices[-1] == "Keep in: no folder for labels is chosen. choose one."
    assert not labels_of(viewer)


def test_a_folder_of_the_cell_tracking_challenge_brings_its_mothers(
    qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path, toy_masks: np.ndarray
) -> None:
    viewer, widget = bare_masks
    open_toy(viewer, place)
    folder = place / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    masks = toy_masks.astype(np.uint16)
    masks[8:][masks[8:] == 4] = 5  # cell 4 becomes cell 5
    for t, frame in enumerate(masks):
        tifffile.imwrite(folder / f"man_track{t:03}.tif", frame)
    (folder / "man_track.txt").write_text("1 0 15 0\n2 0 15 0\n3 0 15 0\n4 0 7 0\n5 8 15 4\n")
    widget.start.source.set_text(str(folder))
    widget.start.bring.click()
    done(qtbot, widget)
    (tracks,) = [layer for layer in viewer.layers if isinstance(layer, Tracks)]
    assert tracks.graph == {5: [4]}
    np.testing.assert_array_equal(np.asarray(widget.labels.layer().data), masks)
    widget.saving.save.click()
    done(qtbot, widget)
    saved = cellvjepa.read_cells(place / "toy_cells.csv", cellvjepa.open_archive(place / "toy.ome.tif")).table
    assert saved.groupby("track_id")["parent_track_id"].first().to_dict() == {1: -1, 2: -1, 3: -1, 4: -1, 5: 4}


def test_what_is_saved_is_opened_with_the_movie(qtbot: Any, bare_masks: tuple[Any, MasksWidget], place: Path) -> None:
    viewer, widget = bare_masks
    open_toy(viewer, place)
    widget.outline.all_frames.click()
    done(qtbot, widget)
    widget.linking.link.click()
    done(qtbot, widget)
    for suffix in (".tif", ".zarr"):
        widget.saving.place.set_text(str(place / f"toy_labels{suffix}"))
        widget.saving.save.click()
        done(qtbot, widget)
        movie = cellvjepa.open_movie(place / "toy.ome.tif")
        assert [Path(image.uri).suffix for image in cellvjepa.movie_labels([movie])[movie.name].values()] == [suffix]
        if suffix == ".tif":
            (place / "toy_labels.tif").unlink()
