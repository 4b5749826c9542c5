"""The selection of a store's rows: it lives in the Points layers, and whoever changes it there or in a plot changes it everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

import cellvjepa
from napari_cellvjepa.layers.linking import highlight, paint_points, rows_of, selected_rows, stores_in
from napari_cellvjepa.layers.points import renew_features
from napari_cellvjepa.plot.palette import Colouring, plain

SELECTION_KEY = "cellvjepa_selection"  # in a layer's metadata: the whole selection, also of movies that are not open


class Link(QObject):
    """Keeps the layers of one store and the selection the same.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    chosen_N
        bool (N,): the selected rows. Replaced, never changed in place.
    selected
        Signal: the selection has changed, wherever.
    renewed
        Signal: somebody else has given a layer of the store other columns.
    """

    selected = Signal()
    renewed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._store = ""
        self._busy = False
        self._colouring: Colouring = plain(0)
        self._layers: list[Any] = []
        self._rows: dict[int, npt.NDArray[np.int64]] = {}  # of each layer, when last looked at: points may be taken away
        self.chosen_N: npt.NDArray[np.bool_] = np.zeros(0, bool)
        viewer.layers.events.inserted.connect(self._find_layers)
        viewer.layers.events.removed.connect(self._find_layers)

    def follow(self, found: cellvjepa.Embeddings | None) -> None:
        """Link the layers of a store, with the selection they have; None: of none."""
        self._store = "" if found is None else str(found.path)
        rows = 0 if found is None else len(found)
        self.chosen_N = np.zeros(rows, bool)
        self._colouring = plain(rows)
        for layer in self.layers():
            kept = layer.metadata.get(SELECTION_KEY)
            if kept is not None and len(kept) == rows:
                self.chosen_N = kept
            elif len(inside := selected_rows(layer)):
                self.chosen_N[inside] = True
        self._forget_layers()
        self._find_layers()

    def layers(self) -> list[Any]:
        """Return the Points layers of the store."""
        return stores_in(self._viewer).get(self._store, [])

    def select(self, chosen_N: npt.NDArray[np.bool_]) -> None:
        """Select these rows and no others."""
        self.chosen_N = np.asarray(chosen_N, bool)
        with self._alone():
            for layer in self.layers():
                self._dress(layer)
        self.selected.emit()

    def paint(self, colouring: Colouring) -> None:
        """Colour the points of all layers as in the plot."""
        self._colouring = colouring
        with self._alone():
            for layer in self.layers():
                paint_points(layer, colouring, self.chosen_N)

    def close(self) -> None:
        """Let go of the viewer and its layers; the selection stays in them."""
        self._forget_layers()
        self._viewer.layers.events.inserted.disconnect(self._find_layers)
        self._viewer.layers.events.removed.disconnect(self._find_layers)

    def _find_layers(self, event: object = None) -> None:
        for layer in self.layers():
            if not any(layer is known for known in self._layers):
                layer.selected_data.events.items_changed.connect(self._take_from_layers)
                layer.events.features.connect(self._tell_renewed)
                self._layers.append(layer)
                self._rows[id(layer)] = rows_of(layer)
                with self._alone():
                    self._dress(layer)
        present = [layer for layer in self._layers if layer in self._viewer.layers]
        self._layers = present

    def _forget_layers(self) -> None:
        for layer in self._layers:
            layer.selected_data.events.items_changed.disconnect(self._take_from_layers)
            layer.events.features.disconnect(self._tell_renewed)
        self._layers, self._rows = [], {}

    def _take_from_layers(self, event: object = None) -> None:
        """Take over what was selected in a layer, by hand or by another program."""
        if self._busy:
            return
        for layer in self.layers():
            told = layer.metadata.get(SELECTION_KEY)  # by another dock: rows of movies that are not open may be among them
            if told is not None and told is not self.chosen_N and len(told) == len(self.chosen_N):
                self.select(told)
                return
        chosen = self.chosen_N.copy()
        for layer in self.layers():
            chosen[self._rows.get(id(layer), rows_of(layer))] = False
            chosen[selected_rows(layer)] = True
            self._rows[id(layer)] = rows_of(layer)
        if not np.array_equal(chosen, self.chosen_N):
            self.select(chosen)

    def renew(self, found: cellvjepa.Embeddings) -> None:
        """Give the points of all layers the columns that the store has now."""
        with self._alone():
            for layer in self.layers():
                renew_features(layer, found)

    def _tell_renewed(self, event: object = None) -> None:
        if not self._busy:
            self.renewed.emit()

    def _dress(self, layer: Any) -> None:
        layer.metadata[SELECTION_KEY] = self.chosen_N
        highlight(layer, self.chosen_N)
        paint_points(layer, self._colouring, self.chosen_N)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Change layers without hearing of it."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before


def tell_selection(layers: Sequence[Any], chosen_N: npt.NDArray[np.bool_]) -> None:
    """Select rows of a store from outside: its layers take them, and whoever keeps a :class:`Link` to these.

    Parameters
    ----------
    layers
        The Points layers of the store.
    chosen_N
        bool (N,): the rows of the store.
    """
    for layer in layers:
        layer.metadata[SELECTION_KEY] = chosen_N
    for layer in layers:
        highlight(layer, chosen_N)
