"""From the tokens of a clip to one vector."""

from __future__ import annotations

from typing import Literal

import torch

from cellvjepa.model.grid import Grid

Pool = Literal["mean", "moments", "dynamics"]

# What stands side by side in the vector of one channel, D numbers each.
STATISTICS: dict[Pool, tuple[str, ...]] = {
    "mean": ("mean",),
    "moments": ("mean", "std"),
    "dynamics": ("mean", "change", "middle mean", "middle change"),
}


def pool(tokens_BCND: torch.Tensor, how: Pool, grid: Grid | None = None) -> torch.Tensor:
    """Pool the tokens of each channel to one vector, and put those of the channels side by side.

    Parameters
    ----------
    tokens_BCND
        (B, C, N, D), or (B, N, D) for one channel.
    how
        ``"mean"``: the mean over tokens. ``"moments"``: the mean and the standard deviation over tokens. ``"dynamics"``: the mean over
        tokens and the standard deviation over time at each place, averaged over all places; then both over the places of the middle
        half along y and x, where the cell is.
    grid
        Where the N tokens are; for ``"dynamics"``.

    Returns
    -------
    torch.Tensor
        (B, C S D), with S statistics (:data:`STATISTICS`).
    """
    if how == "dynamics":
        assert grid is not None, "dynamics needs to know where tokens are"
        shape = (*tokens_BCND.shape[:-2], grid.t, grid.z, grid.y, grid.x, tokens_BCND.shape[-1])
        return _dynamics(tokens_BCND.reshape(shape)).flatten(start_dim=1)
    mean = tokens_BCND.mean(dim=-2)
    if how == "moments":
        mean = torch.cat([mean, tokens_BCND.std(dim=-2, correction=0)], dim=-1)
    return mean.flatten(start_dim=1)


def _dynamics(tokens_tzyxD: torch.Tensor) -> torch.Tensor:
    places_zyxE = torch.cat([tokens_tzyxD.mean(dim=-5), tokens_tzyxD.std(dim=-5, correction=0)], dim=-1)
    height, width = places_zyxE.shape[-3:-1]
    middle = places_zyxE[..., height // 4 : height - height // 4, width // 4 : width - width // 4, :]
    return torch.cat([part.mean(dim=(-4, -3, -2)) for part in (places_zyxE, middle)], dim=-1)
