"""Giving the selection a name: as labels, appended to a file, or as a cluster, in a column of the store."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLineEdit, QPushButton, QWidget

import cellvjepa
from napari_cellvjepa.layers.saying import say, usual_label_file, windows_of
from napari_cellvjepa.parts.label_form import LabelForm
from napari_cellvjepa.parts.latest import Latest
from napari_cellvjepa.plot.palette import NO_CLUSTER

COLUMN = "named"  # of the store: what people called clusters


class Naming(QWidget):
    """The form.

    Attributes
    ----------
    named
        Signal ``(column)``: the store has a new column.
    """

    named = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._found: cellvjepa.Embeddings | None = None
        self._chosen_N: npt.NDArray[np.bool_] = np.zeros(0, bool)
        self.saving = Latest(self)
        self.name = QLineEdit()
        self.name.setPlaceholderText("e.g. mitosis")
        self.labels = LabelForm()
        self.annotator, self.file = self.labels.annotator, self.labels.file
        self.as_labels = QPushButton("Save as labels")
        self.as_labels.setToolTip("<qt>Append a line for each selected window to the label file.</qt>")
        self.as_cluster = QPushButton("Save as cluster")
        self.as_cluster.setToolTip(f"<qt>Write the name into the column <tt>{COLUMN}</tt> of the store, for the selected rows.</qt>")
        self.as_labels.clicked.connect(self.save_labels)
        self.as_cluster.clicked.connect(self.save_cluster)
        buttons = QHBoxLayout()
        buttons.addWidget(self.as_labels)
        buttons.addWidget(self.as_cluster)
        form = QFormLayout(self)
        form.setContentsMargins(4, 6, 4, 4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Name", self.name)
        form.addRow(self.labels)
        form.addRow(buttons)

    def follow(self, found: cellvjepa.Embeddings | None) -> None:
        """Name rows of this store from now on."""
        other = found is None or self._found is None or found.path != self._found.path
        self._found = found
        if found is not None and other:
            self.file.set_text(str(usual_label_file(found)))

    def select(self, chosen_N: npt.NDArray[np.bool_]) -> None:
        """Set what the name is for."""
        self._chosen_N = chosen_N

    def save_labels(self) -> None:
        """Append a label for each selected window."""
        try:
            name, found = self._name(), self._store()
            file, who = self.labels.path(), self.labels.who()
            windows = windows_of(found, np.flatnonzero(self._chosen_N))
        except cellvjepa.UserError as error:
            show_error(str(error))
            return
        movies = list(map(str, found.table["movie"].unique()))
        do = partial(say, file, movies, windows, name, who)
        self._begin(do, "Saving labels", lambda _: show_info(f"{len(windows):,} labels '{name}' are in {file}."))

    def save_cluster(self) -> None:
        """Write the name into the store."""
        try:
            name, found = self._name(), self._store()
        except cellvjepa.UserError as error:
            show_error(str(error))
            return
        self._begin(partial(_add_name, found.path, self._chosen_N, name), "Saving the cluster", lambda _: self.named.emit(COLUMN))

    def cancel(self) -> None:
        """Give up what is under way."""
        self.saving.cancel()

    def _name(self) -> str:
        if not self._chosen_N.any():
            raise cellvjepa.UserError("nothing is selected", "draw around points first", "Name")
        if not (name := self.name.text().strip()):
            raise cellvjepa.UserError("the selection has no name", "type one", "Name")
        return name

    def _store(self) -> cellvjepa.Embeddings:
        if self._found is None:
            raise cellvjepa.UserError("no store is open", "open one first", "Name")
        return self._found

    def _begin(self, do: Any, title: str, then: Any) -> None:
        self._enable(False)
        self.saving.do(do, title, then, ended=partial(self._enable, True))

    def _enable(self, ready: bool) -> None:
        self.as_labels.setEnabled(ready)
        self.as_cluster.setEnabled(ready)


def _add_name(store: Path, chosen_N: npt.NDArray[np.bool_], name: str, progress: cellvjepa.Progress) -> None:
    """Write a name into the store, beside those that other rows have (in the other thread)."""
    progress("writing", 0, 0)
    table = cellvjepa.open_store(store).table
    before = table[COLUMN].astype(object) if COLUMN in table else pd.Series(NO_CLUSTER, index=table.index, dtype=object)
    column = before.where(before.notna(), NO_CLUSTER).mask(pd.Series(chosen_N, index=table.index), name)
    cellvjepa.add_columns(store, pd.DataFrame({COLUMN: column}), COLUMN, {"made by": "hand, in napari"})
