from __future__ import annotations

import numpy as np
import pytest

from cellvjepa.probing.calibration import ReliabilityBin, calibration_of


def said(sure: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predict class 0 with some probability; the truth is 0 where that is right."""
    return np.where(right, 0, 1), np.stack([sure, 1 - sure], axis=1)


def test_who_is_right_as_often_as_sure_has_no_error() -> None:
    """0.6 sure and right 6 times of 10; 0.9 sure and right 9 times of 10."""
    codes, chances = said(np.repeat([0.6, 0.9], 10), np.r_[np.arange(10) < 6, np.arange(10) < 9])
    found = calibration_of(codes, chances, np.tile(np.arange(10), 2), 100, np.random.default_rng(0))
    assert found.bins == (ReliabilityBin(pytest.approx(0.6), 0.6, 10), ReliabilityBin(pytest.approx(0.9), 0.9, 10))
    assert found.error.value == pytest.approx(0)
    assert found.error.high > 0  # other groups could have been drawn


def test_overconfidence_is_measured() -> None:
    """Always sure, right in half: half of the groups always, the others never."""
    codes, chances = said(np.ones(40), np.arange(40) < 20)
    found = calibration_of(codes, chances, np.arange(40) // 4, 400, np.random.default_rng(0))
    assert found.bins == (ReliabilityBin(1.0, 0.5, 40),)
    assert found.error.value == pytest.approx(0.5)
    assert 0.1 < found.error.low < 0.35 < 0.65 < found.error.high < 0.9


def test_one_group_has_no_interval() -> None:
    codes, chances = said(np.full(4, 0.7), np.arange(4) < 2)
    found = calibration_of(codes, chances, np.zeros(4, np.int64), 100, np.random.default_rng(0))
    assert found.error.value == pytest.approx(0.2)
    assert np.isnan([found.error.low, found.error.high]).all()
