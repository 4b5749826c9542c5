"""Transformer blocks with rotary positions over up to four axes, and initial weights.

Shapes in names: B clips, N tokens, K context tokens, M targets, D width, H heads, E width of one head; 4 is t, z, y, x.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import nn

from cellvjepa.errors import UserError
from cellvjepa.model.grid import AXES, Axis, Grid, positions_N4
from cellvjepa.model.torchvision_ops import import_torchvision

_TORCHVISION = import_torchvision()  # kept: the declarations vanish with the object

from timm.layers.mlp import Mlp  # noqa: E402 - timm needs torchvision
from timm.models.vision_transformer import Block  # noqa: E402

Frequencies = Literal["interleaved", "tiled"]


@dataclass(frozen=True)
class Rotation:
    """How the pairs of numbers in queries and keys turn with position, pairs read as complex numbers z.

    ``turn`` (..., N, 1, 1, E / 2) complex64 multiplies z; ``mirror``, of the same shape, multiplies the conjugate of z and is
    there for tiled frequencies only, where the two numbers of a pair turn by different angles.
    """

    turn: torch.Tensor
    mirror: torch.Tensor | None

    def at(self, index_BK: torch.Tensor) -> Rotation:
        """Return the rotation of chosen tokens of each clip, (B, K, 1, 1, E / 2)."""
        return Rotation(_at(self.turn, index_BK), None if self.mirror is None else _at(self.mirror, index_BK))

    def __call__(self, tokens_BNcHE: torch.Tensor) -> torch.Tensor:
        """Rotate; computed in float32, because angles need it, and returned so."""
        tokens = at_least_float32(tokens_BNcHE)
        z = torch.view_as_complex(tokens.reshape(*tokens.shape[:-1], -1, 2))
        rotated = z * self.turn if self.mirror is None else z * self.turn + z.conj() * self.mirror
        return torch.view_as_real(rotated).flatten(-2)


class RotaryAttention(nn.Module):
    """Self attention whose queries and keys are rotated by position (V-JEPA 2, arXiv 2506.09985, section 2.1).

    Parameters
    ----------
    dim, heads
        Width, and heads that share it.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens_BND: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        """Return (B, N, D)."""
        batch, count, width = tokens_BND.shape
        qkv: torch.Tensor = self.qkv(tokens_BND).view(batch, count, 3, self.heads, width // self.heads)
        q, k = rotation(qkv[:, :, :2]).transpose(1, 3).unbind(2)
        v = qkv[:, :, 2].transpose(1, 2)
        if v.device.type == "cpu":
            # On CPUs the backward pass of the fused kernel is three times slower in bfloat16 than in float32.
            with torch.autocast("cpu", enabled=False):
                mixed = F.scaled_dot_product_attention(q, k, v.to(q.dtype))
        else:
            mixed = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        projected: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class RotaryBlock(nn.Module):
    """Pre-norm transformer block with rotary attention.

    Parameters
    ----------
    dim, heads
        Width, and attention heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = RotaryAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = mlp(dim)

    def forward(self, tokens_BND: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        """Return (B, N, D)."""
        tokens: torch.Tensor = tokens_BND + self.attn(self.norm1(tokens_BND), rotation)
        return tokens + cast(torch.Tensor, self.mlp(self.norm2(tokens)))


def mlp(dim: int, ratio: float = 4.0, dropout: float = 0.0) -> nn.Module:
    """Return the two layers of a transformer block that look at one token at a time (exact GELU in between)."""
    return Mlp(dim, int(ratio * dim), drop=dropout)


def plain_block(dim: int, heads: int, mlp_ratio: float, dropout: float) -> nn.Module:
    """Return a pre-norm transformer block without positions, as the attentive pooler of V-JEPA 2 has them."""
    norm = cast(type[nn.Module], partial(nn.LayerNorm, eps=1e-5))
    return Block(dim, heads, mlp_ratio, qkv_bias=True, proj_drop=dropout, attn_drop=dropout, norm_layer=norm)


def rotation_of(positions_N4: torch.Tensor, axes: tuple[Axis, ...], head_dim: int, frequencies: Frequencies) -> Rotation:
    """Return the rotation of tokens at given positions.

    The head is split into equal even parts, one per axis, and what is left over is not rotated; along an axis the i-th of n
    pairs turns by position * 10000 ** (-i / n) (RoPE, arXiv 2104.09864, section 3.2.2). The two numbers of a pair are neighbours.
    V-JEPA 2 as released repeats the list of frequencies over a part's numbers (``tiled``) instead of each frequency for the
    numbers of a pair (``interleaved``, as V-JEPA 2.1); its weights need just that.

    Parameters
    ----------
    positions_N4
        (..., N, 4) float32 positions along t, z, y, x.
    axes
        Axes to rotate by.
    head_dim
        Numbers per attention head, E.
    frequencies
        Which of the two tables.
    """
    pairs = head_dim // len(axes) // 2 if axes else 0
    omega = 10000.0 ** (-torch.arange(pairs, dtype=torch.float32, device=positions_N4.device) / max(pairs, 1))
    parts = []
    for axis in axes:
        angles = positions_N4[..., AXES.index(axis), None] * omega
        parts.append(angles.repeat_interleave(2, dim=-1) if frequencies == "interleaved" else torch.cat([angles, angles], dim=-1))
    rest = positions_N4.new_zeros(*positions_N4.shape[:-1], head_dim - 2 * pairs * len(axes))
    # With sine s and cosine c at each of the two numbers of a pair: (c1 x1 - s1 x2, c2 x2 + s2 x1) = turn * z + mirror * conj(z).
    angles_NE = torch.cat([*parts, rest], dim=-1)
    first, second = angles_NE[..., 0::2], angles_NE[..., 1::2]
    turn = torch.complex(first.cos() + second.cos(), first.sin() + second.sin()) / 2
    mirror = torch.complex(first.cos() - second.cos(), second.sin() - first.sin()) / 2
    return Rotation(turn[..., None, None, :], None if frequencies == "interleaved" else mirror[..., None, None, :])


class RotaryPositions(nn.Module):
    """Gives the rotation of the tokens of a grid; that of the last grid is kept.

    Parameters
    ----------
    axes, head_dim, frequencies
        As in :func:`rotation_of`.

    Raises
    ------
    UserError
        If a head is too narrow to hold a position along each axis.
    """

    def __init__(self, axes: tuple[Axis, ...], head_dim: int, frequencies: Frequencies) -> None:
        super().__init__()
        if head_dim % 2 or head_dim < 2 * len(axes):
            raise UserError(
                f"attention heads of {head_dim} numbers cannot hold positions along {', '.join(axes) or 'no axis'}",
                f"choose fewer heads (model.heads, model.predictor_heads), so that each has an even number, {2 * len(axes)} at least",
            )
        self.axes = axes
        self.head_dim = head_dim
        self.frequencies: Frequencies = frequencies
        self._kept: tuple[Grid, torch.device, Rotation] | None = None

    def forward(self, grid: Grid, device: torch.device, scale_4: torch.Tensor | None = None) -> Rotation:
        """Return the rotation of all tokens of a grid.

        Parameters
        ----------
        grid
            The grid that tokens are numbered by.
        device
            Where it is wanted.
        scale_4
            (4,) or (B, 4) float: positions are multiplied by it.
        """
        if scale_4 is not None:
            scaled = positions_N4(grid).to(device) * scale_4.to(device, torch.float32).unsqueeze(-2)
            return rotation_of(scaled, self.axes, self.head_dim, self.frequencies)
        kept = self._kept
        if kept is None or kept[:2] != (grid, device):
            # A table made while inference_mode is on could not be used in training later.
            with torch.inference_mode(False):
                kept = (grid, device, rotation_of(positions_N4(grid).to(device), self.axes, self.head_dim, self.frequencies))
            self._kept = kept
        return kept[2]


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in float32, or as it is where it is more precise."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def gather_tokens(tokens_BND: torch.Tensor, index_BK: torch.Tensor) -> torch.Tensor:
    """Return the chosen tokens of each clip, (B, K, D)."""
    return tokens_BND.gather(1, index_BK.unsqueeze(-1).expand(-1, -1, tokens_BND.shape[-1]))


def _at(table: torch.Tensor, index_BK: torch.Tensor) -> torch.Tensor:
    if table.ndim == 4:
        return table[index_BK]
    return gather_tokens(table.flatten(2), index_BK)[:, :, None, None]


def initialise(module: nn.Module, blocks: Iterable[nn.Module], rng: torch.Generator) -> None:
    """Draw the initial weights of a module as V-JEPA 2 does, from ``rng`` alone.

    Matrices (mask tokens too) from a normal distribution of .02 cut at 2; biases 0; norms 1. Then the two matrices of the l-th
    block that write into the residual stream are divided by sqrt(2 l). V-JEPA draws them again after that division, so it trained
    without it; V-JEPA 2 keeps it, and so do we.

    Parameters
    ----------
    module
        Module to initialise, in place, with all it contains.
    blocks
        The transformer blocks in it, first to last.
    rng
        CPU generator.
    """
    with torch.no_grad():
        for part in module.modules():
            for name, parameter in part.named_parameters(recurse=False):
                if parameter.ndim > 1:
                    nn.init.trunc_normal_(parameter, std=0.02, generator=rng)
                else:
                    parameter.fill_(1.0 if isinstance(part, nn.LayerNorm) and name == "weight" else 0.0)
        for layer, block in enumerate(blocks, start=1):
            for written in (block.get_submodule("attn.proj"), block.get_submodule("mlp.fc2")):
                assert isinstance(written, nn.Linear)
                written.weight.div_(math.sqrt(2.0 * layer))
