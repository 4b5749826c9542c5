"""The way of cells through the embedding: their tracks as lines in the plot, marked at the time that the viewer shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from qtpy.QtCore import QObject

import cellvjepa
from napari_cellvjepa.layers.linking import frames_shown
from napari_cellvjepa.plot.scatter import Scatter
from napari_cellvjepa.plot.trails import Trail

MOST_TRACKS = 100  # more would be a tangle
_TRACKS_PER_MOVIE = 2**40  # more than any movie has


class Trajectories(QObject):
    """Draws tracks, while it is switched on.

    Parameters
    ----------
    viewer
        The viewer whose time slider the marks follow.
    plot
        Where they are drawn.
    """

    def __init__(self, viewer: Any, plot: Scatter) -> None:
        super().__init__()
        self._viewer, self._plot = viewer, plot
        self._tracks: Tracks | None = None
        self._found: cellvjepa.Embeddings | None = None
        self._shown = False
        self.told = ""
        viewer.dims.events.current_step.connect(self.mark)
        viewer.dims.events.point.connect(self.mark)

    def follow(self, found: cellvjepa.Embeddings | None) -> None:
        """Draw tracks of this store from now on."""
        self._found, self._tracks = found, None

    def show(self, shown: bool) -> None:
        """Switch it on or off; :meth:`draw` then draws."""
        self._shown = shown

    @property
    def shown(self) -> bool:
        """Whether it is switched on."""
        return self._shown

    def draw(self, chosen_N: npt.NDArray[np.bool_], row: int) -> None:
        """Draw the tracks of the selected rows; where none is selected, that of a row (-1: none)."""
        self.told = ""
        if not self._shown or self._found is None or len(self._plot.dots.points_N2) != len(self._found):  # the points come later
            self._plot.draw_trails(())
            return
        rows = np.flatnonzero(chosen_N) if chosen_N.any() else np.array([row] if row >= 0 else [], np.int64)
        if self._tracks is None:
            self._tracks = Tracks(self._found.table)
        trails, tracks = self._tracks.trails(rows)
        self._plot.draw_trails(trails)
        if not tracks:
            self.told = "No track to draw: select tracked cells, or click one."
        elif tracks > MOST_TRACKS:
            self.told = f"{MOST_TRACKS} of {tracks:,} tracks are drawn."
        self.mark()

    def mark(self, event: object = None) -> None:
        """Mark where the tracks are at the time that the viewer shows."""
        if self._shown and self._found is not None and self._plot.trails.trails:
            self._plot.mark_trails(frames_shown(self._viewer, str(self._found.path)))

    def close(self) -> None:
        """Let go of the viewer."""
        self._viewer.dims.events.current_step.disconnect(self.mark)
        self._viewer.dims.events.point.disconnect(self.mark)


class Tracks:
    """The rows of a store by track.

    Parameters
    ----------
    table
        Of the store.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table
        movie = pd.factorize(table["movie"].to_numpy())[0] * _TRACKS_PER_MOVIE
        track = table["track_id"].to_numpy(np.int64)
        self._track_N = pd.Series(np.where(track >= 0, movie + track, -1))
        self._mother_N: pd.Series[Any] | None = None
        if "parent_track_id" in table:
            mother = table["parent_track_id"].fillna(-1).to_numpy(np.int64)
            # btrack and others write the track itself where there is no mother
            self._mother_N = pd.Series(np.where((mother >= 0) & (mother != track) & (track >= 0), movie + mother, -1))

    def trails(self, rows: npt.NDArray[np.int64]) -> tuple[list[Trail], int]:
        """Return the tracks of some rows and of their daughters, as many as are drawn; and how many tracks the rows have."""
        asked = [track for track in pd.unique(self._track_N.iloc[rows]).tolist() if track >= 0]
        wanted = dict.fromkeys(asked[:MOST_TRACKS])
        young = list(wanted)
        while young and self._mother_N is not None:
            born = pd.unique(self._track_N[self._mother_N.isin(young)]).tolist()
            young = [track for track in born if track not in wanted][: MOST_TRACKS - len(wanted)]
            wanted |= dict.fromkeys(young)
        return self._drawn(list(wanted)), len(asked)

    def _drawn(self, wanted: list[int]) -> list[Trail]:
        here = np.flatnonzero(self._track_N.isin(wanted))
        start, stop = (self._table[name].to_numpy()[here] for name in ("t_start", "t_stop"))
        order = np.argsort(start, kind="stable")
        here, start, stop, track = here[order], start[order], stop[order], self._track_N.iloc[here[order]].to_numpy()
        of = {name: np.flatnonzero(track == name) for name in wanted}
        trails = []
        for own in of.values():
            begin, rows = int(start[own[0]]), own
            mother = -1 if self._mother_N is None else int(self._mother_N.iloc[int(here[own[0]])])
            before = of.get(mother, own[:0])
            before = before[start[before] <= begin]
            if len(before):
                rows = np.append(before[-1], own)
            middles = (start[rows] + stop[rows] - 1) / 2
            kept = np.concatenate([[True], np.diff(middles) > 0])
            facts = self._table.iloc[int(here[own[0]])]
            trail = Trail(str(facts["movie"]), int(facts["track_id"]), here[rows[kept]], middles[kept], begin, int(stop[own].max()))
            trails.append(trail)
        return trails
