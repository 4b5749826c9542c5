"""From rows and intervals of tracks to lines of a label file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

import cellvjepa
from napari_cellvjepa.layers.linking import rows_of, selected_rows
from napari_cellvjepa.layers.selection import SELECTION_KEY

Interval: TypeAlias = "tuple[str, int, int, int] | tuple[str, int]"  # movie, track, and from when to when [frames, half open]


def chosen_rows(layers: Sequence[Any], rows: int) -> npt.NDArray[np.int64]:
    """Return the rows of a store that are selected in its layers, those of movies that are not open among them.

    Raises
    ------
    UserError
        If there are none.
    """
    chosen = np.zeros(rows, bool)
    for layer in layers:
        kept = layer.metadata.get(SELECTION_KEY)
        if kept is not None and len(kept) == rows:
            chosen = kept.copy()
    for layer in layers:
        chosen[rows_of(layer)] = False
        chosen[selected_rows(layer)] = True
    if not chosen.any():
        raise cellvjepa.UserError("no row is selected", "select some in Explore, or points in the image", "Label")
    return np.flatnonzero(chosen)


def windows_of(found: cellvjepa.Embeddings, rows: Any) -> list[Interval]:
    """Return the windows of some rows.

    Raises
    ------
    UserError
        If they belong to no track.
    """
    some = found.table.iloc[rows]
    if (some["track_id"] < 0).any():
        raise cellvjepa.UserError("these windows belong to no track", "labels need tracked cells: embed with cells, or save as a cluster", "Labels")
    columns = (some[name].tolist() for name in ("movie", "track_id", "t_start", "t_stop"))
    return [(str(movie), int(track), int(start), int(stop)) for movie, track, start, stop in zip(*columns, strict=True)]


def described(name: str, intervals: Sequence[Interval]) -> str:
    """Say what is done, for people."""
    first = intervals[0]
    what = (
        f"{len(intervals):,} windows"
        if len(intervals) > 1
        else f"track {first[1]}" + (f", frames {first[2]}-{first[3] - 1}" if len(first) == 4 else "")
    )
    return f"{what}: '{name}'" if name else f"{what}: no label"


def saying(
    intervals: Sequence[Interval], name: str, annotator: str, book: cellvjepa.LabelBook, progress: cellvjepa.Progress
) -> list[cellvjepa.LabelLine]:
    """Return the lines that say it (in the other thread)."""
    if len(intervals) == 1:
        movie, track_id, *times = intervals[0]
        return book.lines_for(movie, track_id, name, annotator, *times)
    return book.lines_for_all([interval for interval in intervals if len(interval) == 4], name, annotator, progress)


def renaming(old: str, new: str, annotator: str, book: cellvjepa.LabelBook, progress: cellvjepa.Progress) -> list[cellvjepa.LabelLine]:
    """Return the lines that give a class another name (in the other thread)."""
    progress("renaming", 0, 0)
    return book.renaming(old, new, annotator)


def say(
    path: Path, movies: Sequence[str], intervals: Sequence[Interval], name: str, annotator: str, progress: cellvjepa.Progress
) -> list[cellvjepa.LabelLine]:
    """Append to a file what gives some intervals a label, and return it (in the other thread)."""
    progress("reading the labels", 0, 0)
    lines = saying(intervals, name, annotator, cellvjepa.LabelBook.read(path, movies), progress)
    progress("writing", 0, 0)
    if lines:
        cellvjepa.append_labels(path, lines)
    return lines


def usual_label_file(found: cellvjepa.Embeddings) -> Path:
    """Return where the labels of a store stand unless people choose another file."""
    return found.path.with_name(f"{found.path.name.removesuffix('.zarr')}_labels.csv")
