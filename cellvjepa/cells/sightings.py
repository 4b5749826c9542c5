"""Sightings: what the windows of tracks show of their cells: where, how often, how large, how fast."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.table import NO_PARENT
from cellvjepa.movies.clip_shape import ClipShape, check_movie
from cellvjepa.movies.movie import Movie

Follow = Literal["still", "smooth"]

DRIFT = ("drift_y_px", "drift_x_px")
CELL_VALUES = "cell_values"
FACTS = ("parent_track_id", "area_px", "speed_px_per_frame", "speed_um_per_s", "track_age_frames", "covered", *DRIFT, CELL_VALUES)
MEASURED = "intensity"  # a column of this name, or several that begin so, are averaged like areas

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


def sightings(
    movie: Movie, rows: pd.DataFrame, shape: ClipShape, stride_frames: int | None, follow: Follow = "still", labelled: bool = False
) -> pd.DataFrame:
    """Return all windows of a movie's tracks, with what they show.

    Parameters
    ----------
    movie
        The movie.
    rows
        Its cells (:class:`cellvjepa.cells.table.Cells`).
    shape
        Of the clips.
    stride_frames
        Native frames between the starts of two windows; None: windows do not overlap.
    follow
        ``"still"``: the position is the mean over the sampled frames that show the cell. ``"smooth"``: the position half way, and the
        drift from the first frame to the last, of the straight line that fits the track best during the window (least squares over the
        sampled frames; gaps are interpolated, and before its first and after its last frame a cell is taken to rest).
    labelled
        Whether the cells come from a label image, so that the column ``label``, if there is one, has the values of their pixels.

    Returns
    -------
    DataFrame
        ``track_id``, ``t_start``; ``z_px``, ``y_px``, ``x_px`` [native px]; ``present`` (sampled frames that show the cell) and
        ``covered`` (their share); ``area_px`` and what is ``intensity...`` (means over them, NaN where unknown);
        ``speed_px_per_frame`` and ``speed_um_per_s`` (length of the way between them by the time between them; NaN for fewer than two, and
        where units are unknown); ``track_age_frames`` (native frames from the track's first to the window's); ``parent_track_id``; for
        ``"smooth"`` ``drift_y_px``, ``drift_x_px``; and ``cell_values``, where the values of a cell's pixels are not its track id:
        texts like ``"3 3 0 7"``, 0 where it is absent.
    """
    found = check_movie(movie, shape)
    rows = rows.sort_values(["track_id", "t"], kind="stable")
    frames = movie.shape["T"]
    track_ids, first_row, track = np.unique(rows["track_id"].to_numpy(), return_index=True, return_inverse=True)
    t = rows["t"].to_numpy()
    starts = _starts(track, t, stride_frames or shape.frames * found.t_step, frames - found.span_frames, frames)
    # A track and a frame as one sorted number, so that all windows look up one of their frames at a time.
    known = track * frames + t
    offsets = np.arange(shape.frames) * found.t_step
    of, t_start = starts // frames, starts % frames
    means, present = _means(rows, known, starts, offsets)
    table = pd.DataFrame({"track_id": track_ids[of], "t_start": t_start, **means, "present": present, "covered": present / shape.frames})
    table["speed_px_per_frame"], table["speed_um_per_s"] = _speeds(movie, rows, known, starts, offsets)
    table["track_age_frames"] = np.maximum(0, t_start - t[first_row][of])
    parents = rows["parent_track_id"].to_numpy(np.int64) if "parent_track_id" in rows else np.full(len(rows), NO_PARENT)
    table["parent_track_id"] = parents[first_row][of]
    if follow == "smooth":
        last_row = np.append(first_row[1:], len(rows)) - 1
        lines = {name: _line(rows[name].to_numpy(np.float64), known, starts, offsets, first_row[of], last_row[of]) for name in ("y_px", "x_px")}
        table = table.assign(**{name: centre for name, (centre, _) in lines.items()})
        table = table.assign(**{name: drift for name, (_, drift) in zip(DRIFT, lines.values(), strict=True)})
    if labelled and "label" in rows and (rows["label"] != rows["track_id"]).any():
        table[CELL_VALUES] = _values(rows["label"].to_numpy(np.int64), known, starts, offsets)
    return table


def cell_values_of(text: str) -> tuple[int, ...]:
    """Return the pixel values that a text of the column ``cell_values`` says."""
    return tuple(map(int, text.split()))


def _look(known: _Ints, starts: _Ints, offset: int) -> tuple[_Ints, npt.NDArray[np.bool_]]:
    """Return for all windows the row of the cell at this offset, and whether there is one."""
    row = np.minimum(np.searchsorted(known, starts + offset), len(known) - 1)
    return row, known[row] == starts + offset


def _means(rows: pd.DataFrame, known: _Ints, starts: _Ints, offsets: _Ints) -> tuple[dict[str, _Floats], _Ints]:
    names = ["z_px", "y_px", "x_px", *(name for name in map(str, rows) if name == "area_px" or name.startswith(MEASURED))]
    values = rows[names].to_numpy(np.float64)
    sums, counts = np.zeros((len(starts), len(names))), np.zeros((len(starts), len(names)), np.int64)
    present = np.zeros(len(starts), np.int64)
    for offset in offsets:
        row, there = _look(known, starts, int(offset))
        seen = values[row[there]]
        missing = np.isnan(seen)
        missing[:, :3] = False  # where a position is unknown in one frame, so is the mean
        sums[there] += np.where(missing, 0, seen)
        counts[there] += ~missing
        present += there
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return dict(zip(names, means.T, strict=True)), present


def _speeds(movie: Movie, rows: pd.DataFrame, known: _Ints, starts: _Ints, offsets: _Ints) -> tuple[_Floats, _Floats]:
    places = rows[["y_px", "x_px"]].to_numpy(np.float64)
    unit_um = np.array([movie.pixel_um.y, movie.pixel_um.x] if movie.pixel_um else [np.nan, np.nan])
    way_px, way_um, passed = (np.zeros(len(starts)) for _ in range(3))
    before, when = np.full((len(starts), 2), np.nan), np.full(len(starts), -1)
    for offset in offsets:
        row, there = _look(known, starts, int(offset))
        again = there & (when >= 0)
        step = places[row[again]] - before[again]
        way_px[again] += np.hypot(*step.T)
        way_um[again] += np.hypot(*(step * unit_um).T)
        passed[again] += offset - when[again]
        before[there], when[there] = places[row[there]], offset
    passed[passed == 0] = np.nan
    return way_px / passed, way_um / passed / (movie.interval_s or np.nan)


def _line(values: _Floats, known: _Ints, starts: _Ints, offsets: _Ints, first_row: _Ints, last_row: _Ints) -> tuple[_Floats, _Floats]:
    """Fit a line by least squares; return where it is half way, and how far it goes from the first frame to the last."""
    sums, moments = np.zeros(len(starts)), np.zeros(len(starts))
    middle = (offsets[0] + offsets[-1]) / 2
    for offset in offsets:
        asked = starts + offset
        after = np.clip(np.searchsorted(known, asked), first_row, last_row)
        before = np.maximum(np.where(known[after] > asked, after - 1, after), first_row)
        gap = known[after] - known[before]
        share = np.clip(np.divide(asked - known[before], gap, out=np.zeros(len(starts)), where=gap > 0), 0, 1)
        position = values[before] + share * (values[after] - values[before])
        sums += position
        moments += (offset - middle) * position
    spread = float(((offsets - middle) ** 2).sum())
    drift = moments / spread * (offsets[-1] - offsets[0]) if spread else np.zeros(len(starts))
    return sums / len(offsets), drift


def _values(labels: _Ints, known: _Ints, starts: _Ints, offsets: _Ints) -> npt.NDArray[np.object_]:
    found = np.zeros((len(starts), len(offsets)), np.int64)
    for i, offset in enumerate(offsets):
        row, there = _look(known, starts, int(offset))
        found[there, i] = labels[row[there]]
    return np.array([" ".join(map(str, line)) for line in found.tolist()], dtype=object)


def _starts(track: _Ints, t: _Ints, stride: int, latest: int, frames: int) -> _Ints:
    """Return the first frames of all windows as ``track * frames + t``, sorted, each once."""
    first_row = np.flatnonzero(np.diff(track, prepend=-1))
    first, last = t[first_row], t[np.append(first_row[1:], len(t)) - 1]
    counts = (last - first) // stride + 1
    of = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.unique(of * frames + np.minimum(first[of] + number * stride, latest))
