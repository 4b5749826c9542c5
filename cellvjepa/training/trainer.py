"""One optimiser step: losses, gradients, rates; the target encoder follows."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.compiled import choose_through
from cellvjepa.model.device import autocast, resolve_precision
from cellvjepa.model.vjepa import VJepa
from cellvjepa.training.examples import Examples
from cellvjepa.training.guard import Guard
from cellvjepa.training.micro_batch import clips_that_fit, is_out_of_memory, parts_of
from cellvjepa.training.objectives import Loss, objective
from cellvjepa.training.optimizer import make_optimizer
from cellvjepa.training.processes import ALONE, Processes, adding_up, share_state
from cellvjepa.training.schedules import ema_momentum, learning_rate
from cellvjepa.training.shards import clip_shards, is_sharded, shard, share_whole, whole_model, whole_state

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepResult:
    """Losses of one batch (means over its accumulated parts) and the gradient norm before clipping.

    They stay on the model's device until one is asked for; then the device is waited for.

    Parameters
    ----------
    losses
        (5,) in the order of the properties below.
    norm
        0-dim; None where no step was taken.
    guard
        Raises UserError, when a number is asked for, if this or an earlier step was refused.
    """

    losses: torch.Tensor
    norm: torch.Tensor | None
    guard: Guard

    @cached_property
    def _read(self) -> list[float]:
        self.guard.require_good()
        return [float(value) for value in self.losses.tolist()]

    @property
    def total(self) -> float:
        """What was minimised."""
        return self._read[0]

    @property
    def error(self) -> float:
        """How far the predictor was off."""
        return self._read[1]

    @property
    def trivial(self) -> float:
        """The error of always answering with the average target."""
        return self._read[2]

    @property
    def variance_covariance(self) -> float:
        """That term, unweighted."""
        return self._read[3]

    @property
    def target_std(self) -> float:
        """How much the mean target token varies from clip to clip."""
        return self._read[4]

    @cached_property
    def grad_norm(self) -> float | None:
        """Norm of the gradient before clipping; None where no step was taken."""
        return None if self.norm is None else float(self.norm)


class Trainer:
    """A model in training, with its optimiser.

    Parameters
    ----------
    model
        Encoder, target encoder and predictor; brought to ``device``, or the part of this process where it is sharded.
    config
        The complete configuration of the run.
    device
        Where it is trained.
    processes
        Those that share each batch; gradients and losses are means over all of them.
    """

    def __init__(self, model: VJepa, config: Config, device: torch.device, processes: Processes = ALONE) -> None:
        self.model = model
        self.config = config
        self.device = device
        self.processes = processes
        self.guard = Guard(device)
        self.sharded = is_sharded(config, processes)
        training = config.training
        if self.sharded:
            shard(model, device, processes)
        else:
            model.to(device)
        self.optimizer = make_optimizer(model, config)
        compiling = "off" if self.sharded else training.compile  # a block whose weights come and go is not compiled
        self._compiled = choose_through(model, compiling, training.activation_checkpointing, device, training.precision)
        self._replica = model if self.sharded else processes.replicate(model)
        self.parts: dict[str, int] = {}  # of batches, by their shape ("32x1x16x1x64x64"): clips of a cool-down are larger

    @property
    def computed(self) -> dict[str, object]:
        """How it was computed, as far as that was not for the configuration to say: what a run's provenance should tell."""
        return {
            "device": str(self.device),
            "precision": resolve_precision(self.device, self.config.training.precision),
            "compiled": self._compiled,
            "processes": self.processes.count,
            "sharded": self.sharded,
            "clips_at_once": [int(shape.split("x")[0]) // parts for shape, parts in self.parts.items()],
        }

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def whole_model(self) -> VJepa:
        """Return the model in one piece on the device of the first process, to look at; all must ask.

        Elsewhere it is whole as well where it is not sharded; else its numbers mean nothing.
        """
        return whole_model(self.model, self.device, self.processes) if self.sharded else self.model

    def whole_state(self) -> tuple[VJepa, torch.optim.AdamW]:
        """Return model and optimiser in one piece, as :meth:`whole_model`; in memory where they are sharded."""
        return whole_state(self.model, self.optimizer, self.config, self.processes) if self.sharded else (self.model, self.optimizer)

    def go_on_from(self, model: VJepa, optimizer: torch.optim.AdamW) -> None:
        """Bring all processes to the state of what :meth:`whole_state` gave the first one, as it is now."""
        if self.sharded:
            share_whole(model, optimizer, self.model, self.optimizer, self.processes)
        else:
            share_state(self.processes, model, optimizer)

    def evaluate(self, examples: Examples) -> StepResult:
        """Compute the losses of a batch without a step."""
        with torch.no_grad():
            losses = [self._values(*self._loss(part, self._replica)) for part in examples.parts(self._parts_of(examples))]
        return StepResult(torch.stack(losses).mean(dim=0), None, self.guard)

    def step(self, step: int, examples: Examples) -> StepResult:
        """Take one optimiser step and let the target encoder follow.

        Raises
        ------
        UserError
            If the loss or the gradient is not finite; weights, optimiser and target encoder are then as before the call. On CUDA it is
            raised later, when a number of some result is read. Or if the memory does not suffice for a single clip.
        """
        config = self.config.training
        losses = self._gradients(examples)
        if self.sharded:
            norm = clip_shards(self._trained(), config.clip_grad_norm, self.processes)
        else:
            norm = torch.nn.utils.clip_grad_norm_(self._trained(), config.clip_grad_norm)
        self.guard.look(step, losses[0], norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        self.optimizer.found_inf = self.guard.refused  # type: ignore[attr-defined] # as torch.amp.GradScaler tells a fused optimiser to do nothing
        self.optimizer.step()
        self.model.update_target(ema_momentum(step, config), self.guard.refused)
        return StepResult(losses, norm, self.guard)

    def _gradients(self, examples: Examples) -> torch.Tensor:
        """Compute the gradients of a batch, in smaller parts if the memory does not suffice, and return its losses (5,)."""
        while True:
            parts = self._parts_of(examples)
            try:
                return self._accumulated(examples, parts)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self._cut_smaller(examples, parts)  # not inside the handler: the error holds on to what was computed

    def _accumulated(self, examples: Examples, parts: int) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        values = []
        for number, part in enumerate(examples.parts(parts)):
            with adding_up(self._replica) if number + 1 < parts else nullcontext():
                loss, target_std = self._loss(part, self._replica)
                (loss.total / parts).backward()  # type: ignore[no-untyped-call]
            values.append(self._values(loss, target_std))
        return torch.stack(values).mean(dim=0)

    def _parts_of(self, examples: Examples) -> int:
        shape, asked = _shape(examples), self.config.training.accumulation
        if asked is not None:
            self.parts.setdefault(shape, asked)
        elif shape not in self.parts:
            self.parts[shape] = self._fitting_parts(examples)
        return self.parts[shape]

    def _fitting_parts(self, examples: Examples) -> int:
        batch = len(examples.pixels_B1TZYX)

        def run(count: int) -> None:
            with torch.enable_grad():
                loss, _ = self._loss(examples.rows(slice(count)), self.model)
                if self.device.type == "cuda":
                    loss.total.backward()  # type: ignore[no-untyped-call]
            self.optimizer.zero_grad(set_to_none=True)

        trained = sum(parameter.numel() * parameter.element_size() for parameter in self._trained())
        trained //= self.processes.count if self.sharded else 1
        fit = 1  # where not even two do; whether that one does is seen when it is computed
        try:
            fit = clips_that_fit(run, batch, trained * (1 if self.optimizer.state else 3), self.device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if self.processes.count > 1:  # the others wait in the middle of the computation
                what = "the memory of one of the processes does not suffice for two clips at once"
                raise UserError(what, f"set training.accumulation={batch}", str(self.device)) from None
        self.optimizer.zero_grad(set_to_none=True)
        fit = -self.processes.largest(-fit)  # as many as fit everywhere
        parts = parts_of(batch, fit)
        if parts > 1:
            _LOG.info("a batch of %d clips is computed in %d parts, to fit the memory", batch, parts)
        return parts

    def _cut_smaller(self, examples: Examples, parts: int) -> None:
        batch = len(examples.pixels_B1TZYX)
        size = batch // parts
        self.optimizer.zero_grad(set_to_none=True)
        if size == 1:
            raise UserError(
                "the memory does not suffice for a single clip",
                "set training.activation_checkpointing=true, or lower clip.size_px, clip.frames or model.dim",
                str(self.device),
            )
        if self.processes.count > 1:
            raise UserError(
                f"the memory of one of the processes does not suffice for {size} clips at once",
                f"set training.accumulation={parts_of(batch, size // 2)} and go on with --resume",
                str(self.device),
            )
        self.parts[_shape(examples)] = parts_of(batch, size // 2)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        _LOG.warning("out of memory with %d clips at once; going on with %d", size, batch // parts_of(batch, size // 2))

    def _trained(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _loss(self, examples: Examples, model: nn.Module) -> tuple[Loss, torch.Tensor]:
        with autocast(self.device, self.config.training.precision):
            prediction = model(examples.pixels_B1TZYX, examples.masks, examples.scale_B4)
        target_std = self.processes.std(prediction.target_means, dim=0, correction=0).mean()
        return objective(prediction, self.config, examples.step, self.processes), target_std

    @torch.no_grad()
    def _values(self, loss: Loss, target_std: torch.Tensor) -> torch.Tensor:
        return self.processes.mean(torch.stack([loss.total, loss.error, loss.trivial, loss.variance_covariance, target_std]))


def _shape(examples: Examples) -> str:
    return "x".join(map(str, examples.pixels_B1TZYX.shape))
