"""How badly a frozen model foretells what is at a place and time, from the rest of the clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.embedding.encoding import Precision
from cellvjepa.model.device import autocast
from cellvjepa.model.grid import Grid
from cellvjepa.model.layers import gather_tokens
from cellvjepa.model.masking import Mask
from cellvjepa.model.predictor_file import Hides
from cellvjepa.model.vjepa import VJepa

Seen = Literal["rest", "past"]
_RIDGE, _LEAST = 1e-3, 1e-9  # of the mean variance of what the predictor says


def hidden_steps(grid: Grid, seen: Seen) -> list[int]:
    """Return the time steps of a clip that are foretold: all of them, or of the past alone those that have as much past as future.

    A clip of one time step has none.
    """
    return [] if grid.t < 2 else list(range(grid.t)) if seen == "rest" else list(range(grid.t // 2, grid.t))


def step_weights(grid: Grid, seen: Seen) -> npt.NDArray[np.float32]:
    """Return how much the answer for each time step of a clip counts where clips overlap, (t,) float32; 0 where there is none.

    From the rest, the middle of a clip counts most: it is seen from both sides. From the past, all answers count alike.
    """
    weights = np.zeros(grid.t, np.float32)
    for step in hidden_steps(grid, seen):
        weights[step] = min(step + 1, grid.t - step) / ((grid.t + 1) // 2) if seen == "rest" else 1.0
    return weights


def step_masks(grid: Grid, seen: Seen, batch: int) -> list[Mask]:
    """Return one mask for each foretold time step: the whole step is hidden, and the rest of the clip, or what is before, is seen."""
    index = torch.arange(grid.tokens).reshape(grid.t, grid.per_step)
    masks = []
    for step in hidden_steps(grid, seen):
        context = index[:step] if seen == "past" else torch.cat([index[:step], index[step + 1 :]])
        masks.append(Mask(*(part.reshape(1, -1).expand(batch, -1) for part in (context, index[step]))))
    return masks


def mask_token(hides: Sequence[Hides]) -> int:
    """Return the mask token to ask with: that of the generator which hides whole time steps, else the last one's."""
    return hides.index("future") if "future" in hides else len(hides) - 1


@dataclass(frozen=True, eq=False)
class Readout:
    """A linear layer upon what the predictor says: z ``matrix_DD`` + ``bias_D``, float32."""

    matrix_DD: torch.Tensor
    bias_D: torch.Tensor


def latent_errors(
    model: VJepa,
    pixels_B1TZYX: torch.Tensor,
    seen: Seen,
    token: int,
    scale_4: torch.Tensor | None = None,
    precision: Precision = "float32",
    readout: Readout | None = None,
) -> torch.Tensor:
    """Return mean |z - h| at each token: how far what the predictor says is from the target (V-JEPA, arXiv 2404.08471, equation 1).

    Each time step is hidden in turn at all places, and foretold from the rest of the clip or from what is before.

    Parameters
    ----------
    model
        Frozen; on the device of the pixels.
    pixels_B1TZYX
        Clips as ``read_clip`` gives them, one channel.
    seen
        What is foretold from.
    token
        Which mask token asks (:func:`mask_token`).
    scale_4
        As for :class:`cellvjepa.model.encoder.Encoder`.
    precision
        Of the matrix products.
    readout
        What z goes through first (:func:`fit_readout`); None: nothing.

    Returns
    -------
    torch.Tensor
        (B, N) float32 over the target's D numbers; NaN at time steps that are not foretold.
    """
    grid = model.target_encoder.grid_of(pixels_B1TZYX)
    errors = torch.full((len(pixels_B1TZYX), grid.tokens), torch.nan, device=pixels_B1TZYX.device)
    for mask, said_BMD, target_BMD in _answers(model, pixels_B1TZYX, seen, token, scale_4, precision):
        said = said_BMD if readout is None else said_BMD @ readout.matrix_DD + readout.bias_D
        errors.scatter_(1, mask.target_BM, (said - target_BMD).abs().mean(dim=-1))
    return errors


def fit_readout(
    model: VJepa,
    clips: Iterable[torch.Tensor],
    seen: Seen,
    token: int,
    scale_4: torch.Tensor | None = None,
    precision: Precision = "float32",
) -> Readout:
    """Fit the predictor's last layer anew, by ridge regression of what it should say on what it says.

    Predictors hedge: between training masks and whole hidden steps, and between movies, they say little more than the average, and
    then the error is how unusual a place looks rather than how unexpected it is. A linear layer brings out what they do know. It needs
    no labels.

    Parameters
    ----------
    clips
        Batches of clips as for :func:`latent_errors`, of the movie that is to be judged.
    """
    dim = model.target_encoder.shape.dim
    products, sums = torch.zeros(2 * dim, 2 * dim, dtype=torch.float64), torch.zeros(2 * dim, dtype=torch.float64)
    count = 0
    device = torch.device("cpu")
    for pixels in clips:
        device = pixels.device
        for _, said_BMD, target_BMD in _answers(model, pixels, seen, token, scale_4, precision):
            both = torch.cat([said_BMD, target_BMD], dim=-1).flatten(0, 1).cpu().double()
            products, sums, count = products + both.T @ both, sums + both.sum(dim=0), count + len(both)
    assert count, "no clip to fit to"
    mean = sums / count
    covariance = products / count - torch.outer(mean, mean)
    of_said = covariance[:dim, :dim]
    penalty = _RIDGE * of_said.diagonal().mean().clamp_min(_LEAST)
    matrix = torch.linalg.solve(of_said + penalty * torch.eye(dim, dtype=torch.float64), covariance[:dim, dim:])
    return Readout(matrix.float().to(device), (mean[dim:] - mean[:dim] @ matrix).float().to(device))


def _answers(
    model: VJepa, pixels_B1TZYX: torch.Tensor, seen: Seen, token: int, scale_4: torch.Tensor | None, precision: Precision
) -> list[tuple[Mask, torch.Tensor, torch.Tensor]]:
    """Return for each foretold step its mask, what the predictor says and what it should say, (B, M, D) float32."""
    device = pixels_B1TZYX.device
    grid = model.target_encoder.grid_of(pixels_B1TZYX)
    masks = [Mask(mask.context_BK.to(device), mask.target_BM.to(device)) for mask in step_masks(grid, seen, len(pixels_B1TZYX))]
    if not masks:
        return []
    groups = [mask.context_BK.shape[1] for mask in masks]
    with torch.inference_mode(), autocast(device, precision):
        targets_BND = model.targets(pixels_B1TZYX, scale_4)
        # All masks in one pass, as in training: each sees itself alone.
        context = model.context_encoder(pixels_B1TZYX, torch.cat([mask.context_BK for mask in masks], dim=1), scale_4, groups)
        predicted = model.predictor(context, masks, [token] * len(masks), grid, scale_4)
    return [(mask, said.float(), gather_tokens(targets_BND, mask.target_BM).float()) for mask, said in zip(masks, predicted, strict=True)]
