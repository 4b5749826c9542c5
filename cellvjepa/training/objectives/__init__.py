"""What pretraining minimises: one small file for each term, added up here."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cellvjepa.model.vjepa import Prediction
from cellvjepa.training.objectives.latent_l1 import latent_l1, trivial_latent_l1
from cellvjepa.training.objectives.variance_covariance import variance_covariance


@dataclass(frozen=True)
class Loss:
    """The objective of one batch; all are scalars on the model's device.

    ``total`` is minimised; ``latent`` is the mean over the generators of ``per_mask``; ``trivial`` is what a predictor
    would reach that always answers with the average target; ``variance_covariance`` is the unweighted term.
    """

    total: torch.Tensor
    latent: torch.Tensor
    per_mask: tuple[torch.Tensor, ...]
    trivial: torch.Tensor
    variance_covariance: torch.Tensor


def objective(prediction: Prediction, variance_covariance_weight: float) -> Loss:
    """Return the loss of V-JEPA plus the weighted variance-covariance term.

    Parameters
    ----------
    prediction
        What :class:`cellvjepa.model.vjepa.VJepa` returned for a batch.
    variance_covariance_weight
        0 gives the published V-JEPA.
    """
    per_mask = tuple(latent_l1(z, h) for z, h in zip(prediction.predicted, prediction.targets, strict=True))
    latent = torch.stack(per_mask).mean()
    spread = torch.stack([variance_covariance(tokens) for tokens in prediction.context]).mean()
    with torch.no_grad():
        trivial = torch.stack([trivial_latent_l1(h) for h in prediction.targets]).mean()
    return Loss(latent + variance_covariance_weight * spread, latent, per_mask, trivial, spread)
