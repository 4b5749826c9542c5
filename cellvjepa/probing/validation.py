"""An honest score: fit on some groups, predict the others, never the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa import __version__
from cellvjepa.config import ProbeConfig
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.probe import fit_head, prediction_table
from cellvjepa.probing.scores import SCORES, ProbeReport, bootstrap, chance_values, confusion_matrix, score_values, scores_by_group
from cellvjepa.probing.splits import Fold, Groups, few_label_draws, grouped_folds
from cellvjepa.progress import Progress, silent


def cross_validate(features: npt.NDArray[Any], labels: Labels, groups: Groups, config: ProbeConfig, progress: Progress = silent) -> ProbeReport:
    """Predict each labelled row by a probe that has seen nothing of its group, and score the predictions.

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

    Raises
    ------
    UserError
        If the groups do not allow it (:func:`cellvjepa.probing.splits.grouped_folds`).
    """
    codes_N, classes = labels.codes_N, labels.classes
    folds = grouped_folds(groups, codes_N, classes, config)
    probabilities_NK, fold_N = np.empty((len(codes_N), len(classes))), np.empty(len(codes_N), np.int64)
    for number, fold in enumerate(folds):
        progress("cross-validating", number, len(folds))
        head = fit_head(features[fold.train], codes_N[fold.train], len(classes), config)
        probabilities_NK[fold.test] = head.probabilities(features[fold.test])
        fold_N[fold.test] = number
    progress("cross-validating", len(folds), len(folds))
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
        provenance={
            "version": __version__,
            "labels": labels.source,
            "labels not used": list(labels.notes),
            "rows": len(codes_N),
            "rows per class": {name: int((codes_N == k).sum()) for k, name in enumerate(classes)},
            "grouped by": groups.basis,
            "groups": len(np.unique(groups.codes_N)),
            "folds": len(folds),
            "training rows left out per fold because they would leak": [fold.left_out for fold in folds],
            "settings": config.model_dump(mode="json"),
        },
    )


def few_label_scores(
    features: npt.NDArray[Any],
    codes_N: npt.NDArray[np.int64],
    folds: Sequence[Fold],
    config: ProbeConfig,
    labels_per_class: Sequence[int | None] = (5, 20),
    draws: int = 5,
    progress: Progress = silent,
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
    labels_per_class
        Training rows of each class and fold; None: all (drawn once).
    draws
        How often labels are drawn.

    Returns
    -------
    DataFrame
        One line per number of labels: ``labels per class`` (``"all"`` for None), ``draws`` and, for each score, ``SCORE`` (mean
        over draws) and ``SCORE sd`` (0 where there is one draw).
    """
    classes, tested = int(codes_N.max()) + 1, np.concatenate([fold.test for fold in folds])
    lines = []
    for done, few in enumerate(labels_per_class):
        progress("scoring with few labels", done, len(labels_per_class))
        drawn = [few_label_draws(fold.train, codes_N, few, draws if few else 1, config.seed) for fold in folds]
        found = []
        for rows_of_folds in zip(*drawn, strict=True):
            parts = []
            for fold, rows in zip(folds, rows_of_folds, strict=True):
                head = fit_head(features[rows], codes_N[rows], classes, config)
                parts.append(head.probabilities(features[fold.test]))
            found.append(score_values(codes_N[tested], np.concatenate(parts)))
        scores = pd.DataFrame(found)
        columns = {name: scores[name].mean() for name in SCORES} | {f"{name} sd": scores[name].std(ddof=0) for name in SCORES}
        lines.append({"labels per class": "all" if few is None else str(few), "draws": len(found), **columns})
    progress("scoring with few labels", len(labels_per_class), len(labels_per_class))
    return pd.DataFrame(lines)
