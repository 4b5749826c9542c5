"""Verdicts: what stays low is red, what dips and comes back is not, and each says what to change."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from cellvjepa.training.alarms import Collapse, advice, judge, verdict
from cellvjepa.training.metrics import MetricsRow
from tests.training.histories import colours, config_of, history

HEALTHY = [14.3, 15, 18, 22, 25, 27, 28, 29, 30, 31]
PUBLISHED = [14.3, 9, 6, 4.6, 4.4, 4.3, 4.3]  # the published form at lab scale
PIXELS = [14.3, 9.5, 8.9, 8.8, 9.2, 9.8, 10.5, 11.5, 13, 14]  # falls first, recovers later
SLOW_DIP = [14.3, 4.5, 4.4, 5.2, 6.1, 7.5, 9, 11, 13, 15]


def test_a_healthy_run_is_green_throughout() -> None:
    assert set(colours(history(HEALTHY, config_of()))) == {"green"}


def test_a_rank_that_stays_low_is_red_and_was_yellow_before() -> None:
    seen = colours(history(PUBLISHED, config_of()))
    assert seen[-1] == "red"
    assert seen.index("yellow") < seen.index("red")
    assert seen[:2] == ["green", "green"]


@pytest.mark.parametrize("ranks", [PIXELS, SLOW_DIP], ids=["pixels", "slow dip"])
def test_a_rank_that_dips_and_comes_back_is_never_red(ranks: list[float]) -> None:
    seen = colours(history(ranks, config_of()))
    assert "red" not in seen
    assert seen[-1] == "green"


def test_one_low_value_changes_nothing() -> None:
    assert set(colours(history([14, 15, 16, 2, 17, 18, 19], config_of()))) == {"green"}


def test_a_late_collapse_is_measured_against_the_best_so_far() -> None:
    """From 40 to 10 is a collapse even if random features began with 11."""
    assert colours(history([11, 20, 30, 38, 40, 40, 10, 10, 10, 10], config_of()))[-1] == "red"


def test_tokens_and_spread_count_as_ranks_do() -> None:
    tokens = history([14.0] * 7, config_of(), rankme_tokens=[23, 15, 8, 5, 5, 5, 5])
    spread = history([14.0] * 7, config_of(), clip_std=[0.2, 0.1, 0.01, 1e-4, 1e-6, 1e-6, 1e-6])
    assert colours(tokens)[-1] == colours(spread)[-1] == "red"
    assert "places within a clip have become alike (rank within a clip 5.0, it was 23.0)" in tokens[-1]["health_reason"]
    assert "the features hardly vary from clip to clip any more" in spread[-1]["health_reason"]


def test_nothing_is_red_before_the_rate_has_risen() -> None:
    assert "red" not in colours(history(PUBLISHED, config_of("training.warmup_share=0.5")))


def test_a_long_run_is_given_more_time() -> None:
    """Three measurements 50 steps apart are a moment in 100,000 steps: a fiftieth of the run must be low."""
    assert "red" not in colours(history(PUBLISHED, config_of("training.steps=100000", "training.warmup_share=0")))
    assert "red" in colours(history([14.3, *[4.0] * 60], config_of("training.steps=100000", "training.warmup_share=0")))


def with_losses(losses: list[float], **settings: str) -> list[MetricsRow]:
    """A line every 10 steps, measured at the first alone."""
    rows = [cast(MetricsRow, {**history([14.3], config_of())[0], "step": 10 * i, "loss": loss}) for i, loss in enumerate(losses)]
    for i in range(1, len(rows) + 1):
        found = verdict(rows[:1], rows[:i], config_of())
        rows[i - 1]["health"], rows[i - 1]["health_reason"] = found.colour, found.reason
    return rows


def test_a_sudden_drop_of_the_loss_is_yellow() -> None:
    noise = [0.60 + 0.01 * (-1) ** i for i in range(40)]
    assert set(colours(with_losses(noise))) == {"green"}
    rows = with_losses([*noise, 0.40, 0.40])
    assert colours(rows)[-2:] == ["green", "yellow"], "one line alone may be a batch that is easy"
    assert "the loss fell suddenly, from 0.6 to 0.4" in rows[-1]["health_reason"]


def test_a_steady_fall_of_the_loss_is_green() -> None:
    assert set(colours(with_losses([1 - 0.01 * i for i in range(60)]))) == {"green"}


def test_forgetting_what_was_labelled_is_yellow() -> None:
    rows = history(HEALTHY, config_of(), labelled=[0.5, None, 0.8, None, 0.81, None, 0.66, None, 0.65, None])
    assert colours(rows)[-1] == "yellow"
    assert "balanced accuracy 0.65, it was 0.81" in rows[-1]["health_reason"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["training.variance_covariance=0"], "raise training.variance_covariance (now 0) to 0."),
        (["training.learning_rate=1"], "lower training.learning_rate (now 1) to "),
        (["training.ema_window_start=0"], "raise training.ema_window_start (now 0) to "),
        ([], "lower training.learning_rate (now 0.00"),
    ],
)
def test_advice_names_what_is_far_from_the_defaults(settings: list[str], words: str) -> None:
    said = advice(config_of(*settings))
    assert words in said
    assert said.count("training.") == 1


def test_every_verdict_is_one_sentence() -> None:
    for ranks in (HEALTHY, PUBLISHED, PIXELS):
        for row in history(ranks, config_of()):
            reason = row["health_reason"]
            assert reason.endswith(".")
            assert ". " not in reason, reason


def test_the_end_of_a_collapsed_run_is_told_in_one_line() -> None:
    rows = history(PUBLISHED, config_of("training.variance_covariance=0"))
    message = str(Collapse(300, judge(rows, config_of("training.variance_covariance=0"))).error(Path("run"), 50))
    assert message.startswith("run: training was stopped at step 300: the features of different clips have become alike (rank across clips 4.3")
    assert "The encoder of step 50 was kept. Raise training.variance_covariance (now 0)" in message
    assert message.endswith("and start a new run with another --out.")
    assert "\n" not in message
