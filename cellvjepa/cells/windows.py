"""Windows: the clips that are embedded, around cells or on a grid, with one row each that says what they show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.sightings import CELL_VALUES, DRIFT, FACTS, MEASURED, Follow, cell_values_of, sightings
from cellvjepa.cells.table import Cells
from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape, Sampling, nearest, sampling
from cellvjepa.movies.clips import Clip, clip_at, grid_clips
from cellvjepa.movies.movie import Movie

COLUMNS = ("clip_id", "movie", "track_id", "t_start", "t_stop", "time_s", "z_px", "y_px", "x_px", "y_um", "x_um")
NO_TRACK = -1


@dataclass(frozen=True, eq=False)
class Windows:
    """Clips, and a table with one row per clip in the same order.

    Parameters
    ----------
    clips
        The addresses.
    table
        ``clip_id``, ``movie``, ``track_id`` (-1 where there is none), ``t_start``, ``t_stop`` [native frames, half open], ``time_s`` (of
        ``t_start``; NaN without interval), ``z_px``, ``y_px``, ``x_px`` (centre of the cell or clip), ``y_um``, ``x_um`` (NaN without pixel
        size); then what the movies belong to (``plate``, ``well``, ``field``; :attr:`cellvjepa.movies.movie.Movie.groups`), missing
        where a movie belongs to none; what the windows of tracks show of their cells (:func:`cellvjepa.cells.sightings.sightings`); and
        ``border_px`` (from the centre to the nearest border of the image [native px]), ``shifted`` (the crop was moved inwards there, so
        that the centre is not its middle), ``padded`` (the image is smaller than the crop, which is padded by reflection, as in training).
    """

    clips: tuple[Clip, ...]
    table: pd.DataFrame

    def __post_init__(self) -> None:
        """Hold the contract."""
        assert tuple(self.table.columns)[: len(COLUMNS)] == COLUMNS, list(self.table.columns)
        assert [clip.clip_id for clip in self.clips] == self.table["clip_id"].tolist()

    @property
    def follow(self) -> Follow:
        """Return how the clips follow their cells."""
        return "smooth" if set(DRIFT) <= set(self.table.columns) else "still"


def track_windows(
    movies: Sequence[Movie],
    cells: Cells,
    shape: ClipShape,
    stride_frames: int | None = None,
    min_cover: float = 0.5,
    *,
    stride_min: float | None = None,
    follow: Follow = "still",
) -> Windows:
    """Cut tracks into windows: clips around a cell.

    The windows of a track begin at its first frame; one that would reach beyond the end of its movie is shifted back, as one that would
    reach beyond the border of the image is shifted inwards: training shows clips from inside of movies only. Where a track is
    shorter than a window, the rest of the window shows the place that the cell came from or was last seen at.

    Parameters
    ----------
    stride_frames
        Native frames between the starts of two windows; None: windows do not overlap.
    min_cover
        Share of a window's frames in which the cell must be present.
    stride_min
        The same as ``stride_frames`` in minutes.
    follow
        ``"still"``: the crop stands at the cell's mean position. ``"smooth"``: it moves in a straight line at steady speed
        (:func:`cellvjepa.cells.sightings.sightings`), which removes steady motion from what is seen.

    Raises
    ------
    UserError
        If no window is left, a movie with cells cannot give clips of this shape, or a stride in minutes meets a movie without interval.
    """
    rows = {str(name): part.reset_index(drop=True) for name, part in cells.table.groupby("movie", sort=False)}
    candidates = {
        movie.name: sightings(movie, rows[movie.name], shape, _stride(movie, stride_frames, stride_min), follow, movie.name in cells.labels)
        for movie in movies
        if movie.name in rows
    }
    # The tiny allowance: 0.7 x 10 frames is 7 frames, whatever floating point makes of it.
    kept = {name: table[table["present"] >= max(1, min_cover * shape.frames - 1e-6)] for name, table in candidates.items()}
    if not any(len(table) for table in kept.values()):
        raise _no_window(list(candidates.values()), cells, shape, min_cover)
    return _joined([windows_at(movie, shape, kept[movie.name]) for movie in movies if len(kept.get(movie.name, ()))])


def grid_windows(movies: Sequence[Movie], shape: ClipShape, stride_frames: int | None = None, *, stride_min: float | None = None) -> Windows:
    """Cover movies with clips side by side (:func:`cellvjepa.movies.clips.grid_clips`); their ``track_id`` is -1.

    Raises
    ------
    UserError
        If a movie cannot give clips of this shape, or a stride in minutes meets a movie without interval.
    """
    parts = []
    for movie in movies:
        clips = grid_clips(movie, shape, _stride(movie, stride_frames, stride_min))
        centres = pd.DataFrame(
            {
                "t_start": [clip.t0 for clip in clips],
                "y_px": [clip.y0 + (clip.extent[1] - 1) / 2 for clip in clips],
                "x_px": [clip.x0 + (clip.extent[2] - 1) / 2 for clip in clips],
            }
        )
        parts.append(_described(movie, shape, clips, centres))
    return _joined(parts)


def windows_at(movie: Movie, shape: ClipShape, table: pd.DataFrame) -> Windows:
    """Return windows at given places of a movie, in the order given.

    Parameters
    ----------
    table
        ``t_start`` [native frame], ``y_px``, ``x_px`` [native px]; optionally ``z_px``, ``track_id``, which then is part of the name of the
        clip, ``drift_y_px`` and ``drift_x_px``, with which the clip moves, and other columns of :func:`cellvjepa.cells.sightings.sightings`.

    Raises
    ------
    UserError
        If a window does not lie inside the movie in time, or a track has two that begin together.
    """
    drift = table[list(DRIFT)].to_numpy(np.float64) if set(DRIFT) <= set(table.columns) else np.zeros((len(table), 2))
    clips = [
        clip_at(movie, shape, int(t), float(y), float(x), (float(down), float(right)))
        for t, y, x, (down, right) in zip(table["t_start"], table["y_px"], table["x_px"], drift, strict=True)
    ]
    if "track_id" in table:
        values = [cell_values_of(text) for text in table[CELL_VALUES]] if CELL_VALUES in table else [(int(track),) for track in table["track_id"]]
        clips = [
            replace(clip, clip_id=f"{movie.name}#id{track}_t{clip.t0}", cell_values=value) if track != NO_TRACK else clip
            for clip, track, value in zip(clips, table["track_id"], values, strict=True)
        ]
    names = pd.Series([clip.clip_id for clip in clips], dtype=object)
    if names.duplicated().any():
        twice = names[names.duplicated()]
        raise UserError(f"{len(twice)} windows are given more than once, the first is {twice.iloc[0]}", "keep one row per window", movie.uri)
    return _described(movie, shape, clips, table)


def _described(movie: Movie, shape: ClipShape, clips: Sequence[Clip], places: pd.DataFrame) -> Windows:
    """Join clips and their places, with names and units."""
    found = sampling(movie, shape)
    t_start = np.array([clip.t0 for clip in clips], np.int64)
    facts = {name: places[name].to_numpy() for name in map(str, places) if name in FACTS or name.startswith(MEASURED)}
    middle = found.z0 + (found.extent_px[0] - 1) / 2
    y_px, x_px = places["y_px"].to_numpy(np.float64), places["x_px"].to_numpy(np.float64)
    z_px = places["z_px"].fillna(middle).to_numpy(np.float64) if "z_px" in places else middle
    table = pd.DataFrame(
        {
            "clip_id": pd.Series([clip.clip_id for clip in clips], dtype=object),
            "movie": movie.name,
            "track_id": places["track_id"].to_numpy(np.int64) if "track_id" in places else NO_TRACK,
            "t_start": t_start,
            "t_stop": t_start + found.span_frames,
            "time_s": t_start * (np.nan if movie.interval_s is None else movie.interval_s),
            "z_px": z_px,
            "y_px": y_px,
            "x_px": x_px,
            "y_um": y_px * (movie.pixel_um.y if movie.pixel_um else np.nan),
            "x_um": x_px * (movie.pixel_um.x if movie.pixel_um else np.nan),
            **movie.groups,
            **facts,
            **_at_the_border(movie, found, clips, y_px, x_px),
        }
    )
    return Windows(tuple(clips), table)


def _at_the_border(
    movie: Movie, found: Sampling, clips: Sequence[Clip], y_px: npt.NDArray[np.float64], x_px: npt.NDArray[np.float64]
) -> dict[str, npt.NDArray[Any]]:
    size = np.array([movie.shape["Y"], movie.shape["X"]])
    centre_N2 = np.stack([y_px, x_px], axis=1)
    start_N2 = np.array([(clip.y0, clip.x0) for clip in clips], np.int64).reshape(-1, 2)
    drift_N2 = np.array([clip.drift for clip in clips], np.int64).reshape(-1, 2)
    extent = np.array(found.extent_px[1:])
    outside = (start_N2 < 0) | (start_N2 + extent > np.array(found.pixels.shape[3:]) * found.factor)
    beside = np.abs(start_N2 + (drift_N2 + extent - 1) / 2 - centre_N2) > found.factor
    return {
        "border_px": np.minimum(centre_N2 + 0.5, size - 0.5 - centre_N2).min(axis=1, initial=np.inf),
        "shifted": beside.any(axis=1),
        "padded": outside.any(axis=1),
    }


def _stride(movie: Movie, stride_frames: int | None, stride_min: float | None) -> int | None:
    if stride_min is None:
        return stride_frames
    if movie.interval_s is None:
        raise UserError("the movie does not say its frame interval", "give the stride in frames (embed.stride_frames)", movie.uri)
    return max(1, nearest(60 * stride_min / movie.interval_s))


def _joined(parts: Sequence[Windows]) -> Windows:
    if not parts:
        return Windows((), pd.DataFrame(columns=list(COLUMNS)))
    return Windows(tuple(clip for part in parts for clip in part.clips), pd.concat([part.table for part in parts], ignore_index=True))


def _no_window(candidates: Sequence[pd.DataFrame], cells: Cells, shape: ClipShape, min_cover: float) -> UserError:
    if not candidates:
        there = ", ".join(cells.table["movie"].unique()[:3]) or "no movie at all"
        return UserError(f"there are no cells in these movies; the cells are in {there}", "give the cells of these movies", "cells")
    best = max(int(table["present"].max()) for table in candidates)
    longest = int(cells.table.groupby(["movie", "track_id"]).size().max())
    wanted = f"no window of {shape.frames} frames shows its cell in {min_cover:.0%} of them"
    share = math.floor(100 * best / shape.frames) / 100
    return UserError(
        f"{wanted}: the best shows it in {best}, and the longest track is {longest} frame{'s' * (longest != 1)} long",
        f"accept windows that show less (--set embed.min_cover={share:g}), or train a model with shorter clips",
        "cells",
    )
