from __future__ import annotations

import numpy as np
import pytest

from cellvjepa.config import TrainingConfig
from cellvjepa.training.schedules import ema_momentum, learning_rate

CONFIG = TrainingConfig(steps=500, learning_rate=1e-3, final_learning_rate=1e-6, warmup_share=0.1, ema_window_start=0.5, ema_window_end=20)


def test_the_rate_rises_linearly_to_its_peak_and_falls_as_a_cosine_to_the_end() -> None:
    rates = np.array([learning_rate(step, CONFIG) for step in range(CONFIG.steps)])
    np.testing.assert_allclose(rates[:50], 1e-3 * np.arange(1, 51) / 50)
    assert rates.argmax() in (49, 50)
    assert (np.diff(rates[50:]) < 0).all()
    half = 50 + 450 // 2
    assert rates[half] == pytest.approx((1e-3 + 1e-6) / 2)
    assert learning_rate(CONFIG.steps, CONFIG) == pytest.approx(1e-6)


def test_the_momenta_of_the_measured_run() -> None:
    """500 steps: a window of half the steps is m = .996, of twenty times the steps m = .9999."""
    assert ema_momentum(0, CONFIG) == pytest.approx(0.996)
    assert ema_momentum(CONFIG.steps - 1, CONFIG) == pytest.approx(0.9999)


def test_a_window_of_zero_copies_the_encoder_at_every_step() -> None:
    config = TrainingConfig(ema_window_start=0, ema_window_end=0)
    assert [ema_momentum(step, config) for step in (0, 10, config.steps - 1)] == [0, 0, 0]


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(0, TrainingConfig(warmup_share=0)) == TrainingConfig().learning_rate


def test_with_a_cool_down_the_rate_is_constant_and_then_falls_linearly() -> None:
    config = CONFIG.model_copy(update={"cooldown_share": 0.2})
    assert config.cooldown_step == 400
    rates = np.array([learning_rate(step, config) for step in range(config.steps + 1)])
    np.testing.assert_allclose(rates[:50], 1e-3 * np.arange(1, 51) / 50)
    np.testing.assert_allclose(rates[50:401], 1e-3)
    np.testing.assert_allclose(rates[400:], np.linspace(1e-3, 1e-6, 101))


def test_a_cool_down_as_long_as_the_run_falls_from_its_first_step() -> None:
    config = TrainingConfig(steps=10, warmup_share=0, cooldown_share=1, learning_rate=1, final_learning_rate=0)
    np.testing.assert_allclose([learning_rate(step, config) for step in range(10)], 1 - np.arange(10) / 10)
