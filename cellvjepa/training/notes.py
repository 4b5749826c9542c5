"""The notes of a run: what is logged, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cellvjepa.model.vjepa import VJepa
from cellvjepa.training.metrics import MetricsRow, append_metrics, read_metrics
from cellvjepa.training.monitor import Health
from cellvjepa.training.phases import PhasedStream
from cellvjepa.training.schedules import ema_momentum, learning_rate
from cellvjepa.training.trainer import StepResult, Trainer


class Notes:
    """Takes the notes of a run: which steps are logged, speed since the last line, the monitors' last values."""

    def __init__(self, trainer: Trainer, phases: PhasedStream, path: Path, measure: Callable[[VJepa], Health]) -> None:
        self._trainer, self._phases, self._path, self._measure = trainer, phases, path, measure
        # A resumed run repeats the monitors' last values until they are due, as the uninterrupted run did.
        last = read_metrics(path)[-1:]
        self._health = Health(last[0]["rankme"], last[0]["rankme_tokens"], last[0]["cosine"]) if last else None
        self._damaged_before = last[0].get("damaged_blocks", 0) if last else 0
        self._began = self._since = time.perf_counter()
        self._waited = 0.0
        self._clips = 0

    def before_step(self, step: int) -> None:
        """Measure the monitors where they are due, before the step changes the model."""
        if self._health is None or step % self._trainer.config.monitor.every == 0 or step == self._trainer.config.training.steps:
            began = time.perf_counter()
            self._health = self._measure(self._trainer.model)
            self._since += time.perf_counter() - began  # measuring is not training

    def take(self, step: int, result: StepResult, waited_s: float, clips: int) -> None:
        """Count a step, and write a line where one is due."""
        config = self._trainer.config.training
        self._waited += waited_s
        self._clips += clips
        if step % config.log_every and step != config.steps:
            return
        assert self._health is not None
        now = time.perf_counter()
        elapsed = max(now - self._since, 1e-9)
        append_metrics(
            self._path,
            MetricsRow(
                step=step,
                loss=result.error,
                loss_ratio=result.error / max(result.trivial, 1e-12),
                variance_covariance=result.variance_covariance,
                target_std=result.target_std,
                rankme=self._health.rankme,
                rankme_tokens=self._health.rankme_tokens,
                cosine=self._health.cosine,
                learning_rate=learning_rate(min(step, config.steps - 1), config),
                momentum=ema_momentum(min(step, config.steps - 1), config),
                grad_norm=result.grad_norm,
                clips_per_s=self._clips / elapsed,
                data_wait=self._waited / elapsed,
                damaged_blocks=self._damaged_before + self._phases.damaged_blocks,
                seconds=now - self._began,
            ),
        )
        self._since, self._waited, self._clips = now, 0.0, 0
