"""The legend of a plot: what its colours mean. A click on a kind selects its rows."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QIcon, QLinearGradient, QPainter, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QListWidget, QListWidgetItem, QStackedLayout, QWidget

from napari_cellvjepa.plot.palette import Colouring

_SWATCH_PX = 12
_HIGHEST_PX = 84
_NARROWEST_PX = 340
_BETWEEN_PX = 20  # kinds, with what is between swatch and text


class Legend(QWidget):
    """A line of swatches, or a scale.

    Attributes
    ----------
    chosen
        Signal ``(number)``: a kind was clicked.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._kinds = QListWidget()
        self._kinds.setFlow(QListWidget.Flow.LeftToRight)
        self._kinds.setWrapping(True)
        self._kinds.setResizeMode(QListWidget.ResizeMode.Adjust)
        self._kinds.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self._kinds.setFrameShape(QListWidget.Shape.NoFrame)
        self._kinds.setIconSize(QSize(_SWATCH_PX, _SWATCH_PX))
        self._kinds.setSpacing(1)
        self._kinds.setStyleSheet("QListWidget { background: transparent; }")
        self._kinds.setToolTip("Click to select the cells of this kind; with Shift to add them, with Alt to take them out.")
        self._kinds.itemClicked.connect(lambda item: self.chosen.emit(self._kinds.row(item)))
        self._scale = _Scale()
        self._layout = QStackedLayout(self)
        for widget in (QWidget(), self._kinds, self._scale):
            self._layout.addWidget(widget)
        self.show_colours(None)

    def show_colours(self, colouring: Colouring | None) -> None:
        """Explain the colours of a plot; None: there is nothing to explain."""
        self._kinds.clear()
        if colouring is not None and colouring.limits is not None:
            self._scale.explain(colouring)
            self._layout.setCurrentIndex(2)
            self.setFixedHeight(self._scale.sizeHint().height())
            return
        kinds = () if colouring is None else colouring.kinds
        for kind in kinds:
            item = QListWidgetItem(_swatch(kind.colour), f"{kind.label}  {kind.rows:,}")
            item.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            self._kinds.addItem(item)
        self._layout.setCurrentIndex(1 if kinds else 0)
        self.setFixedHeight(min(_HIGHEST_PX, 8 + 22 * self._lines()) if kinds else 0)

    def _lines(self) -> int:
        """Return how many lines the kinds take."""
        width, lines, end = max(self.width(), _NARROWEST_PX), 1, 0
        for text in self.texts():
            item = self._kinds.fontMetrics().horizontalAdvance(text) + _SWATCH_PX + _BETWEEN_PX
            lines, end = (lines, end + item) if end + item <= width or not end else (lines + 1, item)
        return lines

    def texts(self) -> list[str]:
        """Return what is written in it."""
        if self._layout.currentIndex() == 2:
            return self._scale.texts()
        return [self._kinds.item(i).text() for i in range(self._kinds.count())]


class _Scale(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self._low, self._bar, self._high = QLabel(), QLabel(), QLabel()
        self._bar.setFixedHeight(_SWATCH_PX)
        self._bar.setScaledContents(True)
        self._bar.setMinimumWidth(40)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self._low)
        layout.addWidget(self._bar, 1)
        layout.addWidget(self._high)

    def explain(self, colouring: Colouring) -> None:
        assert colouring.limits is not None
        steps = len(colouring.colours_K4) - 1  # the last colour is that of what is not known
        width = 128
        pixmap = QPixmap(width, 1)
        painter = QPainter(pixmap)
        gradient = QLinearGradient(0, 0, width, 0)
        for share in np.linspace(0, 1, 17):
            gradient.setColorAt(float(share), QColor.fromRgbF(*map(float, colouring.colours_K4[round(share * (steps - 1))])))
        painter.fillRect(pixmap.rect(), QBrush(gradient))
        painter.end()
        self._bar.setPixmap(pixmap)
        self._low.setText(f"≤ {colouring.limits[0]:.4g}")
        self._high.setText(f"≥ {colouring.limits[1]:.4g}")

    def texts(self) -> list[str]:
        return [self._low.text(), self._high.text()]


def _swatch(colour: str) -> QIcon:
    pixmap = QPixmap(_SWATCH_PX, _SWATCH_PX)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(QColor(colour))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.drawEllipse(1, 1, _SWATCH_PX - 2, _SWATCH_PX - 2)
    painter.end()
    return QIcon(pixmap)
