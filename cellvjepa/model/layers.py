"""Transformer blocks with rotary positions over up to four axes, and initial weights.

Shapes in names: B clips, N tokens, K context tokens, M targets, D width, H heads, E width of one head; 4 is t, z, y, x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
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

_GRIDS_KEPT = 8  # tables of rotations: clips of training, those of a cool-down, pictures of a movie of another size
_SCORES_AT_ONCE = 2**20  # attention weights that fit into a cache of a processor, 2 MB in bfloat16


@dataclass(frozen=True)
class Rotation:
    """How the pairs of numbers in queries and keys turn with position, pairs read as complex numbers z.

    ``turn`` (..., N, 1, 1, E / 2, 2) float32, real and imaginary parts, multiplies z; ``mirror``, of the same shape, multiplies the
    conjugate of z and is there for tiled frequencies only, where the two numbers of a pair turn by different angles.
    """

    turn: torch.Tensor
    mirror: torch.Tensor | None

    def at(self, index_BK: torch.Tensor) -> Rotation:
        """Return the rotation of chosen tokens of each clip, (B, K, 1, 1, E / 2)."""
        return Rotation(_at(self.turn, index_BK), None if self.mirror is None else _at(self.mirror, index_BK))

    def __call__(self, tokens_BNcHE: torch.Tensor) -> torch.Tensor:
        """Rotate; computed in float32, because angles need it, and returned so."""
        pairs = at_least_float32(tokens_BNcHE).reshape(*tokens_BNcHE.shape[:-1], -1, 2)
        if torch.compiler.is_compiling():  # which knows no complex numbers, and fuses what is written out
            return self._written_out(pairs).flatten(-2)
        z, turn = torch.view_as_complex(pairs), torch.view_as_complex(self.turn)
        rotated = z * turn if self.mirror is None else z * turn + z.conj() * torch.view_as_complex(self.mirror)
        return torch.view_as_real(rotated).flatten(-2)

    def _written_out(self, pairs: torch.Tensor) -> torch.Tensor:
        (first, second), (real, imaginary) = pairs.unbind(-1), self.turn.unbind(-1)
        turned = [first * real - second * imaginary, first * imaginary + second * real]
        if self.mirror is not None:
            real, imaginary = self.mirror.unbind(-1)
            turned = [turned[0] + first * real + second * imaginary, turned[1] + first * imaginary - second * real]
        return torch.stack(turned, dim=-1)


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

    def forward(self, tokens_BND: torch.Tensor, rotation: Rotation, groups: Sequence[int] = ()) -> torch.Tensor:
        """Return (B, N, D).

        Parameters
        ----------
        tokens_BND
            Tokens.
        rotation
            By their positions.
        groups
            Sizes of successive groups of tokens which see only each other; none: all see all.
        """
        batch, count, width = tokens_BND.shape
        qkv: torch.Tensor = self.qkv(tokens_BND).view(batch, count, 3, self.heads, width // self.heads)
        qk, v = torch.split(qkv, [2, 1], dim=2)  # whose gradients are put together once; those of slices would be added up, full of zeros
        q, k = rotation(qk).transpose(1, 3).unbind(2)
        v = v.squeeze(2).transpose(1, 2)
        parts = zip(*(torch.split(part, list(groups), dim=2) for part in (q, k, v)), strict=True) if groups else [(q, k, v)]
        mixed = [attend(*part).transpose(1, 2) for part in parts]
        projected: torch.Tensor = self.proj((mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1)).flatten(2))
        return projected


def attend(q_BHNE: torch.Tensor, k_BHNE: torch.Tensor, v_BHNE: torch.Tensor) -> torch.Tensor:
    """Return softmax(q k / sqrt(E)) v, computed in the precision of v, (B, H, N, E)."""
    q, k = q_BHNE.to(v_BHNE.dtype), k_BHNE.to(v_BHNE.dtype)
    if v_BHNE.device.type != "cpu" or v_BHNE.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v_BHNE)
    # On CPUs the fused kernel is two to three times slower in bfloat16 than its parts one by one, on as much as fits into the cache.
    with torch.autocast("cpu", enabled=False):
        rows = max(1, _SCORES_AT_ONCE // k.shape[2])
        heads = max(1, rows // q.shape[2])
        scaled, turned_k, v = (q * q.shape[-1] ** -0.5).flatten(0, 1), k.flatten(0, 1).transpose(1, 2), v_BHNE.flatten(0, 1)
        mixed = []
        for few_q, few_k, few_v in zip(*(torch.split(part, heads) for part in (scaled, turned_k, v)), strict=True):
            mixed += [torch.cat([torch.softmax(part @ few_k, dim=-1) @ few_v for part in torch.split(few_q, rows, dim=1)], dim=1)]
        return torch.cat(mixed).view_as(v_BHNE)


class RotaryBlock(nn.Module):
    """Pre-norm transformer block with rotary attention.

    Parameters
    ----------
    dim, heads
        Width, and attention heads.
    mlp_dim
        Width of the hidden layer; 0: four times ``dim``.
    """

    def __init__(self, dim: int, heads: int, mlp_dim: int = 0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = RotaryAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = mlp(dim, mlp_dim)

    def forward(self, tokens_BND: torch.Tensor, rotation: Rotation, groups: Sequence[int] = ()) -> torch.Tensor:
        """Return (B, N, D); ``groups`` as for :class:`RotaryAttention`."""
        tokens: torch.Tensor = tokens_BND + self.attn(self.norm1(tokens_BND), rotation, groups)
        return tokens + cast(torch.Tensor, self.mlp(self.norm2(tokens)))


Through = Callable[[nn.Module, torch.Tensor, Rotation, Sequence[int]], torch.Tensor]


def through(block: nn.Module, tokens_BND: torch.Tensor, rotation: Rotation, groups: Sequence[int]) -> torch.Tensor:
    """Send tokens through a block; what :mod:`cellvjepa.model.compiled` replaces to make it faster, or to keep less."""
    return cast(torch.Tensor, block(tokens_BND, rotation, groups))


def mlp(dim: int, hidden_dim: int = 0, dropout: float = 0.0) -> nn.Module:
    """Return the two layers of a transformer block that look at one token at a time (exact GELU in between); 0: four times as wide inside."""
    return Mlp(dim, hidden_dim or 4 * dim, drop=dropout)


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
    turn, mirror = (torch.view_as_real(table)[..., None, None, :, :] for table in (turn, mirror))
    return Rotation(turn, None if frequencies == "interleaved" else mirror)


class RotaryPositions(nn.Module):
    """Gives the rotation of the tokens of a grid; those of the last few grids are kept.

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
        self._kept: dict[tuple[Grid, torch.device], Rotation] = {}

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
            scaled = positions_N4(grid, device) * scale_4.to(device, torch.float32).unsqueeze(-2)
            return rotation_of(scaled, self.axes, self.head_dim, self.frequencies)
        kept = self._kept.get((grid, device))
        if kept is None:
            # A table made while inference_mode is on could not be used in training later.
            with torch.inference_mode(False):
                kept = rotation_of(positions_N4(grid, device), self.axes, self.head_dim, self.frequencies)
            if len(self._kept) == _GRIDS_KEPT:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[grid, device] = kept
        return kept


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in float32, or as it is where it is more precise."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def gather_tokens(tokens_BND: torch.Tensor, index_BK: torch.Tensor) -> torch.Tensor:
    """Return the chosen tokens of each clip, (B, K, D)."""
    return tokens_BND.gather(1, index_BK.unsqueeze(-1).expand(-1, -1, tokens_BND.shape[-1]))


def _at(table: torch.Tensor, index_BK: torch.Tensor) -> torch.Tensor:
    if table.ndim == 5:
        return table[index_BK]
    return gather_tokens(table.flatten(2), index_BK).reshape(*index_BK.shape, *table.shape[2:])


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
