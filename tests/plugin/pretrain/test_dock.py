"""The Pretrain dock in a real window."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QLineEdit, QSpinBox

import cellvjepa
from cellvjepa.cli import run as run_command
from napari_cellvjepa.layers.of_movies import image_layers
from napari_cellvjepa.pretrain import dock as dock_module
from napari_cellvjepa.pretrain.dock import PretrainWidget
from napari_cellvjepa.pretrain.process import process_of, read_started

LONG_MS = 300_000  # another process that imports torch on a busy machine


@pytest.fixture
def bare(qtbot: Any) -> Iterator[tuple[Any, PretrainWidget]]:
    """A viewer without a window, and a Pretrain widget for it."""
    viewer = ViewerModel()
    widget = PretrainWidget(viewer)
    qtbot.addWidget(widget)
    yield viewer, widget
    widget._watch.follow(None)


@pytest.fixture
def ended() -> Iterator[list[Path]]:
    """Runs whose processes are ended with the test, whatever becomes of it."""
    runs: list[Path] = []
    yield runs
    for run in runs:
        started = read_started(run)
        process = process_of(started) if started else None
        if process is not None:
            process.kill()


@pytest.fixture
def small(tiny_config: cellvjepa.Config) -> cellvjepa.Config:
    """So many steps that there is time to stop it."""
    changes = ["training.steps=600", "training.log_every=10", "training.checkpoint_every=50", "monitor.every=100"]
    return cellvjepa.config_from(tiny_config.model_dump(), changes)


def seen(qtbot: Any, widget: PretrainWidget, true: Callable[[Any], bool]) -> None:
    qtbot.waitUntil(lambda: widget._seen is not None and true(widget._seen), timeout=LONG_MS)


def test_from_the_menu_over_a_closed_window_to_the_encoder_in_embed(
    qtbot: Any, make_napari_viewer: Any, toy: Path, tmp_path: Path, small: cellvjepa.Config, ended: list[Path], notices: list[str]
) -> None:
    """Start, close the window, find it again in another, stop, resume, use the encoder."""
    run = tmp_path / "runs" / "mine"
    ended.append(run)
    first = make_napari_viewer()
    _, widget = first.window.add_plugin_dock_widget("cellvjepa", "Pretrain")
    first.open(toy / "toy.ome.tif", plugin="cellvjepa")
    widget.run.set_text(str(run))
    widget.movies.add_open_images()
    widget.settings.show_run(small, "tiny")
    qtbot.mouseClick(widget.start, Qt.MouseButton.LeftButton)
    seen(qtbot, widget, lambda found: found.running and len(found.state.rows) > 1)
    assert widget.progress.how.text() == "Training."
    assert "No sign of a collapse" in widget.progress.light.text()
    assert "clips/s" in widget.progress.speed.text()
    assert not widget.start.isEnabled()
    assert process_of(read_started(run)) is not None
    first.close()

    again = make_napari_viewer()
    _, widget = again.window.add_plugin_dock_widget("cellvjepa", "Pretrain")
    assert widget.folder() == run  # what was trained last
    seen(qtbot, widget, lambda found: found.running)
    assert widget.movies.paths() == (str(toy / "toy.ome.tif"),)
    assert widget.settings.config() == small
    qtbot.mouseClick(widget.stop, Qt.MouseButton.LeftButton)
    seen(qtbot, widget, lambda found: not found.running)
    stopped = cellvjepa.read_run_state(run)
    assert 0 < stopped.checkpoint_step < small.training.steps
    assert widget.progress.how.text() == f"Stopped after step {stopped.checkpoint_step}. Resume goes on from there."
    assert process_of(read_started(run)) is None

    again.window.add_plugin_dock_widget("cellvjepa", "Embed")
    qtbot.mouseClick(widget.use, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "The encoder is in" in widget.status.text(), timeout=LONG_MS)
    _, embed = again.window.add_plugin_dock_widget("cellvjepa", "Embed")
    assert cellvjepa.encoder_config(embed.model.text()) == small
    assert Path(embed.model.text()).parent == run

    assert widget.copy.text_of_command() == f"cellvjepa pretrain {toy / 'toy.ome.tif'} --out {run} --resume"
    qtbot.mouseClick(widget.resume, Qt.MouseButton.LeftButton)
    seen(qtbot, widget, lambda found: found.state.ended and not found.running)
    assert widget.progress.how.text() == "Done: all 600 steps."
    assert [row["step"] for row in widget._seen.state.rows] == list(range(0, 601, 10))
    assert (run / "encoder.safetensors").is_file()


def test_the_copied_command_trains_the_same(bare: Any, toy: Path, tmp_path: Path, tiny_config: cellvjepa.Config) -> None:
    _, widget = bare
    widget.run.set_text(str(tmp_path / "run"))
    widget.movies.add([str(toy / "toy.ome.tif")])
    widget.settings.preset.setCurrentText("small")
    widget.settings.show_run(tiny_config, "small")
    widget.copy.click()
    words = QApplication.clipboard().text().replace("'", "").split(" --")
    assert words[0] == f"cellvjepa pretrain {toy / 'toy.ome.tif'}"
    assert run_command(widget.request(resume=False).words()[1:]) == 0
    assert cellvjepa.load_config(tmp_path / "run" / "config.yaml") == tiny_config


def test_it_says_why_it_died(qtbot: Any, bare: Any, toy: Path, tmp_path: Path, ended: list[Path]) -> None:
    _, widget = bare
    run = tmp_path / "run"
    ended.append(run)
    widget.run.set_text(str(run))
    widget.movies.add([str(toy / "cells.csv")])
    widget.start.click()
    seen(qtbot, widget, lambda found: found.started is not None and not found.running)
    assert widget.progress.how.text().startswith("The training process has ended before its time. Its last line: ")
    assert "this is no movie that can be read" in widget.progress.how.text()
    assert widget.start.isEnabled()


def test_what_is_missing_is_named(bare: Any, qtbot: Any, toy: Path, notices: list[str]) -> None:
    _, widget = bare
    widget.start.click()
    assert notices == ["Movies: there are no movies to train on. add a folder, files, or the open images."]
    widget.movies.add([str(toy), "/nothing/here"])
    widget.start.click()
    qtbot.waitUntil(lambda: len(notices) == 2, timeout=30_000)
    assert notices[1] == "/nothing/here: this is not there. take it out of the list of movies, or put it back."
    widget.run.set_text("")
    widget.start.click()
    assert notices[2] == "Run: no folder is named for the run. choose one."
    assert widget.status.text() == notices[2]


def test_images_that_come_from_no_file_are_named(bare: Any, toy: Path, notices: list[str]) -> None:
    viewer, widget = bare
    widget.movies.add_open_images()
    assert notices == ["No image is open. Open a movie, or add a folder."]
    viewer.add_layer(Layer.create(*image_layers(cellvjepa.with_levels(cellvjepa.open_movie(toy / "toy.ome.tif")))[0]))
    viewer.add_image(np.zeros((4, 8, 8)), name="made up")
    widget.movies.add_open_images()
    assert widget.movies.paths() == (str(toy / "toy.ome.tif"),)
    assert notices[1].startswith("'made up' does not come from a file")
    widget.movies.add_open_images()
    assert len(widget.movies.paths()) == 1  # not twice


def test_paths_are_typed_and_removed(qtbot: Any, bare: Any, toy: Path) -> None:
    _, widget = bare
    qtbot.keyClicks(widget.movies.typed, f'"{toy}"')
    qtbot.keyClick(widget.movies.typed, Qt.Key.Key_Return)
    qtbot.keyClicks(widget.movies.typed, "s3://bucket/plate.zarr")
    qtbot.keyClick(widget.movies.typed, Qt.Key.Key_Return)
    assert widget.movies.paths() == (str(toy), "s3://bucket/plate.zarr")
    widget.movies.list.setCurrentRow(0)
    widget.movies._remove_selected()
    assert widget.movies.paths() == ("s3://bucket/plate.zarr",)


def test_a_preset_is_taken_where_nothing_was_changed(bare: Any) -> None:
    _, widget = bare
    settings = widget.settings
    assert settings.config() == cellvjepa.load_config("tiny")
    settings.forms["training"].findChild(QSpinBox, "steps").setValue(99)
    settings.preset.setCurrentText("base")
    assert settings.config() == cellvjepa.load_config("base", ["training.steps=99"])
    assert settings.overrides() == ("training.steps=99",)
    assert settings.changes.text() == "1 changed from 'base': bold below, ↺ takes it back."
    assert settings.folds["training"].text() == "Training  (1 changed)"
    settings.forms["training"].take_back("steps")
    assert settings.overrides() == ()
    assert settings.changes.isHidden()


def test_what_is_not_allowed_is_said_at_once_in_words(bare: Any, notices: list[str]) -> None:
    _, widget = bare
    widget.settings.forms["clip"].findChild(QSpinBox, "frames").setValue(15)
    assert "clip.frames (15) must be a multiple of the tubelet's 4 frames" in widget.settings.problem.text()
    assert not widget.settings.problem.isHidden()
    widget.movies.add(["s3://bucket"])
    widget.start.click()
    assert "must be a multiple" in notices[0]
    widget.settings.forms["clip"].findChild(QSpinBox, "frames").setValue(16)
    assert widget.settings.problem.isHidden()
    widget.settings.forms["training"].findChild(QLineEdit, "teacher").setText("run")
    assert "training.teacher names the run to learn from" in widget.settings.problem.text()


def test_a_run_of_somebody_else_is_shown_and_can_be_gone_on_with(qtbot: Any, bare: Any, made_run: Path, toy: Path) -> None:
    _, widget = bare
    widget.run.set_text(str(made_run))
    seen(qtbot, widget, lambda found: found.state.begun)
    assert widget.progress.how.text().startswith("Step 4 of 6. It was not started from here")
    assert widget.progress.bar.text() == "step 4 of 6"
    assert widget.progress.speed.text() == "31 clips/s"
    assert widget.tabs.currentIndex() == 1
    assert (widget.start.isEnabled(), widget.resume.isEnabled(), widget.stop.isEnabled()) == (False, True, False)
    assert widget.settings.config() == cellvjepa.load_config(made_run / "config.yaml")
    widget.movies.add([str(toy)])
    widget.settings.forms["training"].findChild(QSpinBox, "data_workers").setValue(2)
    assert widget.copy.text_of_command() == f"cellvjepa pretrain {toy} --out {made_run} --resume --set training.data_workers=2"


def test_new_lines_are_shown_as_they_come(qtbot: Any, bare: Any, made_run: Path, row: Callable[..., dict[str, Any]]) -> None:
    _, widget = bare
    widget.run.set_text(str(made_run))
    seen(qtbot, widget, lambda found: len(found.state.rows) == 5)
    reason = "the features of different clips have become alike; lower training.learning_rate."
    with (made_run / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row(5, health="red", health_reason=reason)) + "\n" + json.dumps(row(6))[:30])
    seen(qtbot, widget, lambda found: len(found.state.rows) == 6)
    assert widget.progress.bar.value() == 5
    text = widget.progress.light.text()
    assert cellvjepa.LIGHTS["red"] in text
    assert "<b>red</b>. The features of different clips have become alike; lower training.learning_rate." in text


def test_a_folder_without_a_run_can_be_started_in(qtbot: Any, bare: Any, made_run: Path, tmp_path: Path) -> None:
    _, widget = bare
    widget.run.set_text(str(made_run))
    seen(qtbot, widget, lambda found: found.state.begun)
    widget.run.set_text(str(tmp_path / "another"))
    seen(qtbot, widget, lambda found: not found.state.begun)
    assert widget.progress.how.text() == "There is no run in this folder yet."
    assert widget.progress.curves.isHidden()
    assert (widget.start.isEnabled(), widget.resume.isEnabled(), widget.stop.isEnabled(), widget.use.isEnabled()) == (True, False, False, False)


def test_two_viewers_may_watch_one_run(qtbot: Any, made_run: Path) -> None:
    widgets = [PretrainWidget(ViewerModel()) for _ in range(2)]
    for widget in widgets:
        qtbot.addWidget(widget)
        widget.run.set_text(str(made_run))
    for widget in widgets:
        seen(qtbot, widget, lambda found: len(found.state.rows) == 5)
    assert widgets[0].progress.light.text() == widgets[1].progress.light.text() != ""
    for widget in widgets:
        widget._watch.follow(None)


def test_closing_while_it_starts_leaves_nothing_of_the_dock(
    qtbot: Any, make_napari_viewer: Any, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    begun, go = threading.Event(), threading.Event()

    def held(*_: Any) -> None:
        begun.set()
        go.wait(60)

    monkeypatch.setattr(dock_module, "start", held)
    viewer = make_napari_viewer()
    widget = PretrainWidget(viewer)
    dock = viewer.window.add_dock_widget(widget, name="Pretrain")
    widget.run.set_text(str(tmp_path / "run"))
    widget.movies.add([str(toy)])
    widget.start.click()
    qtbot.waitUntil(begun.is_set, timeout=30_000)
    gone = [weakref.ref(part) for part in (widget, widget.settings, widget.movies, widget.progress, widget._watch)]
    viewer.window.remove_dock_widget(dock)
    go.set()
    del widget, dock

    def all_gone() -> bool:
        gc.collect()
        return all(ref() is None for ref in gone)

    qtbot.waitUntil(all_gone, timeout=30_000)
    assert [ref() for ref in gone] == [None] * 5


def test_nothing_of_the_tests_trains_on(tmp_path: Path) -> None:
    """Whatever tests above started is over: no process trains in a folder of this session."""
    session = str(tmp_path.parent)
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        assert not ("pretrain" in words and any(word.startswith(session) for word in words)), words
