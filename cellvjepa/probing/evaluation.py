"""What a store's embeddings are worth for some labels: the probe, its honest score, and simple baselines beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.probing.baselines import HAND_MADE, SINGLE_FRAME, TIME_SHUFFLED, UNTRAINED
from cellvjepa.probing.calibration import Calibration, calibration_of
from cellvjepa.probing.examples import pick_examples
from cellvjepa.probing.labelled import CLASS_PRIOR, THIS_ENCODER, TOKEN_KINDS, Features, Labelled, features_of
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.learnt import Watch, unwatched, within
from cellvjepa.probing.probe import FeatureSpec, Probe, fit_probe
from cellvjepa.probing.scores import ProbeReport
from cellvjepa.probing.splits import Fold, grouped_folds
from cellvjepa.probing.suspects import suspect_labels
from cellvjepa.probing.validation import cross_validate, few_label_scores, gap_in_words
from cellvjepa.progress import Progress, silent

__all__ = [
    "CLASS_PRIOR",
    "HAND_MADE",
    "SINGLE_FRAME",
    "THIS_ENCODER",
    "TIME_SHUFFLED",
    "UNTRAINED",
    "Evaluation",
    "evaluate",
    "evaluate_labelled",
    "judge",
]

_FEW = (1, 5, 20, 80)
_DRAWS, _DRAWS_OF_TOKENS = 5, 3  # probes on tokens take seconds each


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A probe on some labels, and how it compares.

    Parameters
    ----------
    probe
        Fitted on all labelled rows, to be used.
    report
        Its cross-validated score.
    comparison
        One line per kind of features and number of labels: ``features``, ``labels per class``, ``draws``, and for each score its
        mean, ``sd`` over draws, and ``low`` and ``high`` over draws and groups; the same folds and the same draws for all.
    labels
        The labelled rows.
    notes
        What could not be computed or was left out, and why, for people.
    naive
        The score of the same kind of probe where rows are split one by one, as if they were independent.
    gap
        What lies between the two, in words.
    calibration
        Whether probabilities may be taken at their word.
    examples
        Rows that the probe is sure of, unsure of, or wrong about (:func:`cellvjepa.probing.examples.pick_examples`).
    suspects
        Labels that may be wrong (:func:`cellvjepa.probing.suspects.suspect_labels`).
    learning_curve
        The lines of ``comparison`` that speak of this encoder, from few labels to all.
    """

    probe: Probe
    report: ProbeReport
    comparison: pd.DataFrame
    labels: Labels
    notes: tuple[str, ...]
    naive: ProbeReport | None = None
    gap: str = ""
    calibration: Calibration | None = None
    examples: pd.DataFrame = field(default_factory=pd.DataFrame)
    suspects: pd.DataFrame = field(default_factory=pd.DataFrame)
    learning_curve: pd.DataFrame = field(default_factory=pd.DataFrame)


def evaluate(
    store: str | os.PathLike[str],
    labels_csv: str | os.PathLike[str],
    config: ProbeConfig,
    *,
    progress: Progress = silent,
    watch: Watch = unwatched,
) -> Evaluation:
    """Fit a probe on a store, score it by group, and score simple baselines in the same way.

    Parameters
    ----------
    store
        A store made by ``cellvjepa embed``.
    labels_csv
        The labels.
    config
        Kind of probe, groups, folds, seed.
    progress
        Told of each step; may cancel.
    watch
        Told what has been learnt so far.

    Raises
    ------
    UserError
        If labels and store do not fit together, groups do not allow a split, or an attentive probe cannot read the movies.
    """
    return evaluate_labelled(Labelled.of(store, labels_csv, config), config, progress=progress, watch=watch)


