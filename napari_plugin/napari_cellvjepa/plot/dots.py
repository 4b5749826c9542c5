"""The points of a plot on the screen: one by one where there are few, stamped into a picture where there are more, then as their density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from vispy import scene
from vispy.visuals.transforms import STTransform

from napari_cellvjepa.plot.density import Squares, above, density, squares
from napari_cellvjepa.plot.palette import Colouring, plain
from napari_cellvjepa.plot.stamps import stamps

MOST_MARKERS = 200_000  # above, their density is drawn
MOST_SMOOTH = 10_000  # markers with smooth edges; above, they are stamped into a picture (software rendering: 1e5 took 450 ms, and 15 so)
_SQUARE_PX = 2  # of the density picture on the screen
UNCHOSEN_ALPHA = 0.16
_LARGEST_PX = 11.0
_STAMP_PX, _SMALL_STAMP_PX, _VERY_MANY = 4, 2, 50_000
_EDGE = (0.05, 0.06, 0.07, 0.8)


@dataclass(frozen=True)
class Box:
    """A part of the plane of the plot: its lower left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    def wider(self, times: float) -> Box:
        """Return the box enlarged about its middle."""
        more = (times - 1) / 2
        return Box(self.x - more * self.width, self.y - more * self.height, times * self.width, times * self.height)


