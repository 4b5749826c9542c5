"""An honest score: fit on some groups, predict the others, never the other way round; and beside it the score of a split that leaks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa import __version__
from cellvjepa.config import ProbeConfig
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.learnt import Learnt, Watch, unwatched, within
from cellvjepa.probing.probe import fit_head, prediction_table
from cellvjepa.probing.scores import (
    SCORES,
    Interval,
    ProbeReport,
    bootstrap,
    chance_values,
    confusion_matrix,
    interval,
    resampled_scores,
    score_values,
    scores_by_group,
)
from cellvjepa.probing.splits import Fold, Groups, few_label_draws, grouped_folds, naive_folds
from cellvjepa.progress import Progress, silent

NAIVE = "nothing: row by row"
_MEASURE = "balanced accuracy"
_NOISE = 0.02  # a difference that is not worth a word
_FEW_DRAWS = 200  # resamples behind each interval of a table: there are many


def cross_validate(
    features: npt.NDArray[Any],
    labels: Labels,
    groups: Groups,
    config: ProbeConfig,
    progress: Progress = silent,
    *,
    folds: Sequence[Fold] | None = None,
    naive: bool = False,
    watch: Watch = unwatched,
) -> ProbeReport:
    """Predict each labelled row by a probe that has seen nothing of its group, and score the predictions.

    What a probe chooses (its kind, rates, temperature) it chooses on an inner split of the training rows, by group again: the test rows
    have no part in it (nested cross-validation).

    Parameters
    ----------
    features
        Features of the labelled rows, in the order of ``labels``: (N, D) vectors, or (N, C, t, z, y, x, D) tokens for the attentive kind.
    labels, groups
        The rows, and which of them stay together.
    config
        Kind of probe, folds, resamples and seed.
    progress
        Told of each fold; may cancel.
    folds
        What :func:`cellvjepa.probing.splits.grouped_folds` made of these groups; None: made here.
    naive
        Split row by row, as if rows were independent, to be compared with; intervals still come from the groups.
    watch
        Told of the score of each fold, and of the loss where there are steps.

    Raises
    ------
    UserError
        If the groups do not allow it (:func:`cellvjepa.probing.splits.grouped_folds`).
    """
    codes_N, classes = labels.codes_N, labels.classes
    folds = grouped_folds(groups, codes_N, classes, config) if folds is None else folds
    stage = "cross-validating"
    if naive:
        folds, stage = naive_folds(codes_N, len(folds), config.seed), "cross-validating row by row"
    split = "split row by row" if naive else f"split by {groups.basis}"
    probabilities_NK, fold_N = np.empty((len(codes_N), len(classes))), np.empty(len(codes_N), np.int64)
    for number, fold in enumerate(folds):
        progress(stage, number, len(folds))
        inner_N = None if naive else groups.codes_N[fold.train]
        told = within(watch, f"{split}, fold {number + 1} of {len(folds)}")
        head = fit_head(features[fold.train], codes_N[fold.train], len(classes), config, _within(progress, stage, number, len(folds)), inner_N, told)
        probabilities_NK[fold.test] = head.probabilities(features[fold.test])
        fold_N[fold.test] = number
        watch(Learnt("held out", split, number + 1, _mean_recall(codes_N[fold.test], probabilities_NK[fold.test].argmax(axis=1))))
    progress(stage, len(folds), len(folds))
    predicted_N = probabilities_NK.argmax(axis=1)
    where = {"group": np.array(groups.names, dtype=object)[groups.codes_N], "fold": fold_N, "label": labels.names_N.astype(object)}
    found = prediction_table(probabilities_NK, classes)
    table = labels.table.drop(columns=[*where, *found], errors="ignore").assign(**where)  # a store may hold older predictions
    return ProbeReport(
        classes=classes,
        confusion_KK=confusion_matrix(codes_N, predicted_N, len(classes)),
        scores=bootstrap(codes_N, probabilities_NK, groups.codes_N, config.bootstrap, np.random.default_rng(config.seed)),
        chance=chance_values(codes_N, len(classes)),
        by_group=scores_by_group(codes_N, predicted_N, groups.codes_N, groups.names, classes),
        predictions=pd.concat([table, found], axis=1),
        provenance=_provenance(labels, groups, folds, config, naive),
    )


def _mean_recall(codes_N: npt.NDArray[np.int64], predicted_N: npt.NDArray[np.int64]) -> float:
    """Return the share of rows recognised, the mean over the classes among them: not every fold has all."""
    right = codes_N == predicted_N
    return float(np.mean([right[codes_N == k].mean() for k in np.unique(codes_N)]))


def _provenance(labels: Labels, groups: Groups, folds: Sequence[Fold], config: ProbeConfig, naive: bool) -> dict[str, object]:
    codes_N, classes = labels.codes_N, labels.classes
    return {
        "version": __version__,
        "labels": labels.source,
        "labels not used": list(labels.notes),
        "rows": len(codes_N),
        "rows per class": {name: int((codes_N == k).sum()) for k, name in enumerate(classes)},
        "grouped by": NAIVE if naive else groups.basis,
        "groups": len(np.unique(groups.codes_N)),
        "folds": len(folds),
        "training rows left out per fold because they would leak": [fold.left_out for fold in folds],
        "settings": config.model_dump(mode="json"),
    }


def gap_in_words(grouped: ProbeReport, naive: ProbeReport, codes_N: npt.NDArray[np.int64], groups: Groups, config: ProbeConfig) -> str:
    """Say how much higher a split row by row scores, and what that means.

    Parameters
    ----------
    grouped, naive
        What :func:`cross_validate` found by group and row by row, on the same rows.
    codes_N
        int64 (N,): class of each row.
    groups
        Whole groups are resampled for the interval, the same ones for both scores.
    config
        Number of resamples and seed.
    """
    column = SCORES.index(_MEASURE)
    drawn = []
    for report in (grouped, naive):
        chances_NK = report.predictions[[f"p_{name}" for name in report.classes]].to_numpy(np.float64)
        rng = np.random.default_rng(config.seed)
        drawn.append(resampled_scores(codes_N, chances_NK, groups.codes_N, config.bootstrap, rng)[:, column])
    honest, leaky = grouped.scores[_MEASURE].value, naive.scores[_MEASURE].value
    return gap_sentence(honest, leaky, interval(leaky - honest, drawn[1] - drawn[0]), _MEASURE, groups.basis, searched=searched(grouped, naive))


def searched(grouped: ProbeReport, naive: ProbeReport) -> bool:
    """Tell whether settings were searched for in the split by groups and not in the one by rows."""
    return grouped.provenance.get("settings") != naive.provenance.get("settings")


def gap_sentence(honest: float, leaky: float, gap: Interval, measure: str, basis: str, *, searched: bool = False) -> str:
    """Say what lies between the score of a split by groups and that of a split by rows, ``gap`` with its interval, and what that means."""
    which = "the same kind of probe, without a search for its settings," if searched else "the same probe"
    said = f"Split row by row, {which} would score {leaky:.2f} ({measure}); split by {basis} it scores {honest:.2f}. "
    if gap.value > _NOISE and not gap.low <= 0:  # an unknown interval does not excuse a gap
        return said + (
            f"The gap of {gap} is leakage: windows that share cells or pixels stand on both sides of the naive split, and are recognised rather than "
            "understood. Publish the grouped score."
        )
    if gap.value < -_NOISE and not gap.high >= 0:
        return said + f"The naive score is not the higher one ({gap}): there is no sign that the naive split leaks."
    return said + f"The gap of {gap} is within noise: there is no sign that the naive split leaks."


def few_label_scores(
    features: npt.NDArray[Any],
    codes_N: npt.NDArray[np.int64],
    folds: Sequence[Fold],
    config: ProbeConfig,
    labels_per_class: Sequence[int | None] = (5, 20),
    draws: int = 5,
    progress: Progress = silent,
    groups_N: npt.NDArray[np.int64] | None = None,
    watch: Watch = unwatched,
) -> pd.DataFrame:
    """Score probes fitted on a few labels, drawn several times from the training rows of each fold.

    The same draws are made for whatever features are compared. Test rows of all folds are scored together.

    Parameters
    ----------
    features
        (N, D) vectors, or (N, C, t, z, y, x, D) tokens for the attentive kind.
    codes_N
        int64 (N,): class of each row.
    folds
        From :func:`cellvjepa.probing.splits.grouped_folds` or :func:`cellvjepa.probing.splits.held_out`.
    config
        Kind of probe, resamples (at most 200 are made here) and seed.
    labels_per_class
        Training rows of each class and fold; None: all (drawn once).
    draws
        How often labels are drawn.
    progress
        Told of each draw; may cancel.
    groups_N
        int64 (N,): rows that stay together, in inner splits and in the resamples behind intervals. None: no intervals.
    watch
        Told of the score of each number of labels.

    Returns
    -------
    DataFrame
        One line per number of labels: ``labels per class`` (``"all"`` for None), ``draws`` and, for each score, ``SCORE`` (mean
        over draws), ``SCORE sd`` (0 where there is one draw), ``SCORE low`` and ``SCORE high`` (95 % interval over draws and groups).
    """
    tested = np.concatenate([fold.test for fold in folds])
    repeats = [draws if few else 1 for few in labels_per_class]
    lines, done = [], 0
    for few, times in zip(labels_per_class, repeats, strict=True):
        drawn = [few_label_draws(fold.train, codes_N, few, times, config.seed) for fold in folds]
        found, resampled = [], []
        for number, rows_of_folds in enumerate(zip(*drawn, strict=True)):
            step = ("scoring with few labels", done, sum(repeats))
            progress(*step)
            predicted_NK = _predicted(features, codes_N, folds, rows_of_folds, config, groups_N, _within(progress, *step))
            found.append(score_values(codes_N[tested], predicted_NK))
            if groups_N is not None:
                rng = np.random.default_rng([config.seed, number])
                resamples = max(1, min(config.bootstrap, _FEW_DRAWS) // times)
                resampled.append(resampled_scores(codes_N[tested], predicted_NK, groups_N[tested], resamples, rng))
            done += 1
        scores = pd.DataFrame(found)
        line: dict[str, Any] = {"labels per class": "all" if few is None else str(few), "draws": len(found)}
        for column, name in enumerate(SCORES):
            value = float(scores[name].mean())
            ends = interval(value, np.concatenate(resampled)[:, column]) if resampled else None
            line |= {name: value, f"{name} sd": scores[name].std(ddof=0)}
            line |= {f"{name} low": ends.low if ends else np.nan, f"{name} high": ends.high if ends else np.nan}
        lines.append(line)
        watch(Learnt("labels", "", few or math.inf, line[_MEASURE]))
    progress("scoring with few labels", done, done)
    return pd.DataFrame(lines)


def _predicted(
    features: npt.NDArray[Any],
    codes_N: npt.NDArray[np.int64],
    folds: Sequence[Fold],
    rows_of_folds: Sequence[npt.NDArray[np.int64]],
    config: ProbeConfig,
    groups_N: npt.NDArray[np.int64] | None,
    progress: Progress,
) -> npt.NDArray[np.float64]:
    """Return the probabilities of the test rows of all folds, one fold after the other, by probes fitted on these rows of each."""
    classes, parts = int(codes_N.max()) + 1, []
    for fold, rows in zip(folds, rows_of_folds, strict=True):
        inner_N = None if groups_N is None else groups_N[rows]
        head = fit_head(features[rows], codes_N[rows], classes, config, progress, inner_N)
        parts.append(head.probabilities(features[fold.test]))
    return np.concatenate(parts)


def _within(progress: Progress, stage: str, done: int, total: int) -> Progress:
    """Return a progress for what goes on within one step: it tells of that step again, and may cancel."""

    def tell(_stage: str, _done: int, _total: int) -> None:
        progress(stage, done, total)

    return tell
