"""The loss of V-JEPA: L1 in the space of the target encoder's layer-normed features."""

from __future__ import annotations

import torch

from cellvjepa.training.processes import ALONE, Processes


def latent_l1(predicted_BMD: torch.Tensor, target_BMD: torch.Tensor) -> torch.Tensor:
    """Return mean |z - h| (V-JEPA, arXiv 2404.08471, equation 1; computed in float32).

    Parameters
    ----------
    predicted_BMD
        The predictor's output z at the target positions.
    target_BMD
        The layer-normed features h of the target encoder there, without gradient.
    """
    return (predicted_BMD.float() - target_BMD.float()).abs().mean()


def trivial_latent_l1(target_BMD: torch.Tensor, processes: Processes = ALONE) -> torch.Tensor:
    """Return the loss of the predictor that always answers with the mean target of the batch, which the processes share."""
    target = target_BMD.float()
    return (target - processes.mean(target.mean(dim=(0, 1), keepdim=True))).abs().mean()
