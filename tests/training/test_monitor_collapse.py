"""Planted collapses are caught within 300 steps, with the encoder from before kept; a healthy run is not stopped.

On this toy an EMA window of 0 alone, at the default rate, halves the ranks in 300 steps and is yellow; it collapses at six times
that rate, or where gradients reach the targets.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cellvjepa.config import Config
from cellvjepa.errors import Cancelled
from cellvjepa.model.vjepa import VJepa
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.readers import open_archive
from cellvjepa.training.alarms import CollapsedError
from cellvjepa.training.metrics import measured_rows, read_metrics
from cellvjepa.training.pretrain import pretrain

NO_BRAKE = {"variance_covariance": 0.0, "auxiliary": "none", "ema_window_start": 0.0, "ema_window_end": 0.0}
JUDGED = ("step", "loss", "rankme", "clip_std", "place", "time_order", "frame_gap", "nearest_ratio", "measured", "health", "health_reason")


@pytest.fixture(scope="module")
def lively(tiny_config: Config) -> Config:
    """300 steps of a few milliseconds, looked at every 20."""
    shape = {"steps": 300, "batch_size": 8, "log_every": 5, "checkpoint_every": 50, "live_blocks": 4, "clips_per_block": 32, "learning_rate": 5e-4}
    monitor = tiny_config.monitor.model_copy(update={"clips": 16, "every": 20})
    return tiny_config.model_copy(update={"training": tiny_config.training.model_copy(update=shape), "monitor": monitor})


def training(config: Config, **values: object) -> Config:
    return config.model_copy(update={"training": config.training.model_copy(update=values)})


def gradients_reach_the_targets(model: VJepa, pixels: torch.Tensor, scale: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = model.context_encoder(pixels, scale_4=scale)
    return torch.nn.functional.layer_norm(tokens, tokens.shape[-1:]), tokens.mean(dim=1)


def judged(run: Path) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in JUDGED) for row in read_metrics(run / "metrics.jsonl")]  # type: ignore[literal-required]


def caught(archive: Path, run: Path, config: Config) -> str:
    """Train until the monitors stop it; return what the user is told, once the run has been checked to be as it says."""
    with pytest.raises(CollapsedError) as told:
        pretrain(open_archive(archive).movies, run, config)
    rows = read_metrics(run / "metrics.jsonl")
    assert [row["health"] for row in rows].count("red") == 1
    assert rows[-1]["health"] == "red"
    assert rows[-1]["step"] <= 300
    chosen = load_encoder(run)[1].provenance["chosen"]
    kept = next(row for row in rows if row["step"] == chosen["step"])
    assert kept["health"] == "green"
    assert f"training was stopped at step {rows[-1]['step']}: " in str(told.value)
    assert f"The encoder of step {chosen['step']} was kept" in str(told.value)
    return str(told.value)


def test_no_stop_gradient_is_caught(toy_archive: Path, lively: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VJepa, "_targets", gradients_reach_the_targets)
    said = caught(toy_archive, tmp_path / "run", training(lively, **NO_BRAKE))
    assert "have become alike" in said
    assert "Raise training.variance_covariance (now 0)" in said


def test_a_window_of_zero_is_caught_and_resuming_comes_to_the_same(toy_archive: Path, lively: Config, tmp_path: Path) -> None:
    config, movies = training(lively, **NO_BRAKE, learning_rate=3e-3), open_archive(toy_archive).movies
    said = caught(toy_archive, tmp_path / "run", config)
    before = judged(tmp_path / "run")
    with pytest.raises(CollapsedError) as again:
        pretrain(movies, tmp_path / "run", config, resume=True)
    assert str(again.value) == said
    assert judged(tmp_path / "run") == before
    going_on = config.model_copy(update={"monitor": config.monitor.model_copy(update={"stop_on_collapse": False})})
    pretrain(movies, tmp_path / "run", going_on, resume=True)
    assert judged(tmp_path / "run")[: len(before)] == before
    assert judged(tmp_path / "run")[-1][0] == 300


def test_a_huge_learning_rate_is_caught(toy_archive: Path, lively: Config, tmp_path: Path) -> None:
    assert "ower training.learning_rate (now 1)" in caught(toy_archive, tmp_path / "run", training(lively, learning_rate=1.0))


def test_a_healthy_run_is_not_stopped_and_keeps_a_trained_encoder(toy_archive: Path, lively: Config, tmp_path: Path) -> None:
    run = pretrain(open_archive(toy_archive).movies, tmp_path / "run", lively)
    rows = read_metrics(run / "metrics.jsonl")
    assert {row["health"] for row in rows} == {"green"}
    assert [row["step"] for row in measured_rows(rows)] == list(range(0, 301, 20))
    assert load_encoder(run)[1].provenance["chosen"]["step"] > 30

    def stopping(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("pretraining", 170):
            raise Cancelled

    with pytest.raises(Cancelled):
        pretrain(open_archive(toy_archive).movies, tmp_path / "parts", lively, progress=stopping)
    pretrain(open_archive(toy_archive).movies, tmp_path / "parts", lively, resume=True)
    assert judged(tmp_path / "parts") == judged(run)
    assert load_encoder(tmp_path / "parts")[1].sha256 == load_encoder(run)[1].sha256
