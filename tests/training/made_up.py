"""Examples made of noise, for four clips of the toy configuration."""

from __future__ import annotations

import numpy as np
import torch

from cellvjepa.config import Config
from cellvjepa.model.grid import grid_of
from cellvjepa.model.masking import draw_masks
from cellvjepa.training.examples import Examples


def made_up_examples(config: Config, step: int) -> Examples:
    rng = np.random.default_rng(step)
    pixels = torch.from_numpy(rng.random((4, 1, 8, 1, 32, 32), np.float32))
    return Examples(pixels, tuple(draw_masks(grid_of(8, 1, 32, 32, config.model.tubelet), config.mask_generators, 4, rng)), None, step)
