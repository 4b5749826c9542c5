"""The grid of tokens that a clip becomes, and where each token lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from cellvjepa.errors import UserError

Axis = Literal["t", "z", "y", "x"]
AXES: tuple[Axis, Axis, Axis, Axis] = ("t", "z", "y", "x")


@dataclass(frozen=True)
class Grid:
    """Tokens of a clip along each axis; token ``((t * z + z) * y + y) * x + x``, so time varies slowest."""

    t: int
    z: int
    y: int
    x: int

    @property
    def per_step(self) -> int:
        """Tokens in one time step."""
        return self.z * self.y * self.x

    @property
    def tokens(self) -> int:
        """Tokens in the whole clip."""
        return self.t * self.per_step

    @property
    def long_axes(self) -> tuple[Axis, ...]:
        """Axes along which tokens differ in position: those with more than one token."""
        return tuple(axis for axis in AXES if getattr(self, axis) > 1)


def grid_of(frames: int, planes: int, size_y: int, size_x: int, tubelet: tuple[int, int, int, int]) -> Grid:
    """Return the grid into which a clip is cut.

    Parameters
    ----------
    frames, planes, size_y, size_x
        Extent of the clip. [frames, planes, px, px]
    tubelet
        Extent of one token along t, z, y, x. [frames, planes, px, px]

    Raises
    ------
    UserError
        If the clip cannot be cut into whole tubelets.
    """
    for extent, size, unit, remedy in zip(
        (frames, planes, size_y, size_x),
        tubelet,
        ("frames", "planes", "px in y", "px in x"),
        ("clip.frames", "clip.z", "clip.size_px", "clip.size_px"),
        strict=True,
    ):
        if extent < 1 or extent % size:
            raise UserError(
                f"a clip of {extent} {unit} cannot be cut into tubelets of {size}",
                f"change {remedy} or model.tubelet so that the one is a multiple of the other",
            )
    return Grid(frames // tubelet[0], planes // tubelet[1], size_y // tubelet[2], size_x // tubelet[3])


def positions_N4(grid: Grid, device: torch.device | None = None) -> torch.Tensor:
    """Return where each token of a grid lies, counted in tokens; made on the device where it is wanted, which need not be waited for.

    Returns
    -------
    torch.Tensor
        (N, 4) float32: t, z, y, x of every token, in the order of the tokens.
    """
    axes = (torch.arange(getattr(grid, axis), dtype=torch.float32, device=device) for axis in AXES)
    return torch.cartesian_prod(*axes)
