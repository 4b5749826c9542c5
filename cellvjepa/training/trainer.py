"""One optimiser step: losses, gradients, rates; the target encoder follows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.device import autocast
from cellvjepa.model.vjepa import VJepa
from cellvjepa.training.examples import Examples
from cellvjepa.training.objectives import Loss, objective
from cellvjepa.training.optimizer import make_optimizer
from cellvjepa.training.schedules import ema_momentum, learning_rate


@dataclass(frozen=True)
class StepResult:
    """Losses of one batch (means over its accumulated parts) and the gradient norm before clipping."""

    total: float
    error: float
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
    """

    def __init__(self, model: VJepa, config: Config, device: torch.device) -> None:
        self.model = model
        self.config = config
        self.device = device
        self.optimizer = make_optimizer(model, config)

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
        return objective(prediction, self.config, examples.step), prediction.target_std


def _values(computed: tuple[Loss, torch.Tensor]) -> StepResult:
    loss, target_std = computed
    return StepResult(
        float(loss.total.detach()),
        float(loss.error.detach()),
        float(loss.trivial),
        float(loss.variance_covariance.detach()),
        float(target_std),
        None,
    )


def _mean(parts: list[StepResult], grad_norm: float | None) -> StepResult:
    def mean(name: str) -> float:
        return float(sum(getattr(part, name) for part in parts)) / len(parts)

    return StepResult(mean("total"), mean("error"), mean("trivial"), mean("variance_covariance"), mean("target_std"), grad_norm)
