"""Make the pictures of tutorial.md: the real plugin, on the sample data, on a real display.

    xvfb-run -a -s "-screen 0 1600x1100x24" python docs/make_screenshots.py [--only explore ...]

Each function below makes one picture of ``docs/images/napari``. What they need beside the sample (a store of the simulated fields, a short
run, a probe) is made in a folder for the time.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import QEventLoop, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QSpinBox

import cellvjepa
from cellvjepa.cli import run
from napari_cellvjepa.label.cells import Cell

OUT = Path(__file__).parent / "images" / "napari"
SAMPLE = cellvjepa.sample_data_folder()
SIZE = (1360, 900)
DOCK_PX = 430
PATIENCE_S = 600


class Stage:
    """A viewer with one dock, and what pictures of it need.

    Parameters
    ----------
    dock
        Name of the dock in the plugin's menu.
    sample
        Which sample to open beforehand, or ``""``.
    """

    def __init__(self, dock: str, sample: str = "") -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window._qt_window.resize(*SIZE)
        if sample:
            self.viewer.open_sample("cellvjepa", sample)
        self.area, self.dock = self.viewer.window.add_plugin_dock_widget("cellvjepa", dock)
        self.viewer.window._qt_window.resizeDocks([self.area], [DOCK_PX], Qt.Orientation.Horizontal)
        rest(500)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.viewer.close()

    def keep(self, name: str) -> None:
        """Write what the window shows."""
        self.viewer.window._qt_window.resizeDocks([self.area], [DOCK_PX], Qt.Orientation.Horizontal)
        rest(800)
        self.viewer.screenshot(str(OUT / f"{name}.png"), canvas_only=False, flash=False)


def rest(milliseconds: int) -> None:
    """Let the window work."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def until(done: Callable[[], bool]) -> None:
    """Let the window work until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, "this takes too long"
        rest(50)


def archive(folder: Path) -> None:
    with Stage("Archive") as stage:
        shutil.copytree(SAMPLE, folder / "movies", ignore=shutil.ignore_patterns("encoder_tiny", "*.py"))
        stage.dock.open_paths([folder / "movies"])
        until(lambda: stage.dock.found is not None)
        stage.dock.open_movie(1)
        until(lambda: len(stage.viewer.layers) > 0)
        rest(2500)
        stage.keep("archive")


def masks(folder: Path) -> None:
    with Stage("Masks", "nuclei") as stage:
        for layer in [layer for layer in stage.viewer.layers if layer.name.endswith(("cells", "tracks"))]:
            stage.viewer.layers.remove(layer)
        stage.dock.folder.set_text(str(folder / "masks"))
        stage.dock.tabs.setCurrentWidget(stage.dock.outline)
        stage.viewer.dims.set_current_step(0, 10)
        stage.dock.outline.all_frames.click()
        until(lambda: any("segmented" in layer.name for layer in stage.viewer.layers))
        rest(1000)
        stage.keep("masks")


def explore(folder: Path) -> None:
    with Stage("Explore") as stage:
        dock = stage.dock
        dock.open_store(store(folder))
        until(lambda: dock.found is not None)
        dock.go(5)
        until(lambda: dock.shown_row == 5)
        dock.link.select((dock.found.table["cluster"].astype(str) == "1").to_numpy())
        dock.tabs.setCurrentWidget(dock.pictures)
        until(lambda: not dock.pictures.gallery.thumbnails.outstanding)
        stage.keep("explore")
        dock.tabs.setCurrentWidget(dock.similar)
        dock.similar.look()
        until(lambda: len(dock.similar.rows()) > 0)
        rest(2500)
        stage.keep("similar")


def label(folder: Path) -> None:
    with Stage("Label", "nuclei") as stage:
        dock = stage.dock
        until(lambda: dock.subject is not None)
        dock.form.file.set_text(str(folder / "nuclei_labels.csv"))
        dock.form.annotator.setText("ada")
        for name in ("interphase", "mitosis"):
            dock.classes.name.setText(name)
            QTest.keyClick(dock.classes.name, Qt.Key.Key_Return)
        until(lambda: not dock._typed.isActive() and dock.pen.book is not None)
        movie = dock.subject.movies[0]
        for track in (1, 2, 3):
            dock.choose(Cell(movie, track))
            dock.press(1)
            until(lambda: not dock.pen.busy)
        dock.choose(Cell(movie, 5))  # it has divided in frame 25
        for frame, mark in ((20, dock.begin), (24, dock.end)):
            stage.viewer.dims.set_current_step(0, frame)
            mark()
        dock.press(2)
        until(lambda: not dock.pen.busy)
        stage.viewer.dims.set_current_step(0, 23)
        stage.keep("label")


def probe(folder: Path) -> None:
    with Stage("Probe") as stage:
        dock = stage.dock
        dock.open_store(store(folder))
        until(lambda: dock.found is not None)
        dock.teaching.labels.set_text(str(SAMPLE / "simulated" / "labels.csv"))
        until(lambda: "labelled windows" in dock.teaching.amounts.text())
        dock.teaching.start.click()
        until(lambda: dock.report.confusion.rowCount() > 0)
        rest(1000)
        stage.keep("probe")
        dock.using.start.click()
        until(lambda: not dock.using.under_way)
        dock.using.write.click()
        until(lambda: not dock.using.under_way)
        dock.tabs.setCurrentWidget(dock.using)
        stage.keep("predict")


def see(folder: Path) -> None:
    with Stage("See", "nuclei") as stage:
        dock = stage.dock
        stage.viewer.dims.set_current_step(0, 22)
        dock.masks.show_masks.click()
        until(lambda: not dock.running.busy)
        stage.keep("see_masks")
        dock.clear.click()
        dock.tabs.setCurrentIndex(1)
        dock.features.scope.setCurrentIndex(1)
        dock.features.show_colours.click()
        until(lambda: not dock.running.busy)
        stage.keep("see_features")


def pretrain(folder: Path) -> None:
    with Stage("Pretrain", "nuclei") as stage:
        dock = stage.dock
        dock.run.set_text(str(folder / "run"))
        rest(300)
        dock.movies.add_open_images()
        for section, name, value in (
            ("training", "steps", 120),
            ("training", "log_every", 5),
            ("training", "batch_size", 8),
            ("monitor", "every", 20),
        ):
            dock.settings.forms[section].findChild(QSpinBox, name).setValue(value)
        dock.start.click()
        until(lambda: dock._seen is not None and len(dock._seen.state.rows) >= 12)
        rest(1500)
        stage.keep("pretrain")
        dock.stop.click()
        until(lambda: not dock._seen.running)


def store(folder: Path) -> Path:
    """Return a store of the simulated fields with a map and clusters, made when it is first needed."""
    path = folder / "simulated.zarr"
    if not path.exists():
        cells = SAMPLE / "simulated" / "cells.csv"
        assert run(["embed", str(SAMPLE / "simulated"), "--model", "encoder_tiny", "--cells", str(cells), "--out", str(path)]) == 0
        assert run(["cluster", str(path), "--projection", "umap", "--method", "kmeans"]) == 0
    return path


PICTURES = (archive, masks, explore, label, probe, see, pretrain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [make.__name__ for make in PICTURES]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.gettempdir()) / "lab"  # its name is seen in the pictures
    folder.mkdir()
    try:
        for make in PICTURES:
            if make.__name__ in options.only:
                make(folder)
                print(make.__name__, flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
