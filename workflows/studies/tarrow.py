"""Time arrow prediction, somebody else's method, to compare ours with: it has to say which of two windows of a place comes first.

Gallusser, Stieber and Weigert, "Self-supervised dense representation learning for live-cell microscopy with time arrow prediction"
(MICCAI 2023, arXiv 2305.05511). Written from the paper's description. Each of two windows is encoded by itself; a head that is
equivariant under their exchange says for each how likely it is the first; the loss is cross-entropy, plus .01 times a term that
keeps features apart. Their defaults: weight .01, temperature .2, turned and brightened crops.

What differs: theirs is a U-Net over single frames, and pairs are successive frames. Ours reads windows of 16 frames, so pairs are
successive windows of the same place, as a probe will see them; features are taken per place of the encoder's grid, not per pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pair_training import Views, brightened, turned
from torch import nn

FEATURES = 32
DECORRELATION, TEMPERATURE = 0.01, 0.2


def views(pairs_P2CTZYX: torch.Tensor, rng: torch.Generator) -> Views:
    """Turn both windows of a pair alike, so that what moved still tells; brightness varies for each, so that bleaching does not."""
    return brightened(turned(pairs_P2CTZYX, rng, alike=True), rng)


class EquivariantLinear(nn.Module):
    """Maps features of a pair so that exchanging the inputs exchanges the outputs: ``out_k = A in_k + B (in_1 + in_2) / 2 + c``."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.own, self.both = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)

    def forward(self, pair_P2xE: torch.Tensor) -> torch.Tensor:
        """Map (P, 2, ..., E)."""
        mapped: torch.Tensor = self.own(pair_P2xE) + self.both(pair_P2xE.mean(dim=1, keepdim=True))
        return mapped


class ArrowHead(nn.Module):
    """Says which window comes first, and returns the loss.

    Exchanging the windows of a pair exchanges the two logits and the right answer: the loss stays the same, so pairs need not be
    exchanged at random while training.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(dim, FEATURES)
        self.norm = nn.BatchNorm1d(FEATURES)
        self.fusion, self.answer = EquivariantLinear(FEATURES, FEATURES), EquivariantLinear(FEATURES, 1)

    def dense(self, tokens_P2tLD: torch.Tensor) -> torch.Tensor:
        """Return (P, 2, L, F): features of each place, averaged over the time steps of a window."""
        projected = self.projection(tokens_P2tLD.mean(dim=2))
        normed: torch.Tensor = self.norm(projected.flatten(0, 2)).reshape(projected.shape)
        return normed

    def logits(self, dense_P2LF: torch.Tensor) -> torch.Tensor:
        """Return (P, 2): how much each window looks like the first."""
        fused = F.relu(self.fusion(F.relu(dense_P2LF)))
        said: torch.Tensor = self.answer(fused.mean(dim=2)).squeeze(-1)
        return said

    def forward(self, tokens_P2tLD: torch.Tensor) -> torch.Tensor:
        """Return the loss of pairs whose first window is the earlier one."""
        dense = self.dense(tokens_P2tLD)
        first = torch.zeros(len(dense), dtype=torch.int64, device=dense.device)
        return F.cross_entropy(self.logits(dense), first) + DECORRELATION * decorrelation(dense.flatten(0, 1))


def decorrelation(dense_BLF: torch.Tensor) -> torch.Tensor:
    """Return the mean over features i of ``-log softmax_j(c_ij / temperature)[i]``, c the correlations of features over the places of a window.

    It is least where each feature correlates with itself alone.
    """
    centred = dense_BLF - dense_BLF.mean(dim=1, keepdim=True)
    unit = F.normalize(centred, dim=1, eps=1e-6)
    correlation_BFF = unit.transpose(1, 2) @ unit
    return -F.log_softmax(correlation_BFF / TEMPERATURE, dim=-1).diagonal(dim1=1, dim2=2).mean()
