"""A page of the dock: where a movie goes on otherwise than the model foretells."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

import cellvjepa
from napari_cellvjepa.layers.maps import MAP_KEY, go_to_place, map_layer
from napari_cellvjepa.layers.of_movies import LayerData, Space, shown_by
from napari_cellvjepa.parts.choosers import PathLine
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.see.bench import Bench
from napari_cellvjepa.see.sight import SHIPPED, Asked

WHAT = "surprise"
_ABOUT = (
    "Where what the model sees is far from what it foretold from before and after: it says that something is unusual in this movie, "
    "not what; whatever changes fast surprises (a division, a death, but also a cell that moves or trembles), and movies cannot be compared."
)
_EVENTS = 30
_SHOWN = (50, 99.9)  # percentiles that become transparent black and full colour
_PLACE = Qt.ItemDataRole.UserRole


@dataclass(frozen=True, eq=False)
class Surprised:
    """A map, the mean over its channels, and its highest events."""

    movie: str
    model: str
    found: cellvjepa.SurpriseMap
    events: pd.DataFrame


class SurprisePage(QWidget):
    """The page."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._bench = bench
        about = QLabel(_ABOUT)
        about.setWordWrap(True)
        self.seen = QComboBox()
        self.seen.addItem("before and after", "rest")
        self.seen.addItem("the past alone", "past")
        self.seen.setToolTip("<qt>What each time step is foretold from.</qt>")
        self.refit = QCheckBox("fit to this movie")
        self.refit.setChecked(True)
        self.refit.setToolTip("<qt>Else what the predictor says by itself, as trained: little more than how unusual a place looks.</qt>")
        self.ends = QCheckBox("list first and last frames too")
        self.ends.setToolTip("<qt>They are foretold from one side only, and therefore surprise more than others.</qt>")
        self.folder = PathLine("not kept", {"Folder to keep the map in …": _ask_folder})
        self.folder.setToolTip("<qt>The map is written there as OME-Zarr; one that is there already is shown at once. Empty: it is not kept.</qt>")
        self.show_map = QPushButton("Show surprise")
        self.copy = CopyCommand(self.command)
        self.list = QTreeWidget()
        self.list.setHeaderLabels(["surprise", "frames", "y [px]", "x [px]"])
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.list.setMinimumHeight(110)
        self.show_map.clicked.connect(self.look)
        self.list.currentItemChanged.connect(self._go)
        self._lay_out(about)
        for layer in bench.of(WHAT):
            self._list(layer.metadata[MAP_KEY]["events"])

    def _lay_out(self, about: QLabel) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Foretold from", self.seen)
        form.addRow("", self.refit)
        form.addRow("Keep in", self.folder)
        form.addRow("", self.ends)
        layout = QVBoxLayout(self)
        layout.addWidget(about)
        layout.addLayout(form)
        layout.addWidget(self.show_map)
        layout.addWidget(self.copy)
        layout.addWidget(self.list, 1)

    def look(self) -> None:
        """Map the surprise of the whole movie."""
        if (found := self._bench.ask()) is None:
            return
        asked, shown = found
        folder = Path(self.folder.text()).expanduser() if self.folder.text() else None
        do = partial(surprised, asked, folder, self.seen.currentData(), self.refit.isChecked(), self.ends.isChecked())
        self._bench.begin(do, "Surprise", partial(self._show, shown.space))

    def command(self) -> list[str]:
        """Return the words of the command that writes the same map."""
        options = [*([] if self.seen.currentData() == "rest" else ["--from", "past"]), *([] if self.refit.isChecked() else ["--no-refit"])]
        return ["cellvjepa", "surprise", *self._bench.words_of_movie(), "--out", self.folder.text() or "maps", *options]

    def forget(self) -> None:
        """Empty the list."""
        with QSignalBlocker(self.list):
            self.list.clear()

    def _show(self, space: Space, result: Surprised) -> str:
        self._bench.put(WHAT, [surprise_layer(result, space)])
        self._list(_records(result.events))
        return f"The {len(result.events)} most surprising places are in the list; click one to go there."

    def _list(self, events: list[dict[str, Any]]) -> None:
        self.forget()
        for event in events:
            frames = f"{event['t_start']}-{event['t_stop'] - 1}"
            item = QTreeWidgetItem([f"{event['surprise']:.3g}", frames, f"{event['y_px']:.0f}", f"{event['x_px']:.0f}"])
            middle = (int(event["t_start"]) + int(event["t_stop"]) - 1) // 2
            item.setData(0, _PLACE, (float(middle), float(event["z_px"]), float(event["y_px"]), float(event["x_px"])))
            self.list.addTopLevelItem(item)

    def _go(self, item: QTreeWidgetItem | None, before: object = None) -> None:
        image = self._bench.where.image.layer()
        if item is not None and image is not None:
            go_to_place(self._bench.viewer, shown_by(image).space, tuple(item.data(0, _PLACE)))


def surprised(asked: Asked, folder: Path | None, seen: Any, refit: bool, ends: bool, progress: cellvjepa.Progress) -> Surprised:
    """Map the surprise of a movie, or read the map that is there already (in the other thread).

    Raises
    ------
    UserError
        If the model has no predictor, the movie cannot give its clips, or the map cannot be written.
    """
    model = asked.model or (cellvjepa.open_store(asked.store).provenance.source.model if asked.store else SHIPPED)
    progress("measuring intensity levels", 0, 0)
    movie = cellvjepa.with_levels(asked.movie)
    with tempfile.TemporaryDirectory(prefix="cellvjepa_") as passing:
        out = folder or Path(passing)
        found = cellvjepa.surprise_of_movie(model, movie, out, (asked.channel,), seen, refit=refit, progress=progress)
    values = found.values_Ctzyx.mean(axis=0)
    if not ends and len(values) > 2:
        values[[0, -1]] = np.nan  # seen from one side only, they surprise more
    events = cellvjepa.surprise_events(values, found.places, _EVENTS)
    # Tokens may reach beyond the image.
    inside = {name: events[name].clip(upper=movie.shape[axis] - 1) for name, axis in (("y_px", "Y"), ("x_px", "X"))}
    return Surprised(movie.name, model, found, events.assign(**inside))


def surprise_layer(result: Surprised, space: Space) -> LayerData:
    """Return the map as a layer."""
    values = result.found.values_Ctzyx.mean(axis=0)
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, _SHOWN).tolist() if len(known) else (0.0, 1.0)
    about = {"what": WHAT, "movie": result.movie, "model": result.model, "events": _records(result.events)}
    looks = {
        "name": "surprise",
        "colormap": "inferno",
        "contrast_limits": (low, max(high, low + 1e-6)),
        "blending": "additive",
        "opacity": 0.8,
        "interpolation2d": "nearest",
    }
    return map_layer(values, result.found.places, space, about, "image", looks)


def _records(events: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in record.items()} for record in events.to_dict("records")]


def _ask_folder(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Folder to keep the map in")
