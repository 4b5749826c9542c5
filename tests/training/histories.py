"""Made-up histories of runs: what metrics.jsonl would hold, as far as verdicts and choices look at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from cellvjepa.config import Config, load_config
from cellvjepa.training.alarms import verdict
from cellvjepa.training.metrics import MetricsRow

EVERY = 50


def config_of(*settings: str) -> Config:
    return load_config(None, ["training.steps=1000", "training.warmup_share=0.1", f"monitor.every={EVERY}", *settings])


def history(ranks: Sequence[float], config: Config, **others: Sequence[object]) -> list[MetricsRow]:
    """Return one measured line every 50 steps with these ranks, each judged as in a run; other quantities are constant or as given."""
    rows: list[MetricsRow] = []
    for i, rank in enumerate(ranks):
        fixed = {"rankme_tokens": 20.0, "clip_std": 0.2, "place": 0.7, "time_order": 0.6, "frame_gap": 0.9, "labelled": None, "loss": 0.5}
        own = {name: values[i] for name, values in others.items()}
        step = i * EVERY
        rows.append(cast(MetricsRow, {"step": step, "measured": step, "rankme": rank} | fixed | own))
        found = verdict(rows, rows, config)
        rows[-1]["health"], rows[-1]["health_reason"] = found.colour, found.reason
    return rows


def colours(rows: Sequence[MetricsRow]) -> list[str]:
    return [row["health"] for row in rows]
