from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.probing.fitting import fit_head
from cellvjepa.probing.head import Head
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.multilabel import MultilabelHead, answers_table, classes_of, question
from cellvjepa.probing.probe import FeatureSpec, Probe, load_probe, predict, save_probe

LABELS = Labels(
    np.arange(4), np.array(["bright;dividing", "none", "dividing", "bright"]), pd.DataFrame(index=range(4)), "labels.csv", multilabel=True
)
SPEC = FeatureSpec("a" * 64, {}, ("c0",), "mean", (5,))


def features_and_answers(kind: str, rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that know nothing of each other; each moves a number of its own."""
    rng = np.random.default_rng(0)
    fits = rng.uniform(size=(rows, 2)) < 0.5
    vectors = rng.normal(0, 0.3, (rows, 5)).astype(np.float32)
    vectors[:, :2] += fits
    if kind == "attentive":
        return vectors[:, None, None, None, None, None] + np.zeros((1, 1, 2, 1, 1, 2, 1), np.float32), fits
    return vectors, fits


def head_of(kind: str, features: np.ndarray, fits: np.ndarray) -> MultilabelHead:
    config = ProbeConfig(kind=kind, attentive_steps=20, attentive_search=False)
    heads: list[Head] = [fit_head(features, answers.astype(np.int64), 2, config) for answers in fits.T]
    return MultilabelHead.of(heads)


def test_each_class_is_a_question() -> None:
    assert classes_of(LABELS) == ("bright", "dividing")
    bright = question(LABELS, "bright")
    assert bright.names_N.tolist() == ["yes", "no", "no", "yes"]
    assert (bright.classes, bright.codes_N.tolist(), bright.multilabel) == (("no", "yes"), [1, 0, 0, 1], False)


@pytest.mark.parametrize("kind", ["linear", "knn", "attentive", "auto"])
def test_each_class_is_answered_by_itself_and_a_saved_probe_says_the_same(kind: str, tmp_path: Path) -> None:
    features, fits = features_and_answers(kind)
    head = head_of(kind, features, fits)
    found = head.probabilities(features)
    assert ((found >= 0.5) == fits).mean() > 0.9
    assert np.abs(found.sum(axis=1) - 1).max() > 0.5
    spec = FeatureSpec("a" * 64, {}, ("c0",), "tokens" if features.ndim > 2 else "mean", features.shape[1:])
    probe = Probe(head.kind, head, ("bright", "dividing"), spec, {"settings": {}})
    save_probe(probe, tmp_path)
    again = load_probe(tmp_path, spec)
    assert isinstance(again.head, MultilabelHead)
    pd.testing.assert_frame_equal(predict(again, features), predict(probe, features))


def test_the_table_names_every_class_that_fits() -> None:
    table = answers_table(np.array([[0.9, 0.5], [0.2, 0.4], [0.1, 0.8]]), ("bright", "dividing"))
    assert table["predicted"].tolist() == ["bright;dividing", "none", "dividing"]
    assert table["probability"].tolist() == pytest.approx([0.5, 0.6, 0.8])
    assert list(table.columns) == ["predicted", "probability", "p_bright", "p_dividing"]
    assert len(answers_table(np.zeros((0, 2)), ("bright", "dividing"))) == 0


@pytest.mark.parametrize("damage", ["multilabel", "kinds", "class1.head.weight"])
def test_damaged_heads_are_refused(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features, fits = features_and_answers("linear")
    head = head_of("linear", features, fits)
    arrays = {name: array for name, array in head.arrays().items() if name != damage}
    if damage == "multilabel":
        arrays["multilabel"] = np.array([3])
    monkeypatch.setattr(MultilabelHead, "arrays", lambda self: arrays)
    save_probe(Probe("linear", head, ("bright", "dividing"), SPEC, {}), tmp_path)
    with pytest.raises(UserError, match="the probe cannot be read"):
        load_probe(tmp_path)
