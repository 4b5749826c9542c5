"""Labels that are wrong are found, and rows worth a look are chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.movies.clips import ClipShape
from cellvjepa.probing.examples import pick_examples
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.scores import ProbeReport
from cellvjepa.probing.splits import Groups, choose_groups
from cellvjepa.probing.suspects import suspect_labels
from cellvjepa.probing.validation import cross_validate

Scene = tuple[Labels, np.ndarray, Groups, ProbeReport, np.ndarray]


def scene(shape: ClipShape, truth_says: float) -> Scene:
    """200 cells of two kinds, far apart; 10 labels are wrong. How far the kinds are apart in the first of 4 features is given."""
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    wrong = rng.permutation(200)[:10]
    named = truth.copy()
    named[wrong] = 1 - truth[wrong]
    vectors = rng.normal(size=(200, 4))
    vectors[:, 0] += truth_says * truth
    table = pd.DataFrame({"movie": "m", "track_id": np.arange(200), "t_start": 0, "t_stop": 8, "y_px": 100.0 * np.arange(200), "x_px": 0.0})
    table = table.assign(clip_id=[f"c{i}" for i in range(200)])
    labels = Labels(1000 + np.arange(200), np.array(["move", "rest"])[named], table, "l.csv")
    groups = choose_groups(table, shape, ProbeConfig())
    return labels, vectors, groups, cross_validate(vectors, labels, groups, ProbeConfig(bootstrap=50)), wrong


def test_wrong_labels_are_suspected_first(shape: ClipShape) -> None:
    labels, vectors, groups, report, wrong = scene(shape, 6.0)
    found = suspect_labels(report, labels, vectors, groups.codes_N, np.random.default_rng(0))
    assert set(found["row"].iloc[:10] - 1000) == set(wrong)
    assert len(found) <= 14
    first = found.iloc[0]
    assert {first["label"], first["suggested"]} == {"move", "rest"}
    assert first["clip_id"] == f"c{first['row'] - 1000}"
    assert first["probability"] > 0.8 > 0.2 > first["probability of label"]
    assert first["neighbours with label"] < 0.3
    assert first["reason"].startswith(f"seen by itself it is {first['suggested']} (")


def test_a_probe_that_guesses_suspects_nobody(shape: ClipShape) -> None:
    labels, vectors, groups, report, _ = scene(shape, 0.0)
    found = suspect_labels(report, labels, vectors, groups.codes_N, np.random.default_rng(0))
    assert found.empty
    assert {"movie", "row", "label", "suggested", "probability", "reason"} <= set(found.columns)


def test_similar_rows_are_sought_in_other_groups(shape: ClipShape) -> None:
    """All suspects in one group, with everybody else of it: nobody is left to compare with."""
    labels, vectors, _, report, _ = scene(shape, 6.0)
    alone = suspect_labels(report, labels, vectors, np.zeros(200, np.int64), np.random.default_rng(0))
    assert (alone["neighbours with label"] == 0).all()


def test_examples_are_of_each_class_and_kind(shape: ClipShape) -> None:
    labels, _, _, report, wrong = scene(shape, 6.0)
    found = pick_examples(report, labels, each=3)
    assert found.groupby(["kind", "label"], sort=False).size().to_dict() == {
        (kind, label): 3 for kind in ("most certain", "most uncertain", "confidently wrong") for label in ("move", "rest")
    }
    assert found["clip_id"].tolist() == [f"c{row - 1000}" for row in found["row"]]
    certain, wrongly = found[found["kind"] == "most certain"], found[found["kind"] == "confidently wrong"]
    assert (certain["label"] == certain["predicted"]).all()
    assert certain["probability"].min() > 0.95
    assert (wrongly["label"] != wrongly["predicted"]).all()
    assert set(wrongly["row"] - 1000) <= set(wrong)
    uncertain = found[found["kind"] == "most uncertain"]
    assert uncertain["probability"].iloc[0] < certain["probability"].min()


def test_a_class_without_errors_has_none_to_show(shape: ClipShape) -> None:
    labels, _, _, report, _ = scene(shape, 6.0)
    perfect = report.predictions.assign(predicted=report.predictions["label"])
    found = pick_examples(replace(report, predictions=perfect), labels)
    assert "confidently wrong" not in set(found["kind"])
    assert found["probability"].iloc[0] == pytest.approx(found["probability"].max())
