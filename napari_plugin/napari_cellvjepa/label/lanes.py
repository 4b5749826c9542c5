"""What the strip shows: the labels of a cell, a lane for each annotator, or those of all tracks of a movie."""

from __future__ import annotations

import numpy as np

import cellvjepa
from napari_cellvjepa.label.cells import Cell, CellIndex
from napari_cellvjepa.label.strip_picture import Lanes


def lanes_of_cell(book: cellvjepa.LabelBook, cells: CellIndex, cell: Cell, frames: int, annotator: str) -> Lanes:
    """Return the labels of a cell; the lane of ``annotator`` comes first, and is there in any case."""
    said = book.of_cell(*cell)
    names = list(dict.fromkeys([annotator, *(one.annotator for one in said)]))
    start, stop = cells.span(cell) or (0, frames)
    count = len(names)
    return Lanes(
        [name or "nobody in particular" for name in names],
        np.full(count, start),
        np.full(count, stop),
        np.array([names.index(one.annotator) for one in said], np.int64),
        np.array([max(one.start, start) for one in said], np.int64),
        np.array([min(one.stop, stop) for one in said], np.int64),
        [one.label for one in said],
        frames,
    )


def lanes_of_movie(book: cellvjepa.LabelBook, cells: CellIndex, movie: str, frames: int) -> Lanes:
    """Return the labels of all tracks of a movie, in the order in which the cells come up; where cells are not known, of those with labels."""
    said = book.of_movie(movie)
    tracks, start, stop = cells.spans(movie)
    if not len(tracks):
        tracks = np.unique(said["track_id"].to_numpy(np.int64))
        start, stop = np.zeros(len(tracks), np.int64), np.full(len(tracks), frames)
    order = np.argsort(start, kind="stable")
    lane_of = np.empty(len(tracks), np.int64)
    lane_of[order] = np.arange(len(tracks))
    known = np.isin(said["track_id"].to_numpy(), tracks)
    said = said[known]
    place = np.searchsorted(tracks, said["track_id"].to_numpy(np.int64))
    begin, end = np.maximum(said["start"].to_numpy(), start[place]), np.minimum(said["stop"].to_numpy(), stop[place])
    return Lanes(tracks[order].tolist(), start[order], stop[order], lane_of[place], begin, end, said["label"].tolist(), frames)


def lane_of_track(lanes: Lanes, track_id: int) -> int:
    """Return the lane of a track of :func:`lanes_of_movie`, or -1."""
    return list(lanes.keys).index(track_id) if track_id in lanes.keys else -1
