"""What answers to yes/no questions are worth: of each class alone, on average over classes (macro), and all answers together (micro)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from cellvjepa.probing.multilabel import THRESHOLD
from cellvjepa.probing.scores import Interval, affordable_draws, interval, rank_scores

ANSWER_SCORES = ("balanced accuracy", "F1", "ROC AUC", "average precision")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class AnswerScores:
    """Scores of several yes/no questions about the same rows, by name (:data:`ANSWER_SCORES`).

    F1 and average precision are those of *yes*: guessing gives an average precision equal to the share of rows that a class fits.

    Parameters
    ----------
    by_class
        Of each question, in the order of the classes.
    macro
        Mean over classes: rare ones count as much as common ones.
    micro
        Of all answers to all questions in one list.
    """

    by_class: tuple[Mapping[str, Interval], ...]
    macro: Mapping[str, Interval]
    micro: Mapping[str, Interval]


def answer_scores(fits_NK: Bools, chances_NK: Floats, groups_N: Ints, draws: int, seed: int) -> AnswerScores:
    """Score answers, with intervals from drawing as many groups as there are, with replacement: the same ones for all classes.

    Parameters
    ----------
    fits_NK
        bool (N, K): which classes fit each row.
    chances_NK
        float64 (N, K): how likely a probe that had seen nothing of a row's group thought that.
    groups_N
        int64 (N,): group of each row.
    draws, seed
        Resamples of groups, and their seed.
    """
    questions = fits_NK.shape[1]
    draws = affordable_draws(draws, fits_NK.size)  # as many for each class as for all of them together
    values_KS = np.array([_scores(fits_NK[:, k], chances_NK[:, k], None) for k in range(questions)])
    drawn_DKS = np.stack([resampled_answers(fits_NK[:, k], chances_NK[:, k], groups_N, draws, seed) for k in range(questions)], axis=1)
    flat = fits_NK.T.ravel(), chances_NK.T.ravel()
    micro_S = _scores(*flat, None)
    micro_DS = resampled_answers(*flat, np.tile(groups_N, questions), draws, seed)
    return AnswerScores(
        tuple(_intervals(values_KS[k], drawn_DKS[:, k]) for k in range(questions)),
        _intervals(values_KS.mean(axis=0), drawn_DKS.mean(axis=1)),
        _intervals(micro_S, micro_DS),
    )


def resampled_answers(fits_N: Bools, chances_N: Floats, groups_N: Ints, draws: int, seed: int) -> Floats:
    """Return (draws, scores) values of :data:`ANSWER_SCORES`; none where there is one group, NaN where a draw has one answer only."""
    groups_N = np.unique(groups_N, return_inverse=True)[1]
    groups, rng = int(groups_N.max()) + 1, np.random.default_rng(seed)
    draws = draws if groups > 1 else 0
    rank_N = _ranks(chances_N)
    found = np.empty((draws, len(ANSWER_SCORES)))
    for draw in range(len(found)):
        times_G = np.bincount(rng.integers(groups, size=groups), minlength=groups).astype(np.float64)
        found[draw] = _scores(fits_N, chances_N, times_G[groups_N], rank_N)
    return found


def _scores(fits_N: Bools, chances_N: Floats, weights_N: Floats | None, rank_N: Ints | None = None) -> tuple[float, float, float, float]:
    weights = np.ones(len(fits_N)) if weights_N is None else weights_N
    said = chances_N >= THRESHOLD
    hits, misses = weights[said & fits_N].sum(), weights[~said & fits_N].sum()
    alarms, rejections = weights[said & ~fits_N].sum(), weights[~said & ~fits_N].sum()
    if not (hits + misses and alarms + rejections):
        return (float("nan"),) * 4
    recalled = (hits / (hits + misses) + rejections / (alarms + rejections)) / 2
    ranked = rank_scores(_ranks(chances_N) if rank_N is None else rank_N, fits_N, weights)
    return float(recalled), float(2 * hits / (2 * hits + misses + alarms)), *ranked


def _ranks(chances_N: Floats) -> Ints:
    found: Ints = rankdata(chances_N, method="dense").astype(np.int64) - 1
    return found


def _intervals(values_S: npt.ArrayLike, drawn_DS: Floats) -> Mapping[str, Interval]:
    values = np.asarray(values_S, np.float64)
    return {name: interval(float(values[s]), drawn_DS[:, s]) for s, name in enumerate(ANSWER_SCORES)}
