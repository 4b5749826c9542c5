"""More like this: the cells of a store that are most similar to one, as moving pictures that lead to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.clips.captions import caption_of
from napari_cellvjepa.clips.gallery import Gallery
from napari_cellvjepa.clips.thumbnails import nowhere
from napari_cellvjepa.layers.store_movies import Movies
from napari_cellvjepa.parts.command import CopyCommand
from napari_cellvjepa.parts.latest import Latest

_SEARCHING = "searching …"


class SimilarCells(QWidget):
    """The pictures, and how they are found.

    Attributes
    ----------
    chosen
        Signal ``(row)``: a picture was clicked.
    wanted
        Signal ``(rows)``: these rows of the store, a list, are to be selected.
    """

    chosen = Signal(int)
    wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._found: cellvjepa.Embeddings | None = None
        self._index: Any = None
        self.searching = Latest(self)
        self._row = -1
        self.search = QPushButton("More like this")
        self.search.setToolTip("<qt>Find the cells of the whole store that are most similar to the one that was clicked last.</qt>")
        self.count = QSpinBox()
        self.count.setRange(1, 1000)
        self.count.setValue(24)
        self.count.setToolTip("How many")
        self.copy = CopyCommand(self.command)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.gallery = Gallery()
        self.search.clicked.connect(self.look)
        self.gallery.chosen.connect(self.chosen)
        self.gallery.wanted.connect(self.wanted)
        self._lay_out()
        self._enable()

    def _lay_out(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self.search, 1)
        for widget in (self.count, self.copy):
            buttons.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 6, 4, 4)
        layout.addLayout(buttons)
        layout.addWidget(self.status)
        layout.addWidget(self.gallery, 1)

    def follow(self, found: cellvjepa.Embeddings | None, movies: Movies | None = None, elsewhere: Callable[[], Path | None] = nowhere) -> None:
        """Search this store from now on, and show its cells (parameters as those of :meth:`Gallery.follow`)."""
        self.cancel()
        self._found, self._index, self._row = found, None, -1
        self.gallery.follow(found, movies, elsewhere)
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
        self.searching.do(do, "More like this", self._show, failed=self.status.setText, ended=self._end)
        self._enable()
        self.status.setText(_SEARCHING)

    def cancel(self) -> None:
        """Give up a search."""
        self.searching.cancel()
        self.gallery.cancel()

    def rows(self) -> list[int]:
        """Return the rows that were found, the most similar first."""
        return self.gallery.rows()

    def command(self) -> list[str]:
        """Return the words of the command that finds the same cells."""
        if self._found is None or self._row < 0:
            raise cellvjepa.UserError("no cell is chosen", "click one in the plot or in the image", "More like this")
        clip = str(self._found.table["clip_id"].iloc[self._row])
        return ["cellvjepa", "similar", str(self._found.path), "--clip", clip, "--count", str(self.count.value())]

    def _show(self, result: Any) -> None:
        self._index, neighbours = result
        found = self._found
        assert found is not None
        rows = neighbours.table["row"].astype(int).tolist()
        ranked = enumerate(zip(rows, neighbours.table["similarity"], strict=True), start=1)
        self.gallery.show_rows(rows, [caption_of(found, row, f"{rank} · {similarity:.3f}") for rank, (row, similarity) in ranked])
        self._enable()
        more = "" if neighbours.exact else " Others may be as similar as the last of these."
        self.status.setText(f"{len(neighbours.table)} cells most similar to {found.table['clip_id'].iloc[neighbours.row]}.{more}")

    def _end(self) -> None:
        if self.status.text() == _SEARCHING:  # somebody has cancelled it
            self.status.setText("")
        self._enable()

    def _enable(self) -> None:
        ready = self._found is not None and self._row >= 0
        self.search.setEnabled(ready and not self.searching.under_way)
        self.copy.setEnabled(ready)


def _searched(index: Any, store: Path, row: int, count: int, progress: cellvjepa.Progress) -> tuple[Any, Any]:
    """Search a store, which is made ready for it the first time (in the other thread)."""
    opened = index or cellvjepa.open_index(store, progress=progress)
    progress("comparing", 0, 0)
    return opened, opened.similar(row, count)
