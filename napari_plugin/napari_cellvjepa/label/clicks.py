"""Which cell was clicked in the image: on labels, on points of a store, or near a track."""

from __future__ import annotations

from typing import Any

from napari.layers import Labels, Points
from qtpy.QtCore import QObject, Signal

from napari_cellvjepa.label.cells import Cell
from napari_cellvjepa.label.subject import Subject, ground_of, shown_movie
from napari_cellvjepa.layers.clicks import Clicks
from napari_cellvjepa.layers.linking import label_layers, rows_of

_REACH_PX = 15  # of the screen, from where a track is


class CellClicks(QObject):
    """Listens to clicks in a viewer.

    Parameters
    ----------
    viewer
        The viewer.

    Attributes
    ----------
    pointed
        Signal ``(cell)``: a Cell of the subject was clicked.
    """

    pointed = Signal(object)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._subject: Subject | None = None
        self._clicks = Clicks(viewer, self._click)

    def follow(self, subject: Subject | None) -> None:
        """Listen for these cells."""
        self._subject = subject

    def close(self) -> None:
        """Let go of the viewer."""
        self._clicks.close()

    def _click(self, event: Any, world: object) -> None:
        if (cell := self._cell_at(event)) is not None:
            self.pointed.emit(cell)

    def _cell_at(self, event: Any) -> Cell | None:
        """Return the cell under the mouse, or None."""
        subject = self._subject
        if subject is None:
            return None
        for layer in reversed(self._viewer.layers):
            if not layer.visible or not isinstance(layer, Labels | Points):
                continue
            value = layer.get_value(event.position, view_direction=event.view_direction, dims_displayed=list(event.dims_displayed), world=True)
            value = value[1] if isinstance(value, tuple) else value
            if isinstance(layer, Labels) and value and (cell := self._labelled(subject, layer, int(value))) is not None:
                return cell
            if isinstance(layer, Points) and value is not None and any(layer is mine for mine in subject.carriers(self._viewer)):
                facts = subject.found.table.iloc[int(rows_of(layer)[value])]  # type: ignore[union-attr]
                return Cell(str(facts["movie"]), int(facts["track_id"])) if facts["track_id"] >= 0 else None
        return self._near(subject, event)

    def _labelled(self, subject: Subject, layer: Any, value: int) -> Cell | None:
        """Return the cell whose pixels have a value in a label layer."""
        if layer is subject.layer:
            return Cell(subject.movies[0], value)
        for movie in subject.movies:
            if any(layer is other for other in label_layers(self._viewer, movie)):
                cell = Cell(movie, value)
                return cell if subject.cells.span(cell) else None
        return None

    def _near(self, subject: Subject, event: Any) -> Cell | None:
        movie = shown_movie(self._viewer, subject)
        ground = ground_of(self._viewer, subject, movie)
        if ground is None or len(event.dims_displayed) != 2:
            return None
        reach = _REACH_PX / self._viewer.scene.camera.zoom / ground.space.scale[-1]
        track = subject.cells.near(movie, ground.frame(self._viewer), *ground.pixel(event.position), reach)
        return Cell(movie, track) if track >= 0 else None
