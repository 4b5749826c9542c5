"""The ring around the chosen cell: it goes along with the cell, in the colour of its label at each time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Points

import cellvjepa
from napari_cellvjepa.label.cells import Cell
from napari_cellvjepa.label.subject import Ground, Subject

NAME = "the cell being labelled"
_NO_LABEL = "#ffffff"
_SHARE = 0.06  # of the width of the movie, where nothing tells how large a cell is
_OF_CLIP = 0.6
_SMALLEST_PX = 12.0


class Ring:
    """A Points layer, made when the first cell is chosen and used again for others: to make one takes napari a second.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layer: Any = None
        self._frames: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    def show(self, subject: Subject, cell: Cell, ground: Ground) -> None:
        """Draw the ring around a cell; nothing where it is not known where the cell is."""
        span = subject.cells.span(cell)
        if span is None:
            self.hide()
            return
        self._frames = np.arange(*span)
        places = subject.cells.place(cell, self._frames)
        space = ground.space
        data = np.column_stack([self._frames, *(places.T if len(space.scale) == 4 else places.T[1:])])
        if self.shown and self._layer.ndim == data.shape[1]:
            self._layer.data = data
            seen: dict[str, Any] = {"scale": space.scale, "translate": space.translate, "visible": True}
            for name, value in seen.items():
                if not np.array_equal(getattr(self._layer, name), value):
                    setattr(self._layer, name, value)
            self._layer.size = self._size(subject)
            return
        self.remove()
        look = {"face_color": "transparent", "border_color": _NO_LABEL, "border_width": 0.05, "size": self._size(subject)}
        self._layer = Points(data, name=NAME, **look, **space.settings())
        active = self._viewer.layers.selection.active
        self._viewer.layers.append(self._layer)
        self._viewer.layers.selection.active = active

    def colour(self, said: tuple[cellvjepa.Said, ...], classes: Mapping[str, str]) -> None:
        """Give the ring the colours of the cell's labels."""
        if not self.shown or len(self._layer.data) != len(self._frames):
            return
        colours = np.ones((len(self._frames), 4), np.float32)
        for one in said:
            if colour := classes.get(one.label):
                inside = (one.start <= self._frames) & (self._frames < one.stop)
                colours[inside, :3] = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        self._layer.border_color = colours

    def hide(self) -> None:
        """Let no ring be seen."""
        if self.shown:
            self._layer.visible = False

    def remove(self) -> None:
        """Take the layer away."""
        if self.shown:
            self._viewer.layers.remove(self._layer)
        self._layer = None

    @property
    def shown(self) -> bool:
        """Whether the layer is there."""
        return self._layer is not None and any(layer is self._layer for layer in self._viewer.layers)

    def _size(self, subject: Subject) -> float:
        """Return how wide the ring is [px]: as the clips of a store, else a share of the movie."""
        if subject.found is not None:
            return max(_OF_CLIP * subject.found.provenance.clip_shape.size_px, _SMALLEST_PX)
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image | Labels)]
        widths = [(layer.data[0] if layer.multiscale else layer.data).shape[-1] for layer in images]
        return max(_SHARE * max(widths, default=0), _SMALLEST_PX)
