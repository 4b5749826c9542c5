"""V-JEPA: a context encoder and a predictor that learn to say what a slowly following target encoder says."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.displacement import WIDTH, displacement
from cellvjepa.model.encoder import Encoder, EncoderShape, cut_tubelets, new_encoder
from cellvjepa.model.grid import grid_of
from cellvjepa.model.layers import at_least_float32, gather_tokens, initialise
from cellvjepa.model.masking import Mask
from cellvjepa.model.pixel_statistics import PixelStatistics
from cellvjepa.model.predictor import Predictor, PredictorShape, new_predictor
from cellvjepa.model.waves import unrest


@dataclass(frozen=True)
class Prediction:
    """What one batch gives; one entry per mask.

    ``context`` are (B, K, D) outputs of the context encoder, ``predicted`` (B, M, D) those of the predictor, ``targets`` (B, M, D)
    float32 what it should have said, without gradient; none where pixels alone are predicted. ``painted`` (B, M, P) is what the
    pixel head says of the hidden tubelets and ``hidden`` (B, M, P) their pixels as the encoder sees them; none without that head.
    ``unrest`` are (B, M or K, W) measures of how much hidden and seen places change (:func:`cellvjepa.model.waves.unrest`) and, if asked,
    how far what is seen there moves (:func:`cellvjepa.model.displacement.displacement`), and ``unrest_said`` what the heads for it
    say; two for each mask, none without these heads.
    ``target_means`` are (B, D) float32: the mean target token of each clip, before the layer norm that would hide its shrinking.
    """

    context: tuple[torch.Tensor, ...]
    predicted: tuple[torch.Tensor, ...]
    targets: tuple[torch.Tensor, ...]
    target_means: torch.Tensor
    painted: tuple[torch.Tensor, ...] = ()
    hidden: tuple[torch.Tensor, ...] = ()
    unrest_said: tuple[torch.Tensor, ...] = ()
    unrest: tuple[torch.Tensor, ...] = ()

    @property
    def target_std(self) -> torch.Tensor:
        """How much the mean target token varies from clip to clip, averaged over dimensions."""
        return self.target_means.std(dim=0, correction=0).mean()


@dataclass(frozen=True)
class Asked:
    """What is asked of the model.

    ``features``: of the target encoder, averaged over its last ``layers`` layers. ``pixels``: those of the tubelets, through a head
    of their own. ``unrest``: how much hidden places change, of the predictor, and how much seen ones do, of the context encoder;
    through a head each. ``displacement``: the same heads say how far what is seen moves. ``follows``: whether the target encoder follows
    the context encoder; if not, it is a teacher that stays as it is.
    """

    features: bool = True
    layers: int = 1
    pixels: bool = False
    unrest: bool = False
    displacement: bool = False
    follows: bool = True

    @classmethod
    def of(cls, config: Config) -> Asked:
        """Return what the objective of a configuration asks."""
        training = config.training
        if training.target_layers > config.model.depth:
            raise UserError(
                f"targets of the last {training.target_layers} layers are asked of an encoder of {config.model.depth}",
                "lower training.target_layers",
                "training.target_layers",
            )
        return cls(
            features=training.objective != "pixels",
            layers=training.target_layers,
            pixels=training.objective == "pixels" or training.auxiliary in ("pixels", "differences"),
            unrest=training.auxiliary in ("unrest", "motion"),
            displacement=training.auxiliary == "motion",
            follows=training.objective != "frozen_teacher",
        )


class VJepa(nn.Module):
    """Context encoder, target encoder and predictor (V-JEPA, arXiv 2404.08471, section 3).

    With one time step this is I-JEPA (arXiv 2301.08243).

    Parameters
    ----------
    context_encoder
        Trained by gradient.
    predictor
        Trained by gradient.
    asked
        What it has to predict.
    """

    def __init__(self, context_encoder: Encoder, predictor: Predictor, asked: Asked = Asked()) -> None:
        super().__init__()
        self.asked = asked
        self.context_encoder = context_encoder
        self.target_encoder = copy.deepcopy(context_encoder).requires_grad_(False)
        self.predictor = predictor
        shape = context_encoder.shape
        self.pixel_head = _head(shape.dim, shape.tubelet_pixels) if asked.pixels else None
        # For hidden places, from what the predictor says; for seen ones, from what the context encoder says. Their weights are drawn by
        # build_vjepa.
        numbers = shape.tubelet[0] + (WIDTH if asked.displacement else 0)
        self.unrest_heads = nn.ModuleList(_head(shape.dim, numbers) for _ in range(2)) if asked.unrest else None

    @property
    def encoder(self) -> Encoder:
        """The encoder to use afterwards: the target encoder, or the student of a frozen teacher."""
        return self.target_encoder if self.asked.follows else self.context_encoder

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
        targets_BND, target_means = self._targets(pixels_BCTZYX, scale_4) if self.asked.features else (None, None)
        groups = [mask.context_BK.shape[1] for mask in masks]
        # All masks in one pass: each sees itself alone, but the layers in between run over all their tokens at once.
        context_BKD = self.context_encoder(pixels_BCTZYX, torch.cat([mask.context_BK for mask in masks], dim=1), scale_4, groups)
        context = context_BKD.split(groups, dim=1)
        predicted = self.predictor(context_BKD, masks, range(len(masks)), grid, scale_4)
        if target_means is None:
            target_means = context[0].detach().float().mean(dim=1)
        targets = () if targets_BND is None else tuple(gather_tokens(targets_BND, mask.target_BM) for mask in masks)
        prediction = Prediction(context, predicted, targets, target_means)
        if self.pixel_head is None and self.unrest_heads is None:
            return prediction
        shape = self.context_encoder.shape
        tubelets_BNP = (cut_tubelets(pixels_BCTZYX, shape.tubelet) - shape.pixel_mean) / shape.pixel_std
        if self.pixel_head is not None:
            hidden = tuple(gather_tokens(tubelets_BNP, mask.target_BM) for mask in masks)
            prediction = replace(prediction, painted=tuple(map(self.pixel_head, predicted)), hidden=hidden)
        if self.unrest_heads is not None:
            of_hidden, of_seen = self.unrest_heads
            measured = unrest(tubelets_BNP, grid.t, shape.tubelet[0], shape.in_channels)
            if self.asked.displacement:
                measured = torch.cat([measured, displacement(pixels_BCTZYX, shape.tubelet, shape.pixel_std)], dim=-1)
            places = [*(mask.target_BM for mask in masks), *(mask.context_BK for mask in masks)]
            said = (*map(of_hidden, predicted), *map(of_seen, context))
            prediction = replace(prediction, unrest_said=said, unrest=tuple(gather_tokens(measured, place) for place in places))
        return prediction

    def targets(self, pixels_BCTZYX: torch.Tensor, scale_4: torch.Tensor | None = None) -> torch.Tensor:
        """Return what the predictor should say of each place of whole clips, (B, N, D) float32 without gradient."""
        return self._targets(pixels_BCTZYX, scale_4)[0]

    @torch.no_grad()
    def _targets(self, pixels_BCTZYX: torch.Tensor, scale_4: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        if self.asked.layers == 1:
            tokens_BND = at_least_float32(self.target_encoder(pixels_BCTZYX, scale_4=scale_4))
            return _normed(tokens_BND), tokens_BND.float().mean(dim=1)
        layers = [at_least_float32(tokens) for tokens in self.target_encoder.last_layers(pixels_BCTZYX, self.asked.layers, scale_4)]
        # After data2vec (arXiv 2202.03555, section 3.3): each layer normed, then averaged.
        return _normed(torch.stack([_normed(tokens) for tokens in layers]).mean(dim=0)), layers[-1].float().mean(dim=1)

    @torch.no_grad()
    def update_target(self, momentum: float, refused: torch.Tensor | None = None) -> None:
        """Let the target encoder follow: target <- momentum * target + (1 - momentum) * context. A teacher stays as it is.

        Parameters
        ----------
        momentum
            How much stays.
        refused
            0-dim float32 on the model's device: 1 and nothing changes. None: as 0.
        """
        if not self.asked.follows:
            return
        targets, context = tuple(self.target_encoder.parameters()), tuple(self.context_encoder.parameters())
        if refused is None:
            torch._foreach_lerp_(targets, context, 1.0 - momentum)
            return
        towards = torch._foreach_sub(context, targets)
        torch._foreach_mul_(towards, (1.0 - refused) * (1.0 - momentum))
        torch._foreach_add_(targets, towards)


def _head(dim: int, numbers: int) -> nn.Module:
    """Return a linear layer without drawing its weights: PyTorch's own generator is left alone."""
    with torch.device("meta"):
        head = nn.Linear(dim, numbers)
    return head.to_empty(device="cpu")


