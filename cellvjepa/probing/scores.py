"""What a classifier is worth: confusion matrix and scores, each with an interval from resampling groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

SCORES = ("balanced accuracy", "macro F1", "ROC AUC", "average precision")
_COVERAGE = 0.95
_FEWEST_DRAWS = 20  # below this many usable resamples a 95 % interval is a guess
_MOST_WORK = 4 * 10**8  # rows x classes x resamples of one bootstrap: about ten seconds; with more, fewer resamples are drawn
_ENOUGH_DRAWS = 100  # but never fewer than these, if as many are asked for

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A score and its 95 % bootstrap interval over groups; ``low`` and ``high`` are NaN where there are too few groups."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return e.g. ``0.91 [0.85, 0.95]``."""
        return f"{self.value:.2f}" if np.isnan(self.low) else f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class ProbeReport:
    """What cross-validation found.

    Parameters
    ----------
    classes
        K names, sorted; the order of everything below.
    confusion_KK
        int64 (K, K): rows are true classes, columns are predicted ones; each labelled row was predicted once.
    scores
        By name (:data:`SCORES`).
    chance
        The same scores of the class prior, which knows nothing of the images.
    by_group
        One line per group: ``group``, ``rows``, ``accuracy`` and, where the group has them, ``recall CLASS``.
    predictions
        One line per labelled row: the columns of the embedding table, then ``group``, ``fold``, ``label``, ``predicted``,
        ``probability`` (of the predicted class) and ``p CLASS`` for each class.
    provenance
        Where it comes from: labels, encoder, probe, how it was split, what was left out.
    """

    classes: tuple[str, ...]
    confusion_KK: Ints
    scores: Mapping[str, Interval]
    chance: Mapping[str, float]
    by_group: pd.DataFrame
    predictions: pd.DataFrame
    provenance: Mapping[str, object]


