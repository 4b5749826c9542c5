"""Time-contrastive pretraining, somebody else's method, to compare ours with: a place at the next time is like itself, others are not.

Hirata-Miyasaki et al., "DynaCLR: Contrastive Learning of Cellular Dynamics with Temporal Regularization" (arXiv 2410.11281), with the
normalised temperature-scaled cross-entropy of SimCLR (Chen et al. 2020, arXiv 2002.05709, equation 1). Written from the papers'
formulas. A window and the next one of the same place are a positive pair, each turned, brightened and given noise for itself; all other
windows of the batch are negatives. The loss is taken behind a projection that is thrown away afterwards.

What differs: theirs is a ConvNeXt over single times of tracked cells, positives are one frame apart, and batches are large. Here
windows of 16 frames of places (no tracking), positives one window apart, 16 pairs at a time, temperature .2.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pair_training import Views, brightened, turned
from torch import nn

TEMPERATURE = 0.2
PROJECTED = 64
NOISE = 0.02  # standard deviation, where 0 and 1 are the movie's levels


def views(pairs_P2CTZYX: torch.Tensor, rng: torch.Generator) -> Views:
    """Turn, brighten and disturb each window for itself."""
    varied = brightened(turned(pairs_P2CTZYX, rng, alike=False), rng)
    return varied + NOISE * torch.randn(varied.shape, generator=rng)


class ContrastiveHead(nn.Module):
    """Projects the mean token of each window, and returns the loss."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.hidden, self.norm, self.out = nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.Linear(dim, PROJECTED)

    def forward(self, tokens_P2tLD: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch of pairs."""
        pooled_2PD = tokens_P2tLD.mean(dim=(2, 3)).flatten(0, 1)
        projected = self.out(F.relu(self.norm(self.hidden(pooled_2PD))))
        return nt_xent(projected.reshape(-1, 2, PROJECTED))


def nt_xent(pairs_P2E: torch.Tensor, temperature: float = TEMPERATURE) -> torch.Tensor:
    """Return the mean over all 2 P vectors of ``-log( exp(s(i, i') / T) / sum_{k != i} exp(s(i, k) / T) )``.

    s is the cosine, i' the other one of the pair.
    """
    unit = F.normalize(pairs_P2E.flatten(0, 1).float(), dim=1)
    similarity = unit @ unit.T / temperature
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    other = torch.arange(len(unit), device=unit.device) ^ 1  # pairs lie side by side
    return F.cross_entropy(similarity.masked_fill(itself, float("-inf")), other)
