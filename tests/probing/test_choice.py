from __future__ import annotations

import numpy as np
import pytest

from cellvjepa.probing.choice import Trial, choose, inner_folds, temperature_of


def test_inner_folds_keep_groups_together_and_classes_learnable() -> None:
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(20), 5))
    codes = (groups % 3).astype(np.int64)
    folds = inner_folds(codes, groups, 3, 0)
    assert len(folds) == 3
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(100))
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert set(codes[test]) <= set(codes[train])
        assert 20 < len(test) < 46


def test_a_class_of_one_group_is_learnt_but_not_tested() -> None:
    codes = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    groups = np.array([0, 1, 2, 0, 1, 2, 9, 9])
    tested = np.concatenate([test for _, test in inner_folds(codes, groups, 3, 0)])
    assert sorted(tested) == list(range(6))
    assert inner_folds(codes, np.zeros(8, np.int64), 3, 0) == ()
    assert inner_folds(codes, groups, 0, 0) == ()
    assert inner_folds(np.array([0, 1]), None, 3, 0) == ()


def test_without_groups_neighbouring_rows_of_a_class_stay_together() -> None:
    codes = np.repeat([0, 1], 30)
    for _, test in inner_folds(codes, None, 3, 0):
        for k in (0, 1):
            rows = test[codes[test] == k]
            assert len(rows) == 10
            assert rows.max() - rows.min() == 9


@pytest.mark.parametrize("true", [0.5, 1.0, 4.0])
def test_the_temperature_is_found(true: float) -> None:
    """Labels drawn from softmax(z); logits given are z times the temperature."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, (4000, 3))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    codes = (p.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    assert temperature_of(z * true, codes, np.ones(4000)) == pytest.approx(true, rel=0.06)


def test_few_rows_say_little_of_the_temperature() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 3.0]])
    assert 0.3 < temperature_of(logits, np.array([0, 1]), np.ones(2)) < 1 < temperature_of(logits, np.array([1, 0]), np.ones(2)) < 5


def trial(name: str, sure: float, noise: float, codes: np.ndarray, seed: int) -> Trial:
    noisy = np.random.default_rng(seed).normal(0, noise, (len(codes), 2))
    return Trial("linear", {"name": name}, sure * np.eye(2)[codes] + noisy)


def test_the_default_stays_unless_another_is_surely_better() -> None:
    codes = np.arange(60) % 2
    default, better = trial("default", 1.0, 1.0, codes, 0), trial("better", 6.0, 0.1, codes, 1)
    weights = np.ones(2)
    assert choose([default, better], codes, None, weights).index == 1
    # Of many that are equally good, the luckiest is not taken.
    lucky = [trial(str(seed), 1.0, 1.0, codes, seed) for seed in range(2, 6)]
    assert sum(choose([default, one], codes, np.arange(60) // 12, weights).index for one in lucky) <= 1
    # In one group alone it may be chance, whatever the number of its rows.
    assert choose([default, better], codes, np.zeros(60, np.int64), weights).index == 0


def test_the_account_names_all_candidates_best_first() -> None:
    codes = np.arange(40) % 2
    default, better = trial("default", 1.0, 1.0, codes, 0), trial("better", 6.0, 0.1, codes, 1)
    default.logits_NK[:4] = better.logits_NK[:4] = np.nan  # not predicted by any fold
    account = choose([default, better], codes, None, np.ones(2)).account
    assert account["rows"] == 36
    assert [line["name"] for line in account["candidates"]] == ["better", "default"]
    assert account["candidates"][0]["log loss"] < account["candidates"][1]["log loss"]
    nothing = Trial("linear", {}, np.full((40, 2), np.nan))
    assert choose([nothing], codes, None, np.ones(2)).temperature == 1
