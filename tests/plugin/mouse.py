"""Mouse events as Qt sends them to a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QEvent, QEventLoop, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

_BETWEEN_MS = 15  # vispy leaves out moves that follow within 10 ms
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
NO_KEY, SHIFT, ALT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier


def send(widget: Any, kind: QEvent.Type, place: Sequence[float], button: Any, held: Any, keys: Any = NO_KEY) -> None:
    """Send one event."""
    local = QPointF(*map(float, place))
    QApplication.sendEvent(widget, QMouseEvent(kind, local, widget.mapToGlobal(local), button, held, keys))


def wait(milliseconds: int) -> None:
    """Let events come, in a loop of Qt's own.

    Not QTest.qWait, in whose place vispy puts a loop of processEvents: in PySide6 6.12 each call takes a reference of None too many, and after
    some hundred thousand of them Python aborts.
    """
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def click(widget: Any, place: Sequence[float], keys: Any = NO_KEY) -> None:
    """Press and release in one place."""
    drag(widget, [place], keys)


def drag(widget: Any, places: Sequence[Sequence[float]], keys: Any = NO_KEY) -> None:
    """Press in the first place, move through the others, release in the last."""
    send(widget, QEvent.Type.MouseButtonPress, places[0], LEFT, LEFT, keys)
    for place in places[1:]:
        wait(_BETWEEN_MS)
        send(widget, QEvent.Type.MouseMove, place, NONE, LEFT, keys)
    send(widget, QEvent.Type.MouseButtonRelease, places[-1], LEFT, NONE, keys)


def move(widget: Any, place: Sequence[float]) -> None:
    """Move without a button."""
    send(widget, QEvent.Type.MouseMove, place, NONE, NONE)
