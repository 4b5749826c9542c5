"""What is to be labelled: what was chosen, as intervals of tracks."""

from __future__ import annotations

from typing import Any

import cellvjepa
from napari_cellvjepa.label.cells import Cell
from napari_cellvjepa.label.subject import Subject
from napari_cellvjepa.label.target import ROWS, WINDOW
from napari_cellvjepa.layers.saying import Interval, chosen_rows, windows_of


def intervals_of(viewer: Any, subject: Subject | None, cell: Cell | None, scope: str, interval: tuple[int, int] | None, frame: int) -> list[Interval]:
    """Return what is to be labelled.

    Parameters
    ----------
    interval
        Marked by hand, which comes before what ``scope`` says.
    frame
        At which the time slider stands.

    Raises
    ------
    UserError
        If that is nothing.
    """
    if subject is None:
        raise cellvjepa.UserError("there is nothing to label", "open a store of embeddings, or a movie with tracks or labels", "Cells of")
    if scope == ROWS and interval is None:
        assert subject.found is not None
        return windows_of(subject.found, chosen_rows(subject.carriers(viewer), len(subject.found)))
    if cell is None:
        raise cellvjepa.UserError("no cell is chosen", "click one in the image", "Label")
    if interval is not None:
        start, stop = interval
        return [(*cell, max(start, 0), stop)]
    if scope == WINDOW:
        row = subject.cells.window(cell, frame)
        if row < 0:
            raise cellvjepa.UserError(f"track {cell.track_id} has no window at frame {frame}", "move the time slider to one of its windows", "Label")
        facts = subject.found.table.iloc[row]  # type: ignore[union-attr]
        return [(*cell, int(facts["t_start"]), int(facts["t_stop"]))]
    return [(*cell,)]
