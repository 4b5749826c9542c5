"""Tracks layers of a store's movies: while rows are selected, tracks that have none of them fade."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject

import cellvjepa
from napari_cellvjepa.layers.linking import frames_shown, tracks_layers

_FADED_ALPHA = 0.12


class TrackColours(QObject):
    """Fades tracks, as long as it is asked to.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._found: cellvjepa.Embeddings | None = None
        self._chosen_N: npt.NDArray[np.bool_] = np.zeros(0, bool)
        self._faded: list[tuple[Any, npt.NDArray[Any]]] = []  # layers, and the colours they have been given
        viewer.layers.events.inserted.connect(self.refresh)

    def follow(self, found: cellvjepa.Embeddings | None) -> None:
        """Fade the tracks of a store's movies; None: give all their own colours back."""
        self._found, self._chosen_N = found, np.zeros(0 if found is None else len(found), bool)
        if found is None:
            self.restore()

    def paint(self, chosen_N: npt.NDArray[np.bool_]) -> None:
        """Fade all tracks but those of the selected rows; where none is selected, all have their colours."""
        if np.array_equal(chosen_N, self._chosen_N):
            return
        self._chosen_N = chosen_N
        self.refresh()

    def refresh(self, event: object = None) -> None:
        """Do the same with whatever layers there are now."""
        self.restore()
        if self._found is None or not self._chosen_N.any():
            return
        table = self._found.table
        for movie in frames_shown(self._viewer, str(self._found.path)):
            layers = list(tracks_layers(self._viewer, movie))
            if layers:
                rows = np.flatnonzero(self._chosen_N & (table["movie"].to_numpy() == movie))
                chosen = np.unique(table["track_id"].to_numpy()[rows])
                for layer in layers:
                    self._fade(layer, ~np.isin(layer.data[:, 0], chosen))

    def restore(self) -> None:
        """Give tracks the colours back that their layers say."""
        for layer, given in self._faded:
            if layer.track_colors is given:  # else somebody has coloured them since
                layer.color_by = layer.color_by
        self._faded = []

    def close(self) -> None:
        """Give tracks their colours back and let go of the viewer."""
        self.follow(None)
        self._viewer.layers.events.inserted.disconnect(self.refresh)

    def _fade(self, layer: Any, others_M: npt.NDArray[np.bool_]) -> None:
        colours = np.array(layer.track_colors, np.float32)
        if len(colours) != len(others_M):
            return
        colours[others_M, 3] *= _FADED_ALPHA
        layer.track_colors = colours
        self._faded.append((layer, layer.track_colors))
