"""Events in time, such as divisions and deaths, from what a probe says of the windows of a track.

A label counts for a window of which it covers at least half (:mod:`cellvjepa.probing.labels`). So, along a track, a probe that has learnt
its labels changes its mind when an event has reached the *middle* of the window; and the onset of an event is where the probability,
drawn as a line from middle to middle, crosses the threshold upwards. Its end is where the line crosses it downwards.

    frames        0         8         16        24        32        40
    windows       |----.08-----|----.1------|----.9-----|----.8-----|
    middles            *            *            *           *
    onset                              ^ between the second and the third, where the line is at .5

How well an onset can be known is the distance between those two middles (``onset_low``, ``onset_high``): embed with a stride of a few
frames (``embed.stride_frames``) to know it better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.aggregate import cells_of
from cellvjepa.errors import UserError

EVENT_COLUMNS: dict[str, type] = {
    "movie": object,
    "track_id": np.int64,
    "event": object,
    "onset": np.float64,
    "onset_low": np.float64,
    "onset_high": np.float64,
    "end": np.float64,
    "begun_before": np.bool_,
    "ongoing": np.bool_,
    "probability": np.float64,
    "windows": np.int64,
    "onset_s": np.float64,
    "onset_in_track": np.float64,
}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """Windows of one track that show the event, one after the other.

    Parameters
    ----------
    first, last
        Positions of its first and last window among those of the track.
    onset, end
        [frames, as times: frame 3 lasts from 3 to 4]
    """

    first: int
    last: int
    onset: float
    end: float


def find_events(table: pd.DataFrame, events: Sequence[str], config: ProbeConfig) -> pd.DataFrame:
    """Find where events begin and end in every track.

    Parameters
    ----------
    table
        The table of a store with the predictions of a probe: ``movie``, ``track_id``, ``t_start``, ``t_stop`` [native frames], ``time_s``,
        ``y_px``, ``x_px``, and ``p_NAME`` for each event. Windows without a probability (NaN) are passed over.
    events
        Names of classes that are events.
    config
        ``event_threshold``, ``event_min_frames`` and ``event_gap_frames``.

    Returns
    -------
    DataFrame
        One row per event, by movie and time: ``movie``, ``track_id``, ``event``; ``onset``, ``onset_low``, ``onset_high``, ``end`` [native
        frames]; ``begun_before`` (it was there in the first window: when it began is unknown, ``onset`` is the start of the track and
        ``onset_low`` NaN); ``ongoing`` (it was there in the last window); ``probability`` (its highest), ``windows`` (how many show it),
        ``onset_s`` [s since the movie began] and ``onset_in_track`` [frames since the track began].

    Raises
    ------
    UserError
        If there are no predictions, or the probe knows no such class.
    """
    _refuse_unpredicted(table, events)
    cells_N = cells_of(table)
    intervals = intervals_s(table)
    movies_N, track_ids_N = table["movie"].to_numpy(dtype=object), table["track_id"].to_numpy(np.int64)
    all_times_N2 = table[["t_start", "t_stop"]].to_numpy(np.float64)
    ends_N = seen_until(table)
    probabilities = {event: table[f"p_{event}"].to_numpy(np.float64) for event in events}
    lines: list[tuple[object, ...]] = []
    for rows in _tracks(table, cells_N):
        movie, track = movies_N[rows[0]], int(track_ids_N[rows[0]])
        times_N2 = all_times_N2[rows]
        for event, p_of_all in probabilities.items():
            p_N = p_of_all[rows]
            known = np.isfinite(p_N)
            lines += [
                (movie, track, event, *line, line[0] * intervals[str(movie)], line[0] - times_N2[:, 0].min())
                for line in _described_runs(p_N[known], times_N2[known], float(ends_N[rows].max()), config)
            ]
    found = pd.DataFrame(lines, columns=list(EVENT_COLUMNS)).astype(EVENT_COLUMNS)
    return found.sort_values(["movie", "onset", "track_id"], kind="stable", ignore_index=True)


def intervals_s(table: pd.DataFrame) -> dict[str, float]:
    """Return the time between two frames of each movie [s], NaN where it is unknown, as the table of a store has it."""
    found = {}
    for movie, rows in table.groupby("movie", sort=False, observed=True):
        later = rows[(rows["t_start"] > 0) & rows["time_s"].notna()]
        found[str(movie)] = float((later["time_s"] / later["t_start"]).median()) if len(later) else np.nan
    return found


def seen_until(table: pd.DataFrame) -> Floats:
    """Return until when each window shows its cell, float64 (N,) [native frames]: ``t_stop``, or before, where a track ended in it."""
    stops = table["t_stop"].to_numpy(np.float64)
    if "covered" not in table:
        return stops
    missing = np.round((1 - table["covered"].fillna(1).to_numpy(np.float64)) * (stops - table["t_start"].to_numpy(np.float64)))
    return np.asarray(stops - missing, np.float64)


def runs_above(p_N: Floats, times_N2: Floats, threshold: float, min_frames: float, gap_frames: float, seen_until: float) -> tuple[Run, ...]:
    """Find the stretches of a track in which a probability is at or above a threshold.

    Parameters
    ----------
    p_N
        float64 (N,): of the windows of one track, by time.
    times_N2
        float64 (N, 2): ``[t_start, t_stop)`` of each [frames].
    threshold
        From which on it is the event.
    min_frames
        Stretches that are shorter are left out.
    gap_frames
        Stretches whose gap is shorter are one.
    seen_until
        When the track ended; a window may reach beyond.
    """
    if not len(p_N):
        return ()
    middles = times_N2.mean(axis=1)
    above = np.concatenate([[False], p_N >= threshold, [False]])
    firsts, lasts = np.flatnonzero(~above[:-1] & above[1:]), np.flatnonzero(above[:-1] & ~above[1:]) - 1
    runs: list[Run] = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        onset = _crossing(p_N, middles, first - 1, threshold) if first else float(times_N2[0, 0])
        end = _crossing(p_N, middles, last, threshold) if last + 1 < len(p_N) else seen_until
        if runs and onset - runs[-1].end < gap_frames:
            runs[-1] = Run(runs[-1].first, last, runs[-1].onset, end)
        else:
            runs.append(Run(first, last, onset, end))
    return tuple(run for run in runs if run.end - run.onset >= min_frames)


def followed_tracks(table: pd.DataFrame, found: pd.DataFrame, event: str, by: str | None = None) -> pd.DataFrame:
    """Say of every track how long it was watched, and when the event first came.

    Parameters
    ----------
    table
        The table of the store that the events were found in.
    found
        From :func:`find_events`.
    event
        Which one.
    by
        A column of the table whose values are compared, e.g. a treatment; a track has one value.

    Returns
    -------
    DataFrame
        One row per track: ``movie``, ``track_id``, ``condition`` (text; empty without ``by``), ``first`` and ``last`` (half open) [native
        frames], ``events`` (how many), ``begun_before`` (one was there from the start), ``onset`` (of the first that began while it was
        watched, else NaN), ``frames`` (until then, or as long as it was watched), ``observed`` (whether it came), ``interval_s``.

    Raises
    ------
    UserError
        If the column is missing, has gaps, or changes along a track.
    """
    conditions_N = _conditions(table, by)
    grouped = table.assign(_condition=conditions_N).groupby(cells_of(table), sort=True)
    tracks = grouped.agg(movie=("movie", "first"), track_id=("track_id", "first"), condition=("_condition", "first"))
    tracks = tracks.assign(first=grouped["t_start"].min(), last=pd.Series(seen_until(table)).groupby(cells_of(table), sort=True).max())
    if (changing := grouped["_condition"].nunique() > 1).any():
        where = tracks[changing].iloc[0]
        raise UserError(
            f"column '{by}' changes along {int(changing.sum())} tracks (the first: track {where['track_id']} of {where['movie']})",
            "compare by a column that a track has one value of, e.g. movie, well or a treatment",
            "--by",
        )
    these = found[found["event"] == event]
    keys = ["movie", "track_id"]
    began = these[~these["begun_before"]].groupby(keys, observed=True)["onset"].min().rename("onset")
    number = these.groupby(keys, observed=True).agg(events=("onset", "size"), begun_before=("begun_before", "any"))
    tracks = tracks.merge(number, how="left", on=keys).merge(began, how="left", on=keys)
    tracks["events"] = tracks["events"].fillna(0).astype(np.int64)
    tracks["begun_before"] = tracks["begun_before"].eq(True)
    tracks["observed"] = tracks["onset"].notna()
    tracks["frames"] = tracks["onset"].fillna(tracks["last"]) - tracks["first"]
    tracks["interval_s"] = tracks["movie"].astype(str).map(intervals_s(table))
    return tracks


def _described_runs(
    p_N: Floats, times_N2: Floats, seen_until: float, config: ProbeConfig
) -> Iterator[tuple[float, float, float, float, bool, bool, float, int]]:
    if not len(p_N):
        return
    half = float(np.median(times_N2[:, 1] - times_N2[:, 0])) / 2
    shortest, gap = (half if frames is None else float(frames) for frames in (config.event_min_frames, config.event_gap_frames))
    middles = times_N2.mean(axis=1)
    for run in runs_above(p_N, times_N2, config.event_threshold, shortest, gap, seen_until):
        begun_before, shown = run.first == 0, slice(run.first, run.last + 1)
        low = np.nan if begun_before else float(middles[run.first - 1])
        yield (
            run.onset,
            low,
            float(middles[run.first]),
            run.end,
            begun_before,
            run.last == len(p_N) - 1,
            float(p_N[shown].max()),
            int((p_N[shown] >= config.event_threshold).sum()),
        )


def _crossing(p_N: Floats, middles: Floats, before: int, threshold: float) -> float:
    """Return where the line between two neighbouring windows is at the threshold."""
    share = (threshold - p_N[before]) / (p_N[before + 1] - p_N[before])
    return float(middles[before] + share * (middles[before + 1] - middles[before]))


def _tracks(table: pd.DataFrame, cells_N: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of each track, by time."""
    order = np.lexsort((table["t_start"].to_numpy(), cells_N))
    yield from np.split(order, np.flatnonzero(np.diff(cells_N[order])) + 1)


def _conditions(table: pd.DataFrame, by: str | None) -> npt.NDArray[np.object_]:
    if by is None:
        return np.full(len(table), "", dtype=object)
    if by not in table:
        known = ", ".join(map(str, table.columns))
        raise UserError(f"there is no column '{by}' to compare by", f"name an existing one ({known}), or give the conditions as a table", "--by")
    if (lost := int(table[by].isna().sum())) > 0:
        raise UserError(f"column '{by}' is empty in {lost} of {len(table)} rows", "fill it in, or compare by another column", "--by")
    return table[by].astype(str).to_numpy(dtype=object)


def _refuse_unpredicted(table: pd.DataFrame, events: Sequence[str]) -> None:
    known = [str(name).removeprefix("p_") for name in table.columns if str(name).startswith("p_")]
    if not known:
        raise UserError("there are no predictions in this store", "add them first: cellvjepa predict STORE --probe DIR")
    for event in events:
        if event not in known:
            raise UserError(f"the probe knows no class '{event}'", f"choose from {', '.join(known)}", "--event")
