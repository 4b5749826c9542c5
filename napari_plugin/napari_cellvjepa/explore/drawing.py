"""What is drawn of a store: two columns as points, a third as their colour, in the plot, the legend and the layers alike."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QApplication

from napari_cellvjepa.explore.view import look_as_before, press_buttons, remember, remembered
from napari_cellvjepa.layers.label_colours import LabelColours
from napari_cellvjepa.layers.selection import Link
from napari_cellvjepa.layers.track_colours import TrackColours
from napari_cellvjepa.parts.latest import Latest
from napari_cellvjepa.plot.columns import Columns, read_columns
from napari_cellvjepa.plot.legend import Legend
from napari_cellvjepa.plot.palette import Colouring, plain
from napari_cellvjepa.plot.plotted import Plotted
from napari_cellvjepa.plot.scatter import Scatter
from napari_cellvjepa.plot.toolbar import Toolbar


class Drawing(QObject):
    """Draws the columns that are chosen, and what is selected.

    Parameters
    ----------
    plotted, plot, legend, toolbar
        Which columns; where they are drawn; what their colours mean; the buttons.
    link, labels, tracks
        The layers that take colours and selection over.

    Attributes
    ----------
    columns
        Of the store that is plotted, or None.
    colouring
        The colours of its rows.
    drawn
        Signal: points, colours or the selection were drawn.
    failed
        Signal ``(problem)``: a column could not be read; people have been told.
    """

    drawn = Signal()
    failed = Signal(str)

    def __init__(
        self, plotted: Plotted, plot: Scatter, legend: Legend, toolbar: Toolbar, link: Link, labels: LabelColours, tracks: TrackColours
    ) -> None:
        super().__init__()
        self._plotted, self._plot, self._legend, self._toolbar = plotted, plot, legend, toolbar
        self._link, self._labels, self._tracks = link, labels, tracks
        self.reading = Latest(self)
        self.columns: Columns | None = None
        self.colouring: Colouring = plain(0)
        self._view: dict[str, Any] = {}  # how the plot was looked at, until it is drawn
        self._drawing = False
        toolbar.tool_changed.connect(plot.use_tool)
        toolbar.how_changed.connect(plot.use_how)
        toolbar.fitted.connect(plot.reset_view)
        toolbar.inverted.connect(self.invert)
        toolbar.cleared.connect(self.clear)
        for pressed in (toolbar.tool_changed, toolbar.how_changed, toolbar.tracks_shown, plot.moved):
            pressed.connect(self._remember_view)
        plotted.axes_changed.connect(self.redraw)
        plotted.colour_changed.connect(self.recolour)
        plot.enclosed.connect(self.combine)
        legend.chosen.connect(self._select_kind)
        link.selected.connect(self._show_selection)

    def follow(self, columns: Columns | None) -> None:
        """Draw the columns of this store from now on; None: nothing."""
        self.reading.cancel()
        self.columns = columns
        if columns is None:
            self._plot.show_nothing()
            self._legend.show_colours(None)

    def axes(self) -> tuple[str, str]:
        """Return the columns that are the axes."""
        return self._plotted.across.currentText(), self._plotted.up.currentText()

    @property
    def chosen_N(self) -> npt.NDArray[np.bool_]:
        """Which rows are selected."""
        return self._link.chosen_N

    def take_up(self, colour: str = "", maps: bool = False) -> None:
        """Draw the store as its layers remember it: columns, view, and the buttons that were pressed.

        Parameters
        ----------
        colour
            The column to colour by, whatever they remember; ``""`` for none.
        maps
            Whether to draw the store's map, whatever columns they remember.
        """
        if self.columns is None:
            return
        layers = self._link.layers()
        self._view = remembered(layers)
        self._plotted.offer(self.columns, layers, colour, maps)
        press_buttons(self._view, self._toolbar)
        self.redraw()

    def redraw(self) -> None:
        """Draw the points at the places that the chosen columns give them, once these are at hand."""
        self._with_columns(self._draw_points)

    def recolour(self) -> None:
        """Draw the same points in the colours of the chosen column, once it is at hand."""
        self._with_columns(self._draw_colours)

    def combine(self, rows_N: npt.NDArray[np.bool_], how: str) -> None:
        """Select, add or take away rows."""
        chosen = self._link.chosen_N
        self._link.select(chosen | rows_N if how == "add" else chosen & ~rows_N if how == "subtract" else rows_N)

    def invert(self) -> None:
        """Select what is not selected."""
        self._link.select(~self._link.chosen_N)

    def clear(self) -> None:
        """Select nothing."""
        self._link.select(np.zeros_like(self._link.chosen_N))

    def select_rows(self, rows: list[int]) -> None:
        """Select these rows and no others."""
        chosen = np.zeros_like(self._link.chosen_N)
        chosen[rows] = True
        self._link.select(chosen)

    def _with_columns(self, then: Any) -> None:
        columns = self.columns
        if columns is None:
            return
        names = self._plotted.names()
        if all(columns.at_hand(name) for name in names):
            then()
        else:
            self.reading.do(partial(read_columns, columns, names), "Reading columns", lambda _: then(), failed=self.failed.emit)

    def _draw_points(self) -> None:
        columns, (x, y) = self.columns, self.axes()
        if columns is None:
            return
        self.colouring = self._plotted.colouring(columns)
        self._drawing = True
        self._plot.name_axes(columns.axis(x), columns.axis(y))
        self._plot.show_points(columns.values(x), columns.values(y), columns.alike(x, y), self.colouring, self._link.chosen_N)
        view, self._view = self._view, {}
        look_as_before(view, (x, y), self._plot)
        self._drawing = False
        self._remember_view()
        self._after_drawing()

    def _draw_colours(self) -> None:
        if self.columns is None:
            return
        self.colouring = self._plotted.colouring(self.columns)
        self._plot.paint(self.colouring, self._link.chosen_N)
        self._after_drawing()

    def _after_drawing(self) -> None:
        self._legend.show_colours(self.colouring)
        self._link.paint(self.colouring)
        self._labels.paint(self.colouring, self._link.chosen_N)
        self._tracks.paint(self._link.chosen_N)
        self._plotted.remember(self._link.layers())
        self.drawn.emit()

    def _remember_view(self, pressed: object = None) -> None:
        if self.columns is not None and not self._drawing and not self._view:
            remember(self._link.layers(), self.axes(), self._plot, self._toolbar)

    def _select_kind(self, number: int) -> None:
        keys = QApplication.keyboardModifiers()
        how = "add" if keys & Qt.KeyboardModifier.ShiftModifier else "subtract" if keys & Qt.KeyboardModifier.AltModifier else "new"
        self.combine(self.colouring.index_N == number, how)

    def _show_selection(self) -> None:
        self._plot.paint(self.colouring, self._link.chosen_N)
        self._labels.paint(self.colouring, self._link.chosen_N)
        self._tracks.paint(self._link.chosen_N)
        self.drawn.emit()
