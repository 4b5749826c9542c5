"""The Probe dock: from labels to a report, and to predictions of all cells."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

import cellvjepa
from cellvjepa.cli import run
from napari_cellvjepa.explore.dock import ExploreWidget
from napari_cellvjepa.layers.points import STORE_KEY
from napari_cellvjepa.layers.selection import SELECTION_KEY
from napari_cellvjepa.probe import teaching, using
from napari_cellvjepa.probe.dock import ProbeWidget
from napari_cellvjepa.probe.request import Training
from tests.plugin import mouse

PATIENCE_MS = 300_000  # a busy machine takes minutes to import what a probe needs
Probed = tuple[Any, ProbeWidget]


@pytest.fixture
def make(qtbot: Any) -> Callable[[Any], ProbeWidget]:
    """A function that makes a dock for a viewer, in a window of its own."""

    def make(viewer: Any) -> ProbeWidget:
        widget = ProbeWidget(viewer)
        widget.resize(380, 700)
        qtbot.addWidget(widget, before_close_func=lambda it: it.leave())
        widget.show()
        return widget

    return make


@pytest.fixture
def probed(make: Callable[[Any], ProbeWidget], store: Path, qtbot: Any) -> Probed:
    """A viewer without a window, and a dock that works with the store."""
    viewer = ViewerModel()
    widget = make(viewer)
    show(widget, store, qtbot)
    return viewer, widget


def show(widget: ProbeWidget, store: Path, qtbot: Any) -> None:
    widget.open_store(store)
    qtbot.waitUntil(lambda: widget.found is not None and widget.found.path == store, timeout=PATIENCE_MS)


def show_probe(widget: ProbeWidget, folder: Path, qtbot: Any) -> None:
    widget.using.probe.set_text(str(folder))
    qtbot.waitUntil(lambda: widget.report.confusion.rowCount() > 0 and not widget.report.open.isHidden(), timeout=PATIENCE_MS)


def quickly(widget: ProbeWidget) -> None:
    widget.teaching.options.show_values(cellvjepa.Config().probe.model_copy(update={"bootstrap": 20}))


def rested(widget: ProbeWidget, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not widget.teaching.under_way and not widget.using.under_way, timeout=PATIENCE_MS)


def point_layers(viewer: Any) -> list[Any]:
    return [layer for layer in viewer.layers if STORE_KEY in layer.metadata]


class Held:
    """Stands in for training: it turns until it is let go or cancelled."""

    def __init__(self) -> None:
        self.begun, self.let_go, self.over = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, request: Training, watch: Callable[[cellvjepa.Learnt], None], progress: cellvjepa.Progress) -> Any:
        watch(cellvjepa.Learnt("loss", "fold 1 of 5", 1, 0.5))
        try:
            while not self.let_go.wait(0.002):
                progress("cross-validating", 1, 5)
                self.begun.set()
        finally:
            self.over.set()
        raise cellvjepa.UserError("it was let go", "hold it", "test")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    made = Held()
    monkeypatch.setattr(teaching, "train", made)
    yield made
    made.let_go.set()


def report_of(folder: Path, question: str) -> list[int]:
    """Return the second line of a confusion matrix that a report holds."""
    found: list[int] = cellvjepa.read_probe_report(folder).questions[question].confusion_KK[1].tolist()
    return found


def cell(widget: ProbeWidget, truth: int, answer: int) -> Any:
    """Return a cell of the confusion matrix."""
    return widget.report.confusion.item(truth, answer)


def begin(widget: ProbeWidget, labels: Path, held: Held, qtbot: Any) -> None:
    widget.teaching.labels.set_text(str(labels))
    widget.teaching.start.click()
    qtbot.waitUntil(held.begun.is_set, timeout=PATIENCE_MS)


def test_with_no_layer_and_with_wrong_layers_it_says_what_to_do(make: Callable[[Any], ProbeWidget], notices: list[str]) -> None:
    viewer = ViewerModel()
    widget = make(viewer)
    viewer.add_image(np.zeros((2, 8, 8)))
    viewer.add_points([[0, 0, 0]])
    assert widget.store.list.count() == 0
    assert "Open a store" in widget.about.text()
    for button in (widget.teaching.start, widget.teaching.copy, widget.using.start, widget.using.write, widget.using.copy_predict):
        button.click()
    assert "Store: no store is open" in notices[0]
    assert "Probe: no probe is chosen" in notices[2]
    assert len(notices) == 5


def test_what_has_not_been_chosen_is_asked_for(probed: Probed, notices: list[str], tmp_path: Path) -> None:
    _, widget = probed
    assert widget.teaching.out.text() == str(tmp_path / "cells_probe")
    widget.teaching.start.click()
    assert notices[-1].startswith("Labels: no label file is chosen. choose one. The Label dock writes such a file")
    widget.teaching.labels.set_text("labels.csv")
    widget.teaching.out.set_text("")
    widget.teaching.start.click()
    assert notices[-1] == "Save in: no folder for the probe is chosen. choose one to write."


def test_labels_are_counted_before_anything_is_trained(probed: Probed, labels: Path, tmp_path: Path, qtbot: Any) -> None:
    _, widget = probed
    amounts, group = widget.teaching.amounts, widget.teaching.group
    widget.teaching.labels.set_text(str(labels))
    qtbot.waitUntil(lambda: "96 labelled windows" in amounts.text(), timeout=PATIENCE_MS)
    assert "even 48 · odd 48<br>in 6 groups by movie" in amounts.text()
    assert group.findText("donor") > 0
    group.setCurrentText("donor")
    group.activated.emit(group.currentIndex())
    qtbot.waitUntil(lambda: "in 2 groups by column 'donor'" in amounts.text().replace("&#x27;", "'"), timeout=PATIENCE_MS)
    assert group.currentText() == "donor"
    (tmp_path / "other.csv").write_text("movie,track_id,label\nother.tif,1,odd\n")
    widget.teaching.labels.set_text(str(tmp_path / "other.csv"))
    qtbot.waitUntil(lambda: "name a movie that was not embedded" in amounts.text(), timeout=PATIENCE_MS)


def test_from_labels_to_the_windows_behind_a_number(probed: Probed, labels: Path, tmp_path: Path, qtbot: Any) -> None:
    viewer, widget = probed
    quickly(widget)
    widget.teaching.labels.set_text(str(labels))
    mouse.click(widget.teaching.start, (8, 8))
    assert not widget.teaching.start.isEnabled()
    rested(widget, qtbot)
    assert widget.teaching.status.text() == f"The probe is in {tmp_path / 'cells_probe'}."
    (by_movie, by_rows) = widget.teaching.learning.held_out.lines()
    assert (by_movie.name, by_rows.name) == ("split by movie", "split row by row")
    assert [x for x, _ in by_movie.points] == [1, 2, 3, 4, 5]
    assert "this encoder" in [line.name for line in widget.teaching.learning.labels.lines()]

    report = widget.report
    assert widget.tabs.currentWidget() is report
    found = cellvjepa.read_probe_report(tmp_path / "cells_probe")
    (question,) = found.questions.values()
    counts = [[int(cell(widget, i, j).text()) for j in (0, 1)] for i in (0, 1)]
    assert counts == question.confusion_KK.tolist()
    report.confusion.scrollToItem(cell(widget, 1, 0))
    place = report.confusion.visualItemRect(cell(widget, 1, 0)).center()
    mouse.click(report.confusion.viewport(), (place.x(), place.y()))
    assert len(report.gallery.rows()) == counts[1][0] > 0
    assert widget.found is not None
    table = widget.found.table.iloc[report.gallery.rows()]
    assert set(table["track_id"] % 2) == {1}
    assert f"{counts[1][0]} windows labelled <b>odd</b> and taken for <b>even</b>" in report.caption.text()
    report.gallery.wanted.emit(report.gallery.rows())
    (layer,) = point_layers(viewer)
    assert np.flatnonzero(layer.metadata[SELECTION_KEY]).tolist() == sorted(report.gallery.rows())


def test_the_command_makes_the_same_probe(probed: Probed, labels: Path, trained: Path, tmp_path: Path) -> None:
    _, widget = probed
    quickly(widget)
    widget.teaching.labels.set_text(str(labels))
    widget.teaching.copy.click()
    words = widget.teaching.request().words()
    assert QApplication.clipboard().text() == " ".join(words)
    assert words[-2:] == ["--set", "probe.bootstrap=20"]
    assert run(words[1:]) == 0
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "cells_probe" / "predictions.csv"), pd.read_csv(trained / "predictions.csv"))
    widget.teaching.kind.choose("knn")
    widget.teaching.group.choose("donor")
    assert widget.teaching.request().words()[7:11] == ["--kind", "knn", "--group", "donor"]


def test_predictions_go_into_the_store_the_layers_and_the_plot(
    make: Callable[[Any], ProbeWidget], make_napari_viewer: Callable[..., Any], store: Path, labels: Path, trained: Path, tmp_path: Path, qtbot: Any
) -> None:
    viewer = make_napari_viewer()
    explore = ExploreWidget(viewer)
    viewer.window.add_dock_widget(explore)
    widget = make(viewer)
    show(widget, store, qtbot)
    qtbot.waitUntil(lambda: explore.found is not None, timeout=PATIENCE_MS)
    show_probe(widget, trained, qtbot)
    widget.teaching.labels.set_text(str(labels))
    assert run(widget.using.words_of_predict()[1:]) == 0
    by_command = cellvjepa.open_store(store).table
    widget.using.start.click()
    rested(widget, qtbot)
    assert widget.using.status.text().startswith("96 rows of cells.zarr have been predicted: ")
    table = cellvjepa.open_store(store).table
    pd.testing.assert_frame_equal(table, by_command)
    (layer,) = point_layers(viewer)
    assert layer.features["predicted"].tolist() == table["predicted"].iloc[:16].tolist()
    qtbot.waitUntil(lambda: explore.plotted.colour.currentText() == "predicted", timeout=PATIENCE_MS)
    qtbot.waitUntil(lambda: [text.split()[0] for text in explore.legend.texts()] == ["odd", "even"], timeout=PATIENCE_MS)
    odd = (table["predicted"].iloc[:16] == "odd").to_numpy()
    assert len(np.unique(layer.border_color[odd], axis=0)) == 1
    assert not np.allclose(layer.border_color[odd][0], layer.border_color[~odd][0])

    words = widget.using.words_of_export()
    assert words[-1] == "--no-vectors"
    widget.using.write.click()
    rested(widget, qtbot)
    by_dock = (tmp_path / "cells_predictions.csv").read_text()
    assert run(words[1:]) == 0
    assert (tmp_path / "cells_predictions.csv").read_text() == by_dock
    exported = pd.read_csv(tmp_path / "cells_predictions.csv")
    assert {"label", "predicted", "probability", "p_odd", "p_even"} <= {*exported}
    assert exported["label"].notna().all()


def test_closed_and_opened_again_it_is_all_back(
    store: Path, labels: Path, trained: Path, tmp_path: Path, make: Callable[[Any], ProbeWidget], qtbot: Any
) -> None:
    viewer = ViewerModel()
    widget = ProbeWidget(viewer)
    show(widget, store, qtbot)
    widget.teaching.labels.set_text(str(labels))
    widget.teaching.out.set_text(str(tmp_path / "elsewhere"))
    widget.teaching.kind.choose("knn")
    quickly(widget)
    show_probe(widget, trained, qtbot)
    widget.leave()
    again = make(viewer)
    qtbot.waitUntil(lambda: again.report.confusion.rowCount() == 2, timeout=PATIENCE_MS)
    assert again.teaching.labels.text() == str(labels)
    assert again.teaching.out.text() == str(tmp_path / "elsewhere")
    assert again.using.probe.text() == str(trained)
    assert again.teaching.changed_settings() == {"kind": "knn", "bootstrap": 20}


def test_cancelled_training_writes_nothing(probed: Probed, labels: Path, held: Held, tmp_path: Path, notices: list[str], qtbot: Any) -> None:
    _, widget = probed
    begin(widget, labels, held, qtbot)
    qtbot.waitUntil(lambda: bool(widget.teaching.learning.loss.lines()), timeout=PATIENCE_MS)
    mouse.click(widget.teaching.stop, (8, 8))
    rested(widget, qtbot)
    assert held.over.is_set()
    assert widget.teaching.status.text() == "Training was cancelled; nothing was written."
    assert not (tmp_path / "cells_probe").exists()
    assert notices == []
    assert widget.teaching.start.isEnabled()


def test_a_store_that_is_closed_ends_its_training(probed: Probed, labels: Path, held: Held, notices: list[str], qtbot: Any) -> None:
    viewer, widget = probed
    begin(widget, labels, held, qtbot)
    viewer.layers.clear()
    qtbot.waitUntil(held.over.is_set, timeout=PATIENCE_MS)
    rested(widget, qtbot)
    assert widget.found is None
    assert "Open a store" in widget.about.text()
    assert notices == []


def test_what_goes_wrong_is_told_in_a_sentence(probed: Probed, labels: Path, held: Held, notices: list[str], qtbot: Any) -> None:
    _, widget = probed
    begin(widget, labels, held, qtbot)
    held.let_go.set()
    rested(widget, qtbot)
    assert notices == ["test: it was let go. hold it."]
    assert widget.teaching.status.text() == notices[0]
    assert widget.teaching.start.isEnabled()


def test_cancelled_while_it_predicts_the_store_is_as_it_was(
    probed: Probed, trained: Path, store: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    _, widget = probed
    begun = threading.Event()

    def turning(*args: Any) -> Any:
        while True:
            args[-1]("predicting", 1, 2)
            begun.set()

    monkeypatch.setattr(using, "apply", turning)
    show_probe(widget, trained, qtbot)
    widget.using.start.click()
    qtbot.waitUntil(begun.is_set, timeout=PATIENCE_MS)
    widget.using.stop.click()
    rested(widget, qtbot)
    assert widget.using.status.text() == "Cancelled; nothing was written."
    assert "predicted" not in cellvjepa.open_store(store).table


def test_the_report_of_another_store_says_so(probed: Probed, trained: Path, notices: list[str], qtbot: Any) -> None:
    _, widget = probed
    table = pd.read_csv(trained / "predictions.csv")
    table.assign(clip_id=["gone" + clip if place < 40 else clip for place, clip in enumerate(table["clip_id"])]).to_csv(
        trained / "predictions.csv", index=False
    )
    show_probe(widget, trained, qtbot)
    assert "40 of 96 windows of this report are not in this store" in widget.report.missing.text()
    assert not widget.report.missing.isHidden()
    (trained / "report.json").write_text("{")
    widget.using.probe.set_text("")
    widget.using.probe.set_text(str(trained))
    qtbot.waitUntil(lambda: bool(notices), timeout=PATIENCE_MS)
    assert "the report cannot be read" in notices[0]


def test_a_probe_of_another_encoder_is_refused(probed: Probed, trained: Path, notices: list[str], qtbot: Any, tmp_path: Path) -> None:
    _, widget = probed
    (trained / "probe.safetensors").unlink()
    widget.using.probe.set_text(str(trained))
    widget.using.start.click()
    rested(widget, qtbot)
    assert notices[-1] == f"{trained}: there is no probe here. make one with `cellvjepa probe`, or check the path."
    assert widget.using.status.text() == notices[-1]


def test_without_movies_an_attentive_probe_says_what_to_do(probed: Probed, labels: Path, notices: list[str], tmp_path: Path, qtbot: Any) -> None:
    _, widget = probed
    widget.teaching.labels.set_text(str(labels))
    widget.teaching.kind.choose("attentive")
    widget.teaching.start.click()
    rested(widget, qtbot)
    assert "an attentive probe needs the movies and the model again" in notices[-1]
    assert "put them back, or use --kind linear" in notices[-1]
    assert not (tmp_path / "cells_probe").exists()


def test_a_picture_of_the_gallery_leads_to_its_cell(
    make_napari_viewer: Callable[..., Any], make: Callable[[Any], ProbeWidget], toy_store: Path, qtbot: Any
) -> None:
    viewer = make_napari_viewer()
    widget = make(viewer)
    show(widget, toy_store, qtbot)
    widget.report.gallery.chosen.emit(7)
    qtbot.waitUntil(lambda: any(isinstance(layer, Image) for layer in viewer.layers), timeout=PATIENCE_MS)
    # The second window of cell 4: frames 8 to 15 of 60 s each, at y = 36 px.
    assert viewer.dims.point[0] == pytest.approx(11 * 60)
    assert viewer.scene.camera.center[1] == pytest.approx(36 * 0.5, abs=1)


def test_docks_of_two_viewers_know_nothing_of_each_other(probed: Probed, make: Callable[[Any], ProbeWidget], labels: Path) -> None:
    viewer, widget = probed
    other_viewer = ViewerModel()
    other = make(other_viewer)
    widget.teaching.labels.set_text(str(labels))
    assert other.store.list.count() == 0
    assert other.teaching.labels.text() == ""
    assert len(other_viewer.layers) == 0
    assert len(viewer.layers) == 1


def test_closed_while_it_trains_nothing_is_left_of_it(
    make_napari_viewer: Callable[..., Any], store: Path, labels: Path, held: Held, qtbot: Any
) -> None:
    viewer = make_napari_viewer()
    widget = ProbeWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Probe")
    show(widget, store, qtbot)
    begin(widget, labels, held, qtbot)
    parts = (widget, widget.teaching, widget.report, widget.report.gallery, widget.using, widget.journey, widget.found)
    gone = {type(part).__name__: weakref.ref(part) for part in parts}
    viewer.window.remove_dock_widget(widget)
    del widget, parts
    qtbot.waitUntil(held.over.is_set, timeout=PATIENCE_MS)

    def none_left() -> bool:
        gc.collect()
        return not [name for name, ref in gone.items() if ref() is not None]

    qtbot.waitUntil(none_left, timeout=30_000)
    assert [name for name, ref in gone.items() if ref() is not None] == []
    viewer.layers.clear()


def test_several_labels_at_once_are_asked_one_by_one(probed: Probed, tmp_path: Path, qtbot: Any) -> None:
    _, widget = probed
    said = {0: "none", 1: "odd", 2: "first", 3: "first;odd"}
    lines = [f"pos{m}.tif,{c},{said[c % 2 + 2 * (c < 5)]}" for m in range(6) for c in range(1, 9)]
    (tmp_path / "several.csv").write_text("\n".join(["movie,track_id,label", *lines, ""]))
    config = cellvjepa.Config().probe.model_copy(update={"bootstrap": 1})
    cellvjepa.make_probe(widget.found.path, tmp_path / "several.csv", tmp_path / "several", config)  # type: ignore[union-attr]
    widget.using.probe.set_text(str(tmp_path / "several"))
    report = widget.report
    qtbot.waitUntil(lambda: report.question.count() == 3, timeout=PATIENCE_MS)
    assert [report.question.itemText(i) for i in range(3)] == ["all classes", "first", "odd"]
    assert report.confusion.isHidden()
    report.question.setCurrentText("odd")
    assert not report.confusion.isHidden()
    assert report.confusion.model().headerData(0, Qt.Orientation.Horizontal) == "not odd"
    assert [int(cell(widget, 1, j).text()) for j in (0, 1)] == report_of(tmp_path / "several", "odd")
