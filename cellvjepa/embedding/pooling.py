"""From the tokens of a clip to one vector."""

from __future__ import annotations

from typing import Literal

import torch

from cellvjepa.embedding.motion import motion, motion_width
from cellvjepa.model.grid import Grid

Pool = Literal["mean", "moments", "dynamics", "motion"]

# What stands side by side in the vector of one channel, D numbers each; "motion" has more behind it.
STATISTICS: dict[Pool, tuple[str, ...]] = {
    "mean": ("mean",),
    "moments": ("mean", "std"),
    "dynamics": ("mean", "change", "middle mean", "middle change"),
    "motion": ("mean", "change", "middle mean", "middle change"),
}


def statistics_of(how: Pool, dim: int, steps: int) -> list[str]:
    """Return which statistic each number of one channel's vector is, for tokens of ``dim`` features and ``steps`` steps of time."""
    names = [statistic for statistic in STATISTICS[how] for _ in range(dim)]
    return names + ["motion"] * motion_width(dim, steps) if how == "motion" else names


def pool(
    tokens_BCND: torch.Tensor, how: Pool, grid: Grid | None = None, cover_BN: torch.Tensor | None = None, mask_weight: float = 0.0
) -> torch.Tensor:
    """Pool the tokens of each channel to one vector, and put those of the channels side by side.

    Parameters
    ----------
    tokens_BCND
        (B, C, N, D), or (B, N, D) for one channel.
    how
        ``"mean"``: the mean over tokens. ``"moments"``: the mean and the standard deviation over tokens. ``"dynamics"``: the mean over
        tokens and the standard deviation over time at each place, averaged over all places; then both over the places of the middle
        half along y and x, where the cell is. ``"motion"``: that, and how the pattern of tokens moves
        (:func:`cellvjepa.embedding.motion.motion`).
    grid
        Where the N tokens are; for ``"dynamics"`` and ``"motion"``.
    cover_BN
        (B, N): the share of each token that the cell covers (:meth:`cellvjepa.cells.outlines.Outline.cover`).
    mask_weight
        How much of an average comes from the cell: token n counts ``(1 - mask_weight) / N + mask_weight * cover_n / sum(cover)``. For
        ``"dynamics"`` this is so for the places of the middle, with their cover averaged over time, while the averages over all places stay as
        they are, and so does motion. Where a cell covers nothing, it is as with 0.

    Returns
    -------
    torch.Tensor
        (B, C P), with the P numbers that :func:`statistics_of` names.
    """
    one_channel = tokens_BCND.ndim == 3
    cover = None if cover_BN is None or mask_weight == 0 else cover_BN if one_channel else cover_BN[:, None]
    if how in ("dynamics", "motion"):
        assert grid is not None, f"{how} needs to know where tokens are"
        places = (grid.t, grid.z, grid.y, grid.x)
        tokens = tokens_BCND.reshape(*tokens_BCND.shape[:-2], *places, tokens_BCND.shape[-1])
        cover_zyx = None if cover is None else cover.reshape(*cover.shape[:-1], *places).mean(dim=-4)
        dynamics = _dynamics(tokens, cover_zyx, mask_weight)
        return (dynamics if how == "dynamics" else torch.cat([dynamics, motion(tokens)], dim=-1)).flatten(start_dim=1)
    if cover is not None:
        return _weighted(tokens_BCND, how, _mixed(torch.ones_like(cover), cover, mask_weight)).flatten(start_dim=1)
    mean = tokens_BCND.mean(dim=-2)
    if how == "moments":
        mean = torch.cat([mean, tokens_BCND.std(dim=-2, correction=0)], dim=-1)
    return mean.flatten(start_dim=1)


def _weighted(tokens: torch.Tensor, how: Pool, weights: torch.Tensor) -> torch.Tensor:
    """Return the mean and, for moments, the standard deviation with weights that sum to 1."""
    weights = weights[..., None]
    mean = (weights * tokens).sum(dim=-2)
    if how == "mean":
        return mean
    variance = (weights * (tokens - mean[..., None, :]).square()).sum(dim=-2)
    return torch.cat([mean, variance.sqrt()], dim=-1)


def _mixed(usual: torch.Tensor, cover: torch.Tensor, mask_weight: float) -> torch.Tensor:
    """Mix usual weights and those by cover, both (..., N), to weights that sum to 1."""
    usual, covered = usual / usual.sum(dim=-1, keepdim=True), cover.sum(dim=-1, keepdim=True)
    by_cover = torch.where(covered > 0, cover / covered.clamp(min=torch.finfo(cover.dtype).tiny), usual)
    return (1 - mask_weight) * usual + mask_weight * by_cover


def _dynamics(tokens_tzyxD: torch.Tensor, cover_zyx: torch.Tensor | None, mask_weight: float) -> torch.Tensor:
    places_zyxE = torch.cat([tokens_tzyxD.mean(dim=-5), tokens_tzyxD.std(dim=-5, correction=0)], dim=-1)
    height, width = places_zyxE.shape[-3:-1]
    inside = (..., slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    whole = places_zyxE.mean(dim=(-4, -3, -2))
    if cover_zyx is None:
        return torch.cat([whole, places_zyxE[(*inside, slice(None))].mean(dim=(-4, -3, -2))], dim=-1)
    usual = torch.zeros_like(cover_zyx)
    usual[inside] = 1
    weights = _mixed(usual.flatten(-3), cover_zyx.flatten(-3), mask_weight)
    return torch.cat([whole, _weighted(places_zyxE.flatten(-4, -2), "mean", weights)], dim=-1)
