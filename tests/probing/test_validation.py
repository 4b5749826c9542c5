from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.clips import ClipShape
from cellvjepa.probing import validation
from cellvjepa.probing.baselines import no_features
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.probe import fit_head
from cellvjepa.probing.splits import Groups, choose_groups, grouped_folds
from cellvjepa.probing.validation import cross_validate, few_label_scores, gap_in_words


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
        head = fit_head(features[fold.train], labels.codes_N[fold.train], 3, config, groups_N=groups.codes_N[fold.train])
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


SCHEMES = {
    "naive": {},
    "lineage": {"group": "lineage"},
    "field": {"group": "field"},
    "well": {"group": "well"},
    "plate": {"group": "plate"},
    "experiment": {"group": "experiment"},
    "time": {"group": "time", "folds": 3},
    "column": {"group": "donor"},
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_random_labels_score_at_chance(scheme: str, shape: ClipShape) -> None:
    """Features that tell the cell, the movie and the time; labels that mean nothing. Seven times, so that luck evens out."""
    labels, features = cells(tracks=48, windows=8)
    track, start = labels.table["track_id"].to_numpy(), labels.table["t_start"].to_numpy()
    table = labels.table.assign(movie=[f"p{t // 12}.zarr/A/{t // 3 % 4}/{t % 3}" for t in track], experiment=track // 8, donor=track % 4)
    features = np.concatenate([features[:, 1:], (track // 3)[:, None] == np.arange(16), start[:, None] / 8], axis=1)
    config = ProbeConfig(bootstrap=1, inner_folds=0, **SCHEMES[scheme])
    found = []
    for seed in range(7):
        named = np.random.default_rng(seed).permutation(np.arange(len(track)) % 2)
        random = Labels(labels.rows_N, np.array(["a", "b"])[named], table, "l.csv")
        groups = choose_groups(table, shape, config)
        report = cross_validate(features, random, groups, config, naive=scheme == "naive")
        assert scheme == "naive" or report.provenance["grouped by"] == groups.basis
        found.append([score.value for score in report.scores.values()])
    # 384 rows: one score has a standard deviation of .026 (more where they are not independent), the mean of seven .01.
    assert np.mean(found, axis=0)[[0, 2, 3]].tolist() == pytest.approx([0.5] * 3, abs=0.04)


def test_a_planted_leak_is_reported_by_the_gap(shape: ClipShape) -> None:
    """Every track is in the table twice, as if tracked by two programs; labels say nothing that features know."""
    labels, features = cells(tracks=40, windows=2)
    rng = np.random.default_rng(1)
    features = features[:, 1:]
    named = rng.permutation(np.arange(len(features)) % 2)
    twice = pd.concat([labels.table, labels.table.assign(track_id=labels.table["track_id"] + 1000)], ignore_index=True)
    doubled = Labels(np.arange(len(twice)), np.tile(np.array(["a", "b"])[named], 2), twice, "l.csv")
    seen = np.tile(features, (2, 1)) + rng.normal(0, 0.01, (len(twice), features.shape[1]))
    config = ProbeConfig(kind="knn", neighbours=1, bootstrap=100)
    groups = choose_groups(twice, shape, config)
    honest, naive = (cross_validate(seen, doubled, groups, config, naive=leaky) for leaky in (False, True))
    assert honest.scores["balanced accuracy"].value == pytest.approx(0.5, abs=0.12)
    assert naive.scores["balanced accuracy"].value > 0.8
    said = gap_in_words(honest, naive, doubled.codes_N, groups, config)
    assert "split by track family it scores 0." in said
    assert "is leakage" in said
    assert "Publish the grouped score" in said
    assert "within noise" in gap_in_words(honest, honest, doubled.codes_N, groups, config)
    assert naive.provenance["grouped by"] == "nothing: row by row"


def test_what_a_probe_chooses_it_chooses_within_the_training_groups(groups: Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, features = cells()
    given: list[np.ndarray | None] = []

    def watched(
        features: np.ndarray, codes: np.ndarray, classes: int, config: ProbeConfig, _: object, groups_N: np.ndarray | None, __: object
    ) -> object:
        given.append(groups_N)
        return fit_head(features, codes, classes, config, groups_N=groups_N)

    monkeypatch.setattr(validation, "fit_head", watched)
    config = ProbeConfig(bootstrap=1)
    folds = grouped_folds(groups, labels.codes_N, labels.classes, config)
    cross_validate(features, labels, groups, config)
    assert all(np.array_equal(found, groups.codes_N[fold.train]) for found, fold in zip(given, folds, strict=True))
    given.clear()
    cross_validate(features, labels, groups, config, naive=True)
    assert given == [None] * 5


def test_intervals_of_few_labels_come_from_groups_and_draws(groups: Groups) -> None:
    labels, features = cells()
    folds = grouped_folds(groups, labels.codes_N, labels.classes, ProbeConfig())
    table = few_label_scores(features, labels.codes_N, folds, ProbeConfig(inner_folds=0), (2, None), 4, groups_N=groups.codes_N)
    for name in ("balanced accuracy", "average precision"):
        assert (table[f"{name} low"] <= table[name]).all()
        assert (table[name] <= table[f"{name} high"]).all()
        assert (table[f"{name} high"] - table[f"{name} low"] > 2 * table[f"{name} sd"]).all()
    plain = few_label_scores(features, labels.codes_N, folds, ProbeConfig(inner_folds=0), (None,))
    assert np.isnan(plain[["ROC AUC low", "ROC AUC high"]].to_numpy()).all()


def test_200_classes_and_a_rare_one(shape: ClipShape) -> None:
    """Each class is 6 cells, each cell its class's number in one of 200 features."""
    codes = np.arange(1200) % 200
    table = pd.DataFrame({"movie": "m", "track_id": np.arange(1200), "t_start": 0, "t_stop": 8, "y_px": 100.0 * np.arange(1200), "x_px": 0.0})
    labels = Labels(np.arange(1200), np.array([f"class {k:03d}" for k in codes]), table, "l.csv")
    config = ProbeConfig(kind="knn", bootstrap=20, inner_folds=0)
    groups = choose_groups(table, shape, config)
    report = cross_validate(np.eye(200, dtype=np.float32)[codes], labels, groups, config)
    assert report.confusion_KK.shape == (200, 200)
    assert report.scores["macro F1"].value == pytest.approx(1)
    assert report.chance["average precision"] == pytest.approx(1 / 200)
    rare = Labels(labels.rows_N, np.where(np.arange(1200) == 7, "rare", labels.names_N), table, "l.csv")
    with pytest.raises(UserError, match=r"class 'rare' occurs in one group only \(family of track 7; track family\), so it cannot be both learnt"):
        cross_validate(np.eye(200)[codes], rare, groups, config)


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
    config = ProbeConfig(inner_folds=0)
    table = few_label_scores(features, labels.codes_N, folds, config, (2, 10, None), draws=5)
    assert table["labels per class"].tolist() == ["2", "10", "all"]
    assert table["draws"].tolist() == [5, 5, 1]
    assert table["ROC AUC"].is_monotonic_increasing
    assert table["ROC AUC sd"].iloc[2] == 0 < table["ROC AUC sd"].iloc[0]
    pd.testing.assert_frame_equal(table, few_label_scores(features, labels.codes_N, folds, config, (2, 10, None), draws=5))


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
