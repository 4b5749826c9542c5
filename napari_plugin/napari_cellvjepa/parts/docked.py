"""What every dock does when it is closed."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget


class Docked(QWidget):
    """A widget that stands in a dock of napari, and leaves when the dock is closed."""

    def leave(self) -> None:
        """Stop all work and let go of the viewer."""
        self.deleteLater()

    def state(self) -> dict[str, Any]:
        """Return what a session file keeps of this dock beside what stands in layers: texts, numbers, lists, paths."""
        return {}

    def take_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` returned when a session was saved; somebody may have changed it in the file."""

    def changeEvent(self, event: QEvent) -> None:
        """Leave when the dock is closed: napari then takes this widget out of it."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.leave()
