"""The SLURM recipe, with a stand-in for sbatch that runs jobs on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cellvjepa.cli import run
from cellvjepa.embedding.store import open_store

# Not imported here: it would take Ctrl-C away from the tests.
pytestmark = pytest.mark.skipif(find_spec("dask_jobqueue") is None, reason="dask-jobqueue is not installed")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "workflows" / "embed_slurm.py"
MOVIE = ROOT / "sample_data" / "simulated" / "field1.ome.tif"
EMBED = [str(MOVIE), "--model", "encoder_tiny", "--grid", "--set", "clip.size_px=32", "--set", "embed.device=cpu"]

_SBATCH = """#!/bin/bash
# Runs the job here, and says what sbatch says.
script="${@: -1}"
cp "$script" "$JOBS/job.sh"
setsid bash "$JOBS/job.sh" >"$JOBS/job.log" 2>&1 &
echo $! >"$JOBS/pid"
echo "Submitted batch job 7"
"""
_SCANCEL = """#!/bin/bash
echo "$@" >>"$JOBS/cancelled"
kill -- -"$(cat "$JOBS/pid")"
"""


@pytest.fixture
def slurm(tmp_path) -> dict[str, str]:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("sbatch", _SBATCH), ("scancel", _SCANCEL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    return {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "JOBS": str(jobs), "OMP_NUM_THREADS": "1"}


def test_jobs_of_a_cluster_compute_what_this_process_computes(slurm, tmp_path):
    store = tmp_path / "slurm.zarr"
    options = ["--jobs", "1", "--cores", "1", "--memory", "2GB", "--partition", "gpu", "--first", "export OMP_NUM_THREADS=1"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *options, "--", *EMBED, "--out", store], env=slurm, capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    job = (tmp_path / "jobs" / "job.sh").read_text()
    assert "#SBATCH -p gpu" in job
    assert "export OMP_NUM_THREADS=1" in job
    assert (tmp_path / "jobs" / "cancelled").read_text().split()[-1] == "7", "the job is ended with the command"
    assert run(["embed", *EMBED, "--out", str(tmp_path / "here.zarr")]) == 0
    there, here = open_store(store), open_store(tmp_path / "here.zarr")
    assert len(here) > 30
    assert np.array_equal(there.vectors_ND[:], here.vectors_ND[:])


def test_the_script_of_a_job_can_be_looked_at(slurm, tmp_path):
    options = ["--gpus", "1", "--cores", "8", "--directive=--qos=long", "--print-job"]
    done = subprocess.run([sys.executable, SCRIPT, *options, "--", *EMBED, "--out", "x"], env=slurm, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for line in ("#SBATCH --gpus=1", "#SBATCH --qos=long", "#SBATCH --cpus-per-task=8", "--nthreads 1"):
        assert line in done.stdout
    assert not list((tmp_path / "jobs").iterdir())
