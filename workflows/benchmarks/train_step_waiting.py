"""How long our step waits for clips, and what is spent on everything beside the network, with the stream of a real archive."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from cellvjepa.config import load_config
from cellvjepa.movies.readers import open_archive
from cellvjepa.training.metrics import read_metrics
from cellvjepa.training.pretrain import pretrain


@dataclass(frozen=True)
class Waiting:
    """``share`` of the time that steps waited for clips, median of the lines after the first; and how many clips went through."""

    share: float
    clips_per_s: float
    lines: int


def waiting(archive: Path, preset: str, device: str, seconds: float) -> Waiting:
    """Pretrain a little and read its metrics."""
    probe = _rows(archive, preset, device, 6)
    per_step = 1 / max(probe[-1]["clips_per_s"] / load_config(preset).training.batch_size, 1e-6)
    rows = _rows(archive, preset, device, max(10, int(seconds / per_step)))[2:-1]
    waits, speeds = sorted(row["data_wait"] for row in rows), sorted(row["clips_per_s"] for row in rows)
    return Waiting(waits[len(waits) // 2], speeds[len(speeds) // 2], len(rows))


def _rows(archive: Path, preset: str, device: str, steps: int) -> list[dict[str, float]]:
    values = [f"training.steps={steps}", f"training.device={device}", f"training.log_every={max(1, steps // 12)}", "monitor.clips=16"]
    config = load_config(preset, [*values, f"monitor.every={steps + 1}", f"training.checkpoint_every={steps}"])
    with tempfile.TemporaryDirectory() as scratch:
        run = pretrain(open_archive(archive).movies, Path(scratch) / "run", config)
        return read_metrics(run / "metrics.jsonl")  # type: ignore[return-value]
