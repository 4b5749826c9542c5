"""The Explore dock: the rows of a store as a plot, linked with the viewer in both directions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QLabel, QSplitter, QTabWidget, QVBoxLayout, QWidget

from napari_cellvjepa.explore.facts import described_row
from napari_cellvjepa.explore.naming import Naming
from napari_cellvjepa.explore.similar import SimilarCells
from napari_cellvjepa.layers.elsewhere import Elsewhere
from napari_cellvjepa.layers.journey import Journey
from napari_cellvjepa.layers.label_colours import ImageClicks, LabelColours
from napari_cellvjepa.layers.linking import stores_in
from napari_cellvjepa.layers.points import points_layer, renew_features
from napari_cellvjepa.layers.selection import Link
from napari_cellvjepa.layers.store_line import StoreLine
from napari_cellvjepa.parts.docked import Docked
from napari_cellvjepa.parts.latest import Latest
from napari_cellvjepa.plot.columns import Columns, read_columns, read_store
from napari_cellvjepa.plot.legend import Legend
from napari_cellvjepa.plot.palette import Colouring, plain
from napari_cellvjepa.plot.plotted import Plotted
from napari_cellvjepa.plot.scatter import Scatter
from napari_cellvjepa.plot.toolbar import Toolbar

_NO_STORE = "Open a store of embeddings: NAME.zarr, made by Embed or by `cellvjepa embed`."


class ExploreWidget(Docked):
    """Plots a store that is open in the viewer.

    Parameters
    ----------
    napari_viewer
        The viewer whose Points layers are offered, and that goes to the cells.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._reading_store, self._reading_columns = Latest(self), Latest(self)
        self._columns: Columns | None = None
        self._colouring: Colouring = plain(0)
        self._row = -1
        self._opening = ""
        self._colour_next = ""  # the column to colour by when the store is read again
        self.link = Link(napari_viewer)
        self.journey = Journey(napari_viewer)
        self.labels = LabelColours(napari_viewer)
        self.clicks = ImageClicks(napari_viewer, self.labels)
        self._make_parts()
        self._lay_out()
        self._connect()
        self._offer_stores()

    def _make_parts(self) -> None:
        self.store = StoreLine()
        self.plotted, self.toolbar, self.plot, self.legend = Plotted(), Toolbar(), Scatter(), Legend()
        self.naming, self.similar = Naming(), SimilarCells()
        self.elsewhere = Elsewhere()
        self.about = QLabel(_NO_STORE)
        self.about.setWordWrap(True)
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        self.facts.setMinimumHeight(2 * self.facts.fontMetrics().height() + 4)
        self.facts.setAlignment(Qt.AlignmentFlag.AlignTop)

    def _lay_out(self) -> None:
        upper = QWidget()
        over = QVBoxLayout(upper)
        over.setContentsMargins(0, 0, 0, 0)
        parts: tuple[QWidget, ...] = (self.store, self.plotted, self.toolbar, self.plot, self.legend, self.about, self.facts)
        for part in parts:
            over.addWidget(part, int(part is self.plot))
        self.tabs = QTabWidget()
        self.tabs.addTab(self.naming, "Selection")
        self.tabs.addTab(self.similar, "More like this")
        self.tabs.addTab(self.elsewhere, "Movies")
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(upper)
        split.addWidget(self.tabs)
        split.setStretchFactor(0, 1)
        split.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(split)

    def _connect(self) -> None:
        self.store.chosen.connect(self._take_store)
        self.store.wanted.connect(self.open_store)
        self.plotted.axes_changed.connect(self._replot)
        self.plotted.colour_changed.connect(self._recolour)
        self.toolbar.tool_changed.connect(self.plot.use_tool)
        self.toolbar.how_changed.connect(self.plot.use_how)
        self.toolbar.fitted.connect(self.plot.reset_view)
        self.toolbar.inverted.connect(lambda: self.link.select(~self.link.chosen_N))
        self.toolbar.cleared.connect(lambda: self.link.select(np.zeros_like(self.link.chosen_N)))
        self.plot.enclosed.connect(self._combine)
        self.plot.picked.connect(self.go)
        self.similar.chosen.connect(self.go)
        self.similar.wanted.connect(self._select_rows)
        self.naming.named.connect(self._reread)
        self.journey.elsewhere = self.elsewhere.folder
        self.clicks.pointed.connect(self._point)
        self.journey.arrived.connect(self._mark)
        self.journey.failed.connect(self.facts.setText)
        self.plot.hovered.connect(self._tell_facts)
        self.legend.chosen.connect(self._select_kind)
        self.link.selected.connect(self._show_selection)
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed):
            event.connect(self._layers_changed)

    def _layers_changed(self, event: object = None) -> None:
        if isalive(self):  # type: ignore[no-untyped-call]
            self._offer_stores()

    def _offer_stores(self) -> None:
        """Offer the stores that are open; the one that is plotted stays so while it is there."""
        self.store.offer(list(stores_in(self._viewer)), str(self._columns.found.path) if self._columns else self._opening)

    def _take_store(self, path: str) -> None:
        """Plot the chosen store, unless it is plotted or will be."""
        if not path:
            if self._columns is not None:
                self._show_store(None)
        elif path not in (self._opening, str(self._columns.found.path) if self._columns else ""):
            self.open_store(path)

    def open_store(self, path: str | Path) -> None:
        """Open a store and plot it; its points come into the viewer if they are not there."""
        self._opening = str(path)
        do = partial(read_store, Path(path))
        self._reading_store.do(do, "Opening the store", self._show_store, failed=self.about.setText, ended=self._store_read)

    def _show_store(self, columns: Columns | None) -> None:
        same = columns is not None and self._columns is not None and columns.found.path == self._columns.found.path
        self._row = self._row if same and len(columns.found) == len(self._columns.found) else -1  # type: ignore[union-attr]
        self._columns, self._opening = columns, ""
        found = columns.found if columns else None
        for part in (self.journey, self.labels, self.clicks, self.naming, self.similar):
            part.follow(found)
        if found is None or columns is None:
            self.link.follow(None)
            self.plot.show_nothing()
            self.legend.show_colours(None)
            self.about.setText(_NO_STORE)
            return
        if str(found.path) not in stores_in(self._viewer):
            data, settings, _ = points_layer(found, str(found.table["movie"].iloc[0]))
            self._viewer.add_points(data, **settings)
        self.link.follow(found)
        for layer in self.link.layers():
            renew_features(layer, found)
        self.plotted.offer(columns, self.link.layers(), self._colour_next)
        self._colour_next = ""
        self.similar.ask_for(self._row)
        self._replot()

    def _replot(self) -> None:
        self._with_columns(self._draw_all)

    def _recolour(self) -> None:
        self._with_columns(self._draw_colours)

    def _with_columns(self, then: Any) -> None:
        """Call a function once the chosen columns are at hand."""
        columns = self._columns
        if columns is None:
            return
        names = self.plotted.names()
        if all(columns.at_hand(name) for name in names):
            then()
        else:
            do = partial(read_columns, columns, names)
            self._reading_columns.do(do, "Reading columns", lambda _: then(), failed=self.about.setText)

    def _draw_all(self) -> None:
        if self._columns is None:
            return
        columns, x, y = self._columns, self.plotted.across.currentText(), self.plotted.up.currentText()
        self._colouring = self.plotted.colouring(self._columns)
        self.plot.show_points(columns.values(x), columns.values(y), columns.alike(x, y), self._colouring, self.link.chosen_N)
        self._after_drawing()

    def _draw_colours(self) -> None:
        if self._columns is None:
            return
        self._colouring = self.plotted.colouring(self._columns)
        self.plot.paint(self._colouring, self.link.chosen_N)
        self._after_drawing()

    def _after_drawing(self) -> None:
        self.plot.mark(self._row if self._row >= 0 else None)
        self.legend.show_colours(self._colouring)
        self.link.paint(self._colouring)
        self.labels.paint(self._colouring, self.link.chosen_N)
        self.plotted.remember(self.link.layers())
        self._tell_selection()

    def _combine(self, rows_N: npt.NDArray[np.bool_], how: str) -> None:
        """Select, add or take away rows."""
        chosen = self.link.chosen_N
        self.link.select(chosen | rows_N if how == "add" else chosen & ~rows_N if how == "subtract" else rows_N)

    def _select_kind(self, number: int) -> None:
        keys = QApplication.keyboardModifiers()
        how = "add" if keys & Qt.KeyboardModifier.ShiftModifier else "subtract" if keys & Qt.KeyboardModifier.AltModifier else "new"
        self._combine(self._colouring.index_N == number, how)

    def _show_selection(self) -> None:
        self.plot.paint(self._colouring, self.link.chosen_N)
        self.labels.paint(self._colouring, self.link.chosen_N)
        self._tell_selection()

    def _tell_selection(self) -> None:
        chosen, movies = self.link.chosen_N, self._columns.found.table["movie"] if self._columns else None
        if movies is None:
            return
        text = f"{len(chosen):,} embeddings"
        if chosen.any():
            text = f"{np.count_nonzero(chosen):,} of {text} selected, in {movies[chosen].nunique():,} of {movies.nunique():,} movies"
        self.about.setText(text)
        self.naming.select(chosen)

    @property
    def found(self) -> Any | None:
        """The store that is plotted."""
        return self._columns.found if self._columns else None

    @property
    def shown_row(self) -> int:
        """The row whose cell the viewer was last taken to, or -1."""
        return self._row

    def go(self, row: int) -> None:
        """Take the viewer to the cell of a row."""
        if row >= 0 and self._columns is not None:
            self.journey.go(row)

    def _select_rows(self, rows: list[int]) -> None:
        chosen = np.zeros_like(self.link.chosen_N)
        chosen[rows] = True
        self.link.select(chosen)

    def _reread(self, column: str) -> None:
        """Read a store that has got a column, and colour by it."""
        if self._columns is None:
            return
        self._colour_next = column
        self.open_store(self._columns.found.path)

    def _point(self, row: int, how: str) -> None:
        """Take over a cell that was clicked in the image."""
        rows = np.zeros_like(self.link.chosen_N)
        rows[row] = True
        self._combine(rows, how)
        self._mark(row)

    def _mark(self, row: int) -> None:
        self._row = row
        self.plot.mark(row)
        self.similar.ask_for(row)
        self._tell_facts(-1)

    def _tell_facts(self, row: int) -> None:
        if self._columns is None or not (row >= 0 or self._row >= 0):
            self.facts.setText("")
            return
        shown = row if row >= 0 else self._row
        self.facts.setText(described_row(self._columns.found, shown, self.plotted.colour.currentText()))

    def _store_read(self) -> None:
        self._opening = ""

    def leave(self) -> None:
        """Stop all work and let go of the viewer."""
        for part in (self._reading_store, self._reading_columns, self.journey, self.naming, self.similar):
            part.cancel()
        for close in (self.link.close, self.labels.close, self.clicks.close):
            close()
        self.plot.close_canvas()
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed):
            event.disconnect(self._layers_changed)
        super().leave()