def confusion_matrix(codes_N: Ints, predicted_N: Ints, classes: int) -> Ints:
    """Count int64 (K, K) pairs of true (rows) and predicted (columns) class."""
    return np.bincount(codes_N * classes + predicted_N, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def balanced_accuracy(confusion_KK: npt.NDArray[np.generic]) -> float:
    """Return the mean over classes of the share of their rows that was recognised; NaN if a class has no rows."""
    confusion = np.asarray(confusion_KK, dtype=np.float64)
    support = confusion.sum(axis=1)
    return float((np.diag(confusion) / support).mean()) if support.all() else float("nan")


def macro_f1(confusion_KK: npt.NDArray[np.generic]) -> float:
    """Return the mean over classes of 2 hits / (rows + predictions), 0 for a class never predicted; NaN if a class has no rows."""
    confusion = np.asarray(confusion_KK, dtype=np.float64)
    support = confusion.sum(axis=1)
    return float((2 * np.diag(confusion) / (support + confusion.sum(axis=0))).mean()) if support.all() else float("nan")


def roc_auc(codes_N: Ints, probabilities_NK: Floats) -> float:
    """Return the area under the ROC curve, the mean over classes of one against the rest; NaN if a class has no rows."""
    return _Ranked(codes_N, probabilities_NK).scores(np.ones(len(codes_N)))[0]


def average_precision(codes_N: Ints, probabilities_NK: Floats) -> float:
    """Return the area under the precision-recall steps, the mean over classes of one against the rest; NaN if a class has no rows.

    The mean is over all classes, also where there are two: so guessing gives 1 / K, whichever class is rare.
    """
    return _Ranked(codes_N, probabilities_NK).scores(np.ones(len(codes_N)))[1]


def score_values(codes_N: Ints, probabilities_NK: Floats) -> dict[str, float]:
    """Return every score of :data:`SCORES`, without intervals."""
    confusion = confusion_matrix(codes_N, probabilities_NK.argmax(axis=1), probabilities_NK.shape[1])
    ranking = _Ranked(codes_N, probabilities_NK).scores(np.ones(len(codes_N)))
    return dict(zip(SCORES, (balanced_accuracy(confusion), macro_f1(confusion), *ranking), strict=True))


def chance_values(codes_N: Ints, classes: int) -> dict[str, float]:
    """Return the scores of the class prior: it always says the most frequent class, and gives each row the same probability."""
    prior = np.bincount(codes_N, minlength=classes) / max(len(codes_N), 1)
    return score_values(codes_N, np.tile(prior, (len(codes_N), 1)))


def bootstrap(codes_N: Ints, probabilities_NK: Floats, groups_N: Ints, draws: int, rng: np.random.Generator) -> dict[str, Interval]:
    """Score predictions, with intervals from drawing as many groups as there are, with replacement.

    Rows of a group are not independent, so whole groups are drawn: with rows the intervals would be far too narrow.
    A draw that misses a class has no score and is left out.

    Parameters
    ----------
    codes_N, groups_N
        int64 (N,): class and group of each row.
    probabilities_NK
        (N, K) predicted probabilities; the predicted class is the largest.
    draws
        Resamples.
    rng
        Source of the resamples.
    """
    found = resampled_scores(codes_N, probabilities_NK, groups_N, draws, rng)
    values = score_values(codes_N, probabilities_NK)
    return {name: interval(values[name], found[:, column]) for column, name in enumerate(SCORES)}


def resampled_scores(codes_N: Ints, probabilities_NK: Floats, groups_N: Ints, draws: int, rng: np.random.Generator) -> Floats:
    """Return (draws, scores) values of :data:`SCORES`, each of as many groups as there are, drawn with replacement.

    No line where there is one group: drawn from itself, it says nothing of how groups differ. NaN where a draw misses a class.
    """
    _, groups_N = np.unique(groups_N, return_inverse=True)
    groups, classes = int(groups_N.max()) + 1, probabilities_NK.shape[1]
    draws = affordable_draws(draws, len(codes_N) * classes) if groups > 1 else 0
    predicted_N = probabilities_NK.argmax(axis=1)
    # Counts of each group: rows of a class, predictions of it, and hits; a confusion matrix each would not fit for 200 classes.
    counts_3GK = np.zeros((3, groups, classes))
    for of, class_N, counted in ((0, codes_N, slice(None)), (1, predicted_N, slice(None)), (2, codes_N, codes_N == predicted_N)):
        np.add.at(counts_3GK[of], (groups_N[counted], class_N[counted]), 1)
    ranked = _Ranked(codes_N, probabilities_NK)
    found = np.empty((draws, len(SCORES)))
    for draw in range(draws):
        times_G = np.bincount(rng.integers(groups, size=groups), minlength=groups).astype(np.float64)
        support_K, guesses_K, hits_K = times_G @ counts_3GK
        if support_K.all():
            counted_scores = float((hits_K / support_K).mean()), float((2 * hits_K / (support_K + guesses_K)).mean())
            found[draw] = *counted_scores, *ranked.scores(times_G[groups_N])
        else:
            found[draw] = np.nan
    return found


def affordable_draws(draws: int, numbers: int) -> int:
    """Return how many resamples are made where so many were asked for and each goes through so many numbers."""
    return min(draws, max(_ENOUGH_DRAWS, _MOST_WORK // numbers))


def scores_by_group(codes_N: Ints, predicted_N: Ints, groups_N: Ints, group_names: tuple[str, ...], classes: tuple[str, ...]) -> pd.DataFrame:
    """Return one line per group: its rows, the share that was recognised, and the same for each class (NaN where it has none)."""
    right = codes_N == predicted_N
    lines = []
    for code in np.unique(groups_N):
        here = groups_N == code
        recalls = {
            f"recall {name}": float(right[here & (codes_N == k)].mean()) if (here & (codes_N == k)).any() else float("nan")
            for k, name in enumerate(classes)
        }
        lines.append({"group": group_names[code], "rows": int(here.sum()), "accuracy": float(right[here].mean()), **recalls})
    return pd.DataFrame(lines)


class _Ranked:
    """Rows sorted by score once, so that each resample costs O(N): rank statistics with weights, ties counted half."""

    def __init__(self, codes_N: Ints, probabilities_NK: Floats) -> None:
        self._columns = [
            (rankdata(probabilities_NK[:, k], method="dense").astype(np.int64) - 1, codes_N == k) for k in range(probabilities_NK.shape[1])
        ]

    def scores(self, weights_N: Floats) -> tuple[float, float]:
        """Return ROC AUC and average precision, each the mean over classes."""
        found = np.mean([rank_scores(rank, hit, weights_N) for rank, hit in self._columns], axis=0)
        return float(found[0]), float(found[1])


def rank_scores(rank_N: Ints, positive_N: npt.NDArray[np.bool_], weights_N: Floats) -> tuple[float, float]:
    """Return ROC AUC and average precision of one class; NaN where only one answer is there.

    AUC = P(score of a positive > score of a negative) + half P(equal), the Mann-Whitney statistic.
    AP = sum over thresholds of (recall gained there) x (precision there), from the highest score down.

    Parameters
    ----------
    rank_N
        int64 (N,): dense ranks of the scores, from 0.
    positive_N
        bool (N,): which rows are of the class.
    weights_N
        float64 (N,): how often each row counts.
    """
    everything = np.bincount(rank_N, weights=weights_N)
    positive = np.bincount(rank_N[positive_N], weights=weights_N[positive_N], minlength=len(everything))
    negative = everything - positive
    positives, negatives = positive.sum(), negative.sum()
    if not (positives and negatives):
        return float("nan"), float("nan")
    below = np.cumsum(negative) - negative
    above, positive_above = np.cumsum(everything[::-1])[::-1], np.cumsum(positive[::-1])[::-1]
    precision = np.divide(positive_above, above, out=np.zeros_like(above), where=above > 0)
    return float((positive * (below + negative / 2)).sum() / (positives * negatives)), float((positive * precision).sum() / positives)


def interval(value: float, found: Floats) -> Interval:
    """Return a score with the 95 % interval of its resamples; NaN where too few of them are usable."""
    usable = found[~np.isnan(found)]
    if len(usable) < _FEWEST_DRAWS:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(usable, [(1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2])
    return Interval(value, float(low), float(high))
