"""The Explore dock: the rows of a store as a plot, linked with the viewer in both directions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSplitter, QTabWidget, QVBoxLayout, QWidget

from napari_cellvjepa.clips.hover import HoverClip
from napari_cellvjepa.explore.drawing import Drawing
from napari_cellvjepa.explore.facts import described_row, described_selection
from napari_cellvjepa.explore.hand_labels import HandLabels
from napari_cellvjepa.explore.naming import Naming
from napari_cellvjepa.explore.pictures import Pictures
from napari_cellvjepa.explore.projecting import Projecting
from napari_cellvjepa.explore.saving import Saving
from napari_cellvjepa.explore.similar import SimilarCells
from napari_cellvjepa.explore.trajectories import Trajectories
from napari_cellvjepa.layers.elsewhere import Elsewhere
from napari_cellvjepa.layers.journey import Journey
from napari_cellvjepa.layers.label_colours import ImageClicks, LabelColours
from napari_cellvjepa.layers.linking import stores_in
from napari_cellvjepa.layers.points import points_layer
from napari_cellvjepa.layers.selection import Link
from napari_cellvjepa.layers.store_line import StoreLine
from napari_cellvjepa.layers.track_colours import TrackColours
from napari_cellvjepa.parts.busy import Busy
from napari_cellvjepa.parts.docked import Docked
from napari_cellvjepa.plot.columns import Columns, read_store
from napari_cellvjepa.plot.legend import Legend
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
        self._row = -1
        self._colour_next, self._map_next = "", False  # the column to colour by, and whether to draw the map, when the store is read again
        self.link = Link(napari_viewer)
        self.journey = Journey(napari_viewer)
        self.labels = LabelColours(napari_viewer)
        self.tracks = TrackColours(napari_viewer)
        self.clicks = ImageClicks(napari_viewer, self.labels)
        self._make_parts()
        self._lay_out()
        self._connect()
        self.store.offer()

    def _make_parts(self) -> None:
        self.store = StoreLine(self._viewer, read_store)
        self.plotted, self.toolbar, self.plot, self.legend = Plotted(), Toolbar(), Scatter(), Legend()
        self.drawing = Drawing(self.plotted, self.plot, self.legend, self.toolbar, self.link, self.labels, self.tracks)
        self.hand_labels = HandLabels(self._viewer, self.link, self.drawing, self.plotted)
        self.trajectories = Trajectories(self._viewer, self.plot)
        self.naming, self.similar, self.projecting = Naming(), SimilarCells(), Projecting()
        self.pictures, self.hover = Pictures(), HoverClip(self.plot)
        self.elsewhere = Elsewhere()
        self.saving = Saving(self, self.plot, self.drawing)
        works = (
            self.saving.working,
            self.store.reading,
            self.drawing.reading,
            self.journey.reading,
            self.similar.searching,
            self.projecting.working,
            self.naming.saving,
        )
        self.busy = Busy(works)
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
        parts: tuple[QWidget, ...] = (self.store, self.plotted, self.toolbar, self.plot, self.legend, self.busy, self.about, self.facts)
        for part in parts:
            over.addWidget(part, int(part is self.plot))
        self.tabs = QTabWidget()
        self.tabs.addTab(self.naming, "Selection")
        self.tabs.addTab(self.pictures, "Gallery")
        self.tabs.addTab(self.similar, "More like this")
        self.tabs.addTab(self.projecting, "Clusters")
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
        self.store.opened.connect(self._show_store)
        self.store.failed.connect(self.about.setText)
        self.toolbar.tracks_shown.connect(self._show_tracks)
        self.toolbar.saved.connect(self.saving.ask)
        self.plot.picked.connect(self.go)
        for page in (self.similar, self.pictures):
            page.chosen.connect(self.go)
            page.wanted.connect(self.drawing.select_rows)
        self.naming.named.connect(self._reread)
        self.projecting.finished.connect(self._show_map)
        self.journey.elsewhere = self.elsewhere.folder
        self.clicks.pointed.connect(self._point)
        self.journey.arrived.connect(self._mark)
        self.journey.failed.connect(self.facts.setText)
        self.plot.hovered.connect(self._tell_facts)
        self.plot.hovered.connect(self.hover.over)
        self.drawing.drawn.connect(self._after_drawing)
        self.drawing.failed.connect(self.about.setText)
        self.link.renewed.connect(self._follow_layers)

    def open_store(self, path: str | Path) -> None:
        """Open a store and plot it; its points come into the viewer if they are not there."""
        self.store.open_store(path)

    def _show_store(self, columns: Columns | None) -> None:
        before, found = self.found, columns.found if columns else None
        same = found is not None and before is not None and found.path == before.path and len(found) == len(before)
        self._row = self._row if same else -1
        self.store.follow(found)
        self.drawing.follow(columns)
        for part in (self.journey, self.labels, self.tracks, self.clicks, self.trajectories, self.naming, self.projecting):
            part.follow(found)
        for pictured in (self.pictures, self.similar, self.hover):
            pictured.follow(found, self.journey.movies, self.elsewhere.folder)
        if found is None or columns is None:
            self.link.follow(None)
            self.about.setText(_NO_STORE)
            return
        if str(found.path) not in stores_in(self._viewer):
            data, settings, _ = points_layer(found, str(found.table["movie"].iloc[0]))
            self._viewer.add_points(data, **settings)
        self.link.follow(found)
        self.link.renew(found)
        self.hand_labels.follow()
        self.similar.ask_for(self._row)
        colour, self._colour_next = self._colour_next, ""
        maps, self._map_next = self._map_next, False
        self.drawing.take_up(colour, maps)

    def _after_drawing(self) -> None:
        self.plot.mark(self._row if self._row >= 0 else None)
        self.pictures.show_state(self.drawing.colouring, self.link.chosen_N)
        self.trajectories.draw(self.link.chosen_N, self._row)
        self._tell_selection()

    def _tell_selection(self) -> None:
        if self.drawing.columns is None:
            return
        self.about.setText(" ".join([described_selection(self.drawing.columns, self.link.chosen_N), self.trajectories.told]).strip())
        self.naming.select(self.link.chosen_N)

    @property
    def found(self) -> Any | None:
        """The store that is plotted."""
        return self.drawing.columns.found if self.drawing.columns else None

    @property
    def shown_row(self) -> int:
        """The row whose cell the viewer was last taken to, or -1."""
        return self._row

    def go(self, row: int) -> None:
        """Take the viewer to the cell of a row."""
        if row >= 0 and self.found is not None:
            self.journey.go(row)

    def _reread(self, column: str) -> None:
        """Read a store that has got a column, and colour by it."""
        if self.found is None:
            return
        self._colour_next = column
        self.open_store(self.found.path)

    def _follow_layers(self) -> None:
        """Read a store again that another dock has given columns; its layers say what to colour by."""
        if self.found is not None:
            self.open_store(self.found.path)

    def _point(self, row: int, how: str) -> None:
        """Take over a cell that was clicked in the image."""
        rows = np.zeros_like(self.link.chosen_N)
        rows[row] = True
        self.drawing.combine(rows, how)
        self._mark(row)

    def _mark(self, row: int) -> None:
        self._row = row
        self.plot.mark(row)
        self.similar.ask_for(row)
        self.trajectories.draw(self.link.chosen_N, row)
        self._tell_selection()
        self._tell_facts(-1)

    def _tell_facts(self, row: int) -> None:
        if self.found is None or not (row >= 0 or self._row >= 0):
            self.facts.setText("")
            return
        shown = row if row >= 0 else self._row
        self.facts.setText(described_row(self.found, shown, self.plotted.colour.currentText()))

    def _show_map(self, column: str) -> None:
        """Read a store that has got a map and clusters, and draw both."""
        self._map_next = True
        self._reread(column)

    def _show_tracks(self, shown: bool) -> None:
        self.trajectories.show(shown)
        self.trajectories.draw(self.link.chosen_N, self._row)
        self._tell_selection()

    def leave(self) -> None:
        """Stop all work and let go of the viewer."""
        for part in (
            self.drawing.reading,
            self.journey,
            self.naming,
            self.similar,
            self.projecting,
            self.saving,
            self.pictures,
            self.hover,
        ):
            part.cancel()
        self.store.leave()
        for close in (self.hand_labels.close, self.link.close, self.labels.close, self.tracks.close, self.clicks.close, self.trajectories.close):
            close()
        self.plot.close_canvas()
        super().leave()
