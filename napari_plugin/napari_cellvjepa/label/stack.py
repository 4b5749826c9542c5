"""Parts one below the other, scrolled where the window is low."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget


def stacked(parts: Sequence[QWidget | None], stretching: QWidget) -> QScrollArea:
    """Return an area with these parts; None is a line between them, and ``stretching`` gets the room that is left."""
    inside = QWidget()
    layout = QVBoxLayout(inside)
    layout.setContentsMargins(2, 2, 2, 2)
    for part in parts:
        layout.addWidget(part or _line(), int(part is stretching))
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inside)
    return area


def _line() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    line.setFrameShadow(QFrame.Shadow.Sunken)
    return line
