from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cellvjepa.errors import UserError
from cellvjepa.model import layers
from cellvjepa.model.grid import AXES, Axis, Grid, positions_N4
from cellvjepa.model.layers import Frequencies, RotaryAttention, RotaryBlock, RotaryPositions, attend, gather_tokens, initialise, rotation_of

ALL: tuple[Axis, ...] = AXES
PLANE: tuple[Axis, ...] = ("t", "y", "x")
both = pytest.mark.parametrize("frequencies", ["interleaved", "tiled"])


def _rotated(tokens_NE: torch.Tensor, positions_N4: torch.Tensor, axes: tuple[Axis, ...], frequencies: Frequencies) -> torch.Tensor:
    rotation = rotation_of(positions_N4, axes, tokens_NE.shape[-1], frequencies)
    return rotation(tokens_NE[None, :, None, None])[0, :, 0, 0]


def _reference(token_E: list[float], position_4: list[float], axes: tuple[Axis, ...], frequencies: Frequencies) -> list[float]:
    """Rotate one token with plain numbers: neighbours are a pair, and each number has an angle of its own."""
    pairs, rotated = len(token_E) // len(axes) // 2, list(token_E)
    for part, axis in enumerate(axes):
        for number in range(2 * pairs):
            exponent = (number // 2 if frequencies == "interleaved" else number % pairs) / pairs
            angle = position_4[AXES.index(axis)] * 10000**-exponent
            here = 2 * pairs * part + number
            turned = -token_E[here + 1] if number % 2 == 0 else token_E[here - 1]
            rotated[here] = token_E[here] * math.cos(angle) + turned * math.sin(angle)
    return rotated


@both
@pytest.mark.parametrize(("axes", "head_dim"), [(PLANE, 16), (PLANE, 64), (ALL, 20), (("y", "x"), 16), (("t",), 6)])
def test_rotation_is_the_formula(frequencies: Frequencies, axes: tuple[Axis, ...], head_dim: int):
    torch.manual_seed(0)
    positions, tokens = torch.rand(7, 4) * 30, torch.randn(7, head_dim)
    expected = [_reference(token, position, axes, frequencies) for token, position in zip(tokens.tolist(), positions.tolist(), strict=True)]
    torch.testing.assert_close(_rotated(tokens, positions, axes, frequencies), torch.tensor(expected), atol=1e-5, rtol=0)


def test_the_head_is_split_as_in_vjepa_2():
    # 64 -> 20 + 20 + 20 + 4: the numbers that change when only one axis moves.
    tokens = torch.ones(1, 64)
    for part, axis in enumerate(PLANE):
        position = torch.zeros(1, 4)
        position[0, AXES.index(axis)] = 3.0
        moved = (_rotated(tokens, position, PLANE, "interleaved") != 1).nonzero()[:, 1]
        assert moved.tolist() == list(range(20 * part, 20 * part + 20))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=4), st.integers(0, 1000))
def test_interleaved_attention_sees_differences_of_positions_only(shift: list[float], seed: int):
    rng = torch.Generator().manual_seed(seed)
    positions, q, k = torch.rand(5, 4, generator=rng) * 8, torch.randn(5, 24, generator=rng), torch.randn(5, 24, generator=rng)

    def scores(at: torch.Tensor) -> torch.Tensor:
        return _rotated(q, at, ALL, "interleaved") @ _rotated(k, at, ALL, "interleaved").T

    torch.testing.assert_close(scores(positions + torch.tensor(shift)), scores(positions), atol=1e-3, rtol=0)


@both
@settings(max_examples=25, deadline=None)
@given(grid=st.builds(Grid, st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)), factors=st.tuples(*[st.integers(1, 4)] * 4))
def test_a_coarser_sampling_lands_where_the_finer_grid_has_its_tokens(grid: Grid, factors: tuple[int, ...], frequencies: Frequencies):
    fine = Grid(*(size * factor for size, factor in zip((grid.t, grid.z, grid.y, grid.x), factors, strict=True)))
    on_fine = RotaryPositions(ALL, 16, frequencies)(fine, torch.device("cpu")).turn.reshape(fine.t, fine.z, fine.y, fine.x, -1)
    on_coarse = RotaryPositions(ALL, 16, frequencies)(grid, torch.device("cpu"), torch.tensor(factors).float())
    t, z, y, x = factors
    torch.testing.assert_close(on_coarse.turn.flatten(1), on_fine[::t, ::z, ::y, ::x].flatten(0, 3))


def test_a_scale_may_differ_from_clip_to_clip():
    positions, grid, device = RotaryPositions(PLANE, 12, "tiled"), Grid(2, 1, 3, 3), torch.device("cpu")
    scales = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 1.0, 0.5, 0.25]])
    index = torch.tensor([[0, 4, 17], [3, 3, 1]])
    together, chosen = positions(grid, device, scales), positions(grid, device, scales).at(index)
    assert together.mirror is not None
    assert chosen.mirror is not None
    for clip, scale in enumerate(scales):
        alone = positions(grid, device, scale)
        assert alone.mirror is not None
        torch.testing.assert_close(together.turn[clip], alone.turn)
        torch.testing.assert_close(chosen.turn[clip], alone.turn[index[clip]])
        torch.testing.assert_close(chosen.mirror[clip], alone.mirror[index[clip]])
    torch.testing.assert_close(together.turn[0], positions(grid, device).turn)


