"""When and where cells are, quick to look up among a million rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Ints = npt.NDArray[np.int64]


class Cell(NamedTuple):
    """A cell: a track of a movie."""

    movie: str
    track_id: int


class CellIndex:
    """Sightings of cells, found by cell and by time.

    Parameters
    ----------
    table
        A line for each sighting: ``movie``, ``track_id`` (below 0: no track), ``t_start``, ``t_stop`` [native frames, half open], ``y_px``,
        ``x_px``, optional ``z_px``. Rows are numbered as they come.

    Attributes
    ----------
    movies
        Names of the movies, in the order in which they come.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        codes, names = pd.factorize(table["movie"])
        self.movies: tuple[str, ...] = tuple(map(str, names))
        track = table["track_id"].to_numpy(np.int64)
        start = table["t_start"].to_numpy(np.int64)
        self._order: Ints = np.lexsort((start, track, codes))
        self._order = self._order[track[self._order] >= 0]
        self._track, self._start = track[self._order], start[self._order]
        self._stop = table["t_stop"].to_numpy(np.int64)[self._order]
        depth = table["z_px"].to_numpy(np.float64)[self._order] if "z_px" in table else np.zeros(len(self._order))
        places = [np.nan_to_num(depth), *(table[name].to_numpy(np.float64)[self._order] for name in ("y_px", "x_px"))]
        self._zyx = np.column_stack(places).astype(np.float32)
        ends = np.searchsorted(codes[self._order], np.arange(len(names) + 1))
        self._of_movie = {name: slice(int(ends[i]), int(ends[i + 1])) for i, name in enumerate(self.movies)}

    def __len__(self) -> int:
        """Return how many sightings of tracked cells there are."""
        return len(self._order)

    def rows(self, cell: Cell) -> Ints:
        """Return the rows of a cell, in the order of time."""
        return self._order[self._slice(cell)]

    def windows(self, cell: Cell) -> list[tuple[int, int]]:
        """Return from when to when each row of a cell lasts."""
        inside = self._slice(cell)
        return list(zip(self._start[inside].tolist(), self._stop[inside].tolist(), strict=True))

    def span(self, cell: Cell) -> tuple[int, int] | None:
        """Return from when to when a cell is there [native frames, half open]; None if it is not known."""
        inside = self._slice(cell)
        return None if inside.start == inside.stop else (int(self._start[inside][0]), int(self._stop[inside].max()))

    def window(self, cell: Cell, frame: int) -> int:
        """Return the row of a cell whose window holds a frame, or -1; of several the one whose middle is nearest."""
        inside = self._slice(cell)
        start, stop = self._start[inside], self._stop[inside]
        here = np.flatnonzero((start <= frame) & (frame < stop))
        if not len(here):
            return -1
        return int(self._order[inside][here[np.argmin(np.abs(start[here] + stop[here] - 1 - 2 * frame))]])

    def spans(self, movie: str) -> tuple[Ints, Ints, Ints]:
        """Return the tracks of a movie, and from when to when each is there."""
        inside = self._of_movie.get(movie, slice(0, 0))
        tracks, first = np.unique(self._track[inside], return_index=True)
        if not len(tracks):
            return tracks, tracks, tracks
        return tracks, self._start[inside][first], np.maximum.reduceat(self._stop[inside], first)

    def place(self, cell: Cell, frames_F: Ints) -> npt.NDArray[np.float32]:
        """Return where a cell is seen at some frames: z, y, x of the sighting that is nearest in time, float32 (F, 3) [px]."""
        inside = self._slice(cell)
        middle = self._start[inside] + self._stop[inside] - 1
        nearest = np.abs(2 * frames_F[:, None] - middle[None]).argmin(axis=1)
        found: npt.NDArray[np.float32] = self._zyx[inside][nearest]
        return found

    def near(self, movie: str, frame: int, y_px: float, x_px: float, reach_px: float) -> int:
        """Return the track that is nearest to a place at a frame, or -1 where there is none within reach."""
        inside = self._of_movie.get(movie, slice(0, 0))
        here = np.flatnonzero((self._start[inside] <= frame) & (frame < self._stop[inside]))
        if not len(here):
            return -1
        far = np.hypot(*(self._zyx[inside][here, 1:] - np.array([y_px, x_px], np.float32)).T)
        nearest = int(np.argmin(far))
        return int(self._track[inside][here[nearest]]) if far[nearest] <= reach_px else -1

    def _slice(self, cell: Cell) -> slice:
        inside = self._of_movie.get(cell.movie, slice(0, 0))
        low, high = np.searchsorted(self._track[inside], [cell.track_id, cell.track_id + 1]) + inside.start
        return slice(int(low), int(high))
