"""Six movies of eight cells; two behaviours that come and go independently, each of which one number of the embedding knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.probing.evaluation import evaluate
from cellvjepa.probing.labelled import THIS_ENCODER, Labelled
from cellvjepa.probing.multilabel_evaluation import MultilabelEvaluation, evaluate_multilabel, mean_comparison
from cellvjepa.probing.predicting import predict_store
from cellvjepa.probing.probe import save_probe
from cellvjepa.probing.suggest import entropy_of
from tests.embedding.made_up import rows_of_tracks, store_of_table

CONFIG = ProbeConfig(folds=3, bootstrap=40)


def write(folder: Path, *, strength: float = 2.0, rare: bool = False) -> tuple[Path, Path]:
    """Write a store and its labels."""
    table = rows_of_tracks(*[(f"pos{m}.tif", c, (0, 20)) for m in range(6) for c in range(1, 9)])
    table = table.assign(y_px=100.0 * table["track_id"])
    rng = np.random.default_rng(0)
    fits = rng.uniform(size=(len(table), 2)) < 0.5
    vectors = rng.normal(size=(len(table), 6))
    vectors[:, :2] += strength * fits
    labels = [";".join(name for name, fit in zip(("bright", "fast"), row, strict=True) if fit) or "none" for row in fits]
    if rare:
        labels[0] += ";odd"
    store = store_of_table(folder / "s.zarr", table, vectors)
    table[["movie", "track_id", "t_start", "t_stop"]].assign(label=labels).to_csv(folder / "labels.csv", index=False)
    return store, folder / "labels.csv"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> MultilabelEvaluation:
    return evaluate_multilabel(Labelled.of(*write(tmp_path_factory.mktemp("several"), rare=True), CONFIG), CONFIG)


def test_every_class_is_scored_in_the_same_folds(found: MultilabelEvaluation) -> None:
    assert found.classes == found.probe.classes == ("bright", "fast")
    folds = [one.report.predictions[["movie", "fold"]] for one in found.questions.values()]
    pd.testing.assert_frame_equal(*folds)
    assert (folds[0].groupby("movie")["fold"].nunique() == 1).all()
    for scores in (*found.scores.by_class, found.scores.macro, found.scores.micro):
        assert 0.7 < scores["ROC AUC"].low < scores["ROC AUC"].value < 1
    assert found.guessing["balanced accuracy"] == 0.5
    assert "mean over classes" in found.gap


def test_a_class_of_one_group_is_left_out_and_said_so(found: MultilabelEvaluation) -> None:
    assert any(note.startswith("class 'odd' occurs in one group only (pos0.tif) by movie") for note in found.notes)


def test_what_the_report_needs_speaks_of_classes(found: MultilabelEvaluation) -> None:
    assert set(found.predictions["label"]) >= {"bright;fast", "none", "fast"}
    assert set(found.predictions["predicted"]) <= {"bright;fast", "bright", "fast", "none"}
    assert not {"p_yes", "p_no"} & set(found.predictions)
    assert set(found.examples["label"]) <= {"bright", "not bright", "fast", "not fast"}
    assert "yes" not in " ".join(found.suspects["reason"])
    mean, own = mean_comparison(found.comparison), found.comparison[found.comparison["features"] == THIS_ENCODER]
    everything = own[own["labels per class"] == "all"]["balanced accuracy"]
    ours = mean[(mean["features"] == THIS_ENCODER) & (mean["labels per class"] == "all")]
    assert (len(everything), ours["balanced accuracy"].item()) == (2, pytest.approx(everything.mean()))


def test_the_probe_predicts_a_store(found: MultilabelEvaluation, tmp_path: Path) -> None:
    store, _ = write(tmp_path)
    save_probe(found.probe, tmp_path / "probe")
    table, probe = predict_store(store, tmp_path / "probe")
    assert (len(table), probe.notes["rows per class"]["fast"]) == (96, int(found.fits_NK[:, 1].sum()))
    fits = table[["p_bright", "p_fast"]].to_numpy() >= 0.5
    assert (fits == found.fits_NK).mean() > 0.8
    unsure = entropy_of(table)
    assert unsure is not None
    assert unsure.argmax() == np.abs(table[["p_bright", "p_fast"]] - 0.5).sum(axis=1).argmin()
    assert 0 <= unsure.min() < unsure.max() <= 1


def test_random_labels_score_at_chance(tmp_path: Path) -> None:
    found = evaluate_multilabel(Labelled.of(*write(tmp_path, strength=0.0), CONFIG), CONFIG)
    assert abs(found.scores.macro["ROC AUC"].value - 0.5) < 0.12


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    store, labels = write(tmp_path)
    with pytest.raises(UserError, match="several labels at once have no order"):
        evaluate_multilabel(Labelled.of(store, labels, CONFIG), CONFIG.model_copy(update={"order": ("bright", "fast")}))
    with pytest.raises(UserError, match="these labels name several classes at once. use evaluate_multilabel"):
        evaluate(store, labels, CONFIG)
    lines = pd.read_csv(labels).assign(label="none")
    lines.loc[0, "label"] = "bright;fast"
    lines.to_csv(labels, index=False)
    with pytest.raises(UserError, match="no class can be both learnt and tested: class 'bright' occurs in one group only"):
        evaluate_multilabel(Labelled.of(store, labels, CONFIG), CONFIG)
