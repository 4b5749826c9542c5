"""Scores beside each other: a bar for each kind of features, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

_LINE = 24.0
_BAR = 12.0
_NUMBER = 40.0


@dataclass(frozen=True)
class Bar:
    """One score: its name, its value and interval (NaN where not known), its colour."""

    name: str
    value: float
    low: float
    high: float
    colour: str


class Bars(QWidget):
    """The bars, from 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self._bars: tuple[Bar, ...] = ()
        self._level = math.nan
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_bars(self, bars: Sequence[Bar], level: float = math.nan) -> None:
        """Show these scores, and a dashed line at a level."""
        self._bars, self._level = tuple(bars), level
        self.setAccessibleName(", ".join(f"{bar.name} {bar.value:.2f}" for bar in self._bars))
        self.setFixedHeight(self.sizeHint().height())
        self.update()

    def bars(self) -> tuple[Bar, ...]:
        """Return what is shown."""
        return self._bars

    def sizeHint(self) -> QSize:
        """Return a size with a line for each bar."""
        return QSize(300, round(_LINE * len(self._bars)) + 2)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw them."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().windowText().color()
        metrics = painter.fontMetrics()
        names = max((metrics.horizontalAdvance(bar.name) for bar in self._bars), default=0) + 8.0
        names = min(names, self.width() * 0.5)
        left, width = names, self.width() - names - _NUMBER
        for number, bar in enumerate(self._bars):
            middle = _LINE * number + _LINE / 2
            painter.setPen(ink)
            text = metrics.elidedText(bar.name, Qt.TextElideMode.ElideRight, int(names - 8))
            painter.drawText(QRectF(0, middle - 10, names - 6, 20), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
            painter.fillRect(QRectF(left, middle - _BAR / 2, width * max(bar.value, 0.0), _BAR), QColor(bar.colour))
            if math.isfinite(bar.low) and math.isfinite(bar.high):
                painter.setPen(QPen(ink, 1.5))
                painter.drawLine(QPointF(left + width * bar.low, middle), QPointF(left + width * bar.high, middle))
                for end in (bar.low, bar.high):
                    painter.drawLine(QPointF(left + width * end, middle - 4), QPointF(left + width * end, middle + 4))
            painter.setPen(ink)
            painter.drawText(
                QRectF(self.width() - _NUMBER, middle - 10, _NUMBER - 4, 20),
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                f"{bar.value:.2f}",
            )
        if math.isfinite(self._level):
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DashLine))
            x = left + width * self._level
            painter.drawLine(QPointF(x, 0), QPointF(x, self.height()))
