"""The loop: clips and masks in, one optimiser step, the target encoder follows, notes are taken.

A step is a function of the configuration and the step's number alone (clips, masks, rates), so a run that was
stopped anywhere continues exactly as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cellvjepa.config import Config
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.model.device import autocast
from cellvjepa.model.grid import grid_of
from cellvjepa.model.masking import Mask, draw_masks
from cellvjepa.model.vjepa import VJepa
from cellvjepa.movies.finishing import Augmentation, augment, finish
from cellvjepa.movies.stream import Batch, Stream
from cellvjepa.progress import Progress, silent
from cellvjepa.training.checkpoint import Checkpoint, list_checkpoints, load_checkpoint, save_checkpoint
from cellvjepa.training.metrics import MetricsRow, append_metrics, read_metrics, truncate_metrics
from cellvjepa.training.monitor import Health
from cellvjepa.training.objectives import Loss, objective
from cellvjepa.training.schedules import ema_momentum, learning_rate

_MASK_STREAM, _AUGMENT_STREAM = 1, 4  # keep these random numbers apart from those of the clips


@dataclass(frozen=True)
class Examples:
    """What one step learns from, on the model's device.

    ``pixels_B1TZYX`` are clips as ``read_clip`` gives them; ``masks`` one per generator; ``scale_B4`` how far apart their samples
    are relative to the reference, None where all are at the reference.
    """

    pixels_B1TZYX: torch.Tensor
    masks: tuple[Mask, ...]
    scale_B4: torch.Tensor | None = None

    def parts(self, count: int) -> Iterator[Examples]:
        """Cut into ``count`` parts of equal size, for gradient accumulation."""
        size = len(self.pixels_B1TZYX) // count
        for start in range(0, count * size, size):
            rows = slice(start, start + size)
            masks = tuple(Mask(mask.context_BK[rows], mask.target_BM[rows]) for mask in self.masks)
            yield Examples(self.pixels_B1TZYX[rows], masks, None if self.scale_B4 is None else self.scale_B4[rows])


@dataclass(frozen=True)
class StepResult:
    """Losses of one batch (means over its accumulated parts) and the gradient norm before clipping."""

    total: float
    latent: float
    trivial: float
    variance_covariance: float
    target_std: float
    grad_norm: float | None


class Trainer:
    """A model in training, with its optimiser.

    Parameters
    ----------
    model
        Encoder, target encoder and predictor, on ``device``.
    config
        The complete configuration of the run.
    device
        Where the model is.
    scales
        Sampling of each movie's clips relative to the reference, by name (:func:`cellvjepa.movies.reference.position_scale`).
    """

    def __init__(self, model: VJepa, config: Config, device: torch.device, scales: Mapping[str, tuple[float, float, float, float]]) -> None:
        self.model = model
        self.config = config
        self.device = device
        self.scales = scales
        self.optimizer = make_optimizer(model, config)

    def examples(self, step: int, batch: Batch) -> Examples:
        """Return what a step learns from: its clips and its masks, the same for the same (seed, step)."""
        clip, training = self.config.clip, self.config.training
        pixels = finish(batch, self.device)
        scale_B4 = batch_positions(batch, self.scales)
        augmentation = Augmentation(training.orientations, training.gain)
        pixels, turned = augment(pixels, augmentation, np.random.default_rng([training.seed, _AUGMENT_STREAM, step]))
        if scale_B4 is not None:
            scale_B4[turned] = scale_B4[turned][:, [0, 1, 3, 2]]
        grid = grid_of(clip.frames, pixels.shape[3], clip.size_px, clip.size_px, self.config.model.tubelet)
        masks = draw_masks(grid, self.config.masks.generators, len(batch), np.random.default_rng([training.seed, _MASK_STREAM, step]))
        return Examples(
            pixels,
            tuple(Mask(mask.context_BK.to(self.device), mask.target_BM.to(self.device)) for mask in masks),
            None if scale_B4 is None else scale_B4.to(self.device),
        )

    def evaluate(self, examples: Examples) -> StepResult:
        """Compute the losses of a batch without a step."""
        with torch.no_grad():
            return _mean([_values(self._loss(part)) for part in examples.parts(self.config.training.accumulation)], None)

    def step(self, step: int, examples: Examples) -> StepResult:
        """Take one optimiser step and let the target encoder follow.

        Raises
        ------
        UserError
            If the loss or the gradient is not finite; weights, optimiser and target encoder are then as before the call.
        """
        config = self.config.training
        self.optimizer.zero_grad(set_to_none=True)
        values = []
        for part in examples.parts(config.accumulation):
            loss, target_std = self._loss(part)
            (loss.total / config.accumulation).backward()  # type: ignore[no-untyped-call]
            values.append(_values((loss, target_std)))
        norm = float(torch.nn.utils.clip_grad_norm_(self._trained(), config.clip_grad_norm))
        result = _mean(values, norm)
        if not (math.isfinite(result.total) and math.isfinite(norm)):
            raise UserError(
                f"the loss is not finite at step {step} (loss {result.total}, gradient norm {norm}); the step was not taken and the last "
                "good checkpoint is kept",
                "lower training.learning_rate, or set training.precision=float32, and start again; --resume alone would meet the same batch",
                "training",
            )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        self.optimizer.step()
        self.model.update_target(ema_momentum(step, config))
        return result

    def _trained(self) -> list[torch.nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _loss(self, examples: Examples) -> tuple[Loss, torch.Tensor]:
        with autocast(self.device, self.config.training.precision):
            prediction = self.model(examples.pixels_B1TZYX, examples.masks, examples.scale_B4)
        return objective(prediction, self.config.training.variance_covariance), prediction.target_std


def batch_positions(batch: Batch, scales: Mapping[str, tuple[float, float, float, float]]) -> torch.Tensor | None:
    """Return (B, 4) float32 scales (t, z, y, x) of a batch's clips by their movies; None where all are 1."""
    scale_B4 = torch.tensor([scales[clip.movie] for clip in batch.clips])
    return None if bool((scale_B4 == 1).all()) else scale_B4


