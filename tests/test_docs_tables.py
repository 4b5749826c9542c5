"""What docs/tables.md shows is run in order, as a reader would: commands, Python, and R where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.embedding.made_up import rows_of_tracks, store_of_table

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "tables.md"
BLOCKS = re.findall(r"```(sh|python|r)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the labels of the sample data, and a store of the cells that they speak of."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "sample_data" / "simulated").mkdir(parents=True)
    shutil.copy(ROOT / "sample_data" / "simulated" / "labels.csv", folder / "sample_data" / "simulated")
    lines = (folder / "sample_data" / "simulated" / "labels.csv").read_text().splitlines()[1:]
    tracks = dict.fromkeys((line.split(",")[0], int(line.split(",")[1])) for line in lines)
    table = rows_of_tracks(*((movie, track, (0, 4, 8, 12, 16, 20, 24, 28)) for movie, track in tracks))
    store_of_table(folder / "runs" / "cells.zarr", table, np.random.default_rng(0).normal(size=(len(table), 6)))
    return folder


def run(reader: Path, *command: str) -> str:
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=reader, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_commands_and_python_run_one_after_the_other(reader: Path) -> None:
    for kind, text in BLOCKS:
        if kind == "sh":
            run(reader, "bash", "-euc", text)
        elif kind == "python":
            assert "6)" in run(reader, sys.executable, "-c", text)
    for made in ("cells.parquet", "cells.h5ad", "cells.geff/.zattrs", "cells_report/report.html", "cells_report/report.json"):
        assert (reader / "runs" / made).stat().st_size > 0


def test_r_reads_the_same(reader: Path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    if subprocess.run(["Rscript", "-e", "library(nanoparquet)"], capture_output=True, check=False).returncode != 0:
        pytest.skip("R has no package nanoparquet")
    run(reader, "cellvjepa", "export", "runs/cells.zarr", "--to", "runs/tracks.parquet", "--aggregate", "track")
    (text,) = (text for kind, text in BLOCKS if kind == "r")
    assert "PC1" in run(reader, "Rscript", "-e", text)
