"""Curves of a run that grow while it trains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QGridLayout, QSizePolicy, QWidget

import cellvjepa

_LINE = QColor("#56b4e9")
_HEIGHT_PX, _TOP_PX, _BOTTOM_PX, _SIDE_PX, _STRIP_PX = 104, 24, 16, 5, 3
_MOST_POINTS = 600  # a line of a few hundred pixels shows no more


class CurveView(QWidget):
    """One quantity over the steps of a run; the mouse reads values off it.

    Parameters
    ----------
    curve
        Which.
    """

    def __init__(self, curve: cellvjepa.Curve) -> None:
        super().__init__()
        self.curve = curve
        self._steps: npt.NDArray[np.float64] = np.empty(0)
        self._values: npt.NDArray[np.float64] = np.empty(0)
        self._lights: tuple[cellvjepa.Light, ...] = ()
        self._last_step = 1.0
        self._pointed: int | None = None
        self.setFixedHeight(_HEIGHT_PX)
        self.setMinimumWidth(140)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setToolTip(curve.title)

    def show_rows(self, rows: Sequence[cellvjepa.MetricsRow], lights: tuple[cellvjepa.Light, ...]) -> bool:
        """Draw lines of metrics.jsonl, and return whether there is anything to draw."""
        self._steps, self._values = cellvjepa.curve_points(rows, self.curve)
        self._lights = lights
        self._last_step = float(rows[-1]["step"]) if rows else 1.0
        self._pointed = None
        self.update()
        return len(self._steps) > 0

    @property
    def text(self) -> str:
        """The value that is written above the curve."""
        if not len(self._values):
            return ""
        at = -1 if self._pointed is None else self._pointed
        value = f"{self._values[at]:.3g}"
        return value if self._pointed is None else f"step {self._steps[at]:,.0f}: {value}"

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(self.foregroundRole())
        faint = QColor(ink)
        faint.setAlpha(110)
        field = QRectF(_SIDE_PX, _TOP_PX, self.width() - 2 * _SIDE_PX, self.height() - _TOP_PX - _BOTTOM_PX)
        self._write(painter, field, ink, faint)
        self._draw_lights(painter, field)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(field.bottomLeft(), field.bottomRight())
        if len(self._steps):
            self._draw_line(painter, field, faint)
        painter.end()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Read off the value nearest to the mouse."""
        if len(self._steps):
            field_px = max(1, self.width() - 2 * _SIDE_PX)
            step = (event.position().x() - _SIDE_PX) / field_px * max(self._last_step, 1.0)
            self._pointed = int(np.argmin(np.abs(self._steps - step)))
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        """Show the newest value again."""
        self._pointed = None
        self.update()

    def _limits(self) -> tuple[float, float]:
        if self.curve.share:
            return 0.0, 1.0
        low, high = float(self._values.min()), float(self._values.max())
        low = 0.0 if self.curve.from_zero else low
        room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
        return (low if self.curve.from_zero else low - room), high + room

    def _write(self, painter: QPainter, field: QRectF, ink: QColor, faint: QColor) -> None:
        font = self.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.85))
        painter.setFont(font)
        painter.setPen(ink)
        value_px = painter.fontMetrics().horizontalAdvance(self.text) + 6
        above = QRectF(field.left(), 0, field.width(), _TOP_PX - 2 * _STRIP_PX)
        painter.drawText(above, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self.text)
        title = painter.fontMetrics().elidedText(self.curve.title, Qt.TextElideMode.ElideRight, int(field.width() - value_px))
        if self._pointed is None:
            painter.drawText(above, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, title)
        painter.setPen(faint)
        below = QRectF(field.left(), field.bottom() + 1, field.width(), _BOTTOM_PX - 2)
        painter.drawText(below, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"step {self._last_step:,.0f}")
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, "0")

    def _draw_lights(self, painter: QPainter, field: QRectF) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        for light in self._lights:
            left, right = (field.left() + field.width() * step / max(self._last_step, 1.0) for step in (light.first_step, light.last_step))
            painter.setBrush(QColor(cellvjepa.LIGHTS[light.verdict]))
            painter.drawRect(QRectF(left, field.top() - 2 * _STRIP_PX, max(2.0, right - left), _STRIP_PX))

    def _draw_line(self, painter: QPainter, field: QRectF, faint: QColor) -> None:
        low, high = self._limits()

        def place(step: float, value: float) -> QPointF:
            across, up = step / max(self._last_step, 1.0), (value - low) / (high - low)
            return QPointF(field.left() + across * field.width(), field.bottom() - up * field.height())

        if self.curve.guess is not None:
            painter.setPen(QPen(faint, 1, Qt.PenStyle.DashLine))
            painter.drawLine(place(0, self.curve.guess), place(self._last_step, self.curve.guess))
        thinned = np.unique(np.linspace(0, len(self._steps) - 1, min(len(self._steps), _MOST_POINTS)).astype(int))
        points = [place(float(self._steps[i]), float(self._values[i])) for i in thinned]
        painter.setPen(QPen(_LINE, 1.6))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPolyline(QPolygonF(points))
        at = len(self._steps) - 1 if self._pointed is None else self._pointed
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(_LINE)
        painter.drawEllipse(place(float(self._steps[at]), float(self._values[at])), 3, 3)


class CurvesView(QWidget):
    """All curves of a run for which it has values, two in a line."""

    def __init__(self) -> None:
        super().__init__()
        self.views = tuple(CurveView(curve) for curve in cellvjepa.TRAINING_CURVES)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(4)
        for view in self.views:
            view.setParent(self)
            view.hide()

    def show_rows(self, rows: Sequence[cellvjepa.MetricsRow]) -> None:
        """Draw lines of metrics.jsonl."""
        lights = cellvjepa.lights_of(rows)
        shown = [view for view in self.views if view.show_rows(rows, lights)]
        for view in self.views:
            if view not in shown:
                self._grid.removeWidget(view)
                view.hide()
        for number, view in enumerate(shown):
            self._grid.addWidget(view, number // 2, number % 2)
            view.show()
