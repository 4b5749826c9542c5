"""The Embed dock in a real window."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points
from qtpy.compat import isalive

import cellvjepa
from napari_cellvjepa.embed import dock as dock_module
from napari_cellvjepa.embed import model_line
from napari_cellvjepa.embed.dock import EmbedWidget
from napari_cellvjepa.embed.request import Begun, Done, Request
from napari_cellvjepa.embed.so_far import UNFINISHED_KEY
from napari_cellvjepa.layers.points import STORE_KEY

Dock = Callable[..., tuple[Any, EmbedWidget]]
Bare = tuple[Any, EmbedWidget]


class Held:
    """Stands in for the embedding: it turns until it is let go or cancelled, then gives a store that exists."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.requests: list[Request] = []
        self.begun, self.let_go, self.over = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, request: Request, progress: cellvjepa.Progress, begun: Callable[[Begun], object]) -> Done:
        self.requests.append(request)
        found = cellvjepa.open_store(self.store)
        rows = np.arange(10) % len(found)
        begun(Begun(self.store, found.table.iloc[rows].reset_index(drop=True), np.arange(10)[::-1], found.provenance.clip_shape))
        try:
            while not self.let_go.wait(0.002):
                progress("embedding", 3, 10)
                self.begun.set()
        finally:
            self.over.set()
        return Done(cellvjepa.open_store(self.store), "")


@pytest.fixture
def held(toy_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    made = Held(toy_store)
    monkeypatch.setattr(dock_module, "carry_out", made)
    yield made
    made.let_go.set()


def fill_in(widget: EmbedWidget, run_folder: Path, store: Path) -> None:
    widget.model.set_text(str(run_folder))
    widget.store.set_text(str(store))


def begin(qtbot: Any, viewer: Any, widget: EmbedWidget, toy: Path, run_folder: Path, held: Held) -> None:
    """Open the toy and start an embedding that is held."""
    viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    fill_in(widget, run_folder, held.store)
    widget.start.click()
    qtbot.waitUntil(held.begun.is_set)


def finished(qtbot: Any, widget: EmbedWidget) -> None:
    qtbot.waitUntil(lambda: widget.start.isEnabled(), timeout=300_000)


def points_of(viewer: Any) -> list[Points]:
    return [layer for layer in viewer.layers if STORE_KEY in layer.metadata]


def test_from_the_menu_to_the_points(qtbot: Any, make_napari_viewer: Any, toy: Path, run_folder: Path, tmp_path: Path, notices: list[str]) -> None:
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("cellvjepa", "Embed")
    viewer.open_sample("cellvjepa", "nuclei")
    store = tmp_path / "made" / "nuclei.zarr"
    fill_in(widget, run_folder, store)
    assert widget.cells.layer().name == "movie.ome.tif tracks"

    widget.start.click()
    assert not widget.start.isEnabled()
    finished(qtbot, widget)

    (points,) = points_of(viewer)
    found = cellvjepa.open_store(store)
    assert len(points.data) == len(found) > 20
    assert {"umap_1", "umap_2", "clip_id", "track_id"} <= {*points.features.columns}
    assert notices == [f"{len(found)} embeddings are in {store}."]
    assert widget.bar.isHidden()


def test_without_a_layer_it_says_so(bare: Bare, notices: list[str]) -> None:
    _, widget = bare
    widget.start.click()
    assert notices == ["Movie: there is no image layer to embed. open a movie first."]
    assert widget.start.isEnabled()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"data": np.zeros((16, 16))}, "the layer 'odd': a movie has the axes t, y, x or t, z, y, x, but this has 2. choose another layer."),
        (
            {"data": np.zeros((4, 16, 16, 3), np.uint8), "rgb": True},
            "the layer 'odd': this is a colour (RGB) image. split it into channels and choose one of them.",
        ),
    ],
)
def test_a_layer_that_is_no_movie_is_refused(bare: Bare, notices: list[str], image: dict[str, Any], message: str) -> None:
    viewer, widget = bare
    viewer.add_image(**image, name="odd")
    widget.start.click()
    assert notices == [message]


