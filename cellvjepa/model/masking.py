"""Masks: which tokens the context encoder sees, and which are to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.config import BlockMaskConfig, ForecastMaskConfig, MaskGenerator
from cellvjepa.errors import UserError
from cellvjepa.model.grid import Grid

SEEN, ASKED, NEITHER = 1, 2, 3  # what a mask makes of a token: context, to be predicted, neither


@dataclass(frozen=True)
class Mask:
    """Indices into the tokens of a grid, ascending; the same K and M for every clip.

    ``context_BK`` (B, K) int64 are seen by the context encoder, ``target_BM`` (B, M) int64 are to be predicted. No token is
    both; many are neither.
    """

    context_BK: torch.Tensor
    target_BM: torch.Tensor


def draw_masks(grid: Grid, generators: Sequence[MaskGenerator], batch: int, rng: np.random.Generator, rows: slice = slice(None)) -> list[Mask]:
    """Draw one mask per generator for each clip of a batch (V-JEPA, arXiv 2404.08471, section 3.2).

    Blocks of the (y, x) plane are hidden at all times and in all planes; context is drawn from what their union leaves visible,
    targets from what it hides. Unlike in V-JEPA, every clip and every time step has exactly the same number of context tokens and
    of targets, and what is too many is dropped at random: V-JEPA cuts the lists of a batch to the shortest from the end, which
    removes the late frames and makes the masking ratio depend on the batch size.

    Where the union leaves too little visible (or hides too little), positions change sides at random, at all times alike, so that
    no target can be copied from the same place at another time. A clip's masks do not depend on how many clips are drawn.

    A forecast (causal multi-block masks of V-JEPA, appendix, come nearest) shows places at the first time steps and asks for
    places at the last ones; both drawn at random.

    Parameters
    ----------
    grid
        Grid of tokens.
    generators
        How to draw.
    batch
        Clips, B.
    rng
        Source of randomness.
    rows
        The clips whose masks are wanted, where several processes share the batch.

    Raises
    ------
    UserError
        If a time step has one token only: there is nothing to hide; or a forecast is asked for and there is one time step only.
    """
    if grid.per_step < 2:
        raise UserError(
            "a clip has one token per time step, so none can be hidden", "make clip.size_px at least twice model.tubelet's height or width", "masks"
        )
    if grid.t < 2 and any(isinstance(generator, ForecastMaskConfig) for generator in generators):
        raise UserError("a clip has one time step, so nothing can be forecast", "make clip.frames at least twice model.tubelet's frames", "masks")
    # One row of numbers per clip, so that a clip's masks do not depend on the batch around it.
    numbers = rng.random((batch, sum(_numbers(grid, generator) for generator in generators)))[rows]
    ends = np.cumsum([_numbers(grid, generator) for generator in generators])[:-1]
    parts = np.split(numbers, ends, axis=1)
    return [
        _forecast(grid, generator, part) if isinstance(generator, ForecastMaskConfig) else _draw(grid, generator, part)
        for generator, part in zip(generators, parts, strict=True)
    ]


def mask_of_clip(grid: Grid, generators: Sequence[MaskGenerator], seed: int) -> npt.NDArray[np.uint8]:
    """Draw one mask per generator for one clip, to be looked at.

    Parameters
    ----------
    grid, generators
        As for :func:`draw_masks`, whose masks these are.
    seed
        Draws the same again.

    Returns
    -------
    ndarray
        uint8 (G, t, z, y, x), one for each generator: :data:`SEEN`, :data:`ASKED` or :data:`NEITHER` for each token.

    Raises
    ------
    UserError
        As :func:`draw_masks`.
    """
    masks = draw_masks(grid, generators, 1, np.random.default_rng(seed))
    found = np.full((len(masks), grid.tokens), NEITHER, np.uint8)
    for values_N, mask in zip(found, masks, strict=True):
        values_N[mask.context_BK[0]], values_N[mask.target_BM[0]] = SEEN, ASKED
    return found.reshape(len(masks), grid.t, grid.z, grid.y, grid.x)


def tokens_per_step(grid: Grid, generator: BlockMaskConfig) -> tuple[int, int]:
    """Return how many context tokens and targets each time step has: the shares rounded, at least one of each."""
    context = min(max(1, round(generator.context_share * grid.per_step)), grid.per_step - 1)
    target = min(max(1, round(generator.target_share * grid.per_step)), grid.per_step - context)
    return context, target


def block_size(area: float, aspect_B: np.ndarray, size_y: int, size_x: int) -> tuple[np.ndarray, np.ndarray]:
    """Return height and width of blocks, (B,) int64 each, in tokens.

    A block that is too high or too wide for the grid becomes wider or higher instead of smaller: its area stays within half a
    row or half a column of ``area * size_y * size_x``.

    Parameters
    ----------
    area
        Wanted area as a share of the grid.
    aspect_B
        (B,) wanted height over width.
    size_y, size_x
        Extent of the grid in tokens.
    """
    tokens = area * size_y * size_x
    height = np.clip(np.rint(np.sqrt(tokens * aspect_B)), max(1, np.ceil(tokens / size_x)), size_y).astype(np.int64)
    width = np.clip(np.rint(tokens / height), 1, size_x).astype(np.int64)
    return height, width


def _numbers(grid: Grid, generator: MaskGenerator) -> int:
    if isinstance(generator, ForecastMaskConfig):
        return 2 * grid.per_step
    return 3 * generator.blocks + grid.y * grid.x + grid.tokens


def _draw(grid: Grid, generator: BlockMaskConfig, numbers: np.ndarray) -> Mask:
    batch = len(numbers)
    blocks, sides, trims = np.split(numbers, np.cumsum([3 * generator.blocks, grid.y * grid.x]), axis=1)
    hidden = _union_of_blocks(grid, generator, blocks.reshape(batch, generator.blocks, 3))
    context, target = tokens_per_step(grid, generator)
    hidden = _with_room(hidden, np.repeat(sides[:, None], grid.z, axis=1).reshape(batch, -1), context, target)
    # Visible tokens sort before hidden ones, at random within each: the first are context, the last targets.
    order = np.argsort(hidden[:, None] + trims.reshape(batch, grid.t, grid.per_step), axis=-1)
    steps = np.arange(grid.t)[:, None] * grid.per_step
    chosen = (order[..., :context], order[..., grid.per_step - target :])
    context_BK, target_BM = (torch.from_numpy((np.sort(part, axis=-1) + steps).reshape(batch, -1)) for part in chosen)
    return Mask(context_BK, target_BM)


def _forecast(grid: Grid, generator: ForecastMaskConfig, numbers: np.ndarray) -> Mask:
    past = min(max(1, round(generator.past * grid.t)), grid.t - 1)
    steps = np.arange(grid.t)[:, None] * grid.per_step

    def places(part: np.ndarray, share: float, when: np.ndarray) -> torch.Tensor:
        chosen = np.sort(np.argsort(part, axis=1)[:, : max(1, round(share * grid.per_step))], axis=1)
        return torch.from_numpy((chosen[:, None] + when).reshape(len(part), -1))

    seen, asked = np.split(numbers, 2, axis=1)
    return Mask(places(seen, generator.context_places, steps[:past]), places(asked, generator.target_places, steps[past:]))


def _union_of_blocks(grid: Grid, generator: BlockMaskConfig, numbers_Bn3: np.ndarray) -> np.ndarray:
    low, high = generator.aspect
    height, width = block_size(generator.area, low + (high - low) * numbers_Bn3[..., 0], grid.y, grid.x)
    top = np.floor(numbers_Bn3[..., 1] * (grid.y - height + 1))[..., None]
    left = np.floor(numbers_Bn3[..., 2] * (grid.x - width + 1))[..., None]
    y, x = np.arange(grid.y), np.arange(grid.x)
    rows = (y >= top) & (y < top + height[..., None])
    columns = (x >= left) & (x < left + width[..., None])
    plane = (rows[..., :, None] & columns[..., None, :]).any(axis=1)
    return np.repeat(plane[:, None], grid.z, axis=1).reshape(len(plane), grid.per_step)


def _with_room(hidden_BS: np.ndarray, sides_BS: np.ndarray, context: int, target: int) -> np.ndarray:
    """Let positions change sides at random until ``context`` are visible and ``target`` hidden, at least."""
    count = np.clip(hidden_BS.sum(axis=1), target, hidden_BS.shape[1] - context)
    # Stable, so that all planes above a (y, x) position, which have the same number, change sides together.
    rank = np.argsort(np.argsort(hidden_BS + sides_BS, axis=1, kind="stable"), axis=1)
    changed: np.ndarray = rank >= hidden_BS.shape[1] - count[:, None]
    return changed
