"""From native clips to what the network sees, on the device where it is: a batch is shipped as small as it lies in its files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cellvjepa.movies.batch import Batch
from cellvjepa.movies.resampling import BRIGHTEST, DARKEST
from cellvjepa.movies.schedule import WHOLE, Part


@dataclass(frozen=True)
class Augmentation:
    """How training clips are varied.

    Parameters
    ----------
    orientations
        Show clips in all eight orientations: flipped, and turned by quarters.
    gain
        Values are multiplied by a factor between ``1 / (1 + gain)`` and ``1 + gain``; 0: as they are.
    """

    orientations: bool
    gain: float


def finish(batch: Batch, device: torch.device) -> torch.Tensor:
    """Scale and resample a batch as :func:`cellvjepa.movies.clips.read_clip` does; on a CPU equal to it bit for bit.

    Parameters
    ----------
    batch
        Native clips. Its memory is used again for a later batch, but not before it has been copied.
    device
        Where to compute.

    Returns
    -------
    Tensor
        float32 B 1 T Z Y X on ``device``.
    """
    native = torch.from_numpy(batch.native)
    if device.type == "cuda":
        native = native.to(device, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        batch.buffer.busy_until(copied.synchronize)
    elif device.type != "cpu":
        native = native.to(torch.float32).to(device)  # not every device knows 16-bit integers
    low, high = torch.from_numpy(batch.levels_B2).unbind(1)
    levels = torch.stack([low, torch.where(high > low, 1 / (high - low), 0.0)]).to(device, torch.float32, non_blocking=device.type == "cuda")
    lengths = [int(np.prod(shape)) for shape in batch.shapes]
    parts = torch.split(native, lengths)
    frames, planes = batch.shapes[0][:2]
    out = torch.empty(len(batch), 1, frames, planes, batch.size_px, batch.size_px, device=device)
    for shape in dict.fromkeys(batch.shapes):  # usually one
        rows = [index for index, other in enumerate(batch.shapes) if other == shape]
        whole = len(rows) == len(batch)
        chosen = native if whole else torch.cat([parts[row] for row in rows])
        finished = _finished(chosen.reshape(len(rows), *shape), levels if whole else levels[:, rows], batch.size_px)
        out[slice(None) if whole else rows, 0] = finished
    return out


def augment(
    pixels_B1TZYX: torch.Tensor, augmentation: Augmentation, rng: np.random.Generator, part: Part = WHOLE
) -> tuple[torch.Tensor, torch.Tensor]:
    """Vary clips at random, each for itself.

    Parameters
    ----------
    pixels_B1TZYX
        float32 clips.
    augmentation
        How.
    rng
        Draws for the whole batch.
    part
        Which part of the whole batch the clips are.

    Returns
    -------
    Tensor
        As the pixels given.
    Tensor
        ``(B,)`` bool, on the CPU: whether the rows of a clip have become its columns.
    """
    count = len(pixels_B1TZYX)
    draws = torch.from_numpy(rng.random((4, count * part.count))[:, part.rows])
    turned = torch.zeros(count, dtype=torch.bool)
    if augmentation.orientations:
        down, across, turned = draws[:3] < 0.5
        for chosen, dims in ((down, (4,)), (across, (5,))):
            pixels_B1TZYX = torch.where(_per_clip(chosen, pixels_B1TZYX), pixels_B1TZYX.flip(dims), pixels_B1TZYX)
        pixels_B1TZYX = torch.where(_per_clip(turned, pixels_B1TZYX), pixels_B1TZYX.transpose(4, 5), pixels_B1TZYX)
    if augmentation.gain:
        factor = (1 + augmentation.gain) ** (2 * draws[3] - 1)
        pixels_B1TZYX = (pixels_B1TZYX * _per_clip(factor.float(), pixels_B1TZYX)).clamp(DARKEST, BRIGHTEST)
    return pixels_B1TZYX, turned


def _per_clip(values_B: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values_B.to(like.device, non_blocking=like.device.type == "cuda").reshape(-1, 1, 1, 1, 1, 1)


def _finished(native_BTZYX: torch.Tensor, levels_2B: torch.Tensor, size_px: int) -> torch.Tensor:
    low, gain = levels_2B.reshape(2, -1, 1, 1, 1, 1)
    values = native_BTZYX.to(torch.float32)
    values = values.sub(low).mul_(gain)
    if native_BTZYX.is_floating_point():
        values = values.nan_to_num_(nan=0.0, posinf=BRIGHTEST, neginf=DARKEST)
    values.clamp_(DARKEST, BRIGHTEST)
    if values.shape[-2:] == (size_px, size_px):
        return values
    flat = values.flatten(0, 1)
    resampled = torch.nn.functional.interpolate(flat, size=(size_px, size_px), mode="bilinear", antialias=True)
    return resampled.reshape(*values.shape[:3], size_px, size_px)
