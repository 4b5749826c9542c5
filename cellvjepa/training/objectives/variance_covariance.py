"""The term that keeps features from collapsing: each dimension must vary, no two may say the same."""

from __future__ import annotations

import torch

from cellvjepa.training.processes import ALONE, Processes

COVARIANCE_WEIGHT = 0.04
_EPSILON = 1e-4


def variance_covariance(context_BKD: torch.Tensor, processes: Processes = ALONE) -> torch.Tensor:
    """Return the variance-covariance term of a batch, once over clips and once over tokens.

    Used as in C-JEPA (arXiv 2410.19560, section 3.3) with the terms of VICReg (arXiv 2105.04906, equations 1-4), on the
    context encoder's output: without it small runs of V-JEPA collapse within a few hundred steps.

    Parameters
    ----------
    context_BKD
        Tokens of the context encoder.
    processes
        Those that share the batch.
    """
    tokens = context_BKD.float()
    clips = _term(tokens.mean(dim=1), processes) if tokens.shape[0] * processes.count > 1 else tokens.new_zeros(())
    return clips + _term(tokens.flatten(0, 1), processes)


def _term(features_ND: torch.Tensor, processes: Processes) -> torch.Tensor:
    own, dims = features_ND.shape
    centred = features_ND - processes.mean(features_ND.mean(dim=0))
    covariance = processes.mean(centred.T @ centred) * processes.count / (own * processes.count - 1)
    variance = covariance.diagonal()
    too_narrow = torch.relu(1 - torch.sqrt(variance + _EPSILON)).mean()
    alike = (covariance.square().sum() - variance.square().sum()) / dims
    return too_narrow + COVARIANCE_WEIGHT * alike
