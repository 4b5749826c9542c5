"""Which of a million points lie inside a drawn line: exactly, and while one waits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_GRID = 512  # squares along each side of the box around the line
_FEW = 200_000  # points times corners for which the grid is not worth it


def inside(points_N2: npt.NDArray[np.float32], corners_K2: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Tell which points lie inside a closed line (even-odd rule where it crosses itself).

    A point in a square of a grid that the line does not touch lies inside if the square's centre does. Only the points in the squares that
    the line touches are compared with each of its sides.

    Parameters
    ----------
    points_N2
        (N, 2); those that are not finite lie outside.
    corners_K2
        (K, 2) corners of the line, which closes itself.

    Returns
    -------
    ndarray
        bool (N,).
    """
    found = np.zeros(len(points_N2), bool)
    corners = np.asarray(corners_K2, np.float64)
    if len(corners) < 3:
        return found
    low, high = corners.min(axis=0), corners.max(axis=0)
    if not (high > low).all():
        return found
    x, y = points_N2[:, 0], points_N2[:, 1]
    near = np.flatnonzero((x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1]))
    if len(near) * len(corners) <= _FEW:
        found[near] = _compared(points_N2[near].astype(np.float64), corners)
        return found
    inner, touched = _squares((corners - low) / (high - low) * _GRID)
    # In float32 a point may fall into the next square; those beside the line count as touched, too.
    scale = (_GRID / (high - low)).astype(np.float32)
    column, row = ((along[near] - np.float32(start)) * step for along, start, step in ((x, low[0], scale[0]), (y, low[1], scale[1])))
    square = np.minimum(row.astype(np.int32), _GRID - 1) * _GRID + np.minimum(column.astype(np.int32), _GRID - 1)
    found[near] = inner.ravel()[square]
    doubtful = near[touched.ravel()[square]]
    found[doubtful] = _compared(points_N2[doubtful].astype(np.float64), corners)
    return found


def _compared(points_M2: npt.NDArray[np.float64], corners_K2: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Count, side by side, how often a ray to the right crosses the line."""
    x, y = points_M2.T
    odd = np.zeros(len(points_M2), bool)
    for (x0, y0), (x1, y1) in zip(corners_K2, np.roll(corners_K2, -1, axis=0), strict=True):
        if y0 != y1:
            crosses = (y0 <= y) != (y1 <= y)
            odd ^= crosses & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    return odd


def _squares(corners_K2: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return for each square of the grid whether its centre lies inside, and whether the line comes near it: both (rows, columns)."""
    centre = np.arange(_GRID) + 0.5
    crossings = np.zeros((_GRID, _GRID + 1), np.int64)
    touched = np.zeros((_GRID + 2, _GRID + 2), bool)
    for (x0, y0), (x1, y1) in zip(corners_K2, np.roll(corners_K2, -1, axis=0), strict=True):
        rows = np.flatnonzero((y0 <= centre) != (y1 <= centre))
        if len(rows):
            x = x0 + (centre[rows] - y0) * ((x1 - x0) / (y1 - y0))
            # Centres left of the crossing see it on their right.
            crossings[rows, np.clip(np.ceil(x - 0.5), 0, _GRID).astype(np.int64)] += 1
        steps = np.linspace(0, 1, int(2 * max(abs(x1 - x0), abs(y1 - y0))) + 2)
        column, row = (x0 + steps * (x1 - x0)).astype(np.int64), (y0 + steps * (y1 - y0)).astype(np.int64)
        touched[np.minimum(row, _GRID - 1) + 1, np.minimum(column, _GRID - 1) + 1] = True
    right = crossings[:, ::-1].cumsum(axis=1)[:, ::-1]
    near = np.zeros_like(touched)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            near |= np.roll(touched, (i, j), axis=(0, 1))
    return right[:, 1:] % 2 == 1, near[1:-1, 1:-1]
