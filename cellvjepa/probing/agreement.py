"""How far annotators agree: Cohen's kappa, and where they do not.

kappa = (p_o - p_e) / (1 - p_e), with p_o the share of windows on which two annotators agree and p_e the share on which they would if each
drew labels at random as often as they use them (Cohen 1960, Educational and Psychological Measurement 20:37). 0 is chance, 1 is perfect.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.errors import UserError
from cellvjepa.probing.label_file import WINDOW, standing_lines

_UNSURE = "unsure"
_TRACK = ("movie", "track_id")

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Two annotators.

    Parameters
    ----------
    first, second
        Who.
    windows
        How many windows (same movie, track, ``t_start`` and ``t_stop``) both gave a label.
    unsure
        How many more one of them was unsure of; they are not counted.
    unshared
        How many only one of them gave a label.
    observed, by_chance
        Share of windows with the same label, and the share that chance would give.
    kappa, low, high
        With its 95 % interval from resampling tracks; NaN where it is undefined (``note``).
    classes, counts_KK
        int64 (K, K): rows are the first annotator's labels, columns the second's.
    disagreements
        One row per window: ``movie``, ``track_id``, ``t_start``, ``t_stop``, and one column per annotator.
    note
        What has to be said with it.
    """

    first: str
    second: str
    windows: int
    unsure: int
    unshared: int
    observed: float
    by_chance: float
    kappa: float
    low: float
    high: float
    classes: tuple[str, ...]
    counts_KK: Ints
    disagreements: pd.DataFrame
    note: str = ""

    def __str__(self) -> str:
        """Return it in a sentence."""
        pair = f"{self.first} and {self.second}"
        if np.isnan(self.kappa):
            return f"{pair}: {self.note} ({self.windows} windows, the same label on {self.observed:.0%})"
        interval = f" [{self.low:.2f}, {self.high:.2f}]" if np.isfinite(self.low) else ""
        shares = f"the same label on {self.observed:.0%}, by chance {self.by_chance:.0%}"
        return f"{pair}: kappa {self.kappa:.2f}{interval} on {self.windows} windows; {shares}"


def agreements(lines: pd.DataFrame, rng: np.random.Generator, draws: int = 500) -> tuple[Agreement, ...]:
    """Compare each pair of annotators.

    Parameters
    ----------
    lines
        From :func:`cellvjepa.probing.label_file.read_lines`; of an annotator's lines on one window the last one holds.
    rng
        For the intervals.
    draws
        Resamplings of tracks behind them.

    Raises
    ------
    UserError
        If fewer than two annotators are named, or no two of them gave labels to the same window.
    """
    standing = standing_lines(lines)
    names = sorted(set(standing["annotator"]) - {""})
    if len(names) < 2:
        who = f"only '{names[0]}' is" if names else "nobody is"
        raise UserError(f"{who} named in the column 'annotator'", "give a file of two annotators, or one file of each")
    found = [_pair(standing, *pair, rng, draws) for pair in itertools.combinations(names, 2)]
    shared = tuple(pair for pair in found if pair.windows)
    if not shared:
        raise UserError(
            f"no two of {', '.join(names)} gave a label to the same window",
            "let both label the same movies, tracks and frames (t_start, t_stop), e.g. from one file of `cellvjepa suggest`",
        )
    return shared


def summary(pair: Agreement) -> dict[str, object]:
    """Return an agreement as JSON has it: what is undefined is null."""
    numbers = {name: getattr(pair, name) for name in ("observed", "by_chance", "kappa", "low", "high")}
    return {
        "annotators": [pair.first, pair.second],
        "windows": pair.windows,
        "unsure": pair.unsure,
        "unshared": pair.unshared,
        **{name: None if np.isnan(value) else value for name, value in numbers.items()},
        "classes": list(pair.classes),
        "counts": pair.counts_KK.tolist(),
        "note": pair.note or None,
    }


def cohen_kappa(counts_KK: npt.NDArray[np.integer]) -> tuple[float, float, float]:
    """Return the share of agreement, that by chance, and kappa (NaN where both only ever use one and the same label)."""
    total = counts_KK.sum()
    if not total:
        return np.nan, np.nan, np.nan
    observed = float(np.trace(counts_KK) / total)
    by_chance = float(counts_KK.sum(axis=0) @ counts_KK.sum(axis=1) / total**2)
    return observed, by_chance, (observed - by_chance) / (1 - by_chance) if by_chance < 1 else np.nan


def _pair(lines: pd.DataFrame, first: str, second: str, rng: np.random.Generator, draws: int) -> Agreement:
    ours, theirs = (lines.loc[lines["annotator"] == name, [*WINDOW, "label"]] for name in (first, second))
    both = ours.merge(theirs, on=list(WINDOW), suffixes=("_1", "_2"))
    unsure = both["label_1"].str.lower().eq(_UNSURE) | both["label_2"].str.lower().eq(_UNSURE)
    unshared = len(ours) + len(theirs) - 2 * len(both)
    both = both[~unsure].reset_index(drop=True)
    classes = tuple(sorted(set(both["label_1"]) | set(both["label_2"])))
    position = {name: k for k, name in enumerate(classes)}
    codes: tuple[Ints, Ints] = both["label_1"].map(position).to_numpy(np.int64), both["label_2"].map(position).to_numpy(np.int64)
    counts = _counted(*codes, len(classes))
    observed, by_chance, kappa = cohen_kappa(counts)
    tracks = both.groupby(list(_TRACK)).ngroup().to_numpy().astype(np.int64)
    low, high, note = np.nan, np.nan, ""
    if len(both) and np.isnan(kappa):
        note = f"kappa is undefined, because both only ever said '{classes[0]}'"
    elif len(both) and len(np.unique(tracks)) < 2:
        note = "there is no interval, because all windows are of one track"
    elif len(both):
        low, high = _interval(*codes, tracks, len(classes), rng, draws)
    different = both[both["label_1"] != both["label_2"]].rename(columns={"label_1": first, "label_2": second}).reset_index(drop=True)
    return Agreement(first, second, len(both), int(unsure.sum()), unshared, observed, by_chance, kappa, low, high, classes, counts, different, note)


def _counted(first_N: Ints, second_N: Ints, classes: int) -> Ints:
    return np.bincount(first_N * classes + second_N, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def _interval(first_N: Ints, second_N: Ints, tracks_N: Ints, classes: int, rng: np.random.Generator, draws: int) -> tuple[float, float]:
    per_track = np.stack([_counted(first_N[tracks_N == track], second_N[tracks_N == track], classes) for track in np.unique(tracks_N)])
    drawn = rng.integers(0, len(per_track), (draws, len(per_track)))
    kappas = np.array([cohen_kappa(per_track[rows].sum(axis=0))[2] for rows in drawn])
    kappas = kappas[np.isfinite(kappas)]
    return (float(np.percentile(kappas, 2.5)), float(np.percentile(kappas, 97.5))) if len(kappas) else (np.nan, np.nan)
