"""Change within a tubelet, as cosine waves over its frames."""

from __future__ import annotations

import math

import torch


def cosine_waves(frames: int) -> torch.Tensor:
    """Return the orthonormal DCT-II over a tubelet's frames, (waves, frames); the first wave is constant in time."""
    angles = torch.outer(torch.arange(frames), torch.arange(frames) + 0.5) * (math.pi / frames)
    waves = angles.cos() * math.sqrt(2 / frames)
    waves[0] = 1 / math.sqrt(frames)
    return waves


def with_wave_gains(weight_DP: torch.Tensor, frames: int, channels: int, gains: tuple[float, ...]) -> torch.Tensor:
    """Return the weights of a patch embedding that sees each wave of a tubelet multiplied by its gain.

    Parameters
    ----------
    weight_DP
        (D, P) weights over the P numbers of a tubelet, in the order c, t, z, y, x.
    frames, channels
        Of a tubelet.
    gains
        One for each wave.
    """
    waves = cosine_waves(frames)
    seen = waves.T @ (torch.tensor(gains)[:, None] * waves)
    weight = weight_DP.reshape(len(weight_DP), channels, frames, -1)
    return torch.einsum("dctp,ts->dcsp", weight, seen).flatten(1)
