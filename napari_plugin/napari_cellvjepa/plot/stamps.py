"""Points that are too many to be drawn by the graphics card of a machine without one: each is stamped into a picture, by numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def stamps(
    points_M2: npt.NDArray[np.float32],
    colours_M4: npt.NDArray[np.float32],
    box: tuple[float, float, float, float],
    shape: tuple[int, int],
    diameter_px: int,
) -> npt.NDArray[np.uint8]:
    """Return a picture in which each point is a small disc; of those that overlap, the later one is seen.

    Parameters
    ----------
    points_M2
        (M, 2) x and y, finite.
    colours_M4
        float32 (M, 4), 0 to 1.
    box
        x and y of the lower left corner, width and height: what the picture shows.
    shape
        Rows and columns of the picture; the first row is the lowest.
    diameter_px
        Of a disc.

    Returns
    -------
    ndarray
        uint8 (rows, columns, 4).
    """
    rows, columns = shape
    edge = diameter_px  # a frame around the picture, so that no disc need be cut
    wide = columns + 2 * edge
    x = (points_M2[:, 0] - box[0]) * (columns / box[2])
    y = (points_M2[:, 1] - box[1]) * (rows / box[3])
    seen = np.flatnonzero((x > -edge / 2) & (x < columns + edge / 2) & (y > -edge / 2) & (y < rows + edge / 2))
    corner_x = np.floor(x[seen] - (diameter_px - 1) / 2).astype(np.int32) + edge
    corner_y = np.floor(y[seen] - (diameter_px - 1) / 2).astype(np.int32) + edge
    colours = np.rint(255 * colours_M4[seen]).astype(np.uint8).view(np.uint32).ravel()
    disc = _disc(diameter_px, wide)
    picture = np.zeros((rows + 2 * edge) * wide, np.uint32)
    # numpy assigns in order, so the last point that covers a pixel has it.
    picture[((corner_y * wide + corner_x)[:, None] + disc).ravel()] = np.repeat(colours, len(disc))
    inner = picture.reshape(rows + 2 * edge, wide)[edge:-edge, edge:-edge]
    return np.ascontiguousarray(inner).view(np.uint8).reshape(rows, columns, 4)


def _disc(diameter_px: int, columns: int) -> npt.NDArray[np.int32]:
    """Return which pixels from the lower left corner on belong to a disc, in a picture of so many columns."""
    place = np.arange(diameter_px) - (diameter_px - 1) / 2
    inside = place[:, None] ** 2 + place**2 <= (diameter_px / 2) ** 2
    row, column = np.nonzero(inside)
    return (row * columns + column).astype(np.int32)
