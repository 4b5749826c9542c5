"""The Probe dock: from labels to a classifier with an honest score, and to predictions of all cells."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QLabel, QTabWidget, QVBoxLayout

import cellvjepa
from napari_cellvjepa.layers.elsewhere import Elsewhere
from napari_cellvjepa.layers.journey import Journey
from napari_cellvjepa.layers.label_memory import recalled
from napari_cellvjepa.layers.linking import stores_in
from napari_cellvjepa.layers.points import points_layer
from napari_cellvjepa.layers.renewing import show_columns
from napari_cellvjepa.layers.selection import tell_selection
from napari_cellvjepa.layers.store_line import StoreLine
from napari_cellvjepa.parts.docked import Docked
from napari_cellvjepa.parts.latest import Latest
from napari_cellvjepa.probe.report import Report
from napari_cellvjepa.probe.request import Applied, open_store, read_report
from napari_cellvjepa.probe.teaching import Teaching
from napari_cellvjepa.probe.using import Using

PROBE_KEY = "cellvjepa_probe"  # in a layer's metadata: label file, folders and settings of the probe of its store
_NO_STORE = "Open a store of embeddings: NAME.zarr, made by Embed or by `cellvjepa embed`."


class ProbeWidget(Docked):
    """Trains probes on a store that is open in the viewer, reports on them, and uses them.

    Parameters
    ----------
    napari_viewer
        The viewer whose Points layers are offered, and that goes to the cells.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._found: cellvjepa.Embeddings | None = None
        self._reading_report = Latest(self)
        self.journey = Journey(napari_viewer)
        self.store = StoreLine(napari_viewer, open_store)
        self.about = QLabel(_NO_STORE)
        self.about.setWordWrap(True)
        self.teaching, self.report, self.elsewhere = Teaching(), Report(), Elsewhere()
        self.using = Using(self.teaching.labels.text)
        self.tabs = QTabWidget()
        for title, page in {"Train": self.teaching, "Report": self.report, "Use": self.using, "Movies": self.elsewhere}.items():
            self.tabs.addTab(page, title)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.store)
        layout.addWidget(self.about)
        layout.addWidget(self.tabs, 1)
        self._connect()
        self.store.offer()

    def _connect(self) -> None:
        self.store.opened.connect(self._show_store)
        self.store.failed.connect(self.about.setText)
        self.tabs.currentChanged.connect(self._look_again)
        self.teaching.made.connect(self._show_made)
        self.teaching.chosen.connect(self._remember)
        self.using.probe_chosen.connect(self._read_report)
        self.using.applied.connect(self._show_applied)
        self.using.explore_wanted.connect(self._open_explore)
        self.report.gallery.chosen.connect(self.go)
        self.report.gallery.wanted.connect(self._select)
        self.journey.elsewhere = self.elsewhere.folder
        self.journey.failed.connect(self.about.setText)

    @property
    def found(self) -> cellvjepa.Embeddings | None:
        """The store that is worked with."""
        return self._found

    def open_store(self, path: str | Path) -> None:
        """Open a store; its points come into the viewer if they are not there."""
        self.store.open_store(path)

    def _show_store(self, found: cellvjepa.Embeddings | None) -> None:
        self._found = found
        self.store.follow(found)
        if found is not None and str(found.path) not in stores_in(self._viewer):
            data, settings, _ = points_layer(found, str(found.table["movie"].iloc[0]))
            self._viewer.add_points(data, **settings)
        self.about.setText(_NO_STORE)
        self.about.setVisible(found is None)
        self._travel(found)
        self._reading_report.cancel()
        self.report.show_report(None)
        kept = self._kept()
        self.teaching.follow(found, kept["labels"], kept["out"], kept["settings"])
        self.using.follow(found, "")
        self.using.probe.set_text(kept["folder"])

    def _travel(self, found: cellvjepa.Embeddings | None) -> None:
        """Take journeys and pictures from this store."""
        self.journey.follow(found)
        self.report.gallery.follow(found, self.journey.movies, self.elsewhere.folder)
        self.report.hide_windows()

    def _layers(self) -> list[Any]:
        return stores_in(self._viewer).get(str(self._found.path), []) if self._found is not None else []

    def _kept(self) -> dict[str, Any]:
        """Return what the layers of the store remember."""
        kept: dict[str, Any] = {"labels": "", "out": "", "folder": "", "settings": {}}
        if self._found is not None:
            usual = self._found.path.with_name(f"{self._found.path.name.removesuffix('.zarr')}_labels.csv")  # where docks write labels
            kept["labels"] = recalled(self._layers()).file or (str(usual) if usual.is_file() else "")
        for layer in self._layers():
            noted = layer.metadata.get(PROBE_KEY)
            if isinstance(noted, dict):
                kept |= {name: value for name, value in noted.items() if name in kept and value and isinstance(value, type(kept[name]))}
        return kept

    def _look_again(self) -> None:
        """Take the labels that have been written since; those that are chosen may have become more."""
        if not self.teaching.labels.text():
            self.teaching.labels.set_text(self._kept()["labels"])
        self.teaching.count_again()

    def showEvent(self, event: QShowEvent) -> None:
        """Look what there is to learn from."""
        super().showEvent(event)
        self._look_again()

    def _remember(self) -> None:
        """Note in the layers of the store what is chosen."""
        noted = {
            "labels": self.teaching.labels.text(),
            "out": self.teaching.out.text(),
            "folder": self.using.probe.text(),
            "settings": self.teaching.changed_settings(),
        }
        for layer in self._layers():
            layer.metadata[PROBE_KEY] = noted

    def _show_made(self, report: cellvjepa.ReportedProbe) -> None:
        self._reading_report.cancel()
        self.using.probe.set_text(str(report.folder))
        self._reading_report.cancel()
        self.report.show_report(report, self._found)
        self.tabs.setCurrentWidget(self.report)

    def _read_report(self, folder: str) -> None:
        """Show the report of the probe that is chosen, if there is one."""
        self._remember()
        self._reading_report.cancel()
        self.report.show_report(None)
        path = Path(folder.strip()).expanduser()
        if folder.strip() and (path / "report.json").is_file():
            self._reading_report.do(partial(read_report, path), "Reading the report", lambda report: self.report.show_report(report, self._found))

    def _show_applied(self, applied: Applied) -> None:
        self._found = applied.found
        self._travel(applied.found)  # layers that are added on the way have the predictions, too
        show_columns(self._viewer, applied.found, applied.columns, "predicted")

    def _open_explore(self) -> None:
        self._viewer.window.add_plugin_dock_widget("cellvjepa", "Explore")

    def go(self, row: int) -> None:
        """Take the viewer to the cell of a row."""
        if self._found is not None and 0 <= row < len(self._found):
            self.journey.go(row)

    def _select(self, rows: list[int]) -> None:
        if self._found is not None:
            chosen = np.zeros(len(self._found), bool)
            chosen[rows] = True
            tell_selection(self._layers(), chosen)

    def leave(self) -> None:
        """Stop all work and let go of the viewer."""
        for part in (self._reading_report, self.journey, self.teaching, self.report, self.using):
            part.cancel()
        self.store.leave()
        super().leave()
