"""Labels given by hand, as a column that the plot can be coloured by: whoever labels tells the layers, and the plot follows them."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_cellvjepa.explore.drawing import Drawing
from napari_cellvjepa.layers.label_memory import labels_changed, labels_of_rows, recalled
from napari_cellvjepa.layers.selection import Link
from napari_cellvjepa.plot.plotted import Plotted

_SETTLED_MS = 150


class HandLabels(QObject):
    """Keeps the column as the labels are.

    Parameters
    ----------
    viewer
        The viewer.
    link, drawing, plotted
        The layers of the store; what is drawn of it; by which columns.
    """

    def __init__(self, viewer: Any, link: Link, drawing: Drawing, plotted: Plotted) -> None:
        super().__init__()
        self._viewer, self._link, self._drawing, self._plotted = viewer, link, drawing, plotted
        self._events: list[Any] = []
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(_SETTLED_MS)
        self._settling.timeout.connect(self._show)
        viewer.layers.events.inserted.connect(self.follow)

    def follow(self, event: object = None) -> None:
        """Listen to the layers of the store that is plotted, and take over what they know."""
        self._forget()
        self._events = [labels_changed(layer) for layer in self._link.layers()]
        for changed in self._events:
            changed.connect(self._hear)
        self._take()

    def close(self) -> None:
        """Let go of the viewer and its layers."""
        self._settling.stop()
        self._forget()
        self._viewer.layers.events.inserted.disconnect(self.follow)

    def _forget(self) -> None:
        for changed in self._events:
            changed.disconnect(self._hear)
        self._events = []

    def _hear(self, event: object = None) -> None:
        self._settling.start()

    def _take(self) -> str:
        """Lay the labels beside the columns of the store; return the name of theirs."""
        columns, layers = self._drawing.columns, self._link.layers()
        kept = labels_of_rows(layers)
        if columns is None or kept is None or len(kept[1]) != len(columns.found):
            return ""
        columns.lay_beside(*kept, recalled(layers).classes)
        return kept[0]

    def _show(self) -> None:
        name, columns = self._take(), self._drawing.columns
        if not name or columns is None:
            return
        if self._plotted.colour.findText(name) < 0:
            self._plotted.offer(columns, self._link.layers())
        if self._plotted.colour.currentText() == name:
            self._drawing.recolour()
