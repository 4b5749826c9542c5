"""Frame differences inside the hidden tubelets as target: what moved, without what was there."""

from __future__ import annotations

import torch

from cellvjepa.training.processes import ALONE, Processes


def differences_l1(painted_BMP: torch.Tensor, hidden_BMP: torch.Tensor, frames: int, processes: Processes = ALONE) -> torch.Tensor:
    """Return mean |painted - difference between successive frames|, differences in units of their standard deviation in the batch.

    Parameters
    ----------
    painted_BMP
        What the model says of each hidden tubelet: P numbers, read as T frames, of which all but the last are used.
    hidden_BMP
        The P pixels of each hidden tubelet, in the order t, z, y, x, standardised as the encoder sees them.
    frames
        T, frames of a tubelet.
    processes
        Those that share the batch.

    Raises
    ------
    ValueError
        If a tubelet has one frame only.
    """
    if frames < 2:
        raise ValueError("a tubelet of one frame has no differences")
    steps = hidden_BMP.float().reshape(*hidden_BMP.shape[:-1], frames, -1).diff(dim=-2)
    said = painted_BMP.float().reshape(*painted_BMP.shape[:-1], frames, -1)[..., :-1, :]
    return (said - steps / processes.std(steps).clamp_min(1e-3)).abs().mean()
