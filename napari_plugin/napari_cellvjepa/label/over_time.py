"""What is seen of the labels of the chosen cell: the strip under the time slider, and the ring in the image."""

from __future__ import annotations

from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

import cellvjepa
from napari_cellvjepa.label.cells import Cell
from napari_cellvjepa.label.lanes import lane_of_track, lanes_of_cell, lanes_of_movie
from napari_cellvjepa.label.ring import Ring
from napari_cellvjepa.label.strip import StripPanel
from napari_cellvjepa.label.strip_picture import Lanes
from napari_cellvjepa.label.subject import Ground, Subject, ground_of, shown_movie
from napari_cellvjepa.layers.linking import label_layers, movie_layers

_TITLE = "Labels over time"


class OverTime(QObject):
    """Keeps strip and ring as the labels, the chosen cell and the time are.

    Parameters
    ----------
    viewer
        The viewer; its window, if it has one, gets the strip below the time slider.

    Attributes
    ----------
    pointed
        Signal ``(cell)``: a cell was chosen in the strip.
    moved
        Signal: time has changed.
    """

    pointed = Signal(object)
    moved = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._subject: Subject | None = None
        self._cell: Cell | None = None
        self._book: cellvjepa.LabelBook | None = None
        self._colours: dict[str, str] = {}
        self._annotator = ""
        self._lanes: Lanes | None = None
        self._interval = (-1, -1)
        self.ring = Ring(viewer)
        self.panel = StripPanel()
        self.panel.mode_changed.connect(self._draw)
        self.panel.strip.clicked.connect(self._go)
        self._dock: Any = None
        window = getattr(viewer, "window", None)
        if window is not None:
            self._dock = window.add_dock_widget(self.panel, name=_TITLE, area="bottom")
        viewer.dims.events.point.connect(self._take_time)

    def follow(self, subject: Subject | None) -> None:
        """Show labels of these cells from now on."""
        self._subject = subject
        self.choose(None)

    def choose(self, cell: Cell | None) -> None:
        """Show the labels of this cell."""
        self._cell = cell
        ground = self.ground()
        if self._subject is None or cell is None or ground is None:
            self.ring.hide()
        else:
            self.ring.show(self._subject, cell, ground)
        self._draw()

    def show_book(self, book: cellvjepa.LabelBook | None, colours: dict[str, str], annotator: str) -> None:
        """Show these labels in these colours."""
        self._book, self._colours, self._annotator = book, colours, annotator
        self._draw()

    def show_interval(self, begun: int, ended: int) -> None:
        """Show an interval that is being marked."""
        self._interval = (begun, ended)
        self._take_time()

    def movie(self) -> str | None:
        """Return the movie of the chosen cell, or the one that is looked at."""
        if self._subject is None or not self._subject.movies:
            return None
        return self._cell.movie if self._cell is not None else shown_movie(self._viewer, self._subject)

    def ground(self) -> Ground | None:
        """Return where that movie lies in the viewer."""
        movie = self.movie()
        return None if self._subject is None or movie is None else ground_of(self._viewer, self._subject, movie)

    def frame(self) -> int:
        """Return the native frame at which the time slider stands, or -1."""
        ground = self.ground()
        return -1 if ground is None else ground.frame(self._viewer)

    def frames(self) -> int:
        """Return how many frames the movie has, as far as that is known."""
        subject, movie = self._subject, self.movie()
        if subject is None or movie is None:
            return 1
        for layer in [
            *movie_layers(self._viewer, movie),
            *label_layers(self._viewer, movie),
            *([] if subject.layer is None else [subject.layer]),
        ]:
            data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
            if layer.ndim >= 3 and len(data.shape) == layer.ndim:
                return int(data.shape[0])
        _, _, stop = subject.cells.spans(movie)
        return max(int(stop.max()) if len(stop) else 1, 1)

    def close(self) -> None:
        """Take strip and ring away, and let go of the viewer."""
        self._viewer.dims.events.point.disconnect(self._take_time)
        self.ring.remove()
        if self._dock is not None and isalive(self._dock):  # type: ignore[no-untyped-call]
            self._viewer.window.remove_dock_widget(self._dock)
        if isalive(self.panel):  # type: ignore[no-untyped-call]
            self.panel.deleteLater()
        self._dock = None

    def _draw(self, checked: object = None) -> None:
        subject, book, movie = self._subject, self._book, self.movie()
        self._lanes, lane = None, -1
        if subject is not None and book is not None and movie is not None:
            if self.panel.all.isChecked():
                self._lanes = lanes_of_movie(book, subject.cells, movie, self.frames())
                lane = lane_of_track(self._lanes, self._cell.track_id) if self._cell is not None else -1
            elif self._cell is not None:
                self._lanes, lane = lanes_of_cell(book, subject.cells, self._cell, self.frames(), self._annotator), 0
            if self._cell is not None:
                self.ring.colour(book.of_cell(*self._cell), self._colours)
        self.panel.title.setText(_titled(self._cell, movie, all_tracks=self.panel.all.isChecked()))
        self.panel.strip.show_lanes(self._lanes, self._colours, lane)
        self._take_time()

    def _take_time(self, event: object = None) -> None:
        self.panel.strip.show_time(self.frame(), *self._interval)
        self.moved.emit()

    def _go(self, frame: int, lane: int) -> None:
        movie, ground = self.movie(), self.ground()
        if self._lanes is None or movie is None or ground is None:
            return
        if self.panel.all.isChecked() and (track := int(self._lanes.keys[lane])) != (self._cell.track_id if self._cell else -1):
            self.pointed.emit(Cell(movie, track))
        ground.go(self._viewer, frame)


def _titled(cell: Cell | None, movie: str | None, *, all_tracks: bool) -> str:
    if all_tracks:
        return f"{_TITLE}: all tracks of {movie}" if movie else _TITLE
    return f"{_TITLE}: track {cell.track_id} of {cell.movie}" if cell else _TITLE
