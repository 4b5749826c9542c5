"""The See dock in a real window, and what happens when things go away while it works."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellvjepa
from napari_cellvjepa.layers.maps import MAP_KEY, maps_in
from napari_cellvjepa.layers.of_movies import Space
from napari_cellvjepa.parts.choosers import LayerBox
from napari_cellvjepa.see import features, masks
from napari_cellvjepa.see.attention import looked
from napari_cellvjepa.see.dock import SeeWidget
from napari_cellvjepa.see.masks import drawn_masks
from napari_cellvjepa.see.sight import Asked
from napari_cellvjepa.see.surprise import surprised
from napari_cellvjepa.see.tokens import compute_all, compute_around, tokens_of_clip, tokens_of_movie
from napari_cellvjepa.see.where import CLICKED
from tests.plugin import mouse
from tests.plugin.see.conftest import PATIENCE_MS, save_probe_of

Done = Callable[[SeeWidget], None]


@pytest.fixture
def seen(make_napari_viewer: Callable[..., Any], toy: Path, whole_run: Path) -> tuple[Any, SeeWidget]:
    """A window that shows the toy, with the dock in it."""
    viewer = make_napari_viewer(show=True)
    viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    _, widget = viewer.window.add_plugin_dock_widget("cellvjepa", "See")
    widget.where.model.set_text(str(whole_run))
    return viewer, widget


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Masks are drawn only when they are let go, and stop when they are cancelled; the event says that it has begun."""
    begun, let_go = threading.Event(), threading.Event()

    def slowly(asked: Asked, seed: int, progress: cellvjepa.Progress) -> Any:
        while not let_go.wait(0.002):
            progress("drawing masks", 0, 0)
            begun.set()
        return drawn_masks(asked, seed, progress)

    monkeypatch.setattr(masks, "drawn_masks", slowly)
    begun.let_go = let_go  # type: ignore[attr-defined]
    yield begun
    let_go.set()


def canvas_place(viewer: Any, frame: float, y: float, x: float) -> tuple[float, float]:
    """Return where on the canvas a native place is seen."""
    layer = viewer.layers[0]
    canvas = viewer.window._qt_viewer.canvas
    world = np.array([y, x]) * layer.scale[-2:]
    centre, zoom = np.array(viewer.scene.camera.center[-2:]), viewer.scene.camera.zoom
    middle = np.array(canvas.native.height()) / 2, np.array(canvas.native.width()) / 2
    down, right = (world - centre) * zoom + np.array(middle)
    return float(right), float(down)


def click_at(viewer: Any, frame: float, y: float, x: float) -> None:
    mouse.click(viewer.window._qt_viewer.canvas.native, canvas_place(viewer, frame, y, x))


def test_with_no_layer_and_with_wrong_layers_it_says_what_to_do(qtbot: Any, notices: list[str]) -> None:
    from napari.components import ViewerModel

    viewer = ViewerModel()
    widget = SeeWidget(viewer)
    qtbot.addWidget(widget, before_close_func=lambda it: it.leave())
    for button in (widget.masks.show_masks, widget.features.show_colours, widget.surprise.show_map):
        button.click()
    assert set(notices) == {"Image: there is no image layer to look at. open a movie, or one of File > Open Sample > cellvjepa."}
    viewer.add_points([[0, 0, 0]])
    viewer.add_image(np.zeros((16, 16)), name="flat")
    widget.masks.show_masks.click()
    assert notices[-1] == "the layer 'flat': a movie has the axes t, y, x or t, z, y, x, but this has 2. choose another layer."
    widget.where.clip.setCurrentText(CLICKED)
    viewer.add_image(np.zeros((16, 16, 16)), name="movie")
    widget.where.image.choose(viewer.layers["movie"])
    widget.masks.show_masks.click()
    assert notices[-1] == "Clip: no place has been clicked. press Pick, then click in the image."
    widget.features.alike.click()
    widget.clear.click()
    assert not widget.running.busy
    with pytest.raises(cellvjepa.UserError, match="this image is not a file that a command could read"):
        widget.surprise.command()


