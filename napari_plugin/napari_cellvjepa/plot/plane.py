"""Between the numbers of two columns and the plane of the plot, in which all points lie between 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_cellvjepa.plot.dots import Box

_MARGIN = 0.06
Limits = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane of two columns.

    Parameters
    ----------
    origin, span
        (2,) each: the values that lie at 0, and how many there are to 1.
    home
        What holds all points.
    """

    origin: npt.NDArray[np.float64]
    span: npt.NDArray[np.float64]
    home: Box

    @classmethod
    def of(cls, both_N2: npt.NDArray[np.float64], alike: bool) -> Plane:
        """Return the plane that some points fill; columns that are ``alike`` have the same scale."""
        known = both_N2[np.isfinite(both_N2).all(axis=1)]
        low, high = (known.min(axis=0), known.max(axis=0)) if len(known) else (np.zeros(2), np.ones(2))
        wide = np.where(high > low, high - low, 1.0)
        span = np.full(2, wide.max()) if alike else wide
        width, height = wide / span
        return cls(low, span, Box(0, 0, float(width), float(height)).wider(1 + 2 * _MARGIN))

    def points(self, both_N2: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Return where points lie, float32 (N, 2), x and y each together.

        The card counts in float32: large numbers that hardly differ must come near to 0 first.
        """
        return np.asfortranarray((both_N2 - self.origin) / self.span, np.float32)

    def limits(self, box: Box) -> Limits:
        """Return the values of x and of y at the edges of a part of the plane."""
        x, y = (self.origin + np.array([[box.x, box.y], [box.x + box.width, box.y + box.height]]) * self.span).T
        return (float(x[0]), float(x[1])), (float(y[0]), float(y[1]))

    def box(self, x: Any, y: Any) -> Box | None:
        """Return the part of the plane between two values of x and two of y, or None where there is nothing between them."""
        (left, bottom), (right, top) = (np.array([x, y], float).T - self.origin) / self.span
        if not (np.isfinite([left, bottom, right, top]).all() and left < right and bottom < top):
            return None
        return Box(float(left), float(bottom), float(right - left), float(top - bottom))