def evaluate_labelled(labelled: Labelled, config: ProbeConfig, *, progress: Progress = silent, watch: Watch = unwatched) -> Evaluation:
    """Do what :func:`evaluate` does, of rows that have been read.

    Raises
    ------
    UserError
        If rows have several labels at once, groups do not allow a split, or an attentive probe cannot read the movies.
    """
    labels, groups = labelled.labels, labelled.groups
    if labels.multilabel:
        raise UserError("these labels name several classes at once", "use evaluate_multilabel", labels.source)
    folds = grouped_folds(groups, labels.codes_N, labels.classes, config)
    features = features_of(labelled, config, progress)
    found = judge(labelled, labels, features, folds, config, progress, watch)
    return replace(found, notes=(*labels.notes, *groups.notes, *features.trouble))


def judge(
    labelled: Labelled,
    labels: Labels,
    features: Features,
    folds: Sequence[Fold],
    config: ProbeConfig,
    progress: Progress,
    watch: Watch = unwatched,
) -> Evaluation:
    """Fit and score a probe for some labels of rows whose features and folds are known.

    Parameters
    ----------
    labelled
        The rows.
    labels
        What they are called, which may be another thing than they are called in labels.csv.
    features
        Of these rows.
    folds
        Which rows are held out together.
    watch
        Told what has been learnt so far.
    """
    codes_N, vectors, groups, values = labels.codes_N, labelled.vectors_ND, labelled.groups, features.values
    probe = fit_probe(values, labels, FeatureSpec.of(labelled.embeddings.provenance, values), config, progress, groups.codes_N, watch)
    report = cross_validate(values, labels, groups, config, progress, folds=folds, watch=watch)
    # Another search on tokens would double the time; the kind that was chosen, with its default settings, shows a leak as well.
    plain = {"kind": probe.kind, "attentive_search": False, "inner_folds": 0} if values.ndim > vectors.ndim else {}
    naive = cross_validate(values, labels, groups, config.model_copy(update=plain), progress, folds=folds, naive=True, watch=watch)
    comparison = _comparison(features.compared, codes_N, folds, groups.codes_N, config, progress, watch)
    chances_NK = report.predictions[[f"p_{name}" for name in report.classes]].to_numpy(np.float64)
    return Evaluation(
        probe,
        report,
        comparison,
        labels,
        (),
        naive=naive,
        gap=gap_in_words(report, naive, codes_N, groups, config),
        calibration=calibration_of(codes_N, chances_NK, groups.codes_N, config.bootstrap, np.random.default_rng(config.seed)),
        examples=pick_examples(report, labels),
        suspects=suspect_labels(report, labels, vectors, groups.codes_N, np.random.default_rng(config.seed)),
        learning_curve=comparison[comparison["features"] == THIS_ENCODER].reset_index(drop=True),
    )


def _comparison(
    compared: Mapping[str, npt.NDArray[Any]],
    codes_N: npt.NDArray[np.int64],
    folds: Sequence[Fold],
    groups_N: npt.NDArray[np.int64],
    config: ProbeConfig,
    progress: Progress,
    watch: Watch,
) -> pd.DataFrame:
    """Score each kind of features on the same folds and the same draws of labels."""
    most = int(np.bincount(codes_N).max())
    numbers: Sequence[int | None] = (*(few for few in _FEW if few < most), None)
    tables = []
    for name, values in compared.items():
        # Baselines without tokens are read by a linear probe, whatever the kind: it is the strongest on few numbers.
        kind = "linear" if values.ndim == 2 and config.kind in TOKEN_KINDS else config.kind
        draws = 1 if name == CLASS_PRIOR else _DRAWS if values.ndim == 2 else _DRAWS_OF_TOKENS
        # The best of many candidates, for each of many draws of a few labels, would take hours; the default one is as good there.
        settings = config.model_copy(update={"kind": kind, "attentive_search": False, "inner_folds": 0})

        def tell(stage: str, done: int, total: int, name: str = name) -> None:
            progress(f"{stage}: {name}", done, total)

        scores = few_label_scores(values, codes_N, folds, settings, numbers, draws, tell, groups_N, within(watch, name))
        tables.append(scores.assign(features=name))
    return pd.concat(tables, ignore_index=True)