def test_clicks_in_the_image_place_the_clip_and_ask_what_is_alike(seen: tuple[Any, SeeWidget], done: Done, notices: list[str]) -> None:
    viewer, widget = seen
    viewer.dims.set_point(0, 7 * 60)
    widget.where.pick.click()
    click_at(viewer, 7, 20.0, 30.0)
    assert not widget.where.pick.isChecked()
    assert widget.where.clip.currentText() == CLICKED
    assert widget.where.about.text() == "clip around frame 7, row 20, column 30"
    widget.features.show_colours.click()
    done(widget)
    click_at(viewer, 7, 22.0, 33.0)  # nobody has asked what is alike yet
    assert len(list(maps_in(viewer))) == 1
    widget.features.alike.click()
    click_at(viewer, 7, 22.0, 33.0)
    done(widget)
    (likeness,) = [layer for layer in maps_in(viewer) if layer.metadata[MAP_KEY]["what"] == "likeness"]
    value = likeness.get_value((7 * 60, 22 * 0.5, 33 * 0.5), world=True)
    assert value == pytest.approx(1, abs=1e-6)
    click_at(viewer, 7, 14.0, 22.0)
    assert likeness.get_value((7 * 60, 14 * 0.5, 22 * 0.5), world=True) == pytest.approx(1, abs=1e-6)
    assert likeness.get_value((7 * 60, 22 * 0.5, 33 * 0.5), world=True) < 1 - 1e-5
    assert not notices


def test_features_are_found_again_by_a_dock_that_is_opened_later(seen: tuple[Any, SeeWidget], done: Done) -> None:
    viewer, widget = seen
    widget.features.show_colours.click()
    done(widget)
    model = widget.where.model.text()
    viewer.window.remove_dock_widget(widget)
    _, again = viewer.window.add_plugin_dock_widget("cellvjepa", "See")
    assert again.where.model.text() == model
    again.features.alike.click()
    again.features.take_click(np.array([viewer.dims.point[0], 12.0, 12.0]))
    assert not again.running.busy  # nothing had to be computed
    assert "likeness" in {layer.metadata[MAP_KEY]["what"] for layer in maps_in(viewer)}


def test_an_image_that_is_closed_meanwhile_gets_no_maps(bare: tuple[Any, SeeWidget], held: threading.Event, done: Done, qtbot: Any) -> None:
    viewer, widget = bare
    widget.masks.show_masks.click()
    qtbot.waitUntil(held.is_set, timeout=PATIENCE_MS)
    assert not widget.masks.show_masks.isEnabled()
    viewer.layers.clear()
    held.let_go.set()  # type: ignore[attr-defined]
    done(widget)
    assert len(viewer.layers) == 0
    assert widget.running.status.text() == "The image was closed meanwhile, so nothing is shown."
    assert widget.masks.show_masks.isEnabled()


@pytest.mark.parametrize("how", ["cancel", "clear"])
def test_work_is_cancelled_by_its_button_and_by_clear(bare: tuple[Any, SeeWidget], held: threading.Event, done: Done, qtbot: Any, how: str) -> None:
    viewer, widget = bare
    widget.masks.show_masks.click()
    qtbot.waitUntil(held.is_set, timeout=PATIENCE_MS)
    (widget.running.stop if how == "cancel" else widget.clear).click()
    done(widget)
    assert not list(maps_in(viewer))
    assert widget.running.status.text() == ("Cancelled." if how == "cancel" else "")
    held.let_go.set()  # type: ignore[attr-defined]
    widget.masks.show_masks.click()  # and it can be asked for again
    done(widget)
    assert len(list(maps_in(viewer))) == 2


def test_a_look_at_a_whole_movie_that_is_cancelled_shows_what_is_done(
    bare: tuple[Any, SeeWidget], done: Done, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, widget = bare
    begun = threading.Event()

    def for_ever(tokens: Any, progress: cellvjepa.Progress) -> None:
        compute_around(tokens, 0, progress)
        begun.set()
        while True:
            progress("mapping", 1, 10)

    monkeypatch.setattr(features.looking, "compute_all", for_ever)
    widget.features.scope.setCurrentText(features.MOVIE)
    widget.features.show_colours.click()
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: len(list(maps_in(viewer))) == 1, timeout=PATIENCE_MS)  # it is shown as it comes
    widget.running.stop.click()
    done(widget)
    (layer,) = maps_in(viewer)
    assert layer.data[0, ..., 3].all()
    assert not layer.data[-1].any()


