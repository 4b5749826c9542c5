"""Windows: the clips that are embedded, around cells or on a grid, with one row each that says what they show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.table import Cells
from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape, check_movie, sampling
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
        where a movie belongs to none.
    """

    clips: tuple[Clip, ...]
    table: pd.DataFrame

    def __post_init__(self) -> None:
        """Hold the contract."""
        assert tuple(self.table.columns)[: len(COLUMNS)] == COLUMNS, list(self.table.columns)
        assert [clip.clip_id for clip in self.clips] == self.table["clip_id"].tolist()


def track_windows(movies: Sequence[Movie], cells: Cells, shape: ClipShape, stride_frames: int | None = None, min_cover: float = 0.5) -> Windows:
    """Cut tracks into windows: clips centred on the mean position of the cell.

    The centre stands still during a window: following the cell would remove its motion. The windows of a track begin at its
    first frame; one that would reach beyond the end of its movie is shifted back.

    Parameters
    ----------
    stride_frames
        Native frames between the starts of two windows; None: windows do not overlap.
    min_cover
        Share of a window's frames in which the cell must be present.

    Raises
    ------
    UserError
        If no window is left, or a movie with cells cannot give clips of this shape.
    """
    rows = {movie.name: cells.of(movie.name).table for movie in movies}
    candidates = {movie.name: _candidates(movie, rows[movie.name], shape, stride_frames) for movie in movies if len(rows[movie.name])}
    # The tiny allowance: 0.7 x 10 frames is 7 frames, whatever floating point makes of it.
    kept = {name: table[table["present"] >= max(1, min_cover * shape.frames - 1e-6)] for name, table in candidates.items()}
    if not any(len(table) for table in kept.values()):
        raise _no_window(list(candidates.values()), cells, shape, min_cover)
    return _joined([windows_at(movie, shape, kept[movie.name]) for movie in movies if len(kept.get(movie.name, ()))])


def grid_windows(movies: Sequence[Movie], shape: ClipShape, stride_frames: int | None = None) -> Windows:
    """Cover movies with clips side by side (:func:`cellvjepa.movies.clips.grid_clips`); their ``track_id`` is -1.

    Raises
    ------
    UserError
        If a movie cannot give clips of this shape.
    """
    parts = []
    for movie in movies:
        clips = grid_clips(movie, shape, stride_frames)
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
        ``t_start`` [native frame], ``y_px``, ``x_px`` [native px]; optionally ``z_px``, and ``track_id``, which then is part of the name of the
        clip.

    Raises
    ------
    UserError
        If a window does not lie inside the movie in time, or a track has two that begin together.
    """
    clips = [clip_at(movie, shape, int(t), float(y), float(x)) for t, y, x in zip(table["t_start"], table["y_px"], table["x_px"], strict=True)]
    if "track_id" in table:
        clips = [
            replace(clip, clip_id=f"{movie.name}#id{track}_t{clip.t0}") if track != NO_TRACK else clip
            for clip, track in zip(clips, table["track_id"], strict=True)
        ]
    names = pd.Series([clip.clip_id for clip in clips], dtype=object)
    if names.duplicated().any():
        twice = names[names.duplicated()]
        raise UserError(f"{len(twice)} windows are given more than once, the first is {twice.iloc[0]}", "keep one row per window", movie.uri)
    return _described(movie, shape, clips, table)


def _candidates(movie: Movie, rows: pd.DataFrame, shape: ClipShape, stride_frames: int | None) -> pd.DataFrame:
    """Return all windows of a movie's tracks: track_id, t_start, mean position, and ``present``, the sampled frames that show the cell."""
    found = check_movie(movie, shape)
    rows = rows.sort_values(["track_id", "t"], kind="stable")
    frames = movie.shape["T"]
    track_ids, track = np.unique(rows["track_id"].to_numpy(), return_inverse=True)
    starts = _starts(track, rows["t"].to_numpy(), stride_frames or shape.frames * found.t_step, frames - found.span_frames, frames)
    positions = rows[["z_px", "y_px", "x_px"]].to_numpy(np.float64)
    # A track and a frame as one sorted number, so that all windows look up one of their frames at a time.
    known = track * frames + rows["t"].to_numpy()
    sums, present = np.zeros((len(starts), 3)), np.zeros(len(starts), np.int64)
    for offset in range(0, found.span_frames, found.t_step):
        row = np.minimum(np.searchsorted(known, starts + offset), len(known) - 1)
        there = known[row] == starts + offset
        sums[there] += positions[row[there]]
        present += there
    z, y, x = np.divide(sums, present[:, None], out=np.full_like(sums, np.nan), where=present[:, None] > 0).T
    return pd.DataFrame({"track_id": track_ids[starts // frames], "t_start": starts % frames, "z_px": z, "y_px": y, "x_px": x, "present": present})


def _starts(track: npt.NDArray[np.int64], t: npt.NDArray[np.int64], stride: int, latest: int, frames: int) -> npt.NDArray[np.int64]:
    """Return the first frames of all windows as ``track * frames + t``, sorted, each once."""
    first_row = np.flatnonzero(np.diff(track, prepend=-1))
    first, last = t[first_row], t[np.append(first_row[1:], len(t)) - 1]
    counts = (last - first) // stride + 1
    of = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.unique(of * frames + np.minimum(first[of] + number * stride, latest))


def _described(movie: Movie, shape: ClipShape, clips: Sequence[Clip], places: pd.DataFrame) -> Windows:
    """Join clips and their places, with names and units."""
    found = sampling(movie, shape)
    t_start = np.array([clip.t0 for clip in clips], np.int64)
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
        }
    )
    return Windows(tuple(clips), table)


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
