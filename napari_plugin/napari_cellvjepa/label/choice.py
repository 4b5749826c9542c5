"""The line that says whose cells are labelled; what is chosen is read in the background."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Tracks
from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QWidget

from napari_cellvjepa.label.subject import layers_with_cells, movie_of, read_layer_subject, read_store_subject
from napari_cellvjepa.layers.linking import movie_layers, stores_in
from napari_cellvjepa.layers.of_movies import Space
from napari_cellvjepa.parts.latest import Latest


class SubjectChoice(QWidget):
    """The line.

    Attributes
    ----------
    chosen
        Signal ``(subject)``: a Subject that has been read, or None.
    told
        Signal ``(text)``: how it goes.
    """

    chosen = Signal(object)
    told = Signal(str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._reading = Latest(self)
        self._offered: list[Any] = []  # paths of stores, and layers
        self._now: Any = None
        self._by_hand = False
        self._watched: Any = None
        self.box = QComboBox()
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(12)
        self.box.activated.connect(self._by_a_person)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box, 1)
        events = viewer.layers.events
        for event in (events.inserted, events.removed):
            event.connect(self.offer)

    def offer(self, event: object = None) -> None:
        """Offer the stores that are open, then layers with cells; a choice of a person's stays, else stores come first."""
        if not isalive(self):  # type: ignore[no-untyped-call]
            return
        stores = list(stores_in(self._viewer))
        layers = layers_with_cells(self._viewer)
        # Tracks say where cells are; of a label image that is not known beforehand.
        layers.sort(key=lambda layer: not isinstance(layer, Tracks))
        self._offered = [*stores, *layers]
        self._by_hand = self._by_hand and self._place_of(self._now) >= 0
        wanted = self._now if self._by_hand else self._offered[0] if self._offered else None
        with QSignalBlocker(self.box):
            self.box.clear()
            self.box.addItems([Path(one).name if isinstance(one, str) else one.name for one in self._offered])
            self.box.setCurrentIndex(self._place_of(wanted))
        self._read(wanted)

    def choose(self, what: Any) -> None:
        """Choose a store by its path, or a layer, as by hand."""
        self._by_hand = True
        place = self._place_of(what)
        self.box.setCurrentIndex(place)
        self._read(self._offered[place])

    def close_all(self) -> None:
        """Stop reading and let go of the viewer."""
        self._reading.cancel()
        self._watch(None)
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed):
            event.disconnect(self.offer)

    def _place_of(self, what: Any) -> int:
        """Return where something stands in the list, or -1; layers are not compared by what they hold."""
        return next((i for i, one in enumerate(self._offered) if one is what or (isinstance(one, str) and isinstance(what, str) and one == what)), -1)

    def _by_a_person(self, place: int) -> None:
        self._by_hand = True
        self._read(self._offered[place])

    def _read(self, what: Any, *, again: bool = False) -> None:
        if not again and (what is self._now or (isinstance(what, str) and what == self._now)):
            return
        self._now = what
        self._watch(None)
        self._reading.cancel()
        if what is None:
            self.chosen.emit(None)
            return
        if isinstance(what, str):
            do = partial(read_store_subject, Path(what))
        else:
            self._watch(what)
            do = partial(read_layer_subject, what, what.name, *self._of_layer(what))
        self.told.emit("reading the cells …")
        self._reading.do(do, "Reading the cells", self.chosen.emit, failed=self._fail)

    def _of_layer(self, layer: Any) -> tuple[str, Any]:
        """Return the movie of a layer, and its tracks in the pixels of the image that they lie over."""
        movie = movie_of(self._viewer, layer)
        if not isinstance(layer, Tracks):
            return movie, None
        data = np.array(layer.data, np.float64)
        image = next(iter(movie_layers(self._viewer, movie)), None)
        if image is not None and len(image.scale) == data.shape[1] - 1:
            space, own = Space.of_layer(image), Space.of_layer(layer)
            data[:, 1:] = (data[:, 1:] * own.scale + own.translate - np.array(space.translate)) / space.scale
        return movie, data

    def _fail(self, problem: str) -> None:
        self.told.emit(problem)
        self.chosen.emit(None)

    def _watch(self, layer: Any) -> None:
        """Hear of it when the tracks of a layer change."""
        if self._watched is not None:
            self._watched.events.data.disconnect(self._changed)
        self._watched = layer if isinstance(layer, Tracks) else None
        if self._watched is not None:
            self._watched.events.data.connect(self._changed)

    def _changed(self, event: object = None) -> None:
        self._read(self._now, again=True)
