"""Splits that do not leak: which rows may teach, and which may judge.

Two windows of a movie are not independent when they show the same cell (or its mother, or its daughter), and when they show the
same pixels at the same time (a neighbour walks through both). A random split puts such pairs on both sides, and the score
measures memory. Here:

1. Whole groups are held out: lineage < field < well < plate < experiment, each made of the ones before. Chosen is the coarsest that
   the labels have enough of, one for each fold; of three movies or more, but fewer than the folds, each is held out once. Where all
   labels come from one movie these are lineages (a cell with its ancestors and descendants), and where there are fewer lineages than
   folds, blocks of time.
   A level, or any other column (donor), can be named instead; each of its values is then held out once if there are fewer than folds,
   and always for experiments. A column "group" of labels.csv is taken without being named.
2. Whatever the groups are, training rows are then left out that share a pixel with a test row (same movie, overlapping in time,
   overlapping crops), that show a test row's family less than one window before or after it, or that have a test row's very features
   (the same movie under two names). Between blocks of time, all rows less than one window away are left out.

So guaranteed for every split made here: no group is on both sides, no pixel is on both sides, and no window of a family is within
one window's length of a test window of that family. Not guaranteed, because one movie cannot tell: that the scores hold for
another movie (light, focus, donor and treatment are the same for all cells of a movie).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.probing.grouping import BLOCKS_OF_TIME, Groups, choose_groups
from cellvjepa.probing.places import Ints, Places, places_of

__all__ = [
    "Fold",
    "Groups",
    "Places",
    "choose_groups",
    "few_label_draws",
    "grouped_folds",
    "held_out",
    "leaks",
    "naive_folds",
    "places_of",
    "shared_folds",
]

_PAIRS = 10**6  # of a training and a test row compared at once
_ATTEMPTS = 20


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows to test on, int64, ascending; ``left_out`` counts training rows dropped because they would leak."""

    train: Ints
    test: Ints
    left_out: int


def grouped_folds(groups: Groups, codes_N: Ints, classes: Sequence[str], config: ProbeConfig) -> tuple[Fold, ...]:
    """Cut into folds by group, with classes spread evenly; every row is tested once.

    Parameters
    ----------
    groups
        Which rows stay together.
    codes_N
        int64 (N,): class of each row.
    classes
        Names of the classes.
    config
        Number of folds and seed.

    Raises
    ------
    UserError
        If a class occurs in one group only, or no way was found to have every class on the training side of every fold.
    """
    for k, name in enumerate(classes):
        found = np.unique(groups.codes_N[codes_N == k])
        if not len(found):
            raise UserError(f"there is no example of class '{name}'", "label some, or take more of the labelled windows")
        if len(found) < 2:
            raise UserError(
                f"class '{name}' occurs in one group only ({groups.names[found[0]]}; {groups.basis}), so it cannot be both learnt and tested",
                "label this class in another group too, or leave it out",
            )
    return _learnable(groups, codes_N, {f"class '{name}'": codes_N == k for k, name in enumerate(classes)}, config)


def shared_folds(groups: Groups, codes_N: Ints, fits_NK: npt.NDArray[np.bool_], classes: Sequence[str], config: ProbeConfig) -> tuple[Fold, ...]:
    """Cut into folds by group for several yes/no questions at once: both answers to each can be learnt in every fold.

    Parameters
    ----------
    groups, classes, config
        As for :func:`grouped_folds`.
    codes_N
        int64 (N,): which set of classes each row has; sets are spread evenly.
    fits_NK
        bool (N, K): which classes each row has. Each class is in at least two groups, and so are rows without it.

    Raises
    ------
    UserError
        If no way was found to have both answers to each question on the training side of every fold.
    """
    needed = {f"class '{name}'": fits_NK[:, k] for k, name in enumerate(classes)}
    needed |= {f"the absence of class '{name}'": ~fits_NK[:, k] for k, name in enumerate(classes)}
    return _learnable(groups, codes_N, needed, config)


