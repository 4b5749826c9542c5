"""What a probe tells of itself while it learns."""

from __future__ import annotations

import math

import numpy as np

from cellvjepa.config import ProbeConfig
from cellvjepa.probing.attentive import fit_attentive
from cellvjepa.probing.fitting import fit_head
from cellvjepa.probing.learnt import Learnt, unwatched, within

CODES = np.arange(24) % 2


def tokens() -> np.ndarray:
    """24 clips of two frames of 2 x 2 tokens; odd ones are brighter."""
    found = np.random.default_rng(0).normal(size=(24, 1, 2, 1, 2, 2, 4))
    return (found + CODES[:, None, None, None, None, None, None]).astype(np.float32)


def test_the_loss_of_each_step_is_told_and_watching_changes_nothing() -> None:
    seen: list[Learnt] = []
    config = ProbeConfig(kind="attentive", attentive_steps=6)
    watched = fit_attentive(tokens(), CODES, 2, config, watch=seen.append)
    alone = fit_attentive(tokens(), CODES, 2, config)
    assert [(point.curve, point.x) for point in seen] == [("loss", step) for step in range(1, 7)]
    assert all(math.isfinite(point.y) and point.y > 0 for point in seen)
    for name, array in alone.arrays().items():
        np.testing.assert_array_equal(watched.arrays()[name], array)


def test_each_inner_fold_and_the_last_fit_are_curves_of_their_own() -> None:
    seen: list[Learnt] = []
    config = ProbeConfig(kind="attentive", attentive_steps=4, attentive_search=False, inner_folds=2)
    fit_head(tokens(), CODES, 2, config, groups_N=np.arange(24) // 6, watch=within(seen.append, "all"))
    counts: dict[str, int] = {}
    for point in seen:
        counts[point.series] = counts.get(point.series, 0) + 1
    assert list(counts) == ["all: inner fold 1", "all: inner fold 2", "all"]
    assert counts["all: inner fold 1"] == 4
    assert 1 <= counts["all"] <= 4  # it may stop where the inner split did best


def test_nobody_who_watches_stays_nobody() -> None:
    assert within(unwatched, "fold 1") is unwatched
