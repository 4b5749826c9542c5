"""How badly a frozen model foretells what is at a place and time, from the rest of the clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from cellvjepa.embedding.encoding import Precision
from cellvjepa.embedding.readout import Readout
from cellvjepa.model.device import autocast
from cellvjepa.model.grid import Grid
from cellvjepa.model.layers import gather_tokens
from cellvjepa.model.masking import Mask
from cellvjepa.model.predictor_file import Hides
from cellvjepa.model.vjepa import VJepa

Seen = Literal["rest", "past"]


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
class Answer:
    """What is known of one hidden time step of clips, and what is true; each (B, M, D) float32 at the M places of that step.

    ``said`` is what the predictor says. ``before`` and ``after`` are what the context encoder says of the same places at the nearest
    steps that it sees, normed as targets are; at an end of a clip, and from the past alone, both are the same step.
    """

    step: int
    mask: Mask
    said: torch.Tensor
    before: torch.Tensor
    after: torch.Tensor
    target: torch.Tensor

    @property
    def known(self) -> torch.Tensor:
        """All that a fitted layer may look at, (B, M, 3 D)."""
        return torch.cat([self.said, self.before, self.after], dim=-1)


def answers(
    model: VJepa,
    pixels_B1TZYX: torch.Tensor,
    seen: Seen,
    token: int,
    scale_4: torch.Tensor | None = None,
    precision: Precision = "float32",
) -> list[Answer]:
    """Hide each time step of clips in turn at all places, and ask what is there.

    Parameters
    ----------
    model
        Frozen; on the device of the pixels.
    pixels_B1TZYX
        Clips as ``read_clip`` gives them, one channel.
    seen
        What is foretold from: the rest of the clip, or what is before.
    token
        Which mask token asks (:func:`mask_token`).
    scale_4
        As for :class:`cellvjepa.model.encoder.Encoder`.
    precision
        Of the matrix products.
    """
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
    found = []
    for step, mask, said, own in zip(hidden_steps(grid, seen), masks, predicted, torch.split(context.float(), groups, dim=1), strict=True):
        visible = torch.split(F.layer_norm(own, own.shape[-1:]), grid.per_step, dim=1)
        # Those before come first, and those after, if there are any, follow them at once.
        before, after = visible[max(0, step - 1)], visible[min(step, len(visible) - 1)]
        found.append(Answer(step, mask, said.float(), before, after, gather_tokens(targets_BND, mask.target_BM).float()))
    return found


def latent_errors(found: Sequence[Answer], grid: Grid, readout: Readout | None = None, folds_Bt: torch.Tensor | None = None) -> torch.Tensor:
    """Return how far what is foretold is from the target at each token.

    Of the predictor as it was trained that is mean |z - h| (V-JEPA, arXiv 2404.08471, equation 1); of a fitted layer
    :meth:`cellvjepa.embedding.readout.Readout.errors`.

    Parameters
    ----------
    found
        As :func:`answers` gives them, one or more.
    grid
        Of the clips.
    readout, folds_Bt
        What z follows from, and in which stretch of the movie each step of each clip lies, (B, t) int64
        (:func:`cellvjepa.embedding.readout.fold_of`). None: z is what the predictor says.

    Returns
    -------
    torch.Tensor
        (B, N) float32; NaN at time steps that are not foretold.
    """
    errors = torch.full((len(found[0].target), grid.tokens), torch.nan, device=found[0].target.device)
    for answer in found:
        if readout is None or folds_Bt is None:
            wrong = (answer.said - answer.target).abs().mean(dim=-1)
        else:
            folds_B = folds_Bt[:, answer.step]
            wrong = readout.errors(readout.said(answer.known, folds_B), answer.target, folds_B)
        errors.scatter_(1, answer.mask.target_BM, wrong)
    return errors
