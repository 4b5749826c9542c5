"""What one step learns from: clips and masks, as a function of the configuration and the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from cellvjepa.config import Config
from cellvjepa.model.grid import grid_of
from cellvjepa.model.masking import Mask, draw_masks
from cellvjepa.movies.batch import Batch
from cellvjepa.movies.finishing import Augmentation, augment, finish
from cellvjepa.movies.schedule import WHOLE, Part

_MASK_STREAM, _AUGMENT_STREAM = 1, 4  # keep these random numbers apart from those of the clips
Scale = tuple[float, float, float, float]


@dataclass(frozen=True)
class Examples:
    """What one step learns from, on the model's device.

    ``pixels_B1TZYX`` are clips as ``read_clip`` gives them; ``masks`` one per generator; ``scale_B4`` how far apart their samples
    are relative to the reference, None where all are at the reference. ``step`` is the number of the step.
    """

    pixels_B1TZYX: torch.Tensor
    masks: tuple[Mask, ...]
    scale_B4: torch.Tensor | None = None
    step: int = 0

    def rows(self, rows: slice) -> Examples:
        """Return some of them."""
        masks = tuple(Mask(mask.context_BK[rows], mask.target_BM[rows]) for mask in self.masks)
        return Examples(self.pixels_B1TZYX[rows], masks, None if self.scale_B4 is None else self.scale_B4[rows], self.step)

    def parts(self, count: int) -> Iterator[Examples]:
        """Cut into ``count`` parts of equal size, for gradient accumulation."""
        size = len(self.pixels_B1TZYX) // count
        for start in range(0, count * size, size):
            yield self.rows(slice(start, start + size))


def make_examples(step: int, batch: Batch, config: Config, scales: Mapping[str, Scale], device: torch.device, part: Part = WHOLE) -> Examples:
    """Return what a step learns from, the same for the same (seed, step).

    Parameters
    ----------
    step
        The step.
    batch
        Its clips.
    config
        The complete configuration of the run.
    scales
        Sampling of each movie's clips relative to the reference, by name (:func:`cellvjepa.movies.reference.position_scale`).
    device
        Where the model is.
    part
        Which part of the step's whole batch these clips are.
    """
    training = config.training
    pixels = finish(batch, device)
    scale_B4 = batch_positions(batch, scales)
    augmentation = Augmentation(training.orientations, training.gain)
    pixels, turned = augment(pixels, augmentation, np.random.default_rng([training.seed, _AUGMENT_STREAM, step]), part)
    if scale_B4 is not None:
        scale_B4[turned] = scale_B4[turned][:, [0, 1, 3, 2]]
    _, _, frames, planes, size_y, size_x = pixels.shape  # of the phase's clips, which may differ from config.clip
    grid = grid_of(frames, planes, size_y, size_x, config.model.tubelet)
    rng = np.random.default_rng([training.seed, _MASK_STREAM, step])
    masks = draw_masks(grid, config.mask_generators, len(batch) * part.count, rng, part.rows)
    return Examples(
        pixels,
        tuple(Mask(_sent(mask.context_BK, device), _sent(mask.target_BM, device)) for mask in masks),
        None if scale_B4 is None else _sent(scale_B4, device),
        step,
    )


def batch_positions(batch: Batch, scales: Mapping[str, Scale]) -> torch.Tensor | None:
    """Return (B, 4) float32 scales (t, z, y, x) of a batch's clips by their movies; None where all are 1."""
    scale_B4 = torch.tensor([scales[clip.movie] for clip in batch.clips])
    return None if bool((scale_B4 == 1).all()) else scale_B4


def _sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor on the device, without waiting for what a GPU is still computing."""
    return tensor.to(device, non_blocking=device.type == "cuda")
