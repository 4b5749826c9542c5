"""Clicks in the image."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import numpy.typing as npt

_CLICK_PX = 5  # of the screen: whoever moves the mouse further drags


class Clicks:
    """Calls a function for each click of the left button in a viewer, unless the active layer's own tool is at work.

    Parameters
    ----------
    viewer
        The viewer.
    then
        Is given napari's mouse event, and where the button was pressed in napari's world, an array with an entry for each axis.
    """

    def __init__(self, viewer: Any, then: Callable[[Any, npt.NDArray[np.float64]], object]) -> None:
        self._viewer, self._then = viewer, then
        viewer.mouse_drag_callbacks.append(self._press)

    def close(self) -> None:
        """Let go of the viewer."""
        if self._press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._press)

    def _press(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        begin, world = np.asarray(event.pos, float), np.asarray(event.position, np.float64)
        yield
        while event.type == "mouse_move":
            yield
        active = viewer.layers.selection.active
        if active is not None and active.mode != "pan_zoom":
            return
        if event.button == 1 and np.abs(np.asarray(event.pos, float) - begin).max() <= _CLICK_PX:
            self._then(event, world)
