"""The axes beside a plot: ticks with numbers and units, painted by Qt so that they cost the plot nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent
from qtpy.QtWidgets import QWidget

_UNITS = {"um": "µm", "um2": "µm²", "px": "px", "px2": "px²", "s": "s", "min": "min", "h": "h", "frames": "frames", "deg": "°"}
_TIMES = ("s", "min", "h", "frame")
_FRAMES = ("t_start", "t_stop", "t")
_TICK_PX, _GAP_PX = 4, 3
_FEWEST_PX_BETWEEN = (52, 34)  # ticks across, and up
_INK, _FAINT = QColor("#c3c9d0"), QColor("#6d7681")


@dataclass(frozen=True)
class Axis:
    """What an axis says.

    Parameters
    ----------
    title
        Its name, with the unit.
    numbers
        Whether its numbers mean something: those of a UMAP do not.
    """

    title: str = ""
    numbers: bool = False


class AxisStrip(QWidget):
    """One axis.

    Parameters
    ----------
    up
        Whether it stands at the left of the plot; else it lies below.
    """

    def __init__(self, up: bool) -> None:
        super().__init__()
        self._up, self._axis, self._limits = up, Axis(), (0.0, 1.0)
        font = self.font()
        font.setPointSizeF(max(6.0, 0.85 * font.pointSizeF()))
        self.setFont(font)
        self.show_axis(Axis())

    def show_axis(self, axis: Axis) -> None:
        """Show another axis; one without title takes no room."""
        self._axis = axis
        line = math.ceil(QFontMetricsF(self.font()).height())
        room = line + _GAP_PX if axis.title else 0
        if axis.numbers:
            room += _TICK_PX + _GAP_PX + (math.ceil(QFontMetricsF(self.font()).horizontalAdvance("-0.000")) if self._up else line)
        if self._up:
            self.setFixedWidth(room)
        else:
            self.setFixedHeight(room)
        self.update()

    def show_limits(self, limits: tuple[float, float]) -> None:
        """Show another part of the axis."""
        if limits != self._limits:
            self._limits = limits
            self.update()

    def texts(self) -> list[str]:
        """Return what is written: the numbers, then the title."""
        return [*(text for _, text in self._ticks()), self._axis.title]

    def _ticks(self) -> list[tuple[float, str]]:
        """Return places along the axis, 0 to 1, and their numbers."""
        low, high = self._limits
        if not self._axis.numbers or not low < high:
            return []
        length = self.height() if self._up else self.width()
        numbers = ticks(low, high, max(2, length // _FEWEST_PX_BETWEEN[self._up]))
        return [((value - low) / (high - low), text) for value, text in numbers]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint it."""
        painter = QPainter(self)
        line = painter.fontMetrics().height()
        width, height = self.width(), self.height()
        for share, text in self._ticks():
            painter.setPen(_FAINT)
            if self._up:
                y = round((1 - share) * height)
                painter.drawLine(width - _TICK_PX, y, width, y)
                top = min(max(0.0, y - line / 2), height - line)
                room = QRectF(line + _GAP_PX, top, width - line - 2 * _GAP_PX - _TICK_PX, line)
                align = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            else:
                x = round(share * width)
                painter.drawLine(x, 0, x, _TICK_PX)
                half = painter.fontMetrics().horizontalAdvance(text) / 2
                middle = min(max(half, x), width - half)
                room = QRectF(middle - half - 2, _TICK_PX + 1, 2 * half + 4, line)
                align = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter
            painter.setPen(_INK)
            painter.drawText(room, int(align), text)
        painter.setPen(_INK)
        if self._up:
            painter.rotate(-90)
            painter.drawText(QRectF(-height, 0, height, line), int(Qt.AlignmentFlag.AlignCenter), self._axis.title)
        else:
            painter.drawText(QRectF(0, height - line, width, line), int(Qt.AlignmentFlag.AlignCenter), self._axis.title)
        painter.end()


def ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return round numbers between two limits, at most ``most`` and one more, and how they are written.

    Steps are 1, 2 or 5 times a power of ten.
    """
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    largest = max(abs(low), abs(high))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if largest >= 1e7 or decimals > 4:
        digits = max(1, math.ceil(math.log10(largest / step)) + 1)
        return [(i * step, f"{i * step:.{digits}g}") for i in range(first, last + 1)]
    return [(i * step, f"{i * step + 0.0:,.{decimals}f}") for i in range(first, last + 1)]


def titled(name: str) -> str:
    """Return the name of a column with its unit, which the end of the name tells: ``area_um2`` is ``area [µm²]``, ``speed_um_per_s`` in ``µm/s``."""
    whole, per, time = name.partition("_per_")
    stem, _, unit = whole.rpartition("_")
    if stem and unit in _UNITS and (not per or time in _TIMES):
        return f"{stem.replace('_', ' ')} [{_UNITS[unit]}{'/' + time if per else ''}]"
    return f"{name.replace('_', ' ')} [frame]" if name in _FRAMES else name.replace("_", " ")
