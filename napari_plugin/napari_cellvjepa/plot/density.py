"""Where points lie too close to be drawn one by one: a picture of how many lie where, in the mean of their colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_FAINTEST = 0.35  # opacity of a single point
_UNCHOSEN = 0.18  # what is left of the opacity of rows that are not selected, while others are


def density(
    points_N2: npt.NDArray[np.float32],
    index_N: npt.NDArray[np.int16],
    colours_K4: npt.NDArray[np.float32],
    box: tuple[float, float, float, float],
    shape: tuple[int, int],
    chosen_N: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.uint8]:
    """Return a picture of points: opacity tells how many there are (logarithmically), colour is their mean colour.

    Parameters
    ----------
    points_N2
        (N, 2) x and y.
    index_N, colours_K4
        The colour of each point.
    box
        x and y of the lower left corner, width and height: what the picture shows.
    shape
        Rows and columns of the picture; the first row is the lowest.
    chosen_N
        Selected points are drawn above the others, which fade; None if none is selected.

    Returns
    -------
    ndarray
        uint8 (rows, columns, 4).
    """
    rows, columns = shape
    x = (points_N2[:, 0] - box[0]) * (columns / box[2])
    y = (points_N2[:, 1] - box[1]) * (rows / box[3])
    seen = np.flatnonzero((x >= 0) & (x < columns) & (y >= 0) & (y < rows))  # NaN is not seen
    square = y[seen].astype(np.int32) * columns + x[seen].astype(np.int32)
    if chosen_N is None:
        return _picture(square, index_N[seen], colours_K4, rows * columns).reshape(rows, columns, 4)
    chosen = chosen_N[seen]
    below = _picture(square[~chosen], index_N[seen[~chosen]], colours_K4, rows * columns)
    below[:, 3] = (below[:, 3] * _UNCHOSEN).astype(np.uint8)
    above = _picture(square[chosen], index_N[seen[chosen]], colours_K4, rows * columns)
    return np.where(above[:, 3:] > 0, above, below).reshape(rows, columns, 4)


def _picture(
    square_M: npt.NDArray[np.int32], index_M: npt.NDArray[np.int16], colours_K4: npt.NDArray[np.float32], squares: int
) -> npt.NDArray[np.uint8]:
    counts = np.bincount(square_M, minlength=squares)
    picture = np.zeros((squares, 4), np.uint8)
    filled = np.flatnonzero(counts)
    if not len(filled):
        return picture
    if len(colours_K4) == 1:
        picture[filled, :3] = (255 * colours_K4[0, :3]).astype(np.uint8)
    else:
        for channel in range(3):
            total = np.bincount(square_M, weights=colours_K4[index_M, channel], minlength=squares)
            picture[filled, channel] = (255 * total[filled] / counts[filled]).astype(np.uint8)
    full = np.log1p(np.percentile(counts[filled], 99.5))
    share = np.minimum(np.log1p(counts[filled]) / full, 1)
    picture[filled, 3] = (255 * (_FAINTEST + (1 - _FAINTEST) * share)).astype(np.uint8)
    return picture
