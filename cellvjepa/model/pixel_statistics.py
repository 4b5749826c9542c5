"""What clips look like on average, so that a new encoder starts with what it will see."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cellvjepa.model.encoder import cut_tubelets
from cellvjepa.model.waves import cosine_waves

_LARGEST_GAIN = 30.0  # where nothing moves, what is left of the faster waves is camera noise


@dataclass(frozen=True)
class PixelStatistics:
    """Statistics of the pixels of training clips.

    ``mean`` and ``std`` are those of single pixels. ``waves`` (none where not measured) says how much of a tubelet's variation is in
    each of its temporal cosine waves, as standard deviations relative to the first, which is constant in time: in time-lapses the
    others are small, because most of what is seen stays.
    """

    mean: float
    std: float
    waves: tuple[float, ...]

    def wave_gains(self, change_gain: float) -> tuple[float, ...]:
        """Return what each wave is to be multiplied by: its relative spread to the power ``-change_gain``.

        With 1 all waves become equally strong, with 0 they stay as they are (then there are no gains: ``()``).
        """
        if not change_gain:
            return ()
        return tuple(round(min(max(wave, 1e-6) ** -change_gain, _LARGEST_GAIN), 4) for wave in self.waves)


def pixel_statistics(pixels_BCTZYX: torch.Tensor, tubelet: tuple[int, int, int, int]) -> PixelStatistics:
    """Measure clips; mean and spread are rounded to three digits.

    Images differ in how much of them is dark; without this the background is one large constant that all features share.
    """
    frames = tubelet[0]
    tubelets = cut_tubelets(pixels_BCTZYX, tubelet)
    tubelets = tubelets.reshape(*tubelets.shape[:2], pixels_BCTZYX.shape[1], frames, -1)
    spread = torch.einsum("kt,bnctp->bnckp", cosine_waves(frames).to(tubelets), tubelets).std(dim=(0, 1, 2, 4), correction=0)
    waves = spread / spread[0].clamp_min(1e-6)
    return PixelStatistics(
        round(float(pixels_BCTZYX.mean()), 3), max(round(float(pixels_BCTZYX.std()), 3), 1e-3), tuple(round(float(wave), 4) for wave in waves)
    )