def make_optimizer(model: VJepa, config: Config) -> torch.optim.AdamW:
    """Return AdamW over everything that is trained; biases and 1-d tensors are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.training.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.training.learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def train(
    trainer: Trainer,
    stream: Stream,
    run: Path,
    measure: Callable[[VJepa], Health],
    *,
    resume: bool = False,
    progress: Progress = silent,
) -> None:
    """Train to the last step of the configuration, writing ``metrics.jsonl`` and ``checkpoints/`` in ``run``.

    Parameters
    ----------
    trainer
        The model and its optimiser, at step 0; with ``resume`` they are brought to the newest checkpoint.
    stream
        Where the clips come from.
    run
        The folder of the run.
    measure
        Measures the monitors on their fixed clips.
    progress
        Called at each step; if it raises :class:`Cancelled`, a checkpoint is written first.

    Raises
    ------
    UserError
        If the loss is not finite, a checkpoint is of another configuration, or the disk is full.
    Cancelled
        If ``progress`` asked for it.
    """
    config = trainer.config.training
    folder = run / "checkpoints"
    start = _resume(trainer, folder) if resume else 0
    truncate_metrics(run / "metrics.jsonl", start)
    notes = _Notes(trainer, stream, run / "metrics.jsonl", measure)
    for step in range(start, config.steps + 1):
        batch = stream.batch(step)
        examples = trainer.examples(step, batch)
        notes.before_step(step)
        if step == config.steps:
            notes.take(step, trainer.evaluate(examples), batch.waited_s, len(batch.clips))
            break
        try:
            progress("pretraining", step, config.steps)
        except Cancelled:
            save_checkpoint(folder, step, trainer.model, trainer.optimizer, trainer.config)
            raise
        notes.take(step, trainer.step(step, examples), batch.waited_s, len(batch.clips))
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps:
            save_checkpoint(folder, step + 1, trainer.model, trainer.optimizer, trainer.config)
    progress("pretraining", config.steps, config.steps)


def _resume(trainer: Trainer, folder: Path) -> int:
    known: list[Checkpoint] = list_checkpoints(folder)
    if not known:
        return 0
    load_checkpoint(known[-1], trainer.model, trainer.optimizer, trainer.config)
    return known[-1].step


class _Notes:
    """Takes the notes of a run: which steps are logged, speed since the last line, the monitors' last values."""

    def __init__(self, trainer: Trainer, stream: Stream, path: Path, measure: Callable[[VJepa], Health]) -> None:
        self._trainer, self._stream, self._path, self._measure = trainer, stream, path, measure
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
                loss=result.latent,
                loss_ratio=result.latent / max(result.trivial, 1e-12),
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
                damaged_blocks=self._damaged_before + self._stream.damaged_blocks,
                seconds=now - self._began,
            ),
        )
        self._since, self._waited, self._clips = now, 0.0, 0


def _values(computed: tuple[Loss, torch.Tensor]) -> StepResult:
    loss, target_std = computed
    return StepResult(
        float(loss.total.detach()),
        float(loss.latent.detach()),
        float(loss.trivial),
        float(loss.variance_covariance.detach()),
        float(target_std),
        None,
    )


def _mean(parts: list[StepResult], grad_norm: float | None) -> StepResult:
    def mean(name: str) -> float:
        return float(sum(getattr(part, name) for part in parts)) / len(parts)

    return StepResult(mean("total"), mean("latent"), mean("trivial"), mean("variance_covariance"), mean("target_std"), grad_norm)
