"""What every dock does when it is closed."""

from __future__ import annotations

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget


class Docked(QWidget):
    """A widget that stands in a dock of napari, and leaves when the dock is closed."""

    def leave(self) -> None:
        """Stop all work and let go of the viewer."""
        self.deleteLater()

    def changeEvent(self, event: QEvent) -> None:
        """Leave when the dock is closed: napari then takes this widget out of it."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.leave()
