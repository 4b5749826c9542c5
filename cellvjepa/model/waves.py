"""Change within a tubelet, as cosine waves over its frames, and how much of it there is."""

from __future__ import annotations

import math

import torch

_NOISE = 0.02  # standard deviations of the pixels: change below this is the camera's


def cosine_waves(frames: int, device: torch.device | None = None) -> torch.Tensor:
    """Return the orthonormal DCT-II over a tubelet's frames, (waves, frames); the first wave is constant in time.

    Made on the device where it is wanted: a copy from the CPU would wait for all that the device has to do before.
    """
    number = torch.arange(frames, device=device)
    angles = torch.outer(number, number + 0.5) * (math.pi / frames)
    waves = angles.cos() * math.sqrt(2 / frames)
    waves[0] = 1 / math.sqrt(frames)
    return waves


@torch.no_grad()
def unrest(tubelets_BNP: torch.Tensor, steps: int, frames: int, channels: int) -> torch.Tensor:
    """Return how much each place changes and how fast, without what it looks like.

    Parameters
    ----------
    tubelets_BNP
        (B, N, P) pixels of all tubelets of clips, standardised, in the order c, t, z, y, x; N tokens with time slowest.
    steps
        Time steps of the clip.
    frames, channels
        Of a tubelet.

    Returns
    -------
    torch.Tensor
        (B, N, frames) float32: the logarithm of the root mean square over pixels of each cosine wave within the tubelet but the
        constant one; and of the standard deviation over the clip's time steps of the tubelet's mean frame, for all steps alike.
    """
    tubelets = tubelets_BNP.float().reshape(*tubelets_BNP.shape[:2], channels, frames, -1)
    waves = torch.einsum("kt,bnctp->bnkcp", cosine_waves(frames, tubelets.device)[1:], tubelets).square().mean(dim=(-1, -2)).sqrt()
    still = tubelets.mean(dim=3).reshape(len(tubelets), steps, -1, channels, tubelets.shape[-1])
    over_time = still.std(dim=1, correction=0).mean(dim=(-1, -2))
    over_time = over_time[:, None].expand(-1, steps, -1).reshape(len(tubelets), -1, 1)
    return torch.log(torch.cat([waves, over_time], dim=-1) + _NOISE)


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
