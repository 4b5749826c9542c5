"""How long until it happens: Kaplan-Meier curves with censoring, the log-rank test between conditions, and rates.

A track that ends before the event came, because the movie ended, the cell left or it was lost, is censored: it counts as long as it was
watched. That is only right if what ends a track has nothing to do with the event; a cell that the tracker loses *because* it dies is not.

Two p-values are given. The log-rank test (Mantel, 1966) takes every track for an independent observation, which cells of a well are not:
with many cells it finds small differences between any two wells. So the conditions of whole movies are shuffled, too, and the p-value is the
share of shuffles whose statistic is at least as large; with few movies it cannot be small, and that is the truth about the experiment.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.progress import Progress, silent

_SHUFFLES = 2000
_LEVEL = 0.95

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LogRank:
    """Whether conditions differ in when the event comes.

    Parameters
    ----------
    statistic, degrees
        Chi-squared statistic and its degrees of freedom.
    p_tracks
        Each track taken as independent.
    p_movies
        Whole movies shuffled; NaN where that is not possible (``note``).
    movies
        How many.
    smallest
        The smallest value that ``p_movies`` could take.
    note
        Why there is no ``p_movies``.
    """

    statistic: float
    degrees: int
    p_tracks: float
    p_movies: float
    movies: int
    smallest: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class Survival:
    """When an event first comes.

    Parameters
    ----------
    event
        Its name.
    unit
        Of all times: ``"h"``, or ``"frames"`` where the interval of a movie is unknown.
    curves
        ``condition``, ``time``, ``surviving`` (share of tracks without the event), ``low``, ``high`` (95 %), ``at_risk``; one row per
        step of each curve.
    summary
        One row per condition: ``condition``, ``tracks``, ``movies``, ``with the event``, ``censored``, ``median``, ``median low``,
        ``median high`` (inf where it is never reached), ``events``, ``watched`` (time of all tracks), ``rate``, ``rate low``,
        ``rate high`` (events per unit of watched time; 95 %, Garwood 1936).
    logrank
        None where there is nothing to compare; ``notes`` says why.
    notes
        What was left out, and what to be careful with.
    """

    event: str
    unit: str
    curves: pd.DataFrame
    summary: pd.DataFrame
    logrank: LogRank | None
    notes: tuple[str, ...]


def survival_of(tracks: pd.DataFrame, event: str, seed: int = 0, progress: Progress = silent) -> Survival:
    """Estimate when an event first comes, by condition, counted from when a track was first seen.

    Tracks in which it was there from the start are left out: when it began is unknown.

    Parameters
    ----------
    tracks
        From :func:`cellvjepa.probing.events.followed_tracks`.
    event
        Its name.
    seed
        Of the shuffles.
    progress
        Told of the conditions; may cancel.
    """
    from lifelines import KaplanMeierFitter  # slow to import
    from lifelines.utils import median_survival_times

    in_hours = bool(tracks["interval_s"].notna().all())
    per_frame = tracks["interval_s"].to_numpy(np.float64) / 3600 if in_hours else np.ones(len(tracks))
    started = tracks["begun_before"].to_numpy(bool)
    left, time_N = tracks[~started].reset_index(drop=True), (tracks["frames"].to_numpy(np.float64) * per_frame)[~started]
    watched = ((tracks["last"] - tracks["first"]).to_numpy(np.float64) * per_frame)[~started]
    curves, lines = [], []
    names = sorted(left["condition"].unique())
    for done, name in enumerate(names):
        progress(f"{event}: survival", done, len(names))
        here = (left["condition"] == name).to_numpy()
        seen = left["observed"].to_numpy(bool)[here]
        fitted = KaplanMeierFitter(alpha=1 - _LEVEL).fit(time_N[here], seen)
        bounds = fitted.confidence_interval_
        curve = pd.DataFrame({"condition": name, "time": fitted.timeline, "surviving": fitted.survival_function_.iloc[:, 0].to_numpy()})
        curves.append(
            curve.assign(low=bounds.iloc[:, 0].to_numpy(), high=bounds.iloc[:, 1].to_numpy(), at_risk=fitted.event_table["at_risk"].to_numpy())
        )
        median = median_survival_times(bounds).to_numpy().ravel() if seen.any() else np.array([np.inf, np.inf])
        lines.append(
            {
                "condition": name,
                "tracks": int(here.sum()),
                "movies": int(left["movie"][here].nunique()),
                "with the event": int(seen.sum()),
                "censored": int((~seen).sum()),
                "median": float(fitted.median_survival_time_),
                "median low": float(median.min()),
                "median high": float(median.max()),
                **_rate(int(left["events"][here].sum()), float(watched[here].sum())),
            }
        )
    test, why = _compared(left, time_N, seed)
    notes = (*_notes(event, tracks, int(started.sum())), *([why] if why else []))
    unit = "h" if in_hours else "frames"
    return Survival(event, unit, pd.concat(curves, ignore_index=True) if curves else _NO_CURVES, pd.DataFrame(lines), test, notes)


def logrank_statistic(time_N: Floats, observed_N: npt.NDArray[np.bool_], codes_N: Ints) -> float:
    """Return the chi-squared statistic of the log-rank test between the groups ``codes_N`` (Mantel 1966; Peto and Peto 1972)."""
    at_risk_UJ, events_UJ = _counts(time_N, observed_N, codes_N)
    return _statistic(at_risk_UJ, events_UJ)


def _compared(tracks: pd.DataFrame, time_N: Floats, seed: int) -> tuple[LogRank | None, str]:
    from scipy.stats import chi2

    conditions, codes_N = np.unique(tracks["condition"].to_numpy(dtype=str), return_inverse=True)
    observed_N = tracks["observed"].to_numpy(bool)
    if len(conditions) < 2:
        return None, ""
    if not observed_N.any():
        return None, "No event began while it was watched, so there is nothing to test."
    statistic = logrank_statistic(time_N, observed_N, codes_N)
    p_tracks = float(chi2.sf(statistic, len(conditions) - 1))
    movie_names, movie_N = np.unique(tracks["movie"].to_numpy(dtype=str), return_inverse=True)
    condition_of_movie = np.zeros(len(movie_names), np.int64)
    condition_of_movie[movie_N] = codes_N
    if (condition_of_movie[movie_N] != codes_N).any():
        note = "Movies hold tracks of several conditions, so whole movies cannot be shuffled."
        return LogRank(statistic, len(conditions) - 1, p_tracks, np.nan, len(movie_names), np.nan, note), ""
    at_risk_UJ, events_UJ = _counts(time_N, observed_N, movie_N)
    shuffles, smallest = _shuffles(condition_of_movie, seed)
    larger = total = 0
    for codes_U in shuffles:
        member_GU = (codes_U == np.arange(len(conditions))[:, None]).astype(np.float64)
        larger += _statistic(member_GU @ at_risk_UJ, member_GU @ events_UJ) >= statistic - 1e-9
        total += 1
    return LogRank(statistic, len(conditions) - 1, p_tracks, larger / total, len(movie_names), smallest), ""


def _shuffles(codes_U: Ints, seed: int) -> tuple[Iterator[Ints], float]:
    """Return all ways to give conditions to movies, or as many random ones (the true one among them) where there are too many."""
    sizes = np.bincount(codes_U)
    ways = math.factorial(len(codes_U)) // math.prod(math.factorial(int(size)) for size in sizes)
    if ways <= _SHUFFLES:
        # Conditions with as many movies each can change names: that is the same division of the movies.
        same = math.prod(math.factorial(int(n)) for n in np.unique(sizes, return_counts=True)[1])
        return _all_ways(tuple(sizes.tolist())), same / ways
    rng = np.random.default_rng(seed)
    return itertools.chain([codes_U], (rng.permutation(codes_U) for _ in range(_SHUFFLES - 1))), 1 / _SHUFFLES


def _all_ways(sizes: tuple[int, ...]) -> Iterator[Ints]:
    if not sum(sizes):
        yield np.zeros(0, np.int64)
        return
    for code, size in enumerate(sizes):
        if size:
            for rest in _all_ways((*sizes[:code], size - 1, *sizes[code + 1 :])):
                yield np.concatenate([[code], rest]).astype(np.int64)


def _counts(time_N: Floats, observed_N: npt.NDArray[np.bool_], codes_N: Ints) -> tuple[Floats, Floats]:
    """Return for each group, at each time of an event, how many are still watched without it, and to how many it comes: (U, J) each."""
    times_J = np.unique(time_N[observed_N])
    groups = int(codes_N.max()) + 1
    at_risk_UJ, events_UJ = np.zeros((groups, len(times_J))), np.zeros((groups, len(times_J)))
    for group in range(groups):
        here = codes_N == group
        at_risk_UJ[group] = here.sum() - np.searchsorted(np.sort(time_N[here]), times_J, side="left")
        came = np.sort(time_N[here & observed_N])
        events_UJ[group] = np.searchsorted(came, times_J, side="right") - np.searchsorted(came, times_J, side="left")
    return at_risk_UJ, events_UJ


def _statistic(at_risk_GJ: Floats, events_GJ: Floats) -> float:
    at_risk_J, events_J = at_risk_GJ.sum(axis=0), events_GJ.sum(axis=0)
    share_GJ = at_risk_GJ / at_risk_J
    excess = (events_GJ - share_GJ * events_J).sum(axis=1)[:-1]
    spread_J = events_J * (at_risk_J - events_J) / np.maximum(at_risk_J - 1, 1)
    covariance = np.diag((share_GJ * spread_J).sum(axis=1)) - (share_GJ * spread_J) @ share_GJ.T
    return float(excess @ np.linalg.pinv(covariance[:-1, :-1]) @ excess)


def _rate(events: int, watched: float) -> dict[str, float]:
    from scipy.stats import chi2

    tail = (1 - _LEVEL) / 2
    low = chi2.ppf(tail, 2 * events) / 2 if events else 0.0
    high = chi2.ppf(1 - tail, 2 * events + 2) / 2
    per = {"rate": events, "rate low": low, "rate high": high}
    return {"events": events, "watched": watched, **{name: float(value / watched) if watched > 0 else np.nan for name, value in per.items()}}


def _notes(event: str, tracks: pd.DataFrame, started: int) -> list[str]:
    notes = []
    if started:
        notes.append(f"{started} of {len(tracks)} tracks show '{event}' from their start and are left out: when it began is unknown.")
    if tracks["interval_s"].isna().any():
        notes.append("The time between frames is not known for every movie, so times are in frames.")
    elif tracks["interval_s"].nunique() > 1 and tracks["interval_s"].max() > 1.05 * tracks["interval_s"].min():
        notes.append("Movies differ in the time between frames: an event is more easily missed where it is long.")
    return notes


_NO_CURVES = pd.DataFrame({name: [] for name in ("condition", "time", "surviving", "low", "high", "at_risk")})
