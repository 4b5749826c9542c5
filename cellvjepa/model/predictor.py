"""The predictor: a narrow transformer that answers, at the target positions, what the target encoder would say there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from cellvjepa.model.encoder import EncoderShape
from cellvjepa.model.grid import Grid
from cellvjepa.model.layers import RotaryBlock, RotaryPositions, Through, initialise, through
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
        self.through: Through = through

    def forward(
        self, context_BKD: torch.Tensor, masks: Sequence[Mask], generators: Sequence[int], grid: Grid, scale_4: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Predict the target tokens of each mask from its context alone.

        Parameters
        ----------
        context_BKD
            (B, K1 + K2 + ..., D) output of the context encoder, mask after mask.
        masks
            Where the context lies, and where the targets.
        generators
            Which mask generator each mask came from: chooses its mask token.
        grid
            The grid that all are numbered by.
        scale_4
            As for :class:`cellvjepa.model.encoder.Encoder`.

        Returns
        -------
        tuple of torch.Tensor
            (B, M, D) predictions for each mask.
        """
        seen = torch.split(self.embed(context_BKD), [mask.context_BK.shape[1] for mask in masks], dim=1)
        parts, index = [], []
        for mask, context, generator in zip(masks, seen, generators, strict=True):
            wanted = self.mask_tokens[generator].to(context.dtype).expand(*mask.target_BM.shape, -1)
            parts += [context, wanted]
            index += [mask.context_BK, mask.target_BM]
        tokens = torch.cat(parts, dim=1)
        rotation = self.positions(grid, tokens.device, scale_4).at(torch.cat(index, dim=1))
        groups = [mask.context_BK.shape[1] + mask.target_BM.shape[1] for mask in masks]
        for block in self.blocks:
            tokens = self.through(block, tokens, rotation, groups)
        answers = torch.split(tokens, [part.shape[1] for part in parts], dim=1)[1::2]
        predicted: torch.Tensor = self.proj(self.norm(torch.cat(answers, dim=1)))
        return torch.split(predicted, [mask.target_BM.shape[1] for mask in masks], dim=1)


def new_predictor(shape: PredictorShape, encoder: EncoderShape, rng: torch.Generator) -> Predictor:
    """Return a predictor with random weights, the same for the same generator; PyTorch's own generator is left alone."""
    with torch.device("meta"):
        predictor = Predictor(shape, encoder)
    predictor.to_empty(device="cpu")
    initialise(predictor, predictor.blocks, rng)
    return predictor
