"""The line that a person draws around points: a lasso or a rectangle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from vispy import scene

Tool: TypeAlias = Literal["pan", "lasso", "rectangle"]
How: TypeAlias = Literal["new", "add", "subtract"]
Place: TypeAlias = npt.NDArray[np.float64]

_LEAST_STEP_PX = 3  # between corners of a lasso


class Pen:
    """The line, while it is drawn.

    Parameters
    ----------
    parent
        The node of the scene to draw in.
    plane
        Turns a place on the canvas [px] into one of the scene.
    """

    def __init__(self, parent: Any, plane: Callable[[Any], Place]) -> None:
        self._plane = plane
        self._line = scene.visuals.Line(parent=parent, color="white", width=1.5, antialias=True)
        self._line.order = 10
        self._line.visible = False
        self._tool: Tool = "lasso"
        self._drawn: list[Place] = []

    @property
    def down(self) -> bool:
        """Whether a line is being drawn."""
        return bool(self._drawn)

    @property
    def has_moved(self) -> bool:
        """Whether it is more than a spot."""
        return len(self._drawn) >= 3

    def begin(self, tool: Tool, place_px: Place) -> None:
        """Put the pen down."""
        self._tool, self._drawn = tool, [place_px]

    def draw_to(self, place_px: Place) -> None:
        """Draw on."""
        if self._tool == "lasso" and np.abs(place_px - self._drawn[-1]).max() >= _LEAST_STEP_PX:
            self._drawn.append(place_px)
        corners = self.corners(place_px)
        self._line.set_data(np.vstack([corners, corners[:1]]).astype(np.float32))
        self._line.visible = True

    def corners(self, last_px: Place) -> Place:
        """Return the corners of what is drawn, in the scene, (K, 2); ``last_px`` is where the pen is."""
        if self._tool == "lasso":
            corners = self._drawn
        else:
            (x0, y0), (x1, y1) = self._drawn[0], last_px
            corners = [np.array(corner) for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
        return np.array([self._plane(corner) for corner in corners])

    def lift(self) -> None:
        """Take the pen up, and the line away."""
        self._drawn, self._line.visible = [], False


def how_of(modifiers: Any, chosen: How) -> How:
    """Return what a drawn line is for: keys say more than buttons."""
    if "Shift" in modifiers:
        return "add"
    return "subtract" if "Alt" in modifiers or "Control" in modifiers else chosen
