"""Clicks in the image, for whoever wants to know where."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, Signal

_CLICK_PX = 5


class PlaceClicks(QObject):
    """Tells where people click in a viewer, while the layer's own tool is not at work.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    clicked
        Signal ``(world)``: the point in napari's world, an array with an entry for each axis of the viewer.
    """

    clicked = Signal(object)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        viewer.mouse_drag_callbacks.append(self._press)

    def close(self) -> None:
        """Let go of the viewer."""
        if self._press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._press)

    def _press(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        begin, world = np.asarray(event.pos, float), np.asarray(event.position, float)
        yield
        while event.type == "mouse_move":
            yield
        active = viewer.layers.selection.active
        if active is not None and active.mode != "pan_zoom":
            return
        if event.button == 1 and np.abs(np.asarray(event.pos, float) - begin).max() <= _CLICK_PX:
            self.clicked.emit(world)
