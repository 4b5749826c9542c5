"""What clips look like on average, so that a new encoder starts with what it will see."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cellvjepa.model.encoder import EncoderShape, PatchEmbed, cut_tubelets


@dataclass(frozen=True)
class PixelStatistics:
    """Statistics of the pixels of training clips.

    ``mean`` and ``std`` are those of single pixels. ``waves`` (none where not measured) says how much of a tubelet's variation is in
    each of its temporal cosine waves (DCT-II over its frames), as standard deviations relative to the first, which is constant in
    time: in time-lapses the others are small, because most of what is seen stays.
    """

    mean: float
    std: float
    waves: tuple[float, ...]


def pixel_statistics(pixels_BCTZYX: torch.Tensor, tubelet: tuple[int, int, int, int]) -> PixelStatistics:
    """Measure clips; mean and spread are rounded to three digits.

    Images differ in how much of them is dark; without this the background is one large constant that all features share.
    """
    frames = tubelet[0]
    tubelets = cut_tubelets(pixels_BCTZYX, tubelet)
    tubelets = tubelets.reshape(*tubelets.shape[:2], pixels_BCTZYX.shape[1], frames, -1)
    # Over all clips, places and pixels of the tubelet.
    spread = torch.einsum("kt,bnctp->bnckp", cosine_waves(frames), tubelets).std(dim=(0, 1, 2, 4), correction=0)
    waves = spread / spread[0].clamp_min(1e-6)
    return PixelStatistics(
        round(float(pixels_BCTZYX.mean()), 3), max(round(float(pixels_BCTZYX.std()), 3), 1e-3), tuple(round(float(wave), 4) for wave in waves)
    )


def cosine_waves(frames: int) -> torch.Tensor:
    """Return the orthonormal DCT-II over a tubelet's frames, (waves, frames)."""
    angles = torch.outer(torch.arange(frames), torch.arange(frames) + 0.5) * (math.pi / frames)
    waves = angles.cos() * math.sqrt(2 / frames)
    waves[0] = 1 / math.sqrt(frames)
    return waves


@torch.no_grad()
def emphasise_change(patch_embed: PatchEmbed, shape: EncoderShape, statistics: PixelStatistics, gain: float) -> None:
    """Let a new patch embedding see what changes within a tubelet as if it were as strong as what stays, in place.

    Each temporal wave is multiplied by its relative spread to the power ``-gain``: with 1 all waves reach the first layer equally
    strong, with 0 as they are. This alters initial weights only; training is free to change them.

    Parameters
    ----------
    patch_embed, shape
        The embedding and its encoder's shape.
    statistics
        Of the clips it will see.
    gain
        Between 0 and 1.
    """
    frames = shape.tubelet[0]
    if not statistics.waves:
        return
    waves = cosine_waves(frames)
    # No wave is raised more than thirty-fold: where nothing moves, that would be camera noise.
    strength = torch.tensor(statistics.waves).clamp_min(1 / 30) ** -gain
    seen = waves.T @ (strength[:, None] * waves)
    weight = patch_embed.proj.weight.reshape(shape.dim, shape.in_channels, frames, -1)
    patch_embed.proj.weight.copy_(torch.einsum("dctp,ts->dcsp", weight, seen).flatten(1))
