"""A page of the Explore dock: the selection, or all of one kind, as moving pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.clips.captions import caption_of
from napari_cellvjepa.clips.gallery import Gallery
from napari_cellvjepa.layers.store_movies import Movies
from napari_cellvjepa.plot.palette import Colouring, plain

_SELECTION = "the selection"
_MOST = 200


class Pictures(QWidget):
    """The page.

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
        self._colouring: Colouring = plain(0)
        self._chosen_N: npt.NDArray[np.bool_] = np.zeros(0, bool)
        self._stale = False
        self.what = QComboBox()
        self.what.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.what.setMinimumContentsLength(8)
        self.what.setToolTip("<qt>Whose pictures: of the selected cells, or of one of the kinds that the plot is coloured by.</qt>")
        self.most = QSpinBox()
        self.most.setRange(1, 10_000)
        self.most.setValue(_MOST)
        self.most.setPrefix("up to ")
        self.most.setKeyboardTracking(False)
        self.most.setToolTip("<qt>Of more cells than that, so many are drawn at random.</qt>")
        self.seed = QSpinBox()
        self.seed.setRange(0, 9999)
        self.seed.setPrefix("seed ")
        self.seed.setToolTip("<qt>Of the random sample: the same number draws the same cells.</qt>")
        self.again = QPushButton("Others")
        self.seed.hide()
        self.again.hide()
        self.again.setToolTip("<qt>Draw other cells at random.</qt>")
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.gallery = Gallery()
        self._connect()
        self._lay_out()
        self._offer()

    def _connect(self) -> None:
        self.what.activated.connect(self._mark_stale)
        for box in (self.most, self.seed):
            box.valueChanged.connect(self._mark_stale)
        self.again.clicked.connect(lambda: self.seed.setValue((self.seed.value() + 1) % 10_000))
        self.gallery.chosen.connect(self.chosen)
        self.gallery.wanted.connect(self.wanted)

    def _lay_out(self) -> None:
        line = QHBoxLayout()
        line.addWidget(self.what, 1)
        line.addWidget(self.most)
        drawn = QHBoxLayout()
        drawn.addWidget(self.about, 1)
        drawn.addWidget(self.seed)
        drawn.addWidget(self.again)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 6, 4, 4)
        layout.addLayout(line)
        layout.addLayout(drawn)
        layout.addWidget(self.gallery, 1)

    def follow(self, found: cellvjepa.Embeddings | None, movies: Movies | None, elsewhere: Callable[[], Path | None]) -> None:
        """Show rows of this store from now on."""
        self._found = found
        self._colouring, self._chosen_N = plain(0), np.zeros(0, bool)
        self.gallery.follow(found, movies, elsewhere)
        self._offer()

    def show_state(self, colouring: Colouring, chosen_N: npt.NDArray[np.bool_]) -> None:
        """Take over how the plot is coloured, and what is selected."""
        if colouring is not self._colouring:
            self._colouring = colouring
            self._offer()
        if not np.array_equal(chosen_N, self._chosen_N):
            self._chosen_N = chosen_N
            if not self._kind():
                self._mark_stale()

    def cancel(self) -> None:
        """Give up reading pictures."""
        self.gallery.cancel()

    def _offer(self) -> None:
        """Offer the kinds; the one that was chosen stays so if it is still there."""
        before = self.what.currentData()
        with QSignalBlocker(self.what):
            self.what.clear()
            self.what.addItem(_SELECTION, "")
            for kind in self._colouring.kinds:
                self.what.addItem(f"{self._colouring.name} {kind.label} ({kind.rows:,})", kind.label)
            self.what.setCurrentIndex(max(0, self.what.findData(before)))
        self._mark_stale()

    def _kind(self) -> str:
        return str(self.what.currentData() or "")

    def _rows(self) -> npt.NDArray[np.int64]:
        """Return the rows that are meant, all of them."""
        if not self._kind():
            return np.flatnonzero(self._chosen_N)
        number = [kind.label for kind in self._colouring.kinds].index(self._kind())
        return np.flatnonzero(self._colouring.index_N == number)

    def _mark_stale(self, *_: object) -> None:
        """Show what is meant now, when somebody looks."""
        self._stale = True
        if self.isVisible():
            self._show()

    def _show(self) -> None:
        self._stale = False
        if self._found is None:
            self.about.setText("")
            self.gallery.show_rows([])
            return
        rows = self._rows()
        shown, text = sampled(rows, self.most.value(), self.seed.value())
        self.about.setText(text if len(rows) else "Nothing is selected: draw around points, or choose a kind.")
        for widget in (self.seed, self.again):
            widget.setVisible(len(shown) < len(rows))
        if shown.tolist() != self.gallery.rows():
            self.gallery.show_rows(shown.tolist(), [caption_of(self._found, int(row)) for row in shown])

    def showEvent(self, event: Any) -> None:
        """Show what is meant now."""
        super().showEvent(event)
        if self._stale:
            self._show()


def sampled(rows_N: npt.NDArray[np.int64], most: int, seed: int) -> tuple[npt.NDArray[np.int64], str]:
    """Return at most so many rows, in order, drawn at random if there are more; and say so."""
    if len(rows_N) <= most:
        return rows_N, f"All {len(rows_N):,} cells, in the order of the store."
    drawn = np.sort(np.random.default_rng(seed).choice(rows_N, most, replace=False))
    return drawn, f"{most:,} of {len(rows_N):,} cells, drawn at random with seed {seed}."
