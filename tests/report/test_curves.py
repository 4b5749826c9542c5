"""What is drawn of a training run."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellvjepa.report.curves import TRAINING_CURVES, Curve, Light, curve_points, lights_of


def rows(*verdicts: str) -> list[dict[str, Any]]:
    """Lines of every tenth step; the monitors are measured at every second of them."""
    return [{"step": 10 * i, "measured": 20 * (i // 2), "loss": 1.0 / (i + 1), "rankme": i // 2, "health": v} for i, v in enumerate(verdicts)]


def test_monitored_quantities_are_drawn_where_they_were_measured() -> None:
    lines = rows("green", "green", "green", "green")
    np.testing.assert_array_equal(curve_points(lines, Curve("rankme", "", monitored=True)), [[0, 20], [0, 1]])
    np.testing.assert_allclose(curve_points(lines, Curve("loss", "")), [[0, 10, 20, 30], [1, 1 / 2, 1 / 3, 1 / 4]])


def test_what_is_missing_is_left_out() -> None:
    lines = [{"step": 0, "loss": None}, {"step": 1}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 4.0}]
    np.testing.assert_array_equal(curve_points(lines, Curve("loss", "")), [[3], [4]])
    assert all(len(steps) == 0 for steps, _ in (curve_points([], curve) for curve in TRAINING_CURVES))


def test_verdicts_join_without_gaps() -> None:
    assert lights_of(rows("green", "green", "yellow", "red", "red")) == (Light(0, 10, "green"), Light(10, 20, "yellow"), Light(20, 40, "red"))
    assert lights_of([{"step": 0}]) == ()
