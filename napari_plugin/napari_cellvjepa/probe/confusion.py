"""A confusion matrix as a table: a click on a number shows the windows behind it."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem

import cellvjepa
from napari_cellvjepa.plot.palette import PALETTE
from napari_cellvjepa.probe.tables import fit_height

_RIGHT, _WRONG = PALETTE[1], PALETTE[5]
_HIGHEST_PX = 320
_NARROWEST_PX = 40  # of a column: more classes than that leaves room for are scrolled


class ConfusionTable(QTableWidget):
    """The table: lines are what people said, columns what the probe said.

    Attributes
    ----------
    asked
        Signal ``(truth, answer)``: a number was clicked, or reached with the keyboard and Enter.
    """

    asked = Signal(int, int)

    def __init__(self) -> None:
        super().__init__()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setTextElideMode(Qt.TextElideMode.ElideRight)
        self.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.horizontalHeader().setMinimumSectionSize(_NARROWEST_PX)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.cellClicked.connect(self._ask)
        self.cellActivated.connect(self._ask)

    def show_question(self, question: cellvjepa.ReportedQuestion) -> None:
        """Show the counts of a question; each line is coloured by its shares."""
        counts, names = question.confusion_KK, list(question.classes)
        self.clear()
        self.setRowCount(len(names))
        self.setColumnCount(len(names))
        for number, name in enumerate(names):
            self.setVerticalHeaderItem(number, _heading(name, f"labelled {name}"))
            self.setHorizontalHeaderItem(number, _heading(name, f"taken for {name}"))
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        for truth in range(len(names)):
            for answer in range(len(names)):
                self.setItem(truth, answer, _cell(int(counts[truth, answer]), float(shares[truth, answer]), names[truth], names[answer]))
        fit_height(self, _HIGHEST_PX)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Make room for the bar below, where it is needed."""
        super().resizeEvent(event)
        fit_height(self, _HIGHEST_PX)

    def _ask(self, truth: int, answer: int) -> None:
        self.asked.emit(truth, answer)


def _heading(name: str, tip: str) -> QTableWidgetItem:
    item = QTableWidgetItem(name)
    item.setToolTip(tip)
    return item


def _cell(count: int, share: float, truth: str, answer: str) -> QTableWidgetItem:
    item = QTableWidgetItem(f"{count:,}")
    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    colour = QColor(_RIGHT if truth == answer else _WRONG)
    colour.setAlphaF(0.08 + 0.72 * share)
    item.setBackground(colour)
    item.setToolTip(f"<qt>{count:,} windows labelled <b>{truth}</b> and taken for <b>{answer}</b> ({share:.0%} of the line). Click to see them.</qt>")
    return item