def _learnable(groups: Groups, codes_N: Ints, needed: Mapping[str, npt.NDArray[np.bool_]], config: ProbeConfig) -> tuple[Fold, ...]:
    """Cut into folds by group such that some rows of each kind, bool (N,) by its name, are left to learn from in each."""
    from sklearn.model_selection import StratifiedGroupKFold

    missing: list[str] = []
    wanted = groups.folds or config.folds
    for attempt in range(_ATTEMPTS):
        splitter = StratifiedGroupKFold(wanted, shuffle=True, random_state=config.seed + attempt)
        # Labels repeated: sklearn warns of classes with fewer rows than folds, which is no problem where groups are whole.
        repeated = [np.tile(part, wanted) for part in (codes_N, groups.codes_N)]
        tests = [test[test < len(codes_N)] for _, test in splitter.split(np.zeros(len(repeated[0])), *repeated)]
        folds = tuple(held_out(groups, test) for test in tests if len(test))
        missing = [name for name, rows_N in needed.items() if not all(rows_N[fold.train].any() for fold in folds)]
        if not missing:
            return folds
    raise UserError(
        f"{missing[0]} has too few independent examples: in some fold none is left to learn from",
        "label more of this class in other groups and farther from the rest, or ask for other folds (--set probe.folds=2)",
    )


def naive_folds(codes_N: Ints, folds: int, seed: int) -> tuple[Fold, ...]:
    """Cut row by row, classes spread evenly, as if rows were independent: what this file is there to avoid, to be compared with."""
    rng = np.random.default_rng(seed)
    fold_N = np.empty(len(codes_N), np.int64)
    dealt = 0
    for k in np.unique(codes_N):
        rows = rng.permutation(np.flatnonzero(codes_N == k))
        fold_N[rows] = (dealt + np.arange(len(rows))) % folds
        dealt += len(rows)
    return tuple(Fold(np.flatnonzero(fold_N != k), np.flatnonzero(fold_N == k), 0) for k in np.unique(fold_N))


def held_out(groups: Groups, test: Ints) -> Fold:
    """Return the fold that tests on these rows and trains on all others that do not leak into them."""
    others = np.flatnonzero(~np.isin(groups.codes_N, groups.codes_N[test]))
    clean = others[~leaks(groups.places, others, test, buffered=groups.basis == BLOCKS_OF_TIME)]
    return Fold(clean, np.sort(test), len(others) - len(clean))


def leaks(places: Places, train: Ints, test: Ints, buffered: bool = False) -> npt.NDArray[np.bool_]:
    """Tell for each training row whether it shares a pixel with a test row, or shows its family within a window's length of it.

    Parameters
    ----------
    places
        Where the rows look.
    train, test
        int64: which rows.
    buffered
        Whether anything of the same movie leaks that is within a window's length in time, not the family alone.
    """
    leaking = np.zeros(len(train), dtype=bool)
    for movie in np.unique(places.movie_N[test]):
        here = np.flatnonzero(places.movie_N[train] == movie)
        rows, tests = train[here], test[places.movie_N[test] == movie]
        step = max(1, _PAIRS // max(len(rows), 1))
        for start in range(0, len(tests) if len(rows) else 0, step):
            some = tests[start : start + step]
            begins, ends = places.time_N2[rows].T[:, :, None]
            gap = np.maximum(begins - places.time_N2[some, 1], places.time_N2[some, 0] - ends)
            apart = np.abs(places.centre_N2[rows, None] - places.centre_N2[some])
            reach = (places.extent_N2[rows, None] + places.extent_N2[some]) / 2
            same_pixels = (gap < 0) & (apart < reach).all(axis=2)
            window = np.maximum(ends - begins, places.time_N2[some, 1] - places.time_N2[some, 0])
            same_family = ((places.family_N[rows, None] == places.family_N[some]) | buffered) & (gap < window)
            leaking[here] |= (same_pixels | same_family).any(axis=1)
    return leaking if places.twin_N is None else leaking | np.isin(places.twin_N[train], places.twin_N[test])


def few_label_draws(train: Ints, codes_N: Ints, labels_per_class: int | None, draws: int, seed: int) -> tuple[Ints, ...]:
    """Draw a few training rows of each class, several times.

    Parameters
    ----------
    train
        Rows to draw from.
    codes_N
        int64 (N,): class of each row.
    labels_per_class
        Rows of each class; all that there are where there are fewer. ``None``: all rows of all classes.
    draws, seed
        How often, and the seed: the same draws for whatever features are compared.
    """
    present = np.unique(codes_N[train])
    drawn = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw, len(train)])
        shuffled = rng.permutation(train)
        parts = [shuffled[codes_N[shuffled] == k][:labels_per_class] for k in present]
        drawn.append(np.sort(np.concatenate(parts)))
    return tuple(drawn)