@pytest.mark.parametrize(
    ("left_out", "message"), [("model", "Model: no model is chosen"), ("store", "Save as: no place for the embeddings is chosen")]
)
def test_what_is_missing_is_named(bare: Bare, toy: Path, run_folder: Path, tmp_path: Path, notices: list[str], left_out: str, message: str) -> None:
    viewer, widget = bare
    viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    fill_in(widget, run_folder, tmp_path / "out.zarr")
    getattr(widget, left_out).set_text("")
    widget.start.click()
    assert len(notices) == 1
    assert notices[0].startswith(message)


def test_a_problem_in_the_thread_is_one_notification(qtbot: Any, bare: Bare, toy: Path, tmp_path: Path, notices: list[str]) -> None:
    viewer, widget = bare
    viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    fill_in(widget, tmp_path / "nothing here", tmp_path / "out.zarr")
    widget.start.click()
    finished(qtbot, widget)
    assert len(notices) == 1
    assert "there is no encoder here" in notices[0]
    assert not points_of(viewer)


def test_only_layers_that_can_be_used_are_offered(bare: Bare, toy: Path, toy_masks: np.ndarray, toy_store: Path) -> None:
    viewer, widget = bare
    assert widget.movie.layer() is None
    (image,) = viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    labels = viewer.add_labels(toy_masks, name="masks")
    points = viewer.add_points(np.zeros((1, 3)), name="places")
    viewer.open(toy_store, plugin="cellvjepa")

    def offered(box: Any) -> list[str]:
        return [box.itemText(i) for i in range(box.count())]

    assert offered(widget.movie) == ["no image layer", "toy.ome.tif"]
    assert offered(widget.cells) == ["everywhere, on a grid", "masks", "places"]
    assert widget.movie.layer() is image
    assert widget.cells.layer() is labels

    widget.cells.choose(points)
    labels.name = "renamed"
    assert offered(widget.cells) == ["everywhere, on a grid", "renamed", "places"]
    assert widget.cells.layer() is points  # what was chosen by hand stays

    viewer.layers.remove(points)
    assert widget.cells.layer() is labels
    viewer.layers.clear()
    assert widget.movie.layer() is None
    assert widget.cells.layer() is None


def test_it_follows_the_image_that_is_selected_with_what_lies_on_it(bare: Bare, toy_masks: np.ndarray) -> None:
    viewer, widget = bare
    one, masks, other = viewer.add_image(np.zeros((4, 8, 8))), viewer.add_labels(toy_masks), viewer.add_image(np.ones((4, 8, 8)))
    assert (widget.movie.layer(), widget.cells.layer()) == (other, None)
    viewer.layers.selection.active = one
    assert (widget.movie.layer(), widget.cells.layer()) == (one, masks)
    viewer.layers.selection.active = masks
    assert widget.movie.layer() is one
    widget.movie.choose(one)
    viewer.layers.selection.active = other
    assert widget.movie.layer() is one  # chosen by hand


def test_it_says_what_has_been_chosen(bare: Bare, toy: Path, tmp_path: Path) -> None:
    viewer, widget = bare
    assert "Open a movie" in widget.about_movie.text()
    viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    assert widget.about_movie.text() == "16 frames, every 60 s\n48 x 48 px of 0.5 µm"
    assert widget.about_cells.text() == "windows tile the whole image"
    assert widget.store.text() == str(tmp_path / "toy_embeddings.zarr")
    widget.store.set_text("mine.zarr")
    viewer.add_image(np.zeros((4, 8, 8)), name="other")
    assert widget.store.text() == "mine.zarr"


def test_channels_are_chosen_where_there_are_several(qtbot: Any, bare: Bare, held: Held, run_folder: Path, tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "two.tif", np.zeros((8, 2, 32, 32), np.uint8), imagej=True, metadata={"axes": "TCYX"})
    viewer, widget = bare
    layers = viewer.open(tmp_path / "two.tif", plugin="cellvjepa")
    assert len(layers) == 2
    assert not widget.all_channels.isHidden()
    widget.movie.choose(layers[1])
    fill_in(widget, run_folder, held.store)
    held.let_go.set()
    for checked, channels in ((True, None), (False, layers[1].metadata["cellvjepa_movie"].channels[1:])):
        widget.all_channels.setChecked(checked)
        widget.start.click()
        finished(qtbot, widget)
        assert held.requests[-1].channels == channels


