"""The whole chain of steps, run by Snakemake with two cores on the simulated movies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

pytest.importorskip("snakemake")

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "workflows" / "profiles"
RULES = ("inspect", "convert", "pretrain", "embed", "cluster", "probe", "export")
SHORT = "--set training.steps=4 --set training.batch_size=8 --set clip.size_px=32 --set monitor.clips=8"


def snakemake(
    folder: Path, *config: str, profile: Path = PROFILES / "local", more: tuple[str, ...] = ("--cores", "2")
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "-s", ROOT / "workflows" / "Snakefile", "--workflow-profile", profile, "--directory", folder]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run([*command, *more, "--config", *config], capture_output=True, text=True, timeout=900, env=environment, cwd=folder)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Return a folder whose name needs quoting, with three of the simulated movies."""
    folder = tmp_path_factory.mktemp("archive") / "bob's movies"
    folder.mkdir()
    simulated = ROOT / "sample_data" / "simulated"
    for number in (1, 2, 3):
        shutil.copy(simulated / f"field{number}.ome.tif", folder)
    for name in ("cells.csv", "labels.csv"):
        table = pd.read_csv(simulated / name)
        table[table["movie"].isin([f"field{number}.ome.tif" for number in (1, 2, 3)])].to_csv(folder / name, index=False)
    return folder


def test_from_movies_to_a_table_and_a_score_and_not_twice(archive, tmp_path):
    settings = (
        f"archive={archive}", f"cells={archive / 'cells.csv'}", f"labels={archive / 'labels.csv'}", "out=results", f"pretraining={SHORT}",
        "convert=true", "projection=pca", "method=kmeans", "probing=--set probe.folds=3",
    )  # fmt: skip
    done = snakemake(tmp_path, *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    out = tmp_path / "results"
    assert len(json.loads((out / "inspect.json").read_text())["movies"]) == 3
    table = pd.read_parquet(out / "cells.parquet")
    assert len(table) > 50
    assert {"cluster", "pca000", "e000"} <= set(table.columns)
    assert "balanced accuracy" in (out / "probe" / "report.html").read_text().lower()
    again = snakemake(tmp_path, *settings)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_missing_archive_is_said(tmp_path):
    done = snakemake(tmp_path, "archive=nowhere")
    assert done.returncode != 0
    assert "nowhere: there is no such file or folder" in done.stdout + done.stderr


def test_a_cluster_profile_names_only_steps_that_are_there():
    slurm = yaml.safe_load((PROFILES / "slurm" / "config.yaml").read_text())
    named = {line.split(":")[0] for line in slurm["set-resources"]}
    assert named <= set(RULES)
    snakefile = (ROOT / "workflows" / "Snakefile").read_text()
    assert all(f"\nrule {rule}:" in snakefile for rule in RULES)
