"""The guard against losses that are not finite: such a step is refused, and so is every later one."""

from __future__ import annotations

import math

import torch

from cellvjepa.errors import UserError


class Guard:
    """Looks at each step before it is taken.

    On a GPU a look at a number stops everything until the number is there. There the step is refused by the GPU itself, and the rest of
    the program learns of it when it next reads a number; until then all later steps are refused as well, so nothing has changed.

    Parameters
    ----------
    device
        Where losses are computed.
    at_once
        Whether to look at each step. None: where it costs nothing, on all devices but CUDA.
    """

    def __init__(self, device: torch.device, at_once: bool | None = None) -> None:
        self._at_once = device.type != "cuda" if at_once is None else at_once
        self._refused_3 = torch.full((3,), -1.0, device=device)  # step, loss and norm; -1: none
        self._flag: torch.Tensor | None = None

    @property
    def refused(self) -> torch.Tensor | None:
        """0-dim float32 on the device: 1 where a step has been refused, else 0; None where :meth:`look` raises instead."""
        return self._flag

    def look(self, step: int, total: torch.Tensor, norm: torch.Tensor) -> None:
        """Refuse the step if the loss or the norm of the gradient, 0-dim each, are not finite.

        Raises
        ------
        UserError
            If it is refused, and looking costs nothing.
        """
        now = torch.stack([torch.full_like(total, float(step)), total, norm.to(total.dtype)]).float()
        if self._at_once:
            self._refuse(now)
            return
        as_before = torch.logical_or(self._refused_3[0] >= 0, now.isfinite().all())
        self._refused_3 = torch.where(as_before, self._refused_3, now)
        self._flag = (self._refused_3[0] >= 0).float()

    def require_good(self) -> None:
        """Wait for the device, and see to it that no step has been refused.

        Raises
        ------
        UserError
            If one has.
        """
        if not self._at_once:
            self._refuse(self._refused_3)

    def _refuse(self, numbers_3: torch.Tensor) -> None:
        step, loss, norm = numbers_3.tolist()
        if step < 0 or (math.isfinite(loss) and math.isfinite(norm)):
            return
        raise UserError(
            f"the loss is not finite at step {step:.0f} (loss {loss}, gradient norm {norm}); the step was not taken and the last good "
            "checkpoint is kept",
            "lower training.learning_rate, or set training.precision=float32, and start again; --resume alone would meet the same batch",
            "training",
        )
