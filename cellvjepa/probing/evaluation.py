"""What a store's embeddings are worth for some labels: the probe, its honest score, and simple baselines beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.errors import UserError
from cellvjepa.probing.baselines import HAND_MADE, SINGLE_FRAME, TIME_SHUFFLED, UNTRAINED, baseline_features, no_features
from cellvjepa.probing.calibration import Calibration, calibration_of
from cellvjepa.probing.examples import pick_examples
from cellvjepa.probing.labels import Labels, read_labels
from cellvjepa.probing.probe import FeatureSpec, Probe, fit_probe
from cellvjepa.probing.scores import ProbeReport
from cellvjepa.probing.splits import Fold, choose_groups, grouped_folds
from cellvjepa.probing.suspects import suspect_labels
from cellvjepa.probing.token_cache import users_token_cache
from cellvjepa.probing.tokens import TokenSource
from cellvjepa.probing.validation import cross_validate, few_label_scores, gap_in_words
from cellvjepa.progress import Progress, silent

__all__ = ["CLASS_PRIOR", "HAND_MADE", "SINGLE_FRAME", "THIS_ENCODER", "TIME_SHUFFLED", "UNTRAINED", "Evaluation", "evaluate"]

THIS_ENCODER = "this encoder"
CLASS_PRIOR = "class prior"
_FEW = (1, 5, 20, 80)
_DRAWS, _DRAWS_OF_TOKENS = 5, 3  # probes on tokens take seconds each
_TOKEN_KINDS = ("attentive", "auto")


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

    Raises
    ------
    UserError
        If labels and store do not fit together, groups do not allow a split, or an attentive probe cannot read the movies.
    """
    embeddings = open_store(store)
    labels, vectors = _usable(read_labels(labels_csv, embeddings.table), embeddings)
    codes_N = labels.codes_N
    groups = choose_groups(labels.table, embeddings.provenance.clip_shape, config).holding(vectors)
    folds = grouped_folds(groups, codes_N, labels.classes, config)
    notes = [*labels.notes, *groups.notes]
    features, compared, trouble = _features(embeddings, labels, vectors, config, progress)
    probe = fit_probe(features, labels, FeatureSpec.of(embeddings.provenance, features), config, progress, groups.codes_N)
    report = cross_validate(features, labels, groups, config, progress, folds=folds)
    # Another search on tokens would double the time; the kind that was chosen, with its default settings, shows a leak as well.
    plain = {"kind": probe.kind, "attentive_search": False, "inner_folds": 0} if features.ndim > vectors.ndim else {}
    naive = cross_validate(features, labels, groups, config.model_copy(update=plain), progress, folds=folds, naive=True)
    comparison = _comparison(compared, codes_N, folds, groups.codes_N, config, progress)
    chances_NK = report.predictions[[f"p_{name}" for name in report.classes]].to_numpy(np.float64)
    return Evaluation(
        probe,
        report,
        comparison,
        labels,
        (*notes, *trouble),
        naive=naive,
        gap=gap_in_words(report, naive, codes_N, groups, config),
        calibration=calibration_of(codes_N, chances_NK, groups.codes_N, config.bootstrap, np.random.default_rng(config.seed)),
        examples=pick_examples(report, labels),
        suspects=suspect_labels(report, labels, vectors, groups.codes_N, np.random.default_rng(config.seed)),
        learning_curve=comparison[comparison["features"] == THIS_ENCODER].reset_index(drop=True),
    )


def _usable(labels: Labels, embeddings: Embeddings) -> tuple[Labels, npt.NDArray[np.float32]]:
    """Return the labelled rows whose vectors are numbers, and the vectors; of a store of a million rows no others are read."""
    vectors = embeddings.vectors_at(labels.rows_N)
    good: npt.NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(vectors), axis=1)
    if good.all():
        return labels, vectors
    bad = int((~good).sum())
    labels = labels.where(good, f"{bad} labelled rows are not used: their embeddings hold NaN or infinity")
    if len(labels.classes) < 2:
        left = f"of the labelled rows {bad} have embeddings of NaN or infinity, and the other {len(labels.rows_N)} are of fewer than two classes"
        raise UserError(left, "make the store again with `cellvjepa embed`, and check the encoder", embeddings.path)
    return labels, vectors[good]


def _features(
    embeddings: Embeddings, labels: Labels, vectors: npt.NDArray[np.float32], config: ProbeConfig, progress: Progress
) -> tuple[npt.NDArray[Any], dict[str, npt.NDArray[Any]], list[str]]:
    """Return what the probe reads, all that is compared (by name), and what is missing and why."""
    compared: dict[str, npt.NDArray[Any]] = {CLASS_PRIOR: no_features(len(vectors)).values_ND}
    features: npt.NDArray[Any] = vectors
    notes = []
    try:
        # Of a store of a million rows, clips are made of those with labels only.
        few = replace(embeddings, table=embeddings.table.iloc[labels.rows_N].reset_index(drop=True))
        source = TokenSource.of(few)
        compared |= baseline_features(embeddings, labels.rows_N, source.movies, source.encoder, config, progress)
        if config.kind in _TOKEN_KINDS:
            features = source.tokens(np.arange(len(few.table)), users_token_cache(config.token_cache_gb), progress)
    except UserError as error:
        if config.kind == "attentive":
            raise UserError(
                f"an attentive probe needs the movies and the model again: {error}", "put them back, or use --kind linear", embeddings.path
            ) from None
        without = ", and an attentive probe was not tried" if config.kind == "auto" else ""
        notes.append(
            "Hand-made features, the untrained encoder and the encoder without time are missing from the comparison"
            f"{without}, because the movies or the model cannot be read: {error}"
        )
    compared[THIS_ENCODER] = features
    return features, compared, notes


def _comparison(
    compared: dict[str, npt.NDArray[Any]],
    codes_N: npt.NDArray[np.int64],
    folds: Sequence[Fold],
    groups_N: npt.NDArray[np.int64],
    config: ProbeConfig,
    progress: Progress,
) -> pd.DataFrame:
    """Score each kind of features on the same folds and the same draws of labels."""
    most = int(np.bincount(codes_N).max())
    numbers: Sequence[int | None] = (*(few for few in _FEW if few < most), None)
    tables = []
    for name, values in compared.items():
        # Baselines without tokens are read by a linear probe, whatever the kind: it is the strongest on few numbers.
        kind = "linear" if values.ndim == 2 and config.kind in _TOKEN_KINDS else config.kind
        draws = 1 if name == CLASS_PRIOR else _DRAWS if values.ndim == 2 else _DRAWS_OF_TOKENS
        # The best of many candidates, for each of many draws of a few labels, would take hours; the default one is as good there.
        settings = config.model_copy(update={"kind": kind, "attentive_search": False, "inner_folds": 0})

        def tell(stage: str, done: int, total: int, name: str = name) -> None:
            progress(f"{stage}: {name}", done, total)

        scores = few_label_scores(values, codes_N, folds, settings, numbers, draws, tell, groups_N)
        tables.append(scores.assign(features=name))
    return pd.concat(tables, ignore_index=True)
