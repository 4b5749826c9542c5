"""The notes of a run: what is logged and measured, and when; what the monitors say of it, and which encoder is kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from cellvjepa.model.compiled import uncompiled
from cellvjepa.model.predictor_file import predictor_state
from cellvjepa.model.vjepa import VJepa
from cellvjepa.training.alarms import Collapse, Verdict, verdict
from cellvjepa.training.metrics import MetricsRow, append_metrics, measured_rows, read_metrics
from cellvjepa.training.monitor import Health
from cellvjepa.training.phases import PhasedStream
from cellvjepa.training.schedules import ema_momentum, learning_rate
from cellvjepa.training.selection import BestEncoder, choose
from cellvjepa.training.trainer import StepResult, Trainer
from cellvjepa.training.watch import Watch

_LOG = logging.getLogger(__name__)


class Notes:
    """Takes the notes of a run: which steps are logged, speed since the last line, the monitors' last values, the verdict.

    All decisions are functions of the lines written so far, so a resumed run takes the same ones.

    Parameters
    ----------
    trainer
        The model in training.
    phases
        Where the clips come from.
    path
        ``metrics.jsonl``, with the lines of the steps before the first to come.
    measure
        Measures the monitors on their fixed clips.
    best
        Keeps the best encoder.
    watch
        Scores an encoder on labelled windows; None: there are none.
    """

    def __init__(
        self,
        trainer: Trainer,
        phases: PhasedStream,
        path: Path,
        measure: Callable[[VJepa], Health],
        best: BestEncoder,
        watch: Watch | None = None,
    ) -> None:
        self._trainer, self._phases, self._path, self._measure, self._best, self._watch = trainer, phases, path, measure, best, watch
        self._rows: list[MetricsRow] = trainer.processes.from_first(read_metrics(path) if trainer.processes.first else [])
        self._measured = measured_rows(self._rows)
        # A resumed run repeats the monitors' last values until they are due, as the uninterrupted run did.
        self._health = _health_of(self._measured[-1]) if self._measured else None
        self._measured_at = self._measured[-1]["step"] if self._measured else -1
        self._labelled: float | None = None
        self._labelled_windows: int | None = None
        self._verdict: Verdict | None = None
        self._damaged_before = self._rows[-1].get("damaged_blocks", 0) if self._rows else 0
        self._began = self._since = time.perf_counter()
        self._waited = 0.0
        self._clips = 0

    @property
    def collapse(self) -> Collapse | None:
        """What ends the run at the newest line: a red verdict, where ``monitor.stop_on_collapse``; else None."""
        if self._verdict is None or self._verdict.colour != "red" or not self._trainer.config.monitor.stop_on_collapse:
            return None
        return Collapse(self._rows[-1]["step"], self._verdict)

    def before_step(self, step: int) -> None:
        """Measure the monitors where they are due, before the step changes the model."""
        if not self._is_due(step):
            return
        self._trainer.wait()  # else what the device still has to do would count as measuring
        began = time.perf_counter()
        model, processes = self._trainer.whole_model(), self._trainer.processes
        self._labelled = self._labelled_windows = None
        if processes.first:
            with uncompiled(model):
                self._health = self._measure(model)
                if self._watch is not None and self._is_due_for_labels(step):
                    self._labelled, self._labelled_windows = self._watch(model.encoder), self._watch.windows
            self._best.remember(step, model.encoder, predictor_state(model, self._trainer.config.mask_generators))
        self._health, self._labelled, self._labelled_windows = processes.from_first((self._health, self._labelled, self._labelled_windows))
        self._measured_at = step
        self._since += time.perf_counter() - began  # measuring is not training

    def take(self, step: int, result: StepResult, waited_s: float, clips: int) -> None:
        """Count a step, and write a line where one is due."""
        self._waited += waited_s
        self._clips += clips
        if not self._is_logged(step):
            return
        now = time.perf_counter()
        row = self._row(step, result, now)
        self._rows.append(row)
        if row["measured"] == step:
            self._measured.append(row)
        self._judge(row)
        if self._trainer.processes.first:
            append_metrics(self._path, row)
            choice = choose(self._measured, self._trainer.config)
            if choice is not None:
                self._best.keep(choice)
        self._since, self._waited, self._clips = now, 0.0, 0

    def _is_logged(self, step: int) -> bool:
        training = self._trainer.config.training
        return step % training.log_every == 0 or step == training.steps

    def _is_due(self, step: int) -> bool:
        """Measurements are taken where a line is written, so that the file holds all of them."""
        every = self._trainer.config.monitor.every
        return self._is_logged(step) and (
            self._health is None or step // every > self._measured_at // every or step == self._trainer.config.training.steps
        )

    def _is_due_for_labels(self, step: int) -> bool:
        return len(self._measured) % self._trainer.config.monitor.labelled_every == 0 or step == self._trainer.config.training.steps

    def _judge(self, row: MetricsRow) -> None:
        """Write the verdict into the newest line, and say once when its colour changes."""
        before = self._rows[-2].get("health", "green") if len(self._rows) > 1 else "green"
        found = self._verdict = verdict(self._measured, self._rows, self._trainer.config)
        row["health"], row["health_reason"] = found.colour, found.reason
        if found.colour != before and self._trainer.processes.first:
            _LOG.warning("step %d: %s%s: %s", row["step"], found.colour, " again" if found.colour == "green" else "", found.reason)

    def _row(self, step: int, result: StepResult, now: float) -> MetricsRow:
        assert self._health is not None
        health = self._health
        config, processes = self._trainer.config.training, self._trainer.processes
        elapsed = max(now - self._since, 1e-9)
        return MetricsRow(
            step=step,
            loss=result.error,
            loss_ratio=result.error / max(result.trivial, 1e-12),
            variance_covariance=result.variance_covariance,
            target_std=result.target_std,
            rankme=health.rankme,
            rankme_tokens=health.rankme_tokens,
            cosine=health.cosine,
            clip_std=health.clip_std,
            nearest_ratio=health.nearest_ratio,
            place=health.place,
            source=health.source,
            time_order=health.time_order,
            frame_gap=health.frame_gap,
            frame_gap_clips=health.frame_gap_clips,
            labelled=self._labelled if self._measured_at == step else None,
            labelled_windows=self._labelled_windows if self._measured_at == step else None,
            measured=self._measured_at,
            health="green",
            health_reason="",
            learning_rate=learning_rate(min(step, config.steps - 1), config),
            momentum=ema_momentum(min(step, config.steps - 1), config),
            grad_norm=result.grad_norm,
            clips_per_s=self._clips * processes.count / elapsed,
            data_wait=self._waited / elapsed,
            damaged_blocks=self._damaged_before + processes.total(self._phases.damaged_blocks),
            seconds=now - self._began,
        )


def _health_of(row: MetricsRow) -> Health:
    return Health(**{field.name: row.get(field.name) for field in fields(Health)})  # type: ignore[arg-type]
