"""The predictor: a narrow transformer that answers, at the target positions, what the target encoder would say there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from cellvjepa.model.encoder import EncoderShape
from cellvjepa.model.grid import Grid
from cellvjepa.model.layers import RotaryBlock, RotaryPositions, initialise
from cellvjepa.model.masking import Mask


@dataclass(frozen=True)
class PredictorShape:
    """What a predictor is; ``generators`` counts the mask generators, each of which has a mask token."""

    dim: int
    depth: int
    heads: int
    generators: int


class Predictor(nn.Module):
    """Predicts target tokens from context tokens (V-JEPA, arXiv 2404.08471, section 3.1).

    Parameters
    ----------
    shape
        Its shape.
    encoder
        The shape of the encoder it reads from and predicts; positions are those of the encoder.
    """

    def __init__(self, shape: PredictorShape, encoder: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Linear(encoder.dim, shape.dim)
        self.mask_tokens = nn.Parameter(torch.zeros(shape.generators, shape.dim))
        self.positions = RotaryPositions(encoder.axes, shape.dim // shape.heads, encoder.rope)
        self.blocks = nn.ModuleList(RotaryBlock(shape.dim, shape.heads) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.dim, eps=1e-6)
        self.proj = nn.Linear(shape.dim, encoder.dim)

    def forward(self, context_BKD: torch.Tensor, mask: Mask, grid: Grid, generator_index: int, scale_4: torch.Tensor | None = None) -> torch.Tensor:
        """Predict the target tokens.

        Parameters
        ----------
        context_BKD
            (B, K, D) output of the context encoder.
        mask
            Where the context lies, and where the targets.
        grid
            The grid that both are numbered by.
        generator_index
            Which mask generator the mask came from: chooses the mask token.
        scale_4
            As for :class:`cellvjepa.model.encoder.Encoder`.

        Returns
        -------
        torch.Tensor
            (B, M, D) predictions.
        """
        context = self.embed(context_BKD)
        batch, count = mask.target_BM.shape
        wanted = self.mask_tokens[generator_index].to(context.dtype).expand(batch, count, -1)
        tokens = torch.cat([context, wanted], dim=1)
        rotation = self.positions(grid, context.device, scale_4).at(torch.cat([mask.context_BK, mask.target_BM], dim=1))
        for block in self.blocks:
            tokens = block(tokens, rotation)
        predicted: torch.Tensor = self.proj(self.norm(tokens[:, context.shape[1] :]))
        return predicted


def new_predictor(shape: PredictorShape, encoder: EncoderShape, rng: torch.Generator) -> Predictor:
    """Return a predictor with random weights, the same for the same generator; PyTorch's own generator is left alone."""
    with torch.device("meta"):
        predictor = Predictor(shape, encoder)
    predictor.to_empty(device="cpu")
    initialise(predictor, predictor.blocks, rng)
    return predictor
