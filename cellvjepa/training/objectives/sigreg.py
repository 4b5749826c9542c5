"""SIGReg: features whose every shadow looks like a normal distribution have not collapsed."""

from __future__ import annotations

import torch

from cellvjepa.training.processes import ALONE, Processes

SLICES = 64
_REACH, _KNOTS = 5.0, 17  # where the characteristic functions are compared
_LEAST = 1e-3  # spread of clips that is not blown up


def sigreg(context_BKD: torch.Tensor, step: int, processes: Processes = ALONE) -> torch.Tensor:
    """Return the sketched isotropic-Gaussian term of a batch, once over clips and once over tokens.

    Features are projected on random directions, and on each the empirical characteristic function is compared with that of the
    standard normal distribution: the Epps-Pulley statistic (LeJEPA, arXiv 2511.08544, section 4.2), here without the factor N, so
    that its weight does not depend on the batch. Clip means are centred and brought to a mean square of 1 first: only tokens are held
    to unit variance.
    Directions are drawn anew at each step.

    Parameters
    ----------
    context_BKD
        Tokens of the context encoder.
    step
        Seeds the directions, so that a step stays a function of its number.
    processes
        Those that share the batch.
    """
    tokens = context_BKD.float()
    clips = tokens.mean(dim=1)
    # On the CPU, so that the directions are the same on every device.
    directions = torch.randn(tokens.shape[-1], SLICES, generator=torch.Generator().manual_seed(step)).to(tokens.device, non_blocking=True)
    found = _epps_pulley(tokens.flatten(0, 1), directions, processes)
    if len(clips) * processes.count > 1:
        centred = clips - processes.mean(clips.mean(dim=0))
        spread = (processes.mean(centred.square().mean()) + _LEAST**2).sqrt()
        found = found + _epps_pulley(centred / spread, directions, processes)
    return found


def _epps_pulley(features_ND: torch.Tensor, directions_DS: torch.Tensor, processes: Processes) -> torch.Tensor:
    shadows_NS = features_ND @ (directions_DS / directions_DS.norm(dim=0))
    t_Q = torch.linspace(-_REACH, _REACH, _KNOTS, device=features_ND.device)
    normal_Q = torch.exp(-t_Q.square() / 2)
    angles_NSQ = shadows_NS[..., None] * t_Q
    cos_SQ, sin_SQ = (processes.mean(waves.mean(dim=0)) for waves in (angles_NSQ.cos(), angles_NSQ.sin()))
    error_SQ = (cos_SQ - normal_Q).square() + sin_SQ.square()
    return torch.trapezoid(error_SQ * normal_Q, t_Q, dim=-1).mean()
