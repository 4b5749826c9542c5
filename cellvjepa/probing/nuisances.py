"""Batch effects: how well plate, day, place, time and brightness can be read from embeddings, beside the phenotype.

Everything is measured alike, so that it can be compared: a linear and a kNN probe, cross-validated by group
(:mod:`cellvjepa.probing.splits`), on the same rows, scored by ROC AUC, whose chance level is 0.5 whatever the number of classes. What is
read is in :mod:`cellvjepa.probing.targets`.

What all rows of a movie share (its plate, day, well) is read from other movies than those learnt from. Which movie it is cannot be
asked like that: there, other cells of the same movies are held out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.probing.grouping import FEWEST_GROUPS
from cellvjepa.probing.labels import Labels, read_labels
from cellvjepa.probing.scores import Interval
from cellvjepa.probing.splits import choose_groups, places_of
from cellvjepa.probing.targets import MOST_CLASSES, Target, as_features, nuisances_of
from cellvjepa.probing.validation import cross_validate
from cellvjepa.progress import Progress, silent

KINDS: tuple[Literal["linear", "knn"], ...] = ("linear", "knn")
MEASURE = "ROC AUC"
PHENOTYPE = "phenotype"
CHANCE = 0.5  # of the ROC AUC, for any number of classes

_MOST_ROWS = 4000  # that are looked at: linear probes of more take minutes and say the same
_FAMILY = "track family"


@dataclass(frozen=True)
class Reading:
    """How well something can be read.

    Parameters
    ----------
    name, what
        As in :class:`Target`.
    scores
        ROC AUC by kind of probe, with 95 % intervals from resampling groups; empty where there is no number.
    rows, classes, groups
        How many.
    grouped_by
        What was held out together.
    reason
        Why there is no number; empty where there is one.
    """

    name: str
    what: str
    scores: Mapping[str, Interval]
    rows: int = 0
    classes: int = 0
    groups: int = 0
    grouped_by: str = ""
    reason: str = ""


@dataclass(frozen=True)
class StoreReport:
    """What can be read from the embeddings of a store.

    Parameters
    ----------
    store
        Its path.
    labels
        Path of the labels; empty without.
    phenotype
        How well they can be read; None without labels.
    shortcut
        How well the phenotype can be read from the nuisances themselves, without any embedding; None without labels.
    nuisances
        One each.
    rows, rows_of_store
        How many rows were looked at, and how many there are.
    notes
        What was left out and why, for people.
    """

    store: str
    labels: str
    phenotype: Reading | None
    shortcut: Reading | None
    nuisances: tuple[Reading, ...]
    rows: int
    rows_of_store: int
    notes: tuple[str, ...]


def score_nuisances(
    store: str | os.PathLike[str],
    labels_csv: str | os.PathLike[str] | None,
    config: ProbeConfig,
    columns: Sequence[str] = (),
    *,
    progress: Progress = silent,
) -> StoreReport:
    """Score what can be read from a store's embeddings; with labels, on the labelled rows and beside the phenotype.

    Parameters
    ----------
    store
        A finished store.
    labels_csv
        Labels of a phenotype; None: nuisances alone.
    config
        Groups, folds, neighbours, resamples, seed; the kind plays no part.
    columns
        More columns of the store that embeddings should not tell.
    progress
        Told of each step; may cancel.

    Raises
    ------
    UserError
        If the store or the labels cannot be read, or a column is not there. What cannot be scored, because there are too few groups or
        because nothing varies, is no error: its :attr:`Reading.reason` says why.
    """
    embeddings = open_store(store)
    if missing := [name for name in columns if name not in embeddings.table]:
        raise UserError(f"there is no column '{missing[0]}'", f"name one of these: {', '.join(embeddings.table.columns)}", embeddings.path)
    labels = _every_row(embeddings) if labels_csv is None else read_labels(labels_csv, embeddings.table)
    labels, notes = _some(labels, config.seed)
    vectors_ND = embeddings.vectors_at(labels.rows_N)
    shape, table = embeddings.provenance.clip_shape, labels.table
    targets = nuisances_of(table, columns)
    phenotype = Target(PHENOTYPE, labels.names_N.astype(object), ", ".join(labels.classes)) if labels_csv is not None else None
    total = len(targets) + 2 * (phenotype is not None)
    found, read, shortcut = [], None, None
    for number, target in enumerate(targets):
        progress("reading nuisances", number, total)
        found.append(read_target(vectors_ND, table, target, shape, config))
    if phenotype is not None:
        progress("reading the phenotype", total - 2, total)
        read = read_target(vectors_ND, table, phenotype, shape, config)
        progress("reading the phenotype", total - 1, total)
        shortcut = read_target(as_features(table, targets), table, phenotype, shape, config)
    progress("reading nuisances", total, total)
    source = "" if labels_csv is None else os.fspath(labels_csv)
    return StoreReport(os.fspath(store), source, read, shortcut, tuple(found), len(table), len(embeddings), notes)


def read_target(features_ND: npt.NDArray[np.generic], table: pd.DataFrame, target: Target, shape: ClipShape, config: ProbeConfig) -> Reading:
    """Score how well a target can be read from features by probes that have seen nothing of the groups they are scored on.

    Parameters
    ----------
    features_ND
        (N, D), one row per row of ``table``.
    table
        Columns as for :func:`cellvjepa.probing.splits.choose_groups`.
    target
        What to read.
    shape
        Of the clips.
    config
        Groups, folds, neighbours, resamples, seed. Where there are fewer groups than folds, there are fewer folds, but no fewer than 3.
    """
    if target.reason:
        return Reading(target.name, target.what, {}, reason=target.reason)
    known = target.classes_N != ""
    names, counts = np.unique(target.classes_N[known].astype(str), return_counts=True)
    what = target.what
    if len(names) > MOST_CLASSES:
        what = f"the {MOST_CLASSES} of {len(names)} with the most rows"
        names = names[np.argsort(-counts, kind="stable")[:MOST_CLASSES]]
        known &= np.isin(target.classes_N.astype(str), names)
    if len(names) < 2:
        return Reading(target.name, what, {}, int(known.sum()), len(names), reason="it is the same in all rows")
    rows = np.flatnonzero(known)
    here = table.iloc[rows].reset_index(drop=True)
    if target.of_a_movie:
        here = here.assign(**{_FAMILY: places_of(here, shape).family_N.astype(str)})
        config = config.model_copy(update={"group": _FAMILY})
    labels = Labels(rows, target.classes_N[rows].astype(str), here, target.name)
    reason = ""
    for folds in range(config.folds, min(config.folds, FEWEST_GROUPS) - 1, -1):
        settings = config.model_copy(update={"folds": folds})
        try:
            groups = choose_groups(here, shape, settings)
            reports = {kind: cross_validate(features_ND[rows], labels, groups, settings.model_copy(update={"kind": kind})) for kind in KINDS}
        except UserError as error:
            reason = error.what
            continue
        basis = _FAMILY if target.of_a_movie else groups.basis
        scores: dict[str, Interval] = {kind: report.scores[MEASURE] for kind, report in reports.items()}
        return Reading(target.name, what, scores, len(rows), len(names), len(groups.names), basis)
    return Reading(target.name, what, {}, len(rows), len(names), reason=f"too few independent groups: {reason}")


def _every_row(embeddings: Embeddings) -> Labels:
    rows = np.arange(len(embeddings))
    return Labels(rows, np.full(len(rows), ""), embeddings.table, "all rows")


def _some(labels: Labels, seed: int) -> tuple[Labels, tuple[str, ...]]:
    """Return at most so many of the labelled rows, drawn at random, and say so."""
    if len(labels.rows_N) <= _MOST_ROWS:
        return labels, labels.notes
    drawn = np.sort(np.random.default_rng([seed, len(labels.rows_N)]).permutation(len(labels.rows_N))[:_MOST_ROWS])
    note = f"{_MOST_ROWS} of {len(labels.rows_N)} rows were drawn at random; more would take longer and say the same"
    return Labels(labels.rows_N[drawn], labels.names_N[drawn], labels.table.iloc[drawn].reset_index(drop=True), labels.source), (*labels.notes, note)
