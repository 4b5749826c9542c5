"""Runs of several processes, started as torchrun would, and what they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cellvjepa.config import Config
from cellvjepa.training.metrics import read_metrics

ROOT = Path(__file__).parents[2]
LOSSES = ("loss", "loss_ratio", "variance_covariance", "target_std", "rankme", "rankme_tokens", "learning_rate", "momentum")
Starter = Callable[..., list[subprocess.Popen[str]]]
QUICK = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def with_training(config: Config, **values: object) -> Config:
    return config.model_copy(update={"training": config.training.model_copy(update=values)})


def start(*arguments: str, rank: int = 0, count: int = 1, port: int = 0) -> subprocess.Popen[str]:
    """Start Python as torchrun would, without its agent."""
    of_several = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    of_several |= {"TORCHELASTIC_USE_AGENT_STORE": True}
    environment = os.environ | QUICK | ({name: str(value) for name, value in of_several.items()} if count > 1 else {})
    return subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


def ended(processes: list[subprocess.Popen[str]], patience_s: float = 300) -> tuple[list[int], str, str]:
    """Return exit codes, and all that was printed on stdout and on stderr."""
    printed = [process.communicate(timeout=patience_s) for process in processes]
    return [process.returncode for process in processes], "".join(out for out, _ in printed), "".join(err for _, err in printed)


def assert_same_losses(run: Path, other: Path, tolerance: float) -> None:
    rows, others = read_metrics(run / "metrics.jsonl"), read_metrics(other / "metrics.jsonl")
    assert [row["step"] for row in rows] == [row["step"] for row in others]
    for row, same in zip(rows, others, strict=True):
        for name in (*LOSSES, *["grad_norm"] * (row["step"] < rows[-1]["step"])):
            assert row[name] == pytest.approx(same[name], rel=tolerance), (row["step"], name)  # type: ignore[literal-required]
