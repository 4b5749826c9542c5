"""Where points lie too close to be drawn one by one: a picture of how many lie where, in the mean of their colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_FAINTEST = 0.35  # opacity of a single point
_UNCHOSEN = 0.18  # what is left of the opacity of rows that are not selected, while others are
_MOST_COUNTERS = 8_000_000  # squares times colours that are counted at once


@dataclass(frozen=True, eq=False)
class Squares:
    """In which square of a picture each point lies.

    Parameters
    ----------
    seen_M
        int64 (M,): the points that lie in the picture.
    square_M
        int32 (M,): their squares, counted row by row from the lowest.
    shape
        Rows and columns of the picture.
    """

    seen_M: npt.NDArray[np.int64]
    square_M: npt.NDArray[np.int32]
    shape: tuple[int, int]


def squares(points_N2: npt.NDArray[np.float32], box: tuple[float, float, float, float], shape: tuple[int, int]) -> Squares:
    """Find the square of each point.

    Parameters
    ----------
    points_N2
        (N, 2) x and y.
    box
        x and y of the lower left corner, width and height: what the picture shows.
    shape
        Rows and columns of the picture; the first row is the lowest.
    """
    rows, columns = shape
    x = (points_N2[:, 0] - box[0]) * (columns / box[2])
    y = (points_N2[:, 1] - box[1]) * (rows / box[3])
    seen = np.flatnonzero((x >= 0) & (x < columns) & (y >= 0) & (y < rows))  # NaN is not seen
    return Squares(seen, y[seen].astype(np.int32) * columns + x[seen].astype(np.int32), shape)


def density(
    where: Squares,
    index_N: npt.NDArray[np.int16],
    colours_K4: npt.NDArray[np.float32],
    chosen_N: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.uint8]:
    """Return a picture of points: opacity tells how many there are (logarithmically), colour is their mean colour.

    Parameters
    ----------
    where
        The points' squares.
    index_N, colours_K4
        The colour of each point.
    chosen_N
        bool (N,): only these points; None: all.

    Returns
    -------
    ndarray
        uint8 (rows, columns, 4).
    """
    seen, square = where.seen_M, where.square_M
    if chosen_N is not None:
        chosen = np.flatnonzero(chosen_N[seen])
        seen, square = seen[chosen], square[chosen]
    rows, columns = where.shape
    return _picture(square, index_N[seen], colours_K4, rows * columns).reshape(rows, columns, 4)


def above(chosen: npt.NDArray[np.uint8], others: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the picture of the points that are selected above that of all, which fades."""
    faded = others.copy()
    faded[..., 3] = (others[..., 3] * _UNCHOSEN).astype(np.uint8)
    return np.where(chosen[..., 3:] > 0, chosen, faded)


def _picture(
    square_M: npt.NDArray[np.int32], index_M: npt.NDArray[np.int16], colours_K4: npt.NDArray[np.float32], squares: int
) -> npt.NDArray[np.uint8]:
    picture = np.zeros((squares, 4), np.uint8)
    kinds = len(colours_K4)
    if kinds * squares <= _MOST_COUNTERS:
        by_kind = np.bincount(square_M.astype(np.int64) * kinds + index_M if kinds > 1 else square_M, minlength=squares * kinds)
        by_kind = by_kind.reshape(squares, kinds)
        counts = by_kind.sum(axis=1)
        filled = np.flatnonzero(counts)
        total = by_kind[filled] @ colours_K4[:, :3]
    else:
        counts = np.bincount(square_M, minlength=squares)
        filled = np.flatnonzero(counts)
        total = np.column_stack([np.bincount(square_M, weights=colours_K4[index_M, channel], minlength=squares)[filled] for channel in range(3)])
    if not len(filled):
        return picture
    picture[filled, :3] = (255 * total / counts[filled, None]).astype(np.uint8)
    full = np.log1p(np.percentile(counts[filled], 99.5))
    share = np.minimum(np.log1p(counts[filled]) / full, 1)
    picture[filled, 3] = (255 * (_FAINTEST + (1 - _FAINTEST) * share)).astype(np.uint8)
    return picture
