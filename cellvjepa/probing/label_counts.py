"""How many labelled windows there are of each class and group: what one wants to know before a probe is made."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import UserError
from cellvjepa.probing.label_sets import NONE, members
from cellvjepa.probing.labelled import Labelled
from cellvjepa.probing.labels import read_labels
from cellvjepa.probing.splits import grouped_folds

_FEW = 10  # windows of a class, below which a score says little
_FEW_GROUPS = 3
_NO_GROUPS = ("clip_id", "track_id", "parent_track_id", "t_start", "t_stop", "label", "predicted", "date", "cluster", "named")


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """What there is to learn from.

    Parameters
    ----------
    counts
        int64: a line for each group, a column for each class; a window with several labels counts for each of them.
    rows
        Labelled windows.
    basis
        What a group is, for people: ``"movie"``, ``"track family"``, ...
    notes
        What is left out, and what to be careful about.
    columns
        Columns by whose values the windows could be grouped.
    problem
        Why no score can be had of these labels, and what to do about it; ``""`` if it can.
    """

    counts: pd.DataFrame
    rows: int
    basis: str
    notes: tuple[str, ...]
    columns: tuple[str, ...] = ()
    problem: str = ""


def count_labels(store: str | os.PathLike[str], labels_csv: str | os.PathLike[str], config: ProbeConfig) -> LabelCounts:
    """Count the labelled windows of a store by class and group, and say what is wrong with them.

    Parameters
    ----------
    store
        A store made by ``cellvjepa embed``.
    labels_csv
        The labels.
    config
        Names the groups and the number of folds.

    Raises
    ------
    UserError
        If labels and store do not fit together, or there is no way to tell groups.
    """
    labelled = Labelled.of(store, labels_csv, config)
    labels, groups = labelled.labels, labelled.groups
    group_N = np.array(groups.names, dtype=object)[groups.codes_N]
    counts = counts_of(labels.names_N.astype(object), group_N, several=labels.multilabel)
    problem = ""
    if not labels.multilabel:  # the questions of several labels at once have folds of their own
        try:
            grouped_folds(groups, labels.codes_N, labels.classes, config)
        except UserError as error:
            problem = str(error)
    return LabelCounts(
        counts, len(labels.rows_N), groups.basis, (*labels.notes, *groups.notes, *_warnings(counts, groups.basis)), _groupings(labels.table), problem
    )


def label_column(store: str | os.PathLike[str], labels_csv: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the column ``label`` for the rows of a store: what labels.csv calls each of them, None where it does not.

    Raises
    ------
    UserError
        If labels and store do not fit together.
    """
    embeddings = open_store(store)
    labels = read_labels(labels_csv, embeddings.table)
    column = np.full(len(embeddings), None, dtype=object)
    column[labels.rows_N] = labels.names_N.astype(object)
    return pd.DataFrame({"label": column})


def counts_of(names_N: npt.NDArray[np.object_], groups_N: npt.NDArray[np.object_], *, several: bool) -> pd.DataFrame:
    """Count rows by group (lines) and class (columns); where several labels fit at once, each counts."""
    pairs = pd.DataFrame({"group": groups_N, "label": names_N})
    if several:
        pairs = pairs.assign(label=pairs["label"].map(lambda label: members(label) or (NONE,))).explode("label")
    return pd.crosstab(pairs["group"], pairs["label"])


def _groupings(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns of few values, each in all rows, that are neither measured nor said by a probe."""
    found = []
    for name in map(str, table.columns):
        column = table[name]
        if name not in _NO_GROUPS and not name.startswith("p_") and not pd.api.types.is_float_dtype(column) and not column.isna().any():
            found += [name] if 1 < column.nunique() <= len(table) // 2 else []
    return tuple(found)


def _warnings(counts: pd.DataFrame, basis: str) -> list[str]:
    """Return what few labels and few groups mean."""
    found = []
    for name in counts:
        rows, groups = int(counts[name].sum()), int((counts[name] > 0).sum())
        if rows < _FEW:
            found.append(f"class '{name}' has {rows} windows only: its score will be rough; label more of it")
        elif groups < _FEW_GROUPS:
            found.append(f"class '{name}' occurs in {groups} group(s) by {basis} only: nobody knows whether it is recognised in others")
    return found
