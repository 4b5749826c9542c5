"""What the report of a probe says must follow from its numbers, and what it offers must work."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig, load_config
from cellvjepa.probing.baselines import POOLED, SINGLE_FRAME, TIME_SHUFFLED
from cellvjepa.probing.calibration import Calibration, ReliabilityBin
from cellvjepa.probing.evaluation import CLASS_PRIOR, THIS_ENCODER, Evaluation
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.probe import FeatureSpec, Probe, fit_head
from cellvjepa.probing.scores import SCORES, Interval, ProbeReport
from cellvjepa.report.page import Note, Table
from cellvjepa.report.score_plots import Bin
from cellvjepa.stories.probe import page_of, tell_probe
from cellvjepa.stories.probe_comparison import MEASURE, comparison_section, time_in_words
from cellvjepa.stories.probe_files import choice_in_words, repeating_command
from cellvjepa.stories.probe_trust import calibration_section, learning_in_words, suspects_section

NAN = float("nan")


def lines(scores: dict[str, dict[str, float]]) -> pd.DataFrame:
    """A comparison: features, then score by number of labels."""
    table = [
        {"features": name, "labels per class": number, "draws": 1 if number == "all" else 5}
        | {f"{score}{end}": value + off for score in SCORES for end, off in (("", 0), (" sd", 0), (" low", -0.05), (" high", 0.05))}
        for name, values in scores.items()
        for number, value in values.items()
    ]
    return pd.DataFrame(table)


def scored(value: float, classes: tuple[str, ...], settings: ProbeConfig) -> ProbeReport:
    predictions = pd.DataFrame({"movie": "m", "label": list(classes), "predicted": list(classes), "probability": 0.9})
    return ProbeReport(
        classes,
        np.eye(len(classes), dtype=np.int64),
        {name: Interval(value, value - 0.1, NAN) for name in SCORES},
        dict.fromkeys(SCORES, 1 / len(classes)),
        pd.DataFrame({"group": ["m"], "rows": np.array([2]), "recall a": [NAN]}),
        predictions,
        {"version": "0", "grouped by": "movie", "folds": 2, "groups": np.int64(3), "settings": settings.model_dump(mode="json")},
    )


def evaluation(classes: tuple[str, ...] = ("a<b>", "b"), naive: float = 0.8, settings: ProbeConfig | None = None) -> Evaluation:
    """A probe that scores 0.8 where rows are split by movie."""
    settings = settings or ProbeConfig(kind="linear")
    codes = np.arange(len(classes)).repeat(3)
    features = np.random.default_rng(0).normal(size=(len(codes), 4)).astype(np.float32)
    labels = Labels(np.arange(len(codes)), np.array(classes)[codes], pd.DataFrame({"movie": ["m"] * len(codes)}), "my labels.csv")
    head = fit_head(features, codes, len(classes), ProbeConfig(kind="linear", inner_folds=0))
    comparison = lines({CLASS_PRIOR: {"5": 0.5, "all": 0.5}, "hand-made features": {"5": 0.6, "all": 0.7}, THIS_ENCODER: {"5": 0.7, "all": 0.8}})
    return Evaluation(
        Probe("linear", head, classes, FeatureSpec("5" * 64, {}, ("c0",), "mean", (4,)), {}),
        scored(0.8, classes, settings),
        comparison,
        labels,
        ("two labels were not used",),
        naive=scored(naive, classes, settings),
        gap=f"Split row by row it scores {naive:.2f}.",
        calibration=Calibration((ReliabilityBin(0.9, 0.7, 10), ReliabilityBin(0.6, 0.6, 4)), Interval(0.15, 0.1, 0.2)),
        suspects=pd.DataFrame([{"movie": "m", "track_id": 7, "label": "b", "suggested": "a<b>", "reason": "it looks like <a>", "probability": 0.9}]),
        learning_curve=comparison[comparison["features"] == THIS_ENCODER],
    )


def test_page_json_and_figures_hold_the_same(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "example_99.gif").write_bytes(b"GIF8 of an earlier run")
    text = tell_probe(tmp_path, evaluation()).read_text(encoding="utf-8")
    assert "a&lt;b&gt;" in text
    assert "two labels were not used" in text
    assert "it looks like &lt;a&gt;" in text
    for name in ("confusion", "comparison", "learning_curve", "reliability"):
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in (tmp_path / "figures" / f"{name}.svg").read_bytes()
    assert not (tmp_path / "figures" / "example_99.gif").exists()
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert told["scores"][MEASURE] == {"value": 0.8, "low": pytest.approx(0.7), "high": None}
    assert told["scores of a split by rows"][MEASURE]["value"] == 0.8
    assert told["provenance"]["groups"] == 3
    assert told["by group"] == [{"group": "m", "rows": 2, "recall a": None}]
    assert told["calibration"]["bins"][1] == {"confidence": 0.6, "accuracy": 0.6, "rows": 4}
    assert told["suspects"][0]["track_id"] == 7
    assert told["comparison"][-1]["features"] == THIS_ENCODER
    assert pd.read_csv(tmp_path / "suspects.csv")["suggested"].tolist() == ["a<b>"]
    assert len(pd.read_csv(tmp_path / "learning_curve.csv")) == 2


@pytest.mark.parametrize(
    "settings",
    [
        ProbeConfig(),
        ProbeConfig(kind="knn", group="my 'well' column", seed=7, folds=3),
        ProbeConfig(order=("low", "a, b", "it's"), attentive_learning_rate=1e-5, attentive_search=False),
    ],
)
def test_the_command_asks_for_the_same_again(settings: ProbeConfig, tmp_path: Path) -> None:
    store = tmp_path / "my store.zarr"
    found = evaluation(settings=settings)
    words = shlex.split(repeating_command(tmp_path / "out", found.labels.source, found.report.provenance, store))
    assert words[:3] == ["cellvjepa", "probe", str(store)]
    assert words[words.index("--labels") + 1] == str(Path("my labels.csv").resolve())
    assert words[words.index("--out") + 1] == str(tmp_path / "out")
    overrides = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert load_config(None, overrides).probe == settings


def test_a_leak_is_told_first() -> None:
    leaky, sound = page_of(evaluation(naive=0.95)), page_of(evaluation(naive=0.81))
    assert "Split row by row it scores 0.95." in leaky.lead
    assert "row by row" not in sound.lead
    for page, kind in ((leaky, "warn"), (sound, "good")):
        (note,) = [block for block in page.sections[0].blocks if isinstance(block, Note) and "row by row" in block.text]
        assert note.kind == kind


@pytest.mark.parametrize(
    ("ours", "mixed", "still", "kind", "words"),
    [
        (0.9, 0.6, 0.5, "good", "uses the order of frames: with the frames in another order it scores 0.60 instead of 0.90"),
        (0.9, 0.89, 0.5, "plain", "uses more than one frame, but not their order"),
        (0.9, 0.91, 0.9, "warn", "time adds nothing here"),
    ],
)
def test_what_time_is_worth(ours: float, mixed: float, still: float, kind: str, words: str) -> None:
    scores = {THIS_ENCODER: ours, TIME_SHUFFLED: mixed, SINGLE_FRAME: still}
    ((sentence, said),) = time_in_words(lines({name: {"5": 0.5, "all": value} for name, value in scores.items()}))
    assert said == kind
    assert sentence.startswith("With all labels ")
    assert words in sentence
    # Tokens lose nothing by pooling that time could be blamed for.
    pooled = {THIS_ENCODER: 0.99, POOLED: ours, TIME_SHUFFLED: mixed, SINGLE_FRAME: still}
    assert time_in_words(lines({name: {"all": value} for name, value in pooled.items()})) == [(sentence, said)]
    assert time_in_words(lines({THIS_ENCODER: {"all": 0.5}})) == []


def test_the_comparison_names_guessing_once_and_marks_this_encoder() -> None:
    (table,) = [block for block in comparison_section(evaluation().comparison).blocks if isinstance(block, Table)]
    assert [row[:2] for row in table.rows].count(("all", CLASS_PRIOR)) == 1
    assert ("5", CLASS_PRIOR) not in [row[:2] for row in table.rows]
    assert [table.rows[i][1] for i in table.strong_rows] == [THIS_ENCODER] * 2


@pytest.mark.parametrize(
    ("error", "bins", "kind", "words"),
    [
        (0.02, [Bin(0.9, 0.88, 10)], "good", "may be taken at their word"),
        (0.2, [Bin(0.9, 0.7, 10)], "warn", "it is too sure of itself"),
        (0.2, [Bin(0.6, 0.8, 10)], "warn", "it is right more often than it dares to say"),
    ],
)
def test_calibration_in_words(error: float, bins: list[Bin], kind: str, words: str) -> None:
    note = calibration_section(bins, Interval(error, NAN, NAN), 2).blocks[0]
    assert isinstance(note, Note)
    assert (note.kind, words in note.text) == (kind, True)


def test_whether_more_labels_help() -> None:
    assert "more labels are likely to help" in learning_in_words(lines({THIS_ENCODER: {"5": 0.7, "20": 0.8}}))
    assert "unlikely to help much" in learning_in_words(lines({THIS_ENCODER: {"5": 0.8, "all": 0.81}}))
    assert "too few labels" in learning_in_words(lines({THIS_ENCODER: {"all": 0.81}}))


def test_suspects_are_few_on_the_page() -> None:
    many = pd.DataFrame({"movie": "m", "track_id": range(100), "label": "a", "suggested": "b"})
    section = suspects_section(many)
    (table,) = section.blocks
    assert isinstance(table, Table)
    assert len(table.rows) == 25
    assert "The first 25 of 100" in table.caption
    assert suspects_section(pd.DataFrame()).text == "No label is suspected to be wrong."


def test_200_classes_make_a_page_that_can_be_opened(tmp_path: Path) -> None:
    page = tell_probe(tmp_path, evaluation(tuple(f"class {k:03d}" for k in range(200))))
    assert "class 000, class 001, class 002, ... (200 classes)" in page.read_text(encoding="utf-8")
    assert page.stat().st_size < 3e6


def test_a_probe_without_examples_calibration_or_naive_score_can_be_told(tmp_path: Path) -> None:
    bare = replace(evaluation(), naive=None, gap="", calibration=None, suspects=pd.DataFrame(), learning_curve=pd.DataFrame())
    text = tell_probe(tmp_path, bare).read_text(encoding="utf-8")
    assert "row by row" not in text
    assert "No label is suspected" in text
    assert not (tmp_path / "figures" / "reliability.png").exists()
    assert not (tmp_path / "suspects.csv").exists()


def test_what_was_chosen_is_said() -> None:
    probe = evaluation().probe
    assert choice_in_words(probe) == "linear"
    candidates = [{"kind": "attentive", "learning rate": 0.003, "steps": 200, "log loss": 0.4}, {"kind": "linear", "log loss": 0.5}]
    choice = {"chosen": {"kind": "attentive", "learning rate": 0.003, "steps": 200}, "candidates": candidates}
    said = "attentive with learning rate 0.003, steps 200, chosen from 2 candidates (attentive, linear) on an inner split"
    assert choice_in_words(replace(probe, notes={"choice": choice})) == said
    linear = {"chosen": {"kind": "linear"}, "candidates": candidates[1:]}
    assert choice_in_words(replace(probe, notes={"choice": {"bright": choice, "fast": linear}})) == f"bright: {said}; fast: linear"
