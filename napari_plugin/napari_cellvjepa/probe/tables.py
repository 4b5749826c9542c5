"""Small tables of a report: scores, and how many windows each group has of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem

import cellvjepa

_HIGHEST_PX = 180
_WIDEST_PX = 150  # of a column
_MOST_GROUPS = 500


def fit_height(table: QTableWidget, highest_px: int) -> None:
    """Make a table as high as its lines are, up to a limit."""
    across, down = table.horizontalHeader(), table.verticalHeader()
    beside = 0 if down.isHidden() else down.sizeHint().width()
    bar = table.horizontalScrollBar().sizeHint().height() if across.length() + beside + 2 * table.frameWidth() > table.width() else 0
    table.setFixedHeight(min(highest_px, down.length() + across.sizeHint().height() + 2 * table.frameWidth() + 2 + bar))


class _Table(QTableWidget):
    """A table that is read, not written, and as high as it needs to be."""

    def __init__(self) -> None:
        super().__init__()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setWordWrap(False)
        self.verticalHeader().setVisible(False)

    def fill(self, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
        """Show these texts; numbers stand on the right."""
        self.clear()
        self.setColumnCount(len(header))
        self.setRowCount(len(lines))
        self.setHorizontalHeaderLabels(list(header))
        for row, line in enumerate(lines):
            for column, text in enumerate(line):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignVCenter | (Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft))
                self.setItem(row, column, item)
        self.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.horizontalHeader().setMaximumSectionSize(_WIDEST_PX)
        fit_height(self, _HIGHEST_PX)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Make room for the bar below, where it is needed."""
        super().resizeEvent(event)
        fit_height(self, _HIGHEST_PX)


class ScoresTable(_Table):
    """Each score, split by group with its 95 % interval, split row by row, and of guessing."""

    def show_scores(self, scores: Sequence[cellvjepa.ScoreLine]) -> None:
        """Show these scores; columns of which nothing is known are left out."""
        columns = [("score", [line.name for line in scores]), ("by group", [str(line.grouped) for line in scores])]
        for title, values in (("by row", [line.by_rows for line in scores]), ("guessing", [line.guessing for line in scores])):
            if not all(map(math.isnan, values)):
                columns.append((title, ["" if math.isnan(value) else f"{value:.2f}" for value in values]))
        self.fill([title for title, _ in columns], list(zip(*(texts for _, texts in columns), strict=True)))


class CountsTable(_Table):
    """Labelled windows of each group and class."""

    def show_counts(self, counts: pd.DataFrame) -> None:
        """Show the groups with the most windows, and all of them together."""
        total = ["all groups", *(f"{int(value):,}" for value in counts.sum())]
        most = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:_MOST_GROUPS]]
        lines = [[str(group), *(f"{int(value):,}" for value in line)] for group, line in zip(most.index, most.to_numpy(), strict=True)]
        self.fill(["group", *map(str, counts.columns)], [total, *lines])