def test_progress_is_shown_and_cancel_stops(qtbot: Any, dock: Dock, toy: Path, run_folder: Path, held: Held, notices: list[str]) -> None:
    viewer, widget = dock()
    begin(qtbot, viewer, widget, toy, run_folder, held)
    qtbot.waitUntil(lambda: widget.status.text() == "embedding: 3 of 10")
    assert (widget.bar.value(), widget.bar.maximum()) == (3, 10)
    assert not widget.bar.isHidden()
    widget.stop.click()
    finished(qtbot, widget)
    assert held.over.is_set()
    assert notices == ["Embedding was cancelled. What is done is kept: Embed with the same choices goes on from there."]
    assert not points_of(viewer)


def test_the_layer_may_be_removed_while_it_runs(qtbot: Any, dock: Dock, toy: Path, run_folder: Path, held: Held) -> None:
    viewer, widget = dock()
    begin(qtbot, viewer, widget, toy, run_folder, held)
    viewer.layers.clear()
    held.let_go.set()
    finished(qtbot, widget)
    (points,) = points_of(viewer)
    assert len(points.data) == 8
    assert not [layer for layer in viewer.layers if isinstance(layer, Image)]


def test_two_viewers_do_not_meet(qtbot: Any, dock: Dock, toy: Path, run_folder: Path, held: Held) -> None:
    (one, left), (other, right) = dock(), dock()
    begin(qtbot, one, left, toy, run_folder, held)
    assert right.start.isEnabled()
    assert right.movie.layer() is None
    held.let_go.set()
    finished(qtbot, left)
    assert len(points_of(one)) == 1
    assert len(other.layers) == 0


def test_closing_the_dock_stops_the_work(qtbot: Any, dock: Dock, toy: Path, run_folder: Path, held: Held) -> None:
    viewer, widget = dock()
    begin(qtbot, viewer, widget, toy, run_folder, held)
    viewer.window.remove_dock_widget(widget)
    qtbot.waitUntil(held.over.is_set)
    qtbot.waitUntil(lambda: not isalive(widget))
    qtbot.wait(50)
    assert not points_of(viewer)
    viewer.add_image(np.zeros((4, 8, 8)))  # nothing of the dock is left to mind


def test_closing_the_window_stops_the_work(qtbot: Any, dock: Dock, toy: Path, run_folder: Path, held: Held) -> None:
    viewer, widget = dock()
    begin(qtbot, viewer, widget, toy, run_folder, held)
    viewer.close()
    qtbot.waitUntil(held.over.is_set)
    qtbot.wait(100)  # the last signals find nobody
    assert held.over.is_set()


def test_embeddings_of_something_else_are_not_overwritten(
    qtbot: Any, bare: Bare, toy: Path, run_folder: Path, toy_store: Path, notices: list[str]
) -> None:
    viewer, widget = bare
    viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    fill_in(widget, run_folder, toy_store)  # a store of tracks; this would be a grid
    before = {path.relative_to(toy_store): path.read_bytes() for path in toy_store.rglob("*") if path.is_file()}
    widget.start.click()
    finished(qtbot, widget)
    assert len(notices) == 1
    assert "embeddings of something else are there" in notices[0]
    assert widget.status.text() == notices[0]  # the notification goes away, this stays
    assert before == {path.relative_to(toy_store): path.read_bytes() for path in toy_store.rglob("*") if path.is_file()}


def test_a_pasted_path_may_have_quotes_and_a_tilde(qtbot: Any, bare: Bare, held: Held, toy: Path, run_folder: Path) -> None:
    viewer, widget = bare
    viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    fill_in(widget, run_folder, held.store)
    widget.store.set_text(' "~/here.zarr" ')
    held.let_go.set()
    widget.start.click()
    finished(qtbot, widget)
    assert held.requests[0].store == Path("~/here.zarr").expanduser()


def test_dialogs_fill_in_paths(bare: Bare, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, widget = bare
    monkeypatch.setattr(dock_module.QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "there" / "a.zarr"), ""))
    monkeypatch.setattr(model_line.QFileDialog, "getExistingDirectory", lambda *_, **__: "/a/run")
    monkeypatch.setattr(model_line.QFileDialog, "getOpenFileName", lambda *_, **__: ("", ""))
    widget.store.ask(0)
    widget.model.ask(0)
    assert widget.store.text() == str(tmp_path / "there" / "a.zarr")
    assert widget.model.text() == "/a/run"
    widget.model.ask(1)  # cancelled
    assert widget.model.text() == "/a/run"


