"""Which columns are plotted: a line of three lists."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from napari_cellvjepa.parts.choosers import ColumnBox
from napari_cellvjepa.plot.columns import Columns
from napari_cellvjepa.plot.palette import Colouring, colouring, plain

PLOT_KEY = "cellvjepa_plot"  # in a layer's metadata: x, y and colour of the plot
ONE_COLOUR = "one colour"


class Plotted(QWidget):
    """The lists.

    Attributes
    ----------
    axes_changed, colour_changed
        Signals: other columns were chosen.
    """

    axes_changed = Signal()
    colour_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.across, self.up, self.colour = ColumnBox(), ColumnBox(), ColumnBox()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        boxes: dict[str, ColumnBox] = {"x": self.across, "y": self.up, "colour": self.colour}
        for place, (title, box) in enumerate(boxes.items()):
            layout.addWidget(QLabel(title), 0, 2 * place)
            layout.addWidget(box, 0, 2 * place + 1)
            layout.setColumnStretch(2 * place + 1, 1)
            box.activated.connect(self.colour_changed if box is self.colour else self.axes_changed)

    def offer(self, columns: Columns, layers: list[Any], colour: str = "", maps: bool = False) -> None:
        """Offer the columns of a store; those are chosen that were plotted when its layers were last shown.

        Parameters
        ----------
        layers
            Points layers of the store, which remember that.
        colour
            Chosen before all others, if it is there.
        maps
            Whether the store's map is chosen, whatever the layers remember.
        """
        offered = (ONE_COLOUR, *columns.colours())
        chosen = (*columns.first_axes(), "cluster" if "cluster" in offered else ONE_COLOUR)
        for layer in layers:
            remembered = layer.metadata.get(PLOT_KEY)
            if not isinstance(remembered, list | tuple) or len(remembered) != 3:
                continue  # nothing, or a session file that somebody has changed
            x, y, kept = remembered
            if kept in offered:
                chosen = (x, y, kept) if x in columns.axes() and y in columns.axes() else (*chosen[:2], kept)
                break
        if maps:
            chosen = (*columns.first_axes(), chosen[2])
        self.across.offer(columns.axes(), chosen[0])
        self.up.offer(columns.axes(), chosen[1])
        self.colour.offer(offered, colour if colour in offered else chosen[2])

    def remember(self, layers: list[Any]) -> None:
        """Note in the layers what is plotted."""
        for layer in layers:
            layer.metadata[PLOT_KEY] = [self.across.currentText(), self.up.currentText(), self.colour.currentText()]

    def names(self) -> list[str]:
        """Return the columns that are plotted."""
        return [name for name in (self.across.currentText(), self.up.currentText(), self.colour.currentText()) if name not in ("", ONE_COLOUR)]

    def colouring(self, columns: Columns) -> Colouring:
        """Return the colours of the rows."""
        name = self.colour.currentText()
        return plain(len(columns.found)) if name in ("", ONE_COLOUR) else colouring(name, columns.values(name), columns.given(name))
