"""What pretraining minimises: one small file for each term, added up here as the configuration says."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cellvjepa.config import Config
from cellvjepa.model.vjepa import Prediction
from cellvjepa.training.objectives.differences import differences_l1
from cellvjepa.training.objectives.latent_l1 import latent_l1, trivial_latent_l1
from cellvjepa.training.objectives.pixels import normalised, pixels_l1
from cellvjepa.training.objectives.sigreg import sigreg
from cellvjepa.training.objectives.unrest import unrest_l1
from cellvjepa.training.objectives.variance_covariance import variance_covariance
from cellvjepa.training.processes import ALONE, Processes


@dataclass(frozen=True)
class Loss:
    """The objective of one batch; all are scalars on the model's device.

    ``total`` is minimised. ``error`` is how far the predictor was off, the mean over the generators of ``per_mask``; ``trivial`` is
    the error of a predictor that always answers with the average target. ``variance_covariance`` is that term, unweighted.
    """

    total: torch.Tensor
    error: torch.Tensor
    per_mask: tuple[torch.Tensor, ...]
    trivial: torch.Tensor
    variance_covariance: torch.Tensor


def objective(prediction: Prediction, config: Config, step: int, processes: Processes = ALONE) -> Loss:
    """Return what ``training.objective`` asks for, and the weighted terms beside it.

    Parameters
    ----------
    prediction
        What :class:`cellvjepa.model.vjepa.VJepa` returned for a batch.
    config
        Its ``training`` names the objective and the weights of the terms; with all weights 0 and the objective "latent" this is
        the published V-JEPA.
    step
        The step, which seeds what is drawn.
    processes
        Those that share the batch: what is a statistic of the batch is one of all their clips, what is a mean over clips is of
        their own, so that the objective of the whole batch is the mean of what they get.
    """
    training = config.training
    if training.objective == "pixels":
        per_mask = tuple(map(pixels_l1, prediction.painted, prediction.hidden))
        with torch.no_grad():
            trivial = _mean([trivial_latent_l1(normalised(hidden), processes) for hidden in prediction.hidden])
    else:
        per_mask = tuple(map(latent_l1, prediction.predicted, prediction.targets))
        with torch.no_grad():
            trivial = _mean([trivial_latent_l1(target, processes) for target in prediction.targets])
    error = _mean(per_mask)
    kept_apart = prediction.context if training.variance_covariance_on == "context" else prediction.predicted
    spread = _mean([variance_covariance(tokens, processes) for tokens in kept_apart])
    total = error + training.variance_covariance * spread
    if training.sigreg:
        total = total + training.sigreg * _mean([sigreg(tokens, step, processes) for tokens in prediction.context])
    if training.auxiliary != "none":
        total = total + training.auxiliary_weight * _mean(_auxiliary(prediction, config, processes))
    return Loss(total, error, per_mask, trivial, spread)


def _auxiliary(prediction: Prediction, config: Config, processes: Processes) -> list[torch.Tensor]:
    if prediction.unrest_said:
        return [unrest_l1(said, measured, processes) for said, measured in zip(prediction.unrest_said, prediction.unrest, strict=True)]
    pairs = zip(prediction.painted, prediction.hidden, strict=True)
    if config.training.auxiliary == "pixels":
        return [pixels_l1(painted, hidden) for painted, hidden in pairs]
    return [differences_l1(painted, hidden, config.model.tubelet[0], processes) for painted, hidden in pairs]


def _mean(terms: list[torch.Tensor] | tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.stack(list(terms)).mean()
