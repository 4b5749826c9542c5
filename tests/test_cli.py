"""The command line as a user meets it: what it answers to mistakes, to Ctrl-C, and the path from movies to a table."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import tifffile

from cellvjepa.cli import run
from cellvjepa.config import Config, save_config
from cellvjepa.training.checkpoint import list_checkpoints

CELLS = "movie,track_id,t,y_px,x_px\n" + "".join(
    f"field{movie}.tif,{track},{t},{y},{8 + t if track % 2 else 26}\n"
    for movie in (1, 2)
    for track, y in ((1, 12), (2, 34), (3, 20), (4, 28))
    for t in range(24)
)
LABELS = "movie,track_id,label\n" + "".join(
    f"field{movie}.tif,{track},{'walks' if track % 2 else 'fades'}\n" for movie in (1, 2) for track in (1, 2, 3, 4)
)


@pytest.fixture(scope="module")
def workspace(toy_archive: Path, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, a finished run, a store of cells, and tables."""
    folder = tmp_path_factory.mktemp("workspace")
    save_config(tiny_config, folder / "config.yaml")
    (folder / "cells.csv").write_text(CELLS)
    (folder / "labels.csv").write_text(LABELS)
    pretrain = ["pretrain", str(toy_archive), "--out", str(folder / "run"), "--config", str(folder / "config.yaml")]
    assert run(pretrain) == 0
    embed = ["embed", str(toy_archive), "--model", str(folder / "run"), "--cells", str(folder / "cells.csv"), "--out", str(folder / "cells.zarr")]
    assert run(embed) == 0
    return folder


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return the one line that a command refuses these arguments with."""
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cellvjepa: ")]
    assert len(lines) == 1, lines
    return lines[0]


def test_the_whole_path(workspace: Path, toy_archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, probe = str(workspace / "cells.zarr"), str(workspace / "probe")
    assert run(["cluster", store, "--projection", "pca", "--method", "kmeans"]) == 0
    assert run(["probe", store, "--labels", str(workspace / "labels.csv"), "--out", probe, "--set", "probe.folds=2"]) == 0
    assert run(["predict", store, "--probe", probe]) == 0
    assert run(["export", store, "--to", str(workspace / "cells.parquet")]) == 0
    table = pd.read_parquet(workspace / "cells.parquet")
    data = anndata.read_zarr(workspace / "cells.zarr")
    assert len(table) == len(data) == 24
    assert set(table["predicted"]) <= {"walks", "fades"}
    assert {"cluster", "e000", "y_px", "t_start"} <= set(table.columns)
    np.testing.assert_array_equal(table["e000"], data.X[:, 0])
    assert data.uns["cellvjepa"]["checkpoint_sha256"]
    report = json.loads((workspace / "probe" / "report.json").read_text())
    assert report["classes"] == ["fades", "walks"]
    assert {line["features"] for line in report["comparison"]} == {
        *("class prior", "hand-made features", "untrained encoder", "single frame", "time shuffled", "this encoder")
    }
    for page in ("run/report.html", "probe/report.html"):
        assert "<h1>" in (workspace / page).read_text()


def test_an_attentive_probe_reads_the_movies_again(workspace: Path) -> None:
    store, probe = str(workspace / "cells.zarr"), str(workspace / "attentive")
    settings = ["--set", "probe.folds=2", "--set", "probe.attentive_steps=5"]
    assert run(["probe", store, "--labels", str(workspace / "labels.csv"), "--out", probe, "--kind", "attentive", *settings]) == 0
    assert run(["predict", store, "--probe", probe]) == 0


def test_a_run_without_a_name_takes_that_of_its_movies(workspace: Path, toy_archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["--config", str(workspace / "config.yaml"), "--set", "training.steps=1"]
    assert run(["pretrain", str(toy_archive / "field1.tif"), *short]) == 0
    assert (tmp_path / "runs" / "field1" / "encoder.safetensors").exists()


def test_a_grid_needs_no_cells(workspace: Path, toy_archive: Path, tmp_path: Path) -> None:
    assert run(["embed", str(toy_archive), "--model", str(workspace / "run"), "--grid", "--out", str(tmp_path / "grid.zarr")]) == 0
    assert (anndata.read_zarr(tmp_path / "grid.zarr").obs["track_id"] == -1).all()


@pytest.mark.parametrize(
    "verb",
    [
        "demo",
        "inspect",
        "convert",
        "settings",
        "pretrain",
        "embed",
        "cluster",
        "similar",
        "surprise",
        "probe",
        "predict",
        "suggest",
        "agreement",
        "events",
        "report",
        "export",
    ],
)
def test_every_command_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_missing_paths_and_empty_folders(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no such file or folder" in refusal(capsys, "inspect", tmp_path / "none")
    assert "there are no movies in this folder" in refusal(capsys, "pretrain", tmp_path, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert "there is no encoder here" in refusal(capsys, "embed", tmp_path, "--model", tmp_path, "--grid", "--out", tmp_path / "s")
    assert "there is no such store" in refusal(capsys, "cluster", tmp_path / "none.zarr")


def test_weights_to_start_from_are_looked_for_before_movies_are_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = tmp_path / "vitb.pt"
    assert "there is nothing here. check the path: a run," in refusal(capsys, "pretrain", tmp_path / "no_movies", "--init-from", gone)


def test_too_few_frames_and_colour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(tmp_path / "still.tif", np.zeros((40, 40), np.uint8))
    assert "has 1 frame" in refusal(capsys, "pretrain", tmp_path / "still.tif", "--out", tmp_path / "run")
    colours = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), np.uint8)  # grey that is stored as RGB is read
    tifffile.imwrite(tmp_path / "colour.tif", colours, photometric="rgb")
    assert "colour" in refusal(capsys, "inspect", tmp_path / "colour.tif")


def test_wrong_settings(toy_archive: Path, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pretrain = ("pretrain", toy_archive, "--out", tmp_path / "run")
    assert "unknown key 'training.stepz'" in refusal(capsys, *pretrain, "--set", "training.stepz=3")
    assert "does not exist" in refusal(capsys, *pretrain, "--config", tmp_path / "none.yaml")
    assert "there is no preset named 'huge'" in refusal(capsys, *pretrain, "--config", "huge")
    assert "Missing option '--out'" in refusal(capsys, "embed", toy_archive, "--model", workspace / "run")
    assert "give either --cells cells.csv or --grid" in refusal(capsys, "embed", toy_archive, "--model", workspace / "run", "--out", tmp_path / "s")
    assert not (tmp_path / "run").exists()


def test_an_output_that_cannot_be_written(toy_archive: Path, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    config = ("--config", workspace / "config.yaml")
    assert "is a file" in refusal(capsys, "pretrain", toy_archive, "--out", tmp_path / "file" / "run", *config)
    assert "already holds a run" in refusal(capsys, "pretrain", toy_archive, "--out", workspace / "run", *config)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("movie,track_id,label\nfield9.tif,1,walks\n", "field9.tif"),
        ("movie,track_id,label\nfield1.tif,99,walks\nfield2.tif,1,fades\n", "99"),
        ("movie,track_id,label\nfield1.tif,1,walks\nfield2.tif,1,walks\n", "class"),
        ("movie,track_id\nfield1.tif,1\n", "label"),
        (LABELS, "fewer than the 5 folds"),
    ],
)
def test_wrong_labels(labels: str, sentence: str, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.csv").write_text(labels)
    assert sentence in refusal(capsys, "probe", workspace / "cells.zarr", "--labels", tmp_path / "labels.csv", "--out", tmp_path / "probe")
    assert not (tmp_path / "probe" / "report.html").exists()


def test_a_store_or_probe_of_another_encoder(workspace: Path, toy_archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ("--config", workspace / "config.yaml", "--set", "training.seed=1")
    assert run([str(a) for a in ("pretrain", toy_archive, "--out", tmp_path / "run", *config)]) == 0
    embed = ("embed", toy_archive, "--model", tmp_path / "run", "--cells", workspace / "cells.csv", "--out")
    assert "the model's checkpoint is" in refusal(capsys, *embed, workspace / "cells.zarr")


def test_ctrl_c_keeps_what_is_done(toy_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    endless = tiny_config.model_copy(update={"training": tiny_config.training.model_copy(update={"steps": 100_000})})
    save_config(endless, tmp_path / "config.yaml")
    command = [
        sys.executable,
        "-m",
        "cellvjepa",
        "pretrain",
        str(toy_archive),
        "--out",
        str(tmp_path / "run"),
        "--config",
        str(tmp_path / "config.yaml"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list_checkpoints(tmp_path / "run" / "checkpoints") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "cancelled; what was done is kept" in errors
    done = list_checkpoints(tmp_path / "run" / "checkpoints")[-1].step
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(done))
