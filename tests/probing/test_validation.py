from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import Cancelled
from cellvjepa.movies.clips import ClipShape
from cellvjepa.probing.baselines import no_features
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.probe import fit_head
from cellvjepa.probing.splits import Groups, choose_groups, grouped_folds
from cellvjepa.probing.validation import cross_validate, few_label_scores


def cells(tracks: int = 30, windows: int = 4) -> tuple[Labels, np.ndarray]:
    """Cells far apart; each looks like itself in all its windows (dimensions 1 to 20), and like its class (dimension 0)."""
    rng = np.random.default_rng(0)
    track = np.repeat(np.arange(tracks), windows)
    start = np.tile(np.arange(windows) * 8, tracks)
    codes = rng.permutation(np.arange(tracks) % 3)[track]
    table = pd.DataFrame({"movie": "m", "track_id": track, "t_start": start, "t_stop": start + 8, "y_px": 100.0 * track, "x_px": 0.0})
    looks = rng.normal(size=(tracks, 21)).astype(np.float32)[track] + rng.normal(0, 0.1, (len(track), 21))
    looks[:, 0] += 3 * codes
    return Labels(
        np.arange(len(track)), np.array(["die", "move", "rest"])[codes], table.assign(clip_id=[f"c{i}" for i in range(len(track))]), "l.csv"
    ), looks


@pytest.fixture
def groups(shape: ClipShape) -> Groups:
    return choose_groups(cells()[0].table, shape, ProbeConfig())


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_each_row_is_predicted_by_others(kind: str, groups: Groups) -> None:
    labels, features = cells()
    config = ProbeConfig(kind=kind, bootstrap=50)
    report = cross_validate(features, labels, groups, config)
    assert report.classes == ("die", "move", "rest")
    assert report.confusion_KK.sum(axis=1).tolist() == [40, 40, 40]
    predictions = report.predictions
    assert predictions["clip_id"].tolist() == labels.table["clip_id"].tolist()
    assert predictions["label"].tolist() == labels.names_N.tolist()
    assert (predictions.groupby("group")["fold"].nunique() == 1).all()
    for fold in grouped_folds(groups, labels.codes_N, labels.classes, config):
        head = fit_head(features[fold.train], labels.codes_N[fold.train], 3, config)
        found = predictions.iloc[fold.test][["p_die", "p_move", "p_rest"]].to_numpy()
        np.testing.assert_allclose(found, head.probabilities(features[fold.test]))
    hits = np.diag(report.confusion_KK).sum() / 120
    assert (predictions["predicted"] == predictions["label"]).mean() == hits
    assert report.by_group["rows"].tolist() == [4] * 30
    assert report.provenance["grouped by"] == "track family"
    assert report.provenance["folds"] == 5


def test_groups_keep_memory_out_of_the_score(groups: Groups) -> None:
    """Labels that have nothing to do with looks, cell by cell: recognising the cell is worth nothing, unless rows are split."""
    labels, features = cells()
    features = features[:, 1:]
    honest = cross_validate(features, labels, groups, ProbeConfig(kind="knn", bootstrap=50)).scores["balanced accuracy"]
    assert honest.low <= 1 / 3 <= honest.high
    rows = np.arange(len(features))
    leaky = fit_head(features[rows % 2 == 0], labels.codes_N[rows % 2 == 0], 3, ProbeConfig(kind="knn", neighbours=1)).probabilities(
        features[rows % 2 == 1]
    )
    assert (leaky.argmax(axis=1) == labels.codes_N[rows % 2 == 1]).mean() > 0.95


def test_no_features_score_as_chance(groups: Groups) -> None:
    labels, _ = cells()
    report = cross_validate(no_features(120).values_ND, labels, groups, ProbeConfig(bootstrap=50))
    assert report.scores["balanced accuracy"].value == pytest.approx(report.chance["balanced accuracy"], abs=0.1)
    assert report.scores["ROC AUC"].value == pytest.approx(0.5, abs=0.1)


def test_an_attentive_probe_reads_tokens(groups: Groups) -> None:
    labels, features = cells()
    tokens = np.repeat(features[:, None, None, None, None, None], 2, axis=2).astype(np.float32)
    report = cross_validate(tokens, labels, groups, ProbeConfig(kind="attentive", folds=2, attentive_steps=3, bootstrap=20))
    assert report.confusion_KK.sum() == 120


def test_few_labels_score_less_and_waver_more(groups: Groups) -> None:
    labels, features = cells()
    folds = grouped_folds(groups, labels.codes_N, labels.classes, ProbeConfig())
    table = few_label_scores(features, labels.codes_N, folds, ProbeConfig(), (2, 10, None), draws=5)
    assert table["labels per class"].tolist() == ["2", "10", "all"]
    assert table["draws"].tolist() == [5, 5, 1]
    assert table["ROC AUC"].is_monotonic_increasing
    assert table["ROC AUC sd"].iloc[2] == 0 < table["ROC AUC sd"].iloc[0]
    pd.testing.assert_frame_equal(table, few_label_scores(features, labels.codes_N, folds, ProbeConfig(), (2, 10, None), draws=5))


def test_older_predictions_in_the_store_are_replaced(groups: Groups) -> None:
    labels, features = cells()
    older = replace(labels, table=labels.table.assign(predicted="old", p_die=0.0, fold=9, group="g", p_other=0.5))
    found = cross_validate(features, older, groups, ProbeConfig(bootstrap=1)).predictions
    assert found.columns.is_unique
    assert "p_other" in found
    plain = cross_validate(features, labels, groups, ProbeConfig(bootstrap=1)).predictions
    pd.testing.assert_frame_equal(found.drop(columns="p_other"), plain)


def test_progress_is_told_and_may_cancel(groups: Groups) -> None:
    labels, features = cells()
    told: list[tuple[str, int, int]] = []
    cross_validate(features, labels, groups, ProbeConfig(bootstrap=1), lambda *step: told.append(step))
    assert told == [("cross-validating", done, 5) for done in range(6)]

    def stop(stage: str, done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        cross_validate(features, labels, groups, ProbeConfig(), stop)
