"""Runs to look at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cellvjepa


@pytest.fixture(autouse=True)
def _no_recent_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has runs of its own."""
    monkeypatch.setenv("CELLVJEPA_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    """A line of metrics.jsonl."""

    def make(step: int, **changed: Any) -> dict[str, Any]:
        made = dict.fromkeys(cellvjepa.MetricsRow.__annotations__)
        made |= {"step": step, "measured": step, "seconds": 0.5 * step, "loss": 1 / (1 + step), "rankme": 4.0, "rankme_tokens": 9.0}
        made |= {"loss_ratio": 0.9, "target_std": 0.3, "clip_std": 0.2, "clips_per_s": 31.4, "data_wait": 0.01, "damaged_blocks": 0}
        return {**made, "health": "green", "health_reason": "no sign of a collapse.", **changed}

    return make


@pytest.fixture
def made_run(tmp_path: Path, tiny_config: cellvjepa.Config, row: Callable[..., dict[str, Any]]) -> Path:
    """The folder of a run of 6 steps that was stopped after 4, by somebody else."""
    run = tmp_path / "made"
    cellvjepa.save_config(tiny_config, run / "config.yaml")
    (run / "metrics.jsonl").write_text("".join(json.dumps(row(step)) + "\n" for step in range(5)), encoding="utf-8")
    return run
