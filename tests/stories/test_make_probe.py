"""A probe from its store to its folder, cancelled at every stage, and its report read back as the same values."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cellvjepa
from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.probing.learnt import Learnt
from cellvjepa.stories.make_probe import make_probe
from cellvjepa.stories.reported_probe import ALL_CLASSES, read_probe_report
from tests.embedding.made_up import rows_of_tracks, store_of_table

CONFIG = ProbeConfig(bootstrap=25)
HEADER = "movie,track_id,label\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six movies of eight cells with two windows each, whose number is odd or even: the embedding knows which."""
    table = rows_of_tracks(*[(f"pos{m}.tif", c, (0, 20)) for m in range(6) for c in range(1, 9)])
    vectors = np.random.default_rng(0).normal(size=(len(table), 6))
    vectors[:, 0] += 2 * (table["track_id"] % 2)
    return store_of_table(tmp_path_factory.mktemp("made") / "store.zarr", table.assign(y_px=100.0 * table["track_id"]), vectors)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(HEADER + "\n".join(f"pos{m}.tif,{c},{'odd' if c % 2 else 'even'}" for m in range(6) for c in range(1, 9)))
    return path


def test_its_report_is_read_back_as_it_was(store: Path, labels: Path, tmp_path: Path) -> None:
    seen: list[Learnt] = []
    made = make_probe(store, labels, tmp_path / "out", CONFIG, watch=seen.append)
    found = read_probe_report(tmp_path / "out")
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    question = found.questions[ALL_CLASSES]
    assert question.classes == ("even", "odd")
    assert question.confusion_KK.tolist() == written["confusion"]
    assert (found.in_short, found.gap) == made.said[:2]
    assert question.scores[0].name == found.measure == "balanced accuracy"
    assert question.scores[0].grouped.value == written["scores"]["balanced accuracy"]["value"]
    assert question.scores[0].by_rows == written["scores of a split by rows"]["balanced accuracy"]["value"]
    assert found.counts.loc["pos3.tif"].to_dict() == {"even": 8, "odd": 8}
    assert found.settings["bootstrap"] == 25
    wrong = question.which(0, 1)
    assert len(wrong) == question.confusion_KK[0, 1] > 0
    assert set(found.windows["label"].iloc[wrong]) == {"even"}
    assert (np.diff(question.certain_N[wrong]) <= 0).all()
    held_out = [point for point in seen if point.curve == "held out" and point.series == "split by movie"]
    assert [point.x for point in held_out] == [1, 2, 3, 4, 5]
    by_labels = {point.x: point.y for point in seen if point.curve == "labels" and point.series == "this encoder"}
    own = pd.read_csv(tmp_path / "out" / "learning_curve.csv").set_index("labels per class")["balanced accuracy"]
    assert {("all" if math.isinf(x) else f"{x:g}"): pytest.approx(y) for x, y in by_labels.items()} == own.rename(index=str).to_dict()


def test_cancelled_at_any_stage_nothing_is_left(store: Path, labels: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    make_probe(store, labels, tmp_path / "whole", CONFIG, progress=lambda stage, done, total: stages.append(stage))
    assert len(set(stages)) > 4

    for wanted in dict.fromkeys(stages):

        def stop(stage: str, done: int, total: int, wanted: str = wanted) -> None:
            if stage == wanted:
                raise Cancelled

        with pytest.raises(Cancelled):
            make_probe(store, labels, tmp_path / "cancelled", CONFIG, progress=stop)
        assert not (tmp_path / "cancelled").exists(), wanted
    # A probe that is there stays as it was.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "whole").rglob("*")}
    with pytest.raises(Cancelled):
        make_probe(store, labels, tmp_path / "whole", CONFIG, progress=stop)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "whole").rglob("*")} == before


def test_several_labels_at_once_make_a_question_of_each_class(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    said = {0: "none", 1: "odd", 2: "first", 3: "first;odd"}
    path.write_text(HEADER + "\n".join(f"pos{m}.tif,{c},{said[c % 2 + 2 * (c < 5)]}" for m in range(6) for c in range(1, 9)))
    make_probe(store, path, tmp_path / "out", CONFIG.model_copy(update={"bootstrap": 5}))
    found = read_probe_report(tmp_path / "out")
    assert list(found.questions) == [ALL_CLASSES, "first", "odd"]
    assert found.questions[ALL_CLASSES].classes == ()
    odd = found.questions["odd"]
    assert odd.classes == ("not odd", "odd")
    assert odd.confusion_KK.sum(axis=1).tolist() == [48, 48]
    assert found.counts.loc["pos0.tif"].to_dict() == {"first": 8, "none": 4, "odd": 8}
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    confusion = odd.confusion_KK
    recalls = confusion.diagonal() / confusion.sum(axis=1)
    assert recalls.mean() == pytest.approx(written["scores by class"]["odd"]["balanced accuracy"]["value"])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda folder: (folder / "report.json").unlink(), "there is no report of a probe here. choose a folder made by"),
        (lambda folder: (folder / "report.json").write_text("{"), "the report cannot be read (JSONDecodeError"),
        (lambda folder: (folder / "report.json").write_text("{}"), "the report cannot be read (KeyError"),
        (lambda folder: (folder / "predictions.csv").write_text("label\nodd\n"), "the report cannot be read (KeyError"),
        (lambda folder: (folder / "comparison.csv").unlink(), "the report cannot be read (FileNotFoundError"),
    ],
)
def test_a_damaged_report_is_told_in_a_sentence(spoil, sentence: str, store: Path, labels: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    make_probe(store, labels, tmp_path / "out", CONFIG.model_copy(update={"bootstrap": 1}))
    spoil(tmp_path / "out")
    with pytest.raises(UserError) as caught:
        read_probe_report(tmp_path / "out")
    assert sentence in str(caught.value)


def test_a_store_that_changes_while_it_is_predicted_is_left_alone(store: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cellvjepa.probing import predicting

    make_probe(store, labels, tmp_path / "out", CONFIG.model_copy(update={"bootstrap": 1}))
    opened = open_store
    calls: list[int] = []

    def changed(path: Path) -> cellvjepa.Embeddings:
        from dataclasses import replace

        calls.append(1)
        found = opened(path)
        return replace(found, table=found.table.assign(clip_id=found.table["clip_id"] + "!")) if len(calls) > 2 else found

    monkeypatch.setattr(predicting, "open_store", changed)
    with pytest.raises(UserError, match="the rows of this store changed while they were predicted. predict again"):
        predicting.apply_probe(store, tmp_path / "out")
    assert "predicted" not in opened(store).table
