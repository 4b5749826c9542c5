"""Tracks drawn through a plot: lines from each window to the next, and where they are at one time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from vispy import scene

_EARLY_ALPHA, _LATE_ALPHA = 0.25, 0.95


@dataclass(frozen=True, eq=False)
class Trail:
    """One track in time order.

    Parameters
    ----------
    movie, track_id
        Whose it is.
    rows_M
        int64 (M,): rows of the store; of a daughter the first one is the last of its mother.
    frames_M
        float64 (M,): the middles of their windows [native frames], rising.
    begin_frame, end_frame
        From when to when the cell itself is there, half open.
    """

    movie: str
    track_id: int
    rows_M: npt.NDArray[np.int64]
    frames_M: npt.NDArray[np.float64]
    begin_frame: int
    end_frame: int

    def place_at(self, frame: float, points_N2: npt.NDArray[np.float32]) -> npt.NDArray[np.float64] | None:
        """Return where the track is at a time, between the windows before and after; None while the cell is not there."""
        if not self.begin_frame <= frame < self.end_frame:
            return None
        places = points_N2[self.rows_M].astype(np.float64)
        return np.array([np.interp(frame, self.frames_M, places[:, axis]) for axis in range(2)])


class Trails:
    """The lines and the marks on them.

    Parameters
    ----------
    parent
        The node of the scene to draw in.
    """

    def __init__(self, parent: Any) -> None:
        self._lines = scene.visuals.Line(parent=parent, width=1.5, method="gl", antialias=False)
        self._marks = scene.visuals.Markers(parent=parent)
        for visual, order in ((self._lines, 4), (self._marks, 5)):
            visual.set_gl_state("translucent", depth_test=False)
            visual.order, visual.visible = order, False
        self.trails: tuple[Trail, ...] = ()
        self.marked_M2: npt.NDArray[np.float32] = np.empty((0, 2), np.float32)

    def draw(self, trails: Sequence[Trail], points_N2: npt.NDArray[np.float32]) -> None:
        """Draw these tracks and no others, dim at their beginning and bright at their end.

        Parameters
        ----------
        points_N2
            Where all rows are; a row that is nowhere interrupts the line.
        """
        self.trails = tuple(trail for trail in trails if len(trail.rows_M) > 1)
        self._lines.visible = bool(self.trails)
        if not self.trails:
            return
        lengths = [len(trail.rows_M) for trail in self.trails]
        places = points_N2[np.concatenate([trail.rows_M for trail in self.trails])]
        ends = np.cumsum(lengths) - 1
        known = np.isfinite(places).all(axis=1)
        joined = known[:-1] & known[1:]
        joined[ends[:-1]] = False  # not from one track to the next
        colours = np.ones((len(places), 4), np.float32)
        colours[:, 3] = np.concatenate([np.linspace(_EARLY_ALPHA, _LATE_ALPHA, length) for length in lengths])
        pairs = np.flatnonzero(joined)
        self._lines.visible = bool(len(pairs))
        if len(pairs):
            self._lines.set_data(
                np.nan_to_num(places).astype(np.float32), color=colours, connect=np.column_stack([pairs, pairs + 1]).astype(np.uint32)
            )

    def mark(self, frames: Mapping[str, float], points_N2: npt.NDArray[np.float32]) -> None:
        """Mark where the tracks are now, as far as they are anywhere.

        Parameters
        ----------
        frames
            The frame that is shown, for each movie that is.
        points_N2
            Where all rows are.
        """
        places = [trail.place_at(frames[trail.movie], points_N2) for trail in self.trails if trail.movie in frames]
        known = [place for place in places if place is not None and np.isfinite(place).all()]
        self.marked_M2 = np.array(known, np.float32).reshape(-1, 2)
        self._marks.visible = bool(known)
        if known:
            self._marks.set_data(self.marked_M2, size=10, edge_width=2, edge_color="black", face_color="white")
