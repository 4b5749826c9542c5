from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, balanced_accuracy_score, confusion_matrix, f1_score, roc_auc_score

from cellvjepa.probing import scores
from cellvjepa.probing.scores import Interval, average_precision, bootstrap, chance_values, roc_auc, score_values, scores_by_group


def random_predictions(seed: int, rows: int, classes: int, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes that all occur, and probabilities that know a little of them; with few ``levels`` many are equal."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.concatenate([np.arange(classes), rng.integers(classes, size=rows - classes)]))
    raw = rng.random((rows, classes)) + np.eye(classes)[codes] * rng.random()
    raw = np.round(raw * levels) + 0.1 if levels else raw
    return codes.astype(np.int64), raw / raw.sum(axis=1, keepdims=True)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(8, 60), classes=st.integers(2, 5), levels=st.sampled_from([0, 2]))
def test_scores_are_those_of_scikit_learn(seed: int, rows: int, classes: int, levels: int) -> None:
    codes, probabilities = random_predictions(seed, rows, classes, levels)
    predicted = probabilities.argmax(axis=1)
    confusion = scores.confusion_matrix(codes, predicted, classes)
    assert np.array_equal(confusion, confusion_matrix(codes, predicted, labels=range(classes)))
    found = score_values(codes, probabilities)
    assert found["balanced accuracy"] == pytest.approx(balanced_accuracy_score(codes, predicted))
    assert found["macro F1"] == pytest.approx(f1_score(codes, predicted, average="macro", labels=range(classes), zero_division=0))
    reference = (
        roc_auc_score(codes, probabilities[:, 1]) if classes == 2 else roc_auc_score(codes, probabilities, multi_class="ovr", labels=range(classes))
    )
    assert found["ROC AUC"] == pytest.approx(reference)
    assert found["average precision"] == pytest.approx(average_precision_score(np.eye(classes)[codes], probabilities, average="macro"))


def test_weights_are_repeats() -> None:
    codes, probabilities = random_predictions(3, 40, 3, levels=3)
    times = np.random.default_rng(0).integers(0, 4, size=40)
    times[:3] = 1  # all classes stay, whatever is drawn
    repeated = np.repeat(np.arange(40), times)
    weighted = scores._Ranked(codes, probabilities).scores(times.astype(float))
    assert weighted[0] == pytest.approx(roc_auc(codes[repeated], probabilities[repeated]))
    assert weighted[1] == pytest.approx(average_precision(codes[repeated], probabilities[repeated]))


def test_a_resample_is_what_its_rows_score() -> None:
    codes, probabilities = random_predictions(5, 60, 3, levels=3)
    groups = np.arange(60) // 5
    found = scores.resampled_scores(codes, probabilities, groups, 3, np.random.default_rng(7))
    rng = np.random.default_rng(7)
    for line in found:
        times = np.bincount(rng.integers(12, size=12), minlength=12)
        rows = np.repeat(np.arange(60), times[groups])
        assert line.tolist() == pytest.approx(list(score_values(codes[rows], probabilities[rows]).values()), nan_ok=True)


def test_200_classes_are_scored_in_a_moment() -> None:
    codes, probabilities = random_predictions(0, 2000, 200)
    began = time.process_time()
    found = bootstrap(codes, probabilities, np.arange(2000) // 2, 20, np.random.default_rng(0))
    assert time.process_time() - began < 5
    assert np.isfinite([found["macro F1"].value, found["ROC AUC"].value]).all()


def test_a_class_without_rows_has_no_score() -> None:
    codes, probabilities = random_predictions(0, 20, 3)
    assert all(np.isnan(value) for value in score_values(np.minimum(codes, 1), probabilities).values())


def test_chance_knows_nothing() -> None:
    found = chance_values(np.array([0] * 6 + [1] * 3 + [2]), 3)
    assert found["balanced accuracy"] == pytest.approx(1 / 3)
    assert found["ROC AUC"] == 0.5
    assert found["average precision"] == pytest.approx(1 / 3)
    assert found["macro F1"] == pytest.approx(2 * 0.6 / 1.6 / 3)


def test_intervals_come_from_groups_not_rows() -> None:
    """Ten groups of 40 rows; in each either all rows are right or all are wrong."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 40)
    codes = np.tile([0, 1], 200)
    right = (np.arange(10) < 7)[groups]
    probabilities = np.eye(2)[np.where(right, codes, 1 - codes)]
    found = bootstrap(codes, probabilities, groups, 500, rng)["balanced accuracy"]
    assert found.value == pytest.approx(0.7)
    # The standard deviation of a mean of ten coin tosses is .145; of 400 it would be .023.
    assert 0.3 < found.low < 0.55
    assert 0.85 < found.high <= 1.0


def test_degenerate_resamples_are_left_out() -> None:
    """Class 1 is in one of three groups: 8 of 27 resamples miss it, and have no score."""
    groups, codes = np.repeat([0, 1, 2], 10), np.repeat([0, 0, 1], 10)
    probabilities = np.tile([0.8, 0.2], (30, 1)).astype(float)
    found = bootstrap(codes, probabilities, groups, 200, np.random.default_rng(0))
    assert found["balanced accuracy"] == Interval(0.5, 0.5, 0.5)
    assert not any(np.isnan(value) for interval in found.values() for value in (interval.value, interval.low, interval.high))


def test_one_group_or_few_draws_give_no_interval() -> None:
    codes, probabilities = random_predictions(0, 20, 2)
    for groups, draws in ((np.zeros(20, int), 200), (np.arange(20), 5)):
        found = bootstrap(codes, probabilities, groups, draws, np.random.default_rng(0))["ROC AUC"]
        assert np.isfinite(found.value)
        assert np.isnan([found.low, found.high]).all()
        assert str(found) == f"{found.value:.2f}"
    assert str(Interval(0.914, 0.85, 0.951)) == "0.91 [0.85, 0.95]"


def test_scores_of_each_group() -> None:
    table = scores_by_group(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array([0, 0, 0, 2]), ("a", "b", "c"), ("x", "y"))
    assert table["group"].tolist() == ["a", "c"]
    assert table["rows"].tolist() == [3, 1]
    assert table["accuracy"].tolist() == [pytest.approx(2 / 3), 1.0]
    assert table["recall x"].tolist() == [0.5, pytest.approx(np.nan, nan_ok=True)]
    assert table["recall y"].tolist() == [1.0, 1.0]
