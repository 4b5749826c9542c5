"""How much places change as target: where something moves and how fast, without what it looks like.

The features of V-JEPA keep what can be predicted of hidden places, and in time-lapses that is mostly what stays. This term asks the
tokens themselves to say what moves (workflows/studies/recipe.md has what it brings).
"""

from __future__ import annotations

import torch

from cellvjepa.training.processes import ALONE, Processes

_LEAST = 1e-3  # spread below which a measure says nothing: it is then not blown up


def unrest_l1(said_BMW: torch.Tensor, unrest_BMW: torch.Tensor, processes: Processes = ALONE) -> torch.Tensor:
    """Return mean |said - unrest|, each of the W measures standardised over the batch.

    Parameters
    ----------
    said_BMW
        What a head says of M places of each clip.
    unrest_BMW
        Their measures (:func:`cellvjepa.model.waves.unrest`).
    processes
        Those that share the batch.
    """
    measured = unrest_BMW.float().flatten(0, 1)
    mean, spread = processes.mean(measured.mean(dim=0)), processes.std(measured, dim=0)
    wanted = (measured - mean) / spread.clamp_min(_LEAST)
    return (said_BMW.float().flatten(0, 1) - wanted).abs().mean()