def test_two_viewers_do_not_meddle(bare: tuple[Any, SeeWidget], toy: Path, done: Done, qtbot: Any) -> None:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_cellvjepa.layers.opening import read_movie

    viewer, widget = bare
    other = ViewerModel()
    for layer in read_movie(str(toy / "toy.ome.tif")):
        other.add_layer(Layer.create(*layer))
    second = SeeWidget(other)
    qtbot.addWidget(second, before_close_func=lambda it: it.leave())
    second.where.model.set_text(widget.where.model.text())
    for one in (widget, second):
        one.masks.show_masks.click()
    for one in (widget, second):
        done(one)
    assert len(list(maps_in(viewer))) == len(list(maps_in(other))) == 2
    widget.clear.click()
    assert not list(maps_in(viewer))
    assert len(list(maps_in(other))) == 2


def test_a_dock_that_is_closed_while_it_works_stops_and_leaves_nothing(
    make_napari_viewer: Callable[..., Any], toy: Path, held: threading.Event, qtbot: Any
) -> None:
    viewer = make_napari_viewer()
    viewer.open(toy / "toy.ome.tif", plugin="cellvjepa")
    listeners = len(viewer.mouse_drag_callbacks)
    _, widget = viewer.window.add_plugin_dock_widget("cellvjepa", "See")
    widget.masks.show_masks.click()
    qtbot.waitUntil(held.is_set, timeout=PATIENCE_MS)
    gone = weakref.ref(widget)
    viewer.window.remove_dock_widget(widget)
    del widget
    qtbot.waitUntil(lambda: _gone(gone), timeout=PATIENCE_MS)
    assert not list(maps_in(viewer))
    assert len(viewer.mouse_drag_callbacks) == listeners
    viewer.dims.set_point(0, 60)  # nobody listens any more


def _gone(reference: Any) -> bool:
    gc.collect()
    return reference() is None


def test_what_a_model_sees_is_no_movie_for_other_docks(bare: tuple[Any, SeeWidget], done: Done) -> None:
    viewer, widget = bare
    widget.masks.show_masks.click()
    done(widget)
    box = LayerBox("none")
    box.offer(viewer.layers, best=next(maps_in(viewer)))
    assert [box.itemText(i) for i in range(box.count())] == ["none", "toy.ome.tif"]
    assert box.layer() is viewer.layers[0]


@pytest.mark.parametrize("job", ["masks", "clip", "around", "all", "attention", "surprise"])
def test_every_stage_can_be_cancelled(toy: Path, whole_run: Path, tmp_path: Path, job: str) -> None:
    """Whatever stage work is at, it stops at its first sign of progress; of the map on disk nothing is left half-written."""
    movie = cellvjepa.open_movie(toy / "toy.ome.tif")
    asked, space = Asked(movie, "phase", str(whole_run), (8.0, 0.0, 24.0, 24.0)), Space.of_movie(movie)
    probe = save_probe_of(tmp_path / "probe", toy, whole_run, "attentive") if job == "attention" else tmp_path

    def around(everything: bool, progress: cellvjepa.Progress) -> None:
        tokens = tokens_of_movie(asked, space, progress)
        compute_all(tokens, progress) if everything else compute_around(tokens, 0, progress)

    jobs: dict[str, Callable[[cellvjepa.Progress], object]] = {
        "masks": partial(drawn_masks, asked, 0),
        "clip": partial(tokens_of_clip, asked, space),
        "around": partial(around, False),
        "all": partial(around, True),
        "attention": partial(looked, asked, probe),
        "surprise": lambda progress: surprised(asked, tmp_path / "maps", "rest", True, False, progress),
    }
    stages: list[str] = []
    jobs[job](lambda stage, done, total: None if stage in stages else stages.append(stage))
    assert len(stages) >= 3

    def stop(at: str, stage: str, done: int, total: int) -> None:
        if stage == at:
            raise cellvjepa.Cancelled

    for stage in stages:
        if job == "surprise" and (tmp_path / "maps").exists():
            import shutil

            shutil.rmtree(tmp_path / "maps")
        with pytest.raises(cellvjepa.Cancelled):
            jobs[job](partial(stop, stage))
        if job == "surprise":
            assert not list((tmp_path / "maps").rglob("zarr.json"))