def test_the_same_store_can_be_asked_for_again(qtbot: Any, bare: Bare, toy: Path, run_folder: Path, tmp_path: Path) -> None:
    viewer, widget = bare
    viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    fill_in(widget, run_folder, tmp_path / "again.zarr")
    for times in (1, 2):
        widget.start.click()
        finished(qtbot, widget)
        assert len(points_of(viewer)) == times
    shutil.rmtree(tmp_path / "again.zarr")


def so_far(viewer: Any) -> list[Points]:
    return [layer for layer in viewer.layers if UNFINISHED_KEY in layer.metadata]


def test_windows_that_are_done_are_shown_while_the_others_are_computed(
    qtbot: Any, dock: Dock, toy: Path, run_folder: Path, held: Held, notices: list[str]
) -> None:
    viewer, widget = dock()
    begin(qtbot, viewer, widget, toy, run_folder, held)
    active = viewer.layers.selection.active
    qtbot.waitUntil(lambda: len(so_far(viewer)) == 1, timeout=30_000)
    (layer,) = so_far(viewer)
    assert np.flatnonzero(layer.shown).tolist() == [7, 8, 9]  # the first three in the order in which they are done
    assert layer.name == "toy: 3 of 10 so far"
    assert viewer.layers.selection.active is active
    assert layer not in [widget.cells.itemData(i) for i in range(widget.cells.count())]
    assert widget.cells.findText(layer.name) < 0
    assert not points_of(viewer)  # nothing that Explore would take for a store
    held.let_go.set()
    finished(qtbot, widget)
    assert not so_far(viewer)
    assert len(points_of(viewer)) == 1


@pytest.mark.parametrize("how", ["cancel", "close", "removed"])
def test_nothing_of_an_unfinished_store_is_left(qtbot: Any, dock: Dock, toy: Path, run_folder: Path, held: Held, how: str) -> None:
    viewer, widget = dock()
    begin(qtbot, viewer, widget, toy, run_folder, held)
    qtbot.waitUntil(lambda: len(so_far(viewer)) == 1, timeout=30_000)
    if how == "cancel":
        widget.stop.click()
        finished(qtbot, widget)
    elif how == "close":
        viewer.window.remove_dock_widget(widget)
        qtbot.waitUntil(held.over.is_set)
    else:
        viewer.layers.clear()
        held.let_go.set()
        finished(qtbot, widget)
        assert len(points_of(viewer)) == 1
    assert not so_far(viewer)


def test_windows_that_are_added_to_a_store_are_not_shown_as_they_come(qtbot: Any, bare: Bare, toy: Path, run_folder: Path, held: Held) -> None:
    """Of these it is not known which come first."""
    viewer, widget = bare
    begin(qtbot, viewer, widget, toy, run_folder, held)
    assert widget._so_far is not None
    widget._so_far.remove()
    widget._so_far.show(2, 4)
    assert not so_far(viewer)
    held.let_go.set()
    finished(qtbot, widget)


def test_the_form_begins_with_how_the_encoders_own_run_embeds(qtbot: Any, bare: Bare, run_folder: Path) -> None:
    """As the command does: else the window and the command line would give different embeddings."""
    _, widget = bare
    assert "encoder_tiny comes along" in widget.about_model.text()
    widget.model.set_text(str(run_folder))
    qtbot.waitUntil(lambda: widget.about_model.text() == "clips of 8 frames, 32 x 32 px", timeout=10_000)
    assert widget.options.value() == cellvjepa.encoder_config(run_folder).embed
    widget.use_model(Path("encoder_tiny"))
    assert widget.about_model.text() == "clips of 16 frames, 64 x 64 px"
    widget.use_model(run_folder / "nothing")
    assert widget.about_model.text() == "there is no encoder here"


def test_encoders_of_recent_runs_are_offered(qtbot: Any, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLVJEPA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "unfinished").mkdir()
    for run in (run_folder, tmp_path / "unfinished"):
        cellvjepa.remember_run(run)
    widget = EmbedWidget(ViewerModel())
    qtbot.addWidget(widget)
    for number, chosen in ((2, str(run_folder)), (3, "encoder_tiny")):
        widget.model.ask(number)
        assert widget.model.text() == chosen
