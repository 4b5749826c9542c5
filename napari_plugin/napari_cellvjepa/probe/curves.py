"""A small plot of curves: what a probe is learning, and how its score grows with labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

_LEFT, _RIGHT, _TOP, _BOTTOM = 38.0, 10.0, 22.0, 34.0
_FADED = 90  # of 255
_MOST_TICKS = 5
_LEGEND_LINE = 16.0
_SWATCH = 14.0

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve.

    Parameters
    ----------
    name
        What the legend says; ``""``: nothing.
    points
        x and y; x may be infinite where places are names.
    colour
        ``"#rrggbb"``.
    ends
        Lower and upper end of an interval for each point; NaN where it is not known; empty for none at all.
    faded
        Drawn behind the others, in less of its colour.
    """

    name: str
    points: tuple[Point, ...]
    colour: str
    ends: tuple[Point, ...] = ()
    faded: bool = False


class Curves(QWidget):
    """The plot.

    Parameters
    ----------
    title
        Above it.
    across
        What x is, below it.
    named
        x are a few values with equal distances, each with its number below it (infinite: ``all``); else a scale of numbers from 0.
    limits
        Of y; None: as the curves need it.
    """

    def __init__(self, title: str, across: str, *, named: bool, limits: Point | None = None) -> None:
        super().__init__()
        self._title, self._across, self._named, self._limits = title, across, named, limits
        self._lines: tuple[Line, ...] = ()
        self._level: tuple[float, str] | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(title)

    def show_lines(self, lines: Sequence[Line], level: tuple[float, str] | None = None) -> None:
        """Show these curves, and a dashed line at a level with what it is."""
        self._lines, self._level = tuple(line for line in lines if line.points), level
        self.updateGeometry()
        self.setFixedHeight(self.sizeHint().height())
        self.update()

    def lines(self) -> tuple[Line, ...]:
        """Return what is shown."""
        return self._lines

    def sizeHint(self) -> QSize:
        """Return a size with room for the legend."""
        return QSize(300, round(_TOP + 110 + _BOTTOM + _LEGEND_LINE * self._legend_rows()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw everything."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().windowText().color()
        place = QRectF(_LEFT, _TOP, self.width() - _LEFT - _RIGHT, 110)
        bold = painter.font()
        bold.setBold(True)
        painter.setPen(ink)
        plain = painter.font()
        painter.setFont(bold)
        painter.drawText(QRectF(4, 2, self.width() - 8, _TOP - 4), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self._title)
        painter.setFont(plain)
        scale = _Scale.of(self._lines, self._limits, self._named, place, None if self._level is None else self._level[0])
        self._draw_axes(painter, ink, place, scale)
        for line in sorted(self._lines, key=lambda one: not one.faded):
            _draw_line(painter, line, scale)
        self._draw_legend(painter, ink, place.bottom() + _BOTTOM)

    def _draw_axes(self, painter: QPainter, ink: QColor, place: QRectF, scale: _Scale) -> None:
        thin = QColor(ink)
        thin.setAlpha(60)
        for value in scale.ticks_up():
            height = scale.at(scale.low_x, value).y()
            painter.setPen(QPen(thin, 1))
            painter.drawLine(QPointF(place.left(), height), QPointF(place.right(), height))
            painter.setPen(ink)
            painter.drawText(QRectF(0, height - 8, _LEFT - 4, 16), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{value:.3g}")
        painter.setPen(ink)
        for value, text in scale.ticks_across():
            x = scale.at(value, scale.low_y).x()
            painter.drawText(QRectF(x - 30, place.bottom() + 2, 60, 14), Qt.AlignmentFlag.AlignHCenter, text)
        painter.drawText(QRectF(place.left(), place.bottom() + 16, place.width(), 14), Qt.AlignmentFlag.AlignHCenter, self._across)
        if self._level is not None:
            height = scale.at(scale.low_x, self._level[0]).y()
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(place.left(), height), QPointF(place.right(), height))
            painter.drawText(QRectF(place.left(), height - 15, place.width(), 14), Qt.AlignmentFlag.AlignRight, self._level[1])

    def _named_lines(self) -> list[Line]:
        seen: dict[str, Line] = {}
        for line in self._lines:
            if line.name:
                seen.setdefault(line.name, line)
        return list(seen.values())

    def _legend_rows(self) -> int:
        return math.ceil(len(self._named_lines()) / 2)

    def _draw_legend(self, painter: QPainter, ink: QColor, top: float) -> None:
        half = (self.width() - 8) / 2
        for number, line in enumerate(self._named_lines()):
            x, y = 4 + (number % 2) * half, top + (number // 2) * _LEGEND_LINE
            painter.setPen(QPen(_colour(line), 3))
            painter.drawLine(QPointF(x, y + 8), QPointF(x + _SWATCH, y + 8))
            painter.setPen(ink)
            room = half - _SWATCH - 10
            text = painter.fontMetrics().elidedText(line.name, Qt.TextElideMode.ElideRight, int(room))
            painter.drawText(QRectF(x + _SWATCH + 5, y, room, _LEGEND_LINE), Qt.AlignmentFlag.AlignVCenter, text)


@dataclass(frozen=True)
class _Scale:
    """Where values are in the picture."""

    place: QRectF
    low_x: float
    high_x: float
    low_y: float
    high_y: float
    names: tuple[float, ...]

    @classmethod
    def of(cls, lines: Sequence[Line], limits: Point | None, named: bool, place: QRectF, level: float | None) -> _Scale:
        points = [point for line in lines for point in line.points]
        names = tuple(sorted({x for x, _ in points})) if named else ()
        high_x = float(len(names)) - 0.5 if named else max((x for x, _ in points), default=1.0)
        low_x = -0.5 if named else 0.0
        values = [y for _, y in points if math.isfinite(y)] + [end for line in lines for ends in line.ends for end in ends if math.isfinite(end)]
        values += [] if level is None else [level]
        low, high = limits or (min([0.0, *values]), max(values, default=1.0))
        if limits and values:  # a score below the level of guessing is seen, too
            low = min(low, math.floor(min(values) * 10) / 10)
        return cls(place, low_x, max(high_x, low_x + 1e-9), low, max(high, low + 1e-9), names)

    def at(self, x: float, y: float) -> QPointF:
        """Return the place of a point."""
        across = self.names.index(x) if self.names and x in self.names else x
        share_x, share_y = (across - self.low_x) / (self.high_x - self.low_x), (y - self.low_y) / (self.high_y - self.low_y)
        return QPointF(self.place.left() + share_x * self.place.width(), self.place.bottom() - share_y * self.place.height())

    def ticks_up(self) -> list[float]:
        return _round_numbers(self.low_y, self.high_y)

    def ticks_across(self) -> list[tuple[float, str]]:
        if self.names:
            return [(name, "all" if math.isinf(name) else f"{name:g}") for name in self.names]
        return [(value, f"{value:g}") for value in _round_numbers(self.low_x, self.high_x)]


def _round_numbers(low: float, high: float) -> list[float]:
    """Return a few round numbers between two ends."""
    step = 10.0 ** math.floor(math.log10((high - low) / _MOST_TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= _MOST_TICKS)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _colour(line: Line) -> QColor:
    colour = QColor(line.colour)
    colour.setAlpha(_FADED if line.faded else 255)
    return colour


def _draw_line(painter: QPainter, line: Line, scale: _Scale) -> None:
    pen = QPen(_colour(line), 1.0 if line.faded else 2.0)
    painter.setPen(pen)
    places = [scale.at(x, y) for x, y in line.points if math.isfinite(y)]
    painter.drawPolyline(places)
    for (x, _), (low, high) in zip(line.points, line.ends, strict=False):
        if math.isfinite(low) and math.isfinite(high):
            painter.drawLine(scale.at(x, low), scale.at(x, high))
    if scale.names:
        painter.setBrush(_colour(line))
        for place in places:
            painter.drawEllipse(place, 2.5, 2.5)
        painter.setBrush(Qt.BrushStyle.NoBrush)
