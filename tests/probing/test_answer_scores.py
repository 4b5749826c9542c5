from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from cellvjepa.probing.answer_scores import ANSWER_SCORES, answer_scores


def made_up(rows: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three classes, of which the first is easy and the last is rare; ten groups."""
    rng = np.random.default_rng(0)
    fits = rng.uniform(size=(rows, 3)) < np.array([0.5, 0.3, 0.1])
    chances = 1 / (1 + np.exp(-(np.array([3.0, 1.0, 0.5]) * (fits - 0.5) + rng.normal(size=(rows, 3)))))
    return fits, np.round(chances, 2), np.arange(rows) % 10


def test_scores_are_those_of_scikit_learn() -> None:
    fits, chances, groups = made_up()
    found = answer_scores(fits, chances, groups, 30, 0)
    said = chances >= 0.5
    expected = {
        "balanced accuracy": [metrics.balanced_accuracy_score(fits[:, k], said[:, k]) for k in range(3)],
        "F1": [metrics.f1_score(fits[:, k], said[:, k]) for k in range(3)],
        "ROC AUC": [metrics.roc_auc_score(fits[:, k], chances[:, k]) for k in range(3)],
        "average precision": [metrics.average_precision_score(fits[:, k], chances[:, k]) for k in range(3)],
    }
    for name in ANSWER_SCORES:
        assert [one[name].value for one in found.by_class] == pytest.approx(expected[name]), name
        assert found.macro[name].value == pytest.approx(np.mean(expected[name]))
    assert found.micro["F1"].value == pytest.approx(metrics.f1_score(fits, said, average="micro"))
    assert found.micro["ROC AUC"].value == pytest.approx(metrics.roc_auc_score(fits, chances, average="micro"))
    assert found.micro["average precision"].value == pytest.approx(metrics.average_precision_score(fits, chances, average="micro"))


def test_intervals_hold_the_score_and_come_from_groups() -> None:
    fits, chances, groups = made_up()
    scores = answer_scores(fits, chances, groups, 200, 0)
    for part in (*scores.by_class, scores.macro, scores.micro):
        assert all(score.low < score.value < score.high for score in part.values())
    # Groups of copies: as many rows, but far fewer that are independent.
    copied = answer_scores(np.tile(fits[:40], (5, 1)), np.tile(chances[:40], (5, 1)), np.tile(np.arange(40) % 4, 5), 200, 0)
    width = {name: score.high - score.low for name, score in copied.macro.items()}
    assert width["ROC AUC"] > scores.macro["ROC AUC"].high - scores.macro["ROC AUC"].low


def test_one_group_has_no_interval_and_guessing_is_known() -> None:
    fits, chances, groups = made_up()
    assert np.isnan(answer_scores(fits, chances, 0 * groups, 50, 0).macro["F1"].low)
    guessing = answer_scores(fits, np.tile(fits.mean(axis=0), (len(fits), 1)), groups, 0, 0)
    assert guessing.macro["balanced accuracy"].value == guessing.macro["ROC AUC"].value == 0.5
    assert guessing.macro["average precision"].value == pytest.approx(fits.mean())
