"""The labelled probe while training: honest splits, a capped number of windows, and none where groups are too few."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from cellvjepa.cells.table import Cells, read_cells
from cellvjepa.cli import run
from cellvjepa.config import Config, load_config
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.movies.readers import Archive, open_archive
from cellvjepa.shipped import sample_data_folder
from cellvjepa.stories.labelled import LabelledWindows, watch_labels
from cellvjepa.training.metrics import read_metrics
from cellvjepa.training.pretrain import pretrain

SMALL = ["clip.size_px=32", "model.dim=24", "model.depth=1", "model.heads=2", "model.predictor_dim=12", "model.predictor_depth=1",
         "model.predictor_heads=1", "training.device=cpu", "training.precision=float32", "training.steps=4", "training.batch_size=4",
         "training.log_every=1", "training.live_blocks=2", "monitor.clips=4", "monitor.every=1", "monitor.labelled_every=2",
         "monitor.labelled_windows=60"]  # fmt: skip


@pytest.fixture(scope="module")
def simulated() -> Archive:
    return open_archive(sample_data_folder() / "simulated")


@pytest.fixture(scope="module")
def cells(simulated: Archive) -> Cells:
    return read_cells(sample_data_folder() / "simulated" / "cells.csv", simulated)


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(None, SMALL)


@pytest.fixture(scope="module")
def watched(simulated: Archive, cells: Cells, config: Config) -> LabelledWindows:
    found = watch_labels(simulated.movies, cells, sample_data_folder() / "simulated" / "labels.csv", config)
    assert found is not None
    return found


def test_windows_are_few_and_even_over_classes(watched: LabelledWindows) -> None:
    counts = np.bincount(watched.codes_B)
    assert len(watched.pixels_BCTZYX) == counts.sum() == 60
    assert counts.max() - counts.min() <= 1
    assert all(len(np.intersect1d(fold.train, fold.test)) == 0 for fold in watched.folds)


def test_an_encoder_is_scored_and_left_as_it_is(watched: LabelledWindows, config: Config) -> None:
    encoder = build_vjepa(config, seed=0).encoder
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    score = watched(encoder)
    assert score is not None
    assert 1 / watched.classes < score <= 1
    assert watched(encoder) == score
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    torch.nn.init.constant_(encoder.norm.weight, torch.nan)
    assert watched(encoder) is None


def test_it_is_measured_every_few_measurements(simulated: Archive, watched: LabelledWindows, config: Config, tmp_path: Path) -> None:
    rows = read_metrics(pretrain(simulated.movies, tmp_path / "run", config, watch=watched) / "metrics.jsonl")
    assert [row["labelled"] is not None for row in rows] == [True, False, True, False, True]


def test_too_few_groups_are_told_once_and_training_goes_on(
    simulated: Archive, cells: Cells, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Labels in one movie only, of two classes each in one movie: nothing could be held out."""
    labels = tmp_path / "labels.csv"
    labels.write_text("movie,track_id,label\nfield1.ome.tif,1,a\nfield2.ome.tif,1,b\n")
    with caplog.at_level(logging.WARNING, "cellvjepa"):
        assert watch_labels(simulated.movies, cells, labels, load_config(None, SMALL)) is None
    assert [record.message.split(":")[0] for record in caplog.records] == ["training goes on without watching the labels"]


def test_labels_without_cells_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pretrain", "movies", "--labels", "labels.csv"]) == 2
    assert "give both --labels labels.csv and --cells cells.csv" in capsys.readouterr().err
