"""More like this: the cells of a store that are most similar to one, in a list that leads to them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QHeaderView, QLabel, QPushButton, QSpinBox, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.parts.latest import Latest

_ROW = Qt.ItemDataRole.UserRole


class SimilarCells(QWidget):
    """The list, and how it comes about.

    Attributes
    ----------
    chosen
        Signal ``(row)``: a line of the list was clicked.
    wanted
        Signal ``(rows)``: these rows of the store, a list, are to be selected.
    """

    chosen = Signal(int)
    wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._found: cellvjepa.Embeddings | None = None
        self._index: Any = None
        self._search = Latest(self)
        self._row = -1
        self.search = QPushButton("More like this")
        self.search.setToolTip("<qt>Find the cells of the whole store that are most similar to the one that was clicked last.</qt>")
        self.count = QSpinBox()
        self.count.setRange(1, 1000)
        self.count.setValue(24)
        self.count.setToolTip("How many")
        self.select = QPushButton("Select them")
        self.copy = CopyCommand(self.command)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.list = QTreeWidget()
        self.list.setHeaderLabels(["similarity", "movie", "track", "frames"])
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.list.setMinimumHeight(70)
        self.search.clicked.connect(self.look)
        self.select.clicked.connect(lambda: self.wanted.emit(self.rows()))
        self.list.currentItemChanged.connect(self._choose)
        self._lay_out()
        self._enable()

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.search, 1)
        for widget in (self.count, self.select, self.copy):
            buttons.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 6, 4, 4)
        layout.addLayout(buttons)
        layout.addWidget(self.status)
        layout.addWidget(self.list)

    def follow(self, found: cellvjepa.Embeddings | None) -> None:
        """Search this store from now on."""
        self.cancel()
        self._found, self._index, self._row = found, None, -1
        self._empty()
        self.status.setText("")
        self._enable()

    def ask_for(self, row: int) -> None:
        """Set the row that "this" means."""
        self._row = row
        self._enable()

    def look(self) -> None:
        """Find cells that are similar."""
        if self._found is None or self._row < 0:
            return
        do = partial(_searched, self._index, self._found.path, self._row, self.count.value())
        self._search.do(do, "More like this", self._show, failed=self.status.setText, ended=self._enable)
        self._enable()
        self.status.setText("searching …")

    def cancel(self) -> None:
        """Give up a search."""
        self._search.cancel()

    def rows(self) -> list[int]:
        """Return the rows in the list, the most similar first."""
        items = [self.list.topLevelItem(i) for i in range(self.list.topLevelItemCount())]
        return [int(item.data(0, _ROW)) for item in items if item is not None]

    def command(self) -> list[str]:
        """Return the words of the command that finds the same cells."""
        if self._found is None or self._row < 0:
            raise cellvjepa.UserError("no cell is chosen", "click one in the plot or in the image", "More like this")
        clip = str(self._found.table["clip_id"].iloc[self._row])
        return ["cellvjepa", "similar", str(self._found.path), "--clip", clip, "--count", str(self.count.value())]

    def _show(self, result: Any) -> None:
        self._index, neighbours = result
        self._empty()
        for facts in neighbours.table.itertuples():
            texts = [f"{facts.similarity:.3f}", str(facts.movie), str(facts.track_id), f"{facts.t_start}-{facts.t_stop - 1}"]
            item = QTreeWidgetItem(texts)
            item.setData(0, _ROW, int(facts.row))
            self.list.addTopLevelItem(item)
        self._enable()
        more = "" if neighbours.exact else " Others may be as similar as the last of these."
        self.status.setText(f"{len(neighbours.table)} cells most similar to {self._found.table['clip_id'].iloc[neighbours.row]}.{more}")  # type: ignore[union-attr]

    def _empty(self) -> None:
        with QSignalBlocker(self.list):  # while lines go, the next one becomes current: nobody chose it
            self.list.clear()

    def _choose(self, item: QTreeWidgetItem | None, before: object = None) -> None:
        if item is not None:
            self.chosen.emit(int(item.data(0, _ROW)))

    def _enable(self) -> None:
        ready = self._found is not None and self._row >= 0
        self.search.setEnabled(ready and not self._search.under_way)
        self.copy.setEnabled(ready)
        self.select.setEnabled(self.list.topLevelItemCount() > 0)


def _searched(index: Any, store: Path, row: int, count: int, progress: cellvjepa.Progress) -> tuple[Any, Any]:
    """Search a store, which is made ready for it the first time (in the other thread)."""
    opened = index or cellvjepa.open_index(store, progress=progress)
    progress("comparing", 0, 0)
    return opened, opened.similar(row, count)