class Dots:
    """The points, their colours and which are selected; whatever is drawn, all of them are there.

    Parameters
    ----------
    parent
        The node of the scene to draw in.
    """

    def __init__(self, parent: Any) -> None:
        self._picture = scene.visuals.Image(parent=parent, interpolation="nearest")
        self._picture.set_gl_state("translucent", depth_test=False)
        self._markers = scene.visuals.Markers(parent=parent)
        self._markers.set_gl_state("translucent", depth_test=False)
        self._ring = scene.visuals.Markers(parent=parent)
        self._ring.set_gl_state("translucent", depth_test=False)
        self._picture.order, self._markers.order, self._ring.order = 0, 1, 2
        for visual in (self._picture, self._markers, self._ring):
            visual.visible = False
        self.points_N2 = np.empty((0, 2), np.float32, order="F")  # x and y each lie together
        self._colouring = plain(0)
        self._chosen_N = np.zeros(0, bool)
        self._shuffled_N = np.empty(0, np.int64)
        self._marked: int | None = None
        self._squares: tuple[Box, Squares] | None = None  # of the density picture drawn last
        self._whole: npt.NDArray[np.uint8] | None = None  # the same, of all points

    def place(self, points_N2: npt.NDArray[np.float32], colouring: Colouring, chosen_N: npt.NDArray[np.bool_]) -> None:
        """Set everything; :meth:`draw` shows it."""
        if len(points_N2) != len(self._shuffled_N):
            # Rows lie in the order of movies and tracks: drawn in this order, the last movie would hide the others.
            self._shuffled_N = np.random.default_rng(0).permutation(len(points_N2))
        if points_N2 is not self.points_N2:
            self._squares = None
        if points_N2 is not self.points_N2 or colouring is not self._colouring:
            self._whole = None
        self.points_N2, self._colouring, self._chosen_N = points_N2, colouring, chosen_N
        if self._marked is not None and self._marked >= len(points_N2):
            self._marked = None

    def mark(self, row: int | None) -> None:
        """Draw a ring around one row: the cell that the viewer shows."""
        self._marked = row
        place = None if row is None else self.points_N2[[row]]
        self._ring.visible = place is not None and bool(np.isfinite(place).all())
        if place is not None and self._ring.visible:
            self._ring.set_data(place, size=16, edge_width=2, edge_color="white", face_color="transparent")

    def draw(self, view: Box, size_px: tuple[int, int], ratio: float = 1.0) -> bool:
        """Draw what a view needs; return whether points are drawn one by one.

        Parameters
        ----------
        view
            What is seen.
        size_px
            Width and height of the plot on the screen.
        ratio
            Physical pixels of the screen per pixel.
        """
        rows, wide = self._rows_to_draw(view)
        smooth = rows is not None and len(rows) <= MOST_SMOOTH
        self._markers.visible = smooth and rows is not None and len(rows) > 0
        self._picture.visible = not smooth
        if rows is None:
            self._draw_density(wide, size_px)
        elif not smooth:
            self._draw_stamps(rows, wide, size_px, ratio)
        elif len(rows):
            self._draw_markers(rows)
        self.mark(self._marked)
        return rows is not None

    def nearest(self, here: npt.NDArray[np.float64], unit: npt.NDArray[np.float64], reach_px: float) -> int:
        """Return the row nearest to a place on the screen, or -1 where none is within reach; ``unit`` is the size of a pixel in the plane."""
        place, pixel = here.astype(np.float32), unit.astype(np.float32)
        x, y = self.points_N2.T
        near = np.flatnonzero((np.abs(x - place[0]) <= reach_px * pixel[0]) & (np.abs(y - place[1]) <= reach_px * pixel[1]))
        if not len(near):
            return -1
        return int(near[np.argmin(np.square((self.points_N2[near] - place) / pixel).sum(axis=1))])

    @property
    def many(self) -> bool:
        """Whether there are so many points that what is drawn depends on the view."""
        return len(self.points_N2) > MOST_SMOOTH

    def _rows_to_draw(self, view: Box) -> tuple[npt.NDArray[np.int64] | None, Box]:
        """Return the rows to draw one by one, the first below the others, or None where there are too many; and the part drawn."""
        wide = view.wider(2)  # so that there is something to see while it is moved
        order = self._shuffled_N
        if self.many:
            x, y = self.points_N2.T
            here = (x >= wide.x) & (x <= wide.x + wide.width) & (y >= wide.y) & (y <= wide.y + wide.height)
            if np.count_nonzero(here) > MOST_MARKERS:
                return None, wide
            order = order[here[order]]
        order = order[np.isfinite(self.points_N2[order]).all(axis=1)]
        height = 2 * self._chosen_N[order].astype(np.int8) - self._colouring.background()[order]
        return order[np.argsort(height, kind="stable")], wide

    def _draw_markers(self, rows: npt.NDArray[np.int64]) -> None:
        colours = self._colouring.rgba(rows)
        edges = np.tile(np.asarray(_EDGE, np.float32), (len(rows), 1))
        if self._chosen_N.any():
            faded = ~self._chosen_N[rows]
            colours[faded, 3] = UNCHOSEN_ALPHA
            edges[faded, 3] = 0
        size = min(21.5 - 3.5 * float(np.log10(len(rows))), _LARGEST_PX)
        self._markers.set_data(self.points_N2[rows], size=size, edge_width=0.6, edge_color=edges, face_color=colours)

    def _draw_stamps(self, rows: npt.NDArray[np.int64], wide: Box, size_px: tuple[int, int], ratio: float) -> None:
        colours = self._colouring.rgba(rows)
        if self._chosen_N.any():
            colours[~self._chosen_N[rows], 3] = UNCHOSEN_ALPHA
        diameter = max(1, round(ratio * (_STAMP_PX if len(rows) <= _VERY_MANY else _SMALL_STAMP_PX)))
        shape = round(2 * ratio * size_px[1]), round(2 * ratio * size_px[0])
        self._show_picture(stamps(self.points_N2[rows], colours, (wide.x, wide.y, wide.width, wide.height), shape, diameter), wide)

    def _draw_density(self, wide: Box, size_px: tuple[int, int]) -> None:
        columns, rows = (max(8, 2 * int(length) // _SQUARE_PX) for length in size_px)
        if self._squares is None or self._squares[0] != wide or self._squares[1].shape != (rows, columns):
            self._squares = wide, squares(self.points_N2, (wide.x, wide.y, wide.width, wide.height), (rows, columns))
            self._whole = None
        colouring, where = self._colouring, self._squares[1]
        if self._whole is None:
            self._whole = density(where, colouring.index_N, colouring.colours_K4)
        picture = self._whole
        if self._chosen_N.any():
            picture = above(density(where, colouring.index_N, colouring.colours_K4, self._chosen_N), self._whole)
        self._show_picture(picture, wide)

    def _show_picture(self, picture: npt.NDArray[np.uint8], wide: Box) -> None:
        rows, columns, _ = picture.shape
        self._picture.set_data(picture)
        self._picture.transform = STTransform(scale=(wide.width / columns, wide.height / rows), translate=(wide.x, wide.y))
