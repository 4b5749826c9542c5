"""Keys that work wherever in the window one is, but where one types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QMainWindow, QWidget


class Keys(QObject):
    """Takes keys before napari does, as long as it is asked to.

    A shortcut of Qt is served before the canvas hears of the key, and after lines of text, boxes of numbers and the console, which keep
    what they need for typing.

    Parameters
    ----------
    actions
        What to do, by key as Qt writes it, e.g. ``"Ctrl+Z"``.
    """

    def __init__(self, actions: dict[str, Callable[[], object]]) -> None:
        super().__init__()
        self._actions = actions
        self._shortcuts: list[Any] = []

    @property
    def taken(self) -> bool:
        """Whether the keys are taken."""
        return bool(self._shortcuts)

    def take(self, widget: QWidget) -> None:
        """Take the keys in the window in which a widget stands."""
        if self.taken:
            return
        window = _main_window(widget)
        for key, action in self._actions.items():
            shortcut = QShortcut(QKeySequence(key), window)
            shortcut.setAutoRepeat(False)
            shortcut.activated.connect(action)
            shortcut.activatedAmbiguously.connect(action)
            self._shortcuts.append(shortcut)

    def release(self) -> None:
        """Give the keys back to napari."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []


def _main_window(widget: QWidget) -> QWidget:
    """Return the window of napari, also for a dock that was torn out of it."""
    found: QWidget | None = widget
    while found is not None and not isinstance(found, QMainWindow):
        found = found.parentWidget()
    return found or widget.window()
