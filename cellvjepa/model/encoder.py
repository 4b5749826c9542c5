"""The encoder: a vision transformer over the tubelets of a clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from cellvjepa.model.grid import Axis, Grid, grid_of
from cellvjepa.model.layers import Frequencies, RotaryBlock, RotaryPositions, Through, gather_tokens, initialise, through
from cellvjepa.model.waves import with_wave_gains


@dataclass(frozen=True)
class EncoderShape:
    """What an encoder is; two encoders of the same shape can exchange weights.

    ``axes`` are those that positions are told apart by: the ones with more than one token in the grids it was made for.
    Pixels (0 and 1 are the movie's levels) are standardised as (v - ``pixel_mean``) / ``pixel_std``. ``wave_gains`` tell how strongly a
    new encoder sees each temporal cosine wave of a tubelet (:mod:`cellvjepa.model.waves`); they matter for initial weights alone.
    ``mlp_dim`` is the width of the hidden layers; 0: four times ``dim``, as usual.
    """

    tubelet: tuple[int, int, int, int]
    dim: int
    depth: int
    heads: int
    rope: Frequencies
    axes: tuple[Axis, ...]
    in_channels: int = 1
    pixel_mean: float = 0.5
    pixel_std: float = 0.25
    wave_gains: tuple[float, ...] = ()
    mlp_dim: int = 0

    def __post_init__(self) -> None:
        if min(*self.tubelet, self.dim, self.depth, self.heads, self.in_channels) < 1:
            raise ValueError("tubelet, dim, depth, heads and in_channels must be 1 or more")
        if self.mlp_dim < 0:
            raise ValueError("mlp_dim must be 1 or more, or 0 for four times dim")
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        if len(set(self.axes)) < len(self.axes):
            raise ValueError(f"axes {self.axes} must differ")
        if not (math.isfinite(self.pixel_mean) and math.isfinite(self.pixel_std) and self.pixel_std > 0):
            raise ValueError("pixel_mean must be finite and pixel_std above 0")
        if self.wave_gains and (len(self.wave_gains) != self.tubelet[0] or not all(map(math.isfinite, self.wave_gains))):
            raise ValueError("wave_gains must be finite and one for each frame of a tubelet")

    @property
    def tubelet_pixels(self) -> int:
        """Numbers in one tubelet."""
        t, z, y, x = self.tubelet
        return self.in_channels * t * z * y * x


class PatchEmbed(nn.Module):
    """Cuts a clip into tubelets and projects each: equal to a 4-d convolution whose stride is its kernel.

    Parameters
    ----------
    shape
        Shape of the encoder.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.proj = nn.Linear(shape.tubelet_pixels, shape.dim)

    def forward(self, pixels_BCTZYX: torch.Tensor, keep_BK: torch.Tensor | None = None) -> torch.Tensor:
        """Return (B, N, D) or, for chosen tokens, (B, K, D)."""
        tubelets = cut_tubelets(pixels_BCTZYX, self.shape.tubelet)
        if keep_BK is not None:  # before the projection: it is then computed for these alone
            tubelets = gather_tokens(tubelets, keep_BK)
        projected: torch.Tensor = self.proj((tubelets - self.shape.pixel_mean) / self.shape.pixel_std)
        return projected


class Encoder(nn.Module):
    """Turns a clip into tokens.

    Parameters
    ----------
    shape
        Its shape. The weights are PyTorch's defaults; :func:`new_encoder` draws them as V-JEPA 2 does.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbed(shape)
        self.positions = RotaryPositions(shape.axes, shape.dim // shape.heads, shape.rope)
        self.blocks = nn.ModuleList(RotaryBlock(shape.dim, shape.heads, shape.mlp_dim) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.dim, eps=1e-6)
        self.through: Through = through

    def forward(
        self,
        pixels_BCTZYX: torch.Tensor,
        keep_BK: torch.Tensor | None = None,
        scale_4: torch.Tensor | None = None,
        groups: Sequence[int] = (),
    ) -> torch.Tensor:
        """Encode clips, whole or only the tokens to keep (which then see only each other).

        Parameters
        ----------
        pixels_BCTZYX
            (B, C, T, Z, Y, X) float pixels as ``read_clip`` gives them: 0 and 1 are the movie's levels.
        keep_BK
            (B, K) int64 indices of tokens to keep; ``None``: all.
        scale_4
            (4,) or (B, 4) float: the clip's sampling along t, z, y, x relative to what the model was trained on, e.g.
            x = 2 for pixels twice as large. ``None``: the same.
        groups
            Sizes of successive groups of the tokens to keep, one for each mask, each of which sees only itself: the same as so many
            calls, in one. None: all see all.

        Returns
        -------
        torch.Tensor
            (B, N, D) or (B, K, D) tokens.

        Raises
        ------
        UserError
            If the clip cannot be cut into whole tubelets.
        """
        grid = self.grid_of(pixels_BCTZYX)
        rotation = self.positions(grid, pixels_BCTZYX.device, scale_4)
        if keep_BK is not None:
            rotation = rotation.at(keep_BK)
        tokens = self.patch_embed(pixels_BCTZYX, keep_BK)
        for block in self.blocks:
            tokens = self.through(block, tokens, rotation, groups)
        normed: torch.Tensor = self.norm(tokens)
        return normed

    def last_layers(self, pixels_BCTZYX: torch.Tensor, count: int, scale_4: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Return what the last ``count`` blocks give for whole clips, each (B, N, D), the last one normed as by :meth:`forward`."""
        rotation = self.positions(self.grid_of(pixels_BCTZYX), pixels_BCTZYX.device, scale_4)
        tokens = self.patch_embed(pixels_BCTZYX)
        given = []
        for block in self.blocks:
            tokens = self.through(block, tokens, rotation, ())
            given.append(tokens)
        return [*given[-count:-1], self.norm(tokens)]

    def grid_of(self, pixels_BCTZYX: torch.Tensor) -> Grid:
        """Return the grid into which clips are cut."""
        _, channels, frames, planes, size_y, size_x = pixels_BCTZYX.shape
        assert channels == self.shape.in_channels, (channels, self.shape)
        return grid_of(frames, planes, size_y, size_x, self.shape.tubelet)


def new_encoder(shape: EncoderShape, rng: torch.Generator) -> Encoder:
    """Return an encoder with random weights, the same for the same generator; PyTorch's own generator is left alone.

    Raises
    ------
    UserError
        If a head is too narrow to hold a position along each axis.
    """
    with torch.device("meta"):
        encoder = Encoder(shape)
    encoder.to_empty(device="cpu")
    initialise(encoder, encoder.blocks, rng)
    if shape.wave_gains:
        embedding = encoder.patch_embed.proj
        with torch.no_grad():
            embedding.weight.copy_(with_wave_gains(embedding.weight, shape.tubelet[0], shape.in_channels, shape.wave_gains))
    return encoder


def cut_tubelets(pixels_BCTZYX: torch.Tensor, tubelet: tuple[int, int, int, int]) -> torch.Tensor:
    """Return the pixels of each tubelet: (B, N, C t z y x), both in the order of the letters."""
    batch, channels, frames, planes, size_y, size_x = pixels_BCTZYX.shape
    t, z, y, x = tubelet
    cut = pixels_BCTZYX.reshape(batch, channels, frames // t, t, planes // z, z, size_y // y, y, size_x // x, x)
    return cut.permute(0, 2, 4, 6, 8, 1, 3, 5, 7, 9).reshape(batch, -1, channels * t * z * y * x)
