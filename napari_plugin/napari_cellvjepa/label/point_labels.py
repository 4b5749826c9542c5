"""The column ``label`` of a store's points, kept as the labels are."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject

import cellvjepa
from napari_cellvjepa.label.cells import Cell
from napari_cellvjepa.label.subject import Subject
from napari_cellvjepa.layers.label_memory import ROWS_KEY, change_labels, label_column, labels_of_rows, show_labels
from napari_cellvjepa.parts.latest import Latest


class PointLabels(QObject):
    """Writes the column. All rows are looked up in the background; a few that have changed, at once.

    Parameters
    ----------
    viewer
        The viewer whose points they are.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._looking = Latest(self)
        self._since: list[Cell] = []  # cells that have changed while all rows are being looked up
        self._subject: Subject | None = None
        viewer.layers.events.inserted.connect(self._dress)

    def take(self, subject: Subject, book: cellvjepa.LabelBook, cells: list[tuple[str, int]] | None) -> None:
        """Take over the labels of some cells; None: of all."""
        self._subject = subject
        if subject.found is None:
            return
        if cells is None:
            self._since = []
            do = partial(_looked_up, book, subject.found)
            self._looking.do(do, "Looking up the labels", partial(self._show, subject, book))
            return
        changed = [Cell(*cell) for cell in cells]
        if self._looking.under_way:
            self._since += changed
        else:
            self._change(subject, book, changed)

    def close(self) -> None:
        """Give up looking, and let go of the viewer; the column stays."""
        self._looking.cancel()
        self._viewer.layers.events.inserted.disconnect(self._dress)

    def _dress(self, event: object = None) -> None:
        """Give points that have come since, of another movie, the column, too."""
        if self._subject is None or self._subject.found is None:
            return
        layers = self._subject.carriers(self._viewer)
        fresh = [layer for layer in layers if ROWS_KEY not in layer.metadata]
        if fresh and (kept := labels_of_rows(layers)) is not None:
            show_labels(layers, *kept)  # all, for they share the same labels

    def _show(self, subject: Subject, book: cellvjepa.LabelBook, labels_N: npt.NDArray[np.object_]) -> None:
        assert subject.found is not None
        show_labels(subject.carriers(self._viewer), label_column(subject.found), labels_N)
        self._change(subject, book, list(dict.fromkeys(self._since)))

    def _change(self, subject: Subject, book: cellvjepa.LabelBook, cells: list[Cell]) -> None:
        rows = [row for cell in cells for row in subject.cells.rows(cell).tolist()]
        labels = [book.label_of(*cell, *window) or None for cell in cells for window in subject.cells.windows(cell)]
        change_labels(subject.carriers(self._viewer), rows, labels)


def _looked_up(book: cellvjepa.LabelBook, found: cellvjepa.Embeddings, progress: cellvjepa.Progress) -> npt.NDArray[np.object_]:
    """Return the label of each row (in the other thread)."""
    progress("comparing", 0, 0)
    return book.of_rows(found.table)
