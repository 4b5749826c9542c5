"""The page on which a probe is used: its predictions go into the store, and the store goes out as a table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QFormLayout, QGroupBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.parts.choosers import PathLine
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.parts.running import Running
from napari_cellvjepa.probe.request import Applied, Export, apply, export


class Using(QWidget):
    """The page.

    Attributes
    ----------
    applied
        Signal ``(applied)``: the store has predictions, a :class:`napari_cellvjepa.probe.request.Applied`.
    probe_chosen
        Signal ``(folder)``: a probe was chosen.
    explore_wanted
        Signal: a plot of the store is wanted.
    """

    applied = Signal(object)
    probe_chosen = Signal(str)
    explore_wanted = Signal()

    def __init__(self, labels: Callable[[], str]) -> None:
        super().__init__()
        self._labels = labels
        self._found: cellvjepa.Embeddings | None = None
        self._make_parts()
        self._lay_out()
        self.probe.changed.connect(self.probe_chosen)
        self.start.clicked.connect(self._apply)
        self.write.clicked.connect(self._export)
        self.running.changed.connect(self._be_busy)
        self.explore.clicked.connect(self.explore_wanted)

    def _make_parts(self) -> None:
        self.probe = PathLine("folder of a probe", {"Folder of a probe …": _ask_probe})
        self.probe.setToolTip(
            "<qt>What <b>Train</b> or <tt>cellvjepa probe</tt> left behind. It fits stores of the same encoder and the same clips.</qt>"
        )
        self.start = QPushButton("Predict all")
        self.start.setToolTip("<qt>Writes the columns <tt>predicted</tt>, <tt>probability</tt> and <tt>p_CLASS</tt> into the store.</qt>")
        self.copy_predict = CopyCommand(self.words_of_predict)
        self.explore = QPushButton("Show in Explore")
        self.explore.setToolTip("Opens the plot of this store, coloured by what was predicted; label images take the same colours.")
        self.file = PathLine("table to write: .csv, .parquet, .h5ad", {"Table …": self._ask_table})
        self.with_labels = QCheckBox("with the labels, as the column label")
        self.with_labels.setChecked(True)
        self.with_vectors = QCheckBox("with the embeddings")
        self.with_vectors.setToolTip("The vectors and their projections, a column for each number.")
        self.write = QPushButton("Export")
        self.copy_export = CopyCommand(self.words_of_export)
        self.running = Running()
        self.stop, self.status = self.running.stop, self.running.status

    def _lay_out(self) -> None:
        predicting, exporting = QGroupBox("Predict"), QGroupBox("Export a table")
        form = QFormLayout(predicting)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Probe", self.probe)
        form.addRow(_line(self.start, self.copy_predict))
        form.addRow(self.explore)
        table = QFormLayout(exporting)
        table.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        table.addRow("File", self.file)
        table.addRow(self.with_labels)
        table.addRow(self.with_vectors)
        table.addRow(_line(self.write, self.copy_export))
        self._inputs = (predicting, exporting)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 6, 4, 4)
        layout.addWidget(predicting)
        layout.addWidget(exporting)
        layout.addWidget(self.running)
        layout.addStretch(1)

    def follow(self, found: cellvjepa.Embeddings | None, folder: str = "") -> None:
        """Predict rows of this store from now on."""
        self.cancel()
        other = found is None or self._found is None or found.path != self._found.path
        self._found = found
        if other:
            self.probe.set_text(folder)
            stem = "" if found is None else str(found.path.with_name(found.path.name.removesuffix(".zarr")))
            self.file.set_text(f"{stem}_predictions.csv" if stem else "")
            self.status.setText("")
        self.explore.setEnabled(found is not None)

    def words_of_predict(self) -> list[str]:
        """Return the words of the command that predicts the same."""
        store, folder = self._chosen()
        return ["cellvjepa", "predict", str(store), "--probe", str(folder)]

    def words_of_export(self) -> list[str]:
        """Return the words of the command that exports the same."""
        return self._wanted_table().words()

    @property
    def under_way(self) -> bool:
        """Whether something is being predicted or written."""
        return self.running.busy

    def cancel(self) -> None:
        """Give up all work."""
        self.running.cancel()

    def _chosen(self) -> tuple[Path, Path]:
        if not self.probe.text():
            raise cellvjepa.UserError("no probe is chosen", "train one, or choose the folder of one", "Probe")
        return self._store().path, Path(self.probe.text()).expanduser()

    def _store(self) -> cellvjepa.Embeddings:
        if self._found is None:
            raise cellvjepa.UserError("no store is open", "open one first: NAME.zarr, made by Embed or by `cellvjepa embed`", "Store")
        return self._found

    def _wanted_table(self) -> Export:
        store = self._store().path
        if not self.file.text():
            raise cellvjepa.UserError("no file is chosen", "choose where the table is to stand: NAME.csv or NAME.parquet", "Export")
        labels = Path(self._labels()).expanduser() if self.with_labels.isChecked() and self._labels() else None
        return Export(store, Path(self.file.text()).expanduser(), labels, self.with_vectors.isChecked())

    def _apply(self) -> None:
        gb = cellvjepa.Config().probe.token_cache_gb
        self._begin(lambda: partial(apply, *self._chosen(), gb), "Predicting", self._show_applied)

    def _export(self) -> None:
        self._begin(lambda: partial(export, self._wanted_table()), "Exporting", lambda path: self._tell(f"The table is in {path}."))

    def _begin(self, make: Callable[[], Any], title: str, then: Callable[[Any], object]) -> None:
        try:
            do = make()
        except cellvjepa.UserError as error:
            self.running.refuse(error)
            return
        done: list[Any] = []
        self.running.do(lambda progress: done.append(do(progress)), title, lambda _: None, partial(self._finish, done, then))

    def _finish(self, done: list[Any], then: Callable[[Any], object], cancelled: bool) -> None:
        if done:  # also where it was cancelled too late
            then(done[0])
        elif cancelled:
            self.running.tell("Cancelled; nothing was written.")

    def _show_applied(self, applied: Applied) -> None:
        self._found = applied.found
        counts = " · ".join(f"{name} {rows:,}" for name, rows in applied.counts.items())
        self._tell(f"{sum(applied.counts.values()):,} rows of {applied.found.path.name} have been predicted: {counts}.")
        self.applied.emit(applied)

    def _tell(self, text: str) -> None:
        show_info(text)
        self.status.setText(escape(text))

    def _be_busy(self, busy: bool) -> None:
        for part in self._inputs:
            part.setEnabled(not busy)

    def _ask_table(self, parent: QWidget) -> str:
        kinds = "CSV (*.csv);;Parquet (*.parquet);;AnnData (*.h5ad)"
        return QFileDialog.getSaveFileName(parent, "Table", self.file.text(), kinds)[0]


def _line(*widgets: QWidget) -> QHBoxLayout:
    line = QHBoxLayout()
    for number, widget in enumerate(widgets):
        line.addWidget(widget, int(number == 0))
    return line


def _ask_probe(parent: QWidget) -> str:
    return QFileDialog.getExistingDirectory(parent, "Folder of a probe")
