"""What reports say must follow from the numbers, whatever they are; the demo as a whole is run by .ci/run."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pandas as pd
import pytest

from cellvjepa.errors import UserError
from cellvjepa.stories.demo import run_demo
from cellvjepa.stories.probe import MEASURE, comparison_in_words
from cellvjepa.stories.run import verdict
from cellvjepa.training.metrics import MetricsRow


def rows(*ranks: tuple[float, float]) -> list[MetricsRow]:
    return [cast(MetricsRow, {"step": i, "rankme": a, "rankme_tokens": b}) for i, (a, b) in enumerate(ranks)]


@pytest.mark.parametrize(
    ("first", "last", "kind", "words"),
    [
        ((8, 40), (24, 39), "good", "No sign of a collapse"),
        ((8, 40), (7.9, 40), "plain", "has not risen"),
        ((8, 40), (24, 30), "warn", "places within a clip have become more alike"),
        ((8, 40), (4, 40), "warn", "sign of a collapse. Raise training.variance_covariance"),
    ],
)
def test_the_verdict_follows_from_the_ranks(first: tuple[float, float], last: tuple[float, float], kind: str, words: str) -> None:
    (note,) = verdict(rows(first, (1, 1), last))
    assert note.kind == kind
    assert words in note.text


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
