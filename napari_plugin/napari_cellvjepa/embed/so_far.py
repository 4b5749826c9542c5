"""Points of the windows that have their embeddings already, while the others are computed."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from napari_cellvjepa.embed.request import Begun
from napari_cellvjepa.layers.of_movies import Space
from napari_cellvjepa.layers.points import centres
from napari_cellvjepa.plot.palette import PALETTE

UNFINISHED_KEY = "cellvjepa_unfinished"  # in a layer's metadata: where the store will stand whose windows it shows
_EVERY_S = 0.5  # a layer of many points takes a while to be drawn


class SoFar:
    """A Points layer that fills, and goes away when the store is there, or when it is not going to be.

    Parameters
    ----------
    viewer
        Gets the layer.
    space
        Of the movie.
    """

    def __init__(self, viewer: Any, space: Space) -> None:
        self._viewer, self._space = viewer, space
        self._begun: Begun | None = None
        self._layer: Any | None = None
        self._drawn_s = 0.0

    def begin(self, begun: Begun) -> None:
        """Take note of the windows; the layer comes with the first that is done."""
        self._begun = begun

    def show(self, done: int, total: int) -> None:
        """Show the windows that are done."""
        begun, now_s = self._begun, time.monotonic()
        # Fewer in all: windows are added to a store, and which of them come first is not known.
        if begun is None or not done or total != len(begun.table) or (done < total and now_s - self._drawn_s < _EVERY_S):
            return
        if self._layer is None:
            self._layer = self._add(begun)
        if self._layer not in self._viewer.layers:
            return  # somebody does not want to see it
        shown = np.zeros(total, bool)
        shown[begun.order[:done]] = True
        self._layer.shown = shown
        self._layer.name = f"{begun.store.name.removesuffix('.zarr')}: {done:,} of {total:,} so far"
        self._drawn_s = time.monotonic()

    def remove(self) -> None:
        """Take the layer away: nothing of an unfinished store is left to be taken for a finished one."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = self._begun = None

    def _add(self, begun: Begun) -> Any:
        table, shape = begun.table, begun.shape
        positions, scale = centres(table, self._space, whole_stack=shape.z in ("max", "stack"))
        wide_px = float(shape.size_px)
        if shape.pixel_um and self._space.units[-1] == "micrometer":
            wide_px = shape.size_px * shape.pixel_um / self._space.scale[-1]
        grid = bool((table["track_id"] < 0).all())
        active = self._viewer.layers.selection.active
        layer = self._viewer.add_points(
            positions,
            **{**self._space.settings(), "scale": scale},
            shown=np.zeros(len(table), bool),
            metadata={UNFINISHED_KEY: str(begun.store)},
            size=(0.92 if grid else 0.45) * wide_px,
            symbol="square" if grid else "disc",
            face_color="transparent",
            border_color=PALETTE[1],
            border_width=0.03 if grid else 0.07,
        )
        if active is not None:
            self._viewer.layers.selection.active = active  # whoever paints meanwhile goes on painting
        return layer
