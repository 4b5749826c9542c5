"""The pixels themselves as target: what V-JEPA is compared with, and a teacher for it."""

from __future__ import annotations

import torch

_FLAT = 0.1  # added to the spread of a tubelet, in standard deviations of the clips: nothing is gained from the noise of flat ones


def pixels_l1(painted_BMP: torch.Tensor, hidden_BMP: torch.Tensor) -> torch.Tensor:
    """Return mean |painted - hidden|, the pixels of each tubelet normalised (after VideoMAE, arXiv 2203.12602, section 3.2; here L1).

    Parameters
    ----------
    painted_BMP
        What the model says of the P pixels of each hidden tubelet.
    hidden_BMP
        Those pixels, standardised as the encoder sees them.
    """
    return (painted_BMP.float() - normalised(hidden_BMP)).abs().mean()


def normalised(hidden_BMP: torch.Tensor) -> torch.Tensor:
    """Return the pixels of each tubelet with mean 0 and, where it is not flat, a spread of about 1."""
    hidden = hidden_BMP.float()
    return (hidden - hidden.mean(dim=-1, keepdim=True)) / (hidden.std(dim=-1, keepdim=True) + _FLAT)
