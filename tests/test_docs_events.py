"""What docs/events.md shows is run in order on a store in which a perfect probe has classified the simulated cells."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.cli import run
from cellvjepa.embedding.store import add_columns
from tests.embedding.made_up import rows_of_tracks, store_of_table

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", (ROOT / "docs" / "events.md").read_text(encoding="utf-8"), flags=re.DOTALL)
MADE_HERE = ("embed", "probe", "predict")  # other tests run these; here they would take minutes


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the labels of the sample data, a store with predictions, and the labels of two annotators."""
    (tmp_path / "sample_data" / "simulated").mkdir(parents=True)
    shutil.copy(ROOT / "sample_data" / "simulated" / "labels.csv", tmp_path / "sample_data" / "simulated")
    labels = pd.read_csv(tmp_path / "sample_data" / "simulated" / "labels.csv")
    spans = labels.groupby(["movie", "track_id"]).agg(first=("t_start", "min"), last=("t_stop", "max")).reset_index()
    # Windows of 4 frames every 4 frames; the table is made for any.
    table = rows_of_tracks(*((line.movie, line.track_id, tuple(range(line.first, line.last, 4))) for line in spans.itertuples()))
    said = table.merge(labels, on=["movie", "track_id"], suffixes=("", "_label"))
    said = said[(said["t_start"] >= said["t_start_label"]) & (said["t_start"] < said["t_stop_label"])]
    assert len(said) == len(table)
    path = store_of_table(tmp_path / "runs" / "events.zarr", table, np.random.default_rng(0).normal(size=(len(table), 6)))
    add_columns(path, pd.DataFrame({f"p_{name}": (said["label"] == name).to_numpy(float) for name in sorted(set(said["label"]))}), "probe", {})
    for who, flipped in (("kim", 0), ("lee", 3)):
        labels.assign(annotator=who, label=labels["label"].where(labels.index >= flipped, "resting")).to_csv(tmp_path / f"{who}.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_runs(reader: Path) -> None:
    commands = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    labels = pd.read_csv("sample_data/simulated/labels.csv")
    half = reader / "sample_data" / "simulated" / "labels.csv"
    for command in commands:
        words = shlex.split(command)
        if words[0] == "printf":
            subprocess.run(["bash", "-euc", command], check=True)
        elif words[1] not in MADE_HERE:
            if words[1] == "suggest":  # all of the sample data is labelled, and nothing would be left to suggest
                labels[labels["movie"] < "field4"].to_csv(half, index=False)
            assert run(words[1:]) == 0, command
    report = json.loads((reader / "runs" / "events" / "report.json").read_text())
    for event in ("dividing", "dying"):
        known = report["events"][event]["known"]
        assert (known["known"], known["found"], known["matched"], known["median_frames"]) == (42, 42, 42, 0)
    by_treatment = json.loads((reader / "runs" / "events_by_treatment" / "report.json").read_text())["events"]["dying"]
    assert by_treatment["logrank"]["smallest"] == pytest.approx(0.1)
    assert len(pd.read_csv("runs/next.csv")) == 20
    assert len(pd.read_csv("disagreements.csv")) == (labels["label"][:3] != "resting").sum()
    for kind, text in BLOCKS:
        if kind == "python":
            subprocess.run([sys.executable, "-c", text], check=True)


def test_every_file_of_the_table_is_written_and_every_setting_exists(reader: Path) -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert run(shlex.split("events runs/events.zarr --event dying --known sample_data/simulated/labels.csv --out runs/events")) == 0
    for name in re.findall(r"^\| `(\w+\.(?:csv|json))` \|", page, flags=re.MULTILINE):
        assert (reader / "runs" / "events" / name).is_file(), name
    from cellvjepa.config import Config

    for section, field in re.findall(r"(probe|embed)\.(\w+)", page):
        assert field in type(getattr(Config(), section)).model_fields, field