def test_angles_are_exact_under_bfloat16():
    positions = torch.full((1, 4), 255.0)
    tokens = torch.ones(1, 1, 1, 1, 6, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rotated = rotation_of(positions, PLANE, 6, "interleaved")(tokens)
    assert rotated.dtype == torch.float32
    assert rotated[0, 0, 0, 0, 0].item() == pytest.approx(math.cos(255.0) - math.sin(255.0), abs=1e-4)


def test_the_table_is_computed_once_for_a_grid_and_survives_inference_mode():
    positions, device = RotaryPositions(PLANE, 12, "interleaved"), torch.device("cpu")
    with torch.inference_mode():
        first = positions(Grid(2, 1, 2, 2), device)
    assert positions(Grid(2, 1, 2, 2), device) is first
    tokens = torch.randn(1, 8, 1, 1, 12, requires_grad=True)
    first(tokens).sum().backward()
    assert tokens.grad is not None
    assert positions(Grid(3, 1, 2, 2), device) is not first
    assert positions(Grid(2, 1, 2, 2), device) is first  # clips of two sizes may take turns
    for frames in range(4, 20):
        positions(Grid(frames, 1, 2, 2), device)
    assert len(positions._kept) <= 8


@pytest.mark.parametrize("head_dim", [4, 7])
def test_heads_too_narrow_for_positions_are_refused(head_dim: int):
    with pytest.raises(UserError, match=f"heads of {head_dim} numbers cannot hold positions along t, y, x. choose fewer heads .*6 at least"):
        RotaryPositions(PLANE, head_dim, "interleaved")


def test_attention_is_that_of_timm():
    from timm.layers.attention import AttentionRope

    torch.manual_seed(0)
    ours, theirs = RotaryAttention(32, 2), AttentionRope(32, 2, num_prefix_tokens=0)
    theirs.load_state_dict(ours.state_dict())
    tokens, positions = torch.randn(3, 12, 32), positions_N4(Grid(3, 1, 2, 2))
    rotation = rotation_of(positions, PLANE, 16, "interleaved")
    table = torch.cat([part.repeat_interleave(2, dim=-1) for part in (rotation.turn[..., 1], rotation.turn[..., 0])], dim=-1).flatten(1)
    torch.testing.assert_close(ours(tokens, rotation), theirs(tokens, rope=table), atol=1e-6, rtol=0)


def test_bfloat16_gives_nearly_the_same_attention():
    torch.manual_seed(0)
    block, tokens = RotaryBlock(32, 2), torch.randn(2, 8, 32)
    rotation = rotation_of(positions_N4(Grid(2, 1, 2, 2)), PLANE, 16, "interleaved")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = block(tokens, rotation)
    torch.testing.assert_close(low.float(), block(tokens, rotation), atol=0.03, rtol=0)


@pytest.mark.parametrize("at_once", [1, 40, 10**6])
def test_attention_in_pieces_is_attention(at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layers, "_SCORES_AT_ONCE", at_once)
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 8, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    exact = F.scaled_dot_product_attention(q.double(), k.double(), v.double())
    found = attend(q, k, v)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), exact, atol=0.02, rtol=0)
    weights = torch.randn(2, 3, 7, 8)
    expected = torch.autograd.grad((exact * weights).sum(), (q, k, v))
    for gradient, exact_gradient in zip(torch.autograd.grad((found * weights).sum(), (q, k, v)), expected, strict=True):
        torch.testing.assert_close(gradient, exact_gradient, atol=0.05, rtol=0)


def test_tokens_are_gathered_clip_by_clip():
    tokens, index = torch.arange(12.0).reshape(2, 3, 2), torch.tensor([[2, 0], [1, 1]])
    assert gather_tokens(tokens, index).tolist() == [[[4, 5], [0, 1]], [[8, 9], [8, 9]]]


def test_initial_weights_are_those_of_vjepa_2():
    blocks = nn.ModuleList(RotaryBlock(64, 4) for _ in range(4))
    before = torch.random.get_rng_state()
    initialise(blocks, blocks, torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.random.get_rng_state())
    for layer, block in enumerate(blocks, start=1):
        assert block.get_parameter("attn.qkv.weight").std().item() == pytest.approx(0.02, rel=0.05)
        for written in ("attn.proj.weight", "mlp.fc2.weight"):
            assert block.get_parameter(written).std().item() == pytest.approx(0.02 / math.sqrt(2 * layer), rel=0.05)
        assert (block.get_parameter("norm1.weight") == 1).all()
        assert (block.get_parameter("attn.qkv.bias") == 0).all()