def _normed(tokens_BND: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(tokens_BND, tokens_BND.shape[-1:])


def build_vjepa(config: Config, seed: int, planes: int = 1, pixels: PixelStatistics | None = None) -> VJepa:
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
        Of training clips: the encoder standardises what it sees by them, and begins with an eye for change
        (``model.change_gain``). None: the numbers of :class:`EncoderShape`, and no such beginning.

    Raises
    ------
    UserError
        If a head is too narrow to hold a position along each axis, or clips cannot be cut into whole tubelets.
    """
    model, clip = config.model, config.cooldown_clip  # the largest of the run: its grid has all the axes that any of them has
    grid = grid_of(clip.frames, planes, clip.size_px, clip.size_px, model.tubelet)
    mlp_dim = 0 if model.mlp_dim in (None, 4 * model.dim) else model.mlp_dim
    encoder = EncoderShape(model.tubelet, model.dim, model.depth, model.heads, model.rope, grid.long_axes, mlp_dim=mlp_dim)
    if pixels is not None:
        encoder = replace(encoder, pixel_mean=pixels.mean, pixel_std=pixels.std, wave_gains=pixels.wave_gains(model.change_gain))
    predictor = PredictorShape(model.predictor_dim, model.predictor_depth, model.predictor_heads, len(config.mask_generators))
    rng = torch.Generator().manual_seed(seed)
    built = VJepa(new_encoder(encoder, rng), new_predictor(predictor, encoder, rng), Asked.of(config))
    for head in (built.pixel_head, built.unrest_heads):
        if head is not None:
            initialise(head, (), rng)
    return built
