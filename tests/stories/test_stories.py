"""What reports say must follow from the numbers, whatever they are; the demo as a whole is run by .ci/run."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pandas as pd
import pytest

from cellvjepa.errors import UserError
from cellvjepa.stories.demo import run_demo
from cellvjepa.stories.probe_comparison import MEASURE, comparison_in_words
from cellvjepa.stories.run import history_of_verdicts, traffic_light
from cellvjepa.training.metrics import MetricsRow


def rows(*verdicts: tuple[str, str]) -> list[MetricsRow]:
    return [
        cast(MetricsRow, {"step": 10 * i, "measured": 10 * i, "rankme": 8.0, "health": colour, "health_reason": reason})
        for i, (colour, reason) in enumerate(verdicts)
    ]


GREEN, YELLOW, RED = ("green", "all is well."), ("yellow", "ranks fell; wait."), ("red", "it collapsed; lower training.learning_rate.")


@pytest.mark.parametrize(
    ("last", "kind", "words"),
    [
        (GREEN, "good", "Green. All is well."),
        (YELLOW, "warn", "Yellow. Ranks fell; wait."),
        (RED, "bad", "Red. It collapsed; lower training.learning_rate."),
    ],
)
def test_the_traffic_light_is_that_of_the_last_line(last: tuple[str, str], kind: str, words: str) -> None:
    note = traffic_light(rows(GREEN, YELLOW, last))
    assert (note.kind, note.text) == (kind, words)


def test_the_history_has_a_line_for_each_change() -> None:
    (table,) = history_of_verdicts(rows(GREEN, GREEN, YELLOW, YELLOW, GREEN, RED))
    assert [(line[0], line[1]) for line in table.rows] == [("0", "green"), ("20", "yellow"), ("40", "green"), ("50", "red")]
    assert history_of_verdicts(rows(GREEN, GREEN)) == ()


def test_a_run_from_before_there_were_verdicts_can_be_told() -> None:
    old = [cast(MetricsRow, {"step": 0, "rankme": 8.0}), cast(MetricsRow, {"step": 10, "rankme": 24.0})]
    assert traffic_light(old).text == "Rank across clips 8.0 at the start, 24.0 at the end."
    assert history_of_verdicts(old) == ()


def comparison(ours: float, hand_made: float, untrained: float) -> pd.DataFrame:
    scores = {"class prior": 0.5, "hand-made features": hand_made, "untrained encoder": untrained, "this encoder": ours}
    return pd.DataFrame([{"features": name, "labels per class": "20", MEASURE: value} for name, value in scores.items()])


@pytest.mark.parametrize(
    ("ours", "hand_made", "untrained", "kind", "words"),
    [
        (
            0.9,
            0.8,
            0.7,
            "good",
            "(0.90) is ahead of the best baseline, hand-made features (0.80), and ahead of the same network without training (0.70).",
        ),
        (
            0.8,
            0.9,
            0.7,
            "warn",
            "(0.80) is behind the best baseline, hand-made features (0.90), and ahead of the same network without training (0.70).",
        ),
        (
            0.7,
            0.9,
            0.71,
            "warn",
            "behind the best baseline, hand-made features (0.90), and within noise of the same network without training (0.71).",
        ),
        (0.6, 0.5, 0.7, "warn", "(0.60) is behind the best baseline, untrained encoder (0.70)."),
    ],
)
def test_a_lost_comparison_is_called_lost(ours: float, hand_made: float, untrained: float, kind: str, words: str) -> None:
    ((sentence, said),) = comparison_in_words(comparison(ours, hand_made, untrained))
    assert said == kind
    assert sentence.startswith("With 20 labels per class this encoder ")
    assert sentence.endswith(words)


def test_the_demo_does_not_touch_a_folder_with_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match=r"holds other things \(thesis\.docx\)\. choose a new folder"):
        run_demo(tmp_path)
    assert (tmp_path / "run").exists()
