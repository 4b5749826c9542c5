"""V-JEPA: a context encoder and a predictor that learn to say what a slowly following target encoder says."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from cellvjepa.config import Config
from cellvjepa.model.encoder import Encoder, EncoderShape, new_encoder
from cellvjepa.model.grid import grid_of
from cellvjepa.model.layers import at_least_float32, gather_tokens
from cellvjepa.model.masking import Mask
from cellvjepa.model.predictor import Predictor, PredictorShape, new_predictor


@dataclass(frozen=True)
class Prediction:
    """What one batch gives; one entry per mask.

    ``context`` are (B, K, D) outputs of the context encoder, ``predicted`` (B, M, D) those of the predictor, ``targets`` (B, M, D)
    float32 what it should have said, without gradient. ``target_std`` is a scalar: how much the mean target token varies from clip
    to clip, averaged over dimensions, before the layer norm that would hide its shrinking.
    """

    context: tuple[torch.Tensor, ...]
    predicted: tuple[torch.Tensor, ...]
    targets: tuple[torch.Tensor, ...]
    target_std: torch.Tensor


class VJepa(nn.Module):
    """Context encoder, target encoder and predictor (V-JEPA, arXiv 2404.08471, section 3).

    With one time step this is I-JEPA (arXiv 2301.08243).

    Parameters
    ----------
    context_encoder
        Trained by gradient.
    predictor
        Trained by gradient.
    """

    def __init__(self, context_encoder: Encoder, predictor: Predictor) -> None:
        super().__init__()
        self.context_encoder = context_encoder
        self.target_encoder = copy.deepcopy(context_encoder).requires_grad_(False)
        self.predictor = predictor

    def forward(self, pixels_BCTZYX: torch.Tensor, masks: Sequence[Mask], scale_4: torch.Tensor | None = None) -> Prediction:
        """Predict the targets of each mask from its context.

        Parameters
        ----------
        pixels_BCTZYX
            (B, C, T, Z, Y, X) float pixels as ``read_clip`` gives them.
        masks
            One per mask generator, in the order of the generators.
        scale_4
            As for :class:`cellvjepa.model.encoder.Encoder`.
        """
        grid = self.context_encoder.grid_of(pixels_BCTZYX)
        targets_BND, target_std = self._targets(pixels_BCTZYX, scale_4)
        context = tuple(self.context_encoder(pixels_BCTZYX, mask.context_BK, scale_4) for mask in masks)
        predicted = tuple(self.predictor(tokens, mask, grid, index, scale_4) for index, (tokens, mask) in enumerate(zip(context, masks, strict=True)))
        return Prediction(context, predicted, tuple(gather_tokens(targets_BND, mask.target_BM) for mask in masks), target_std)

    @torch.no_grad()
    def _targets(self, pixels_BCTZYX: torch.Tensor, scale_4: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        tokens_BND = at_least_float32(self.target_encoder(pixels_BCTZYX, scale_4=scale_4))
        spread = tokens_BND.mean(dim=1).std(dim=0, correction=0).mean()
        return F.layer_norm(tokens_BND, tokens_BND.shape[-1:]), spread

    @torch.no_grad()
    def update_target(self, momentum: float) -> None:
        """Let the target encoder follow: target <- momentum * target + (1 - momentum) * context."""
        torch._foreach_lerp_(tuple(self.target_encoder.parameters()), tuple(self.context_encoder.parameters()), 1.0 - momentum)


def build_vjepa(config: Config, seed: int, planes: int = 1, pixels: tuple[float, float] | None = None) -> VJepa:
    """Return a model with random weights; the same seed gives the same weights, and PyTorch's own generator is left alone.

    Parameters
    ----------
    config
        Configuration of the run.
    seed
        Seed of the weights.
    planes
        Planes of a clip: 1 unless ``clip.z`` is "stack".
    pixels
        Mean and standard deviation of the pixels of training clips, by which the encoder standardises what it sees; None: those of
        :class:`EncoderShape`.

    Raises
    ------
    UserError
        If a head is too narrow to hold a position along each axis, or clips cannot be cut into whole tubelets.
    """
    model, clip = config.model, config.clip
    grid = grid_of(clip.frames, planes, clip.size_px, clip.size_px, model.tubelet)
    encoder = EncoderShape(model.tubelet, model.dim, model.depth, model.heads, model.rope, grid.long_axes)
    if pixels is not None:
        encoder = replace(encoder, pixel_mean=pixels[0], pixel_std=pixels[1])
    predictor = PredictorShape(model.predictor_dim, model.predictor_depth, model.predictor_heads, len(config.masks.generators))
    rng = torch.Generator().manual_seed(seed)
    return VJepa(new_encoder(encoder, rng), new_predictor(predictor, encoder, rng))
