from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.config import BlockMaskConfig, ForecastMaskConfig, MaskConfig
from cellvjepa.config.masks import LARGE_BLOCKS
from cellvjepa.errors import UserError
from cellvjepa.model.grid import Grid
from cellvjepa.model.masking import ASKED, NEITHER, SEEN, Mask, block_size, draw_masks, mask_of_clip, tokens_per_step

SHORT, LONG = MaskConfig().generators[0], LARGE_BLOCKS
grids = st.builds(Grid, st.integers(1, 16), st.integers(1, 4), st.integers(2, 32), st.integers(2, 32))
seeds = st.integers(0, 2**32 - 1)


@st.composite
def any_generator(draw: st.DrawFn) -> BlockMaskConfig:
    context = draw(st.floats(0.001, 0.999))
    low = draw(st.floats(0.05, 5.0))
    return BlockMaskConfig(
        blocks=draw(st.integers(1, 10)),
        area=draw(st.floats(0.001, 0.999)),
        aspect=(low, low * draw(st.floats(1.0, 4.0))),
        context_share=context,
        target_share=draw(st.floats(0.0005, 1 - context)),
    )


def _membership(grid: Grid, index_BK: torch.Tensor) -> np.ndarray:
    """Return (B, t, z, y, x) booleans that are true for the tokens named."""
    member = np.zeros((len(index_BK), grid.tokens), dtype=bool)
    np.put_along_axis(member, index_BK.numpy(), True, axis=1)
    return member.reshape(-1, grid.t, grid.z, grid.y, grid.x)


@settings(max_examples=60, deadline=None)
@given(grids, any_generator(), st.integers(1, 3), seeds)
def test_every_clip_and_every_time_step_has_exactly_the_same_counts(grid: Grid, generator: BlockMaskConfig, batch: int, seed: int):
    (mask,) = draw_masks(grid, [generator], batch, np.random.default_rng(seed))
    context, target = tokens_per_step(grid, generator)
    assert context >= 1
    assert target >= 1
    assert context + target <= grid.per_step
    for index, count in ((mask.context_BK, context), (mask.target_BM, target)):
        assert index.dtype == torch.int64
        assert index.shape == (batch, count * grid.t)
        assert (index.diff(dim=1) > 0).all()
        assert (_membership(grid, index).sum(axis=(2, 3, 4)) == count).all()
    assert not (_membership(grid, mask.context_BK) & _membership(grid, mask.target_BM)).any()


@settings(max_examples=30, deadline=None)
@given(grids, st.integers(1, 4), st.integers(1, 4), seeds)
def test_a_clips_masks_do_not_depend_on_the_batch_around_it(grid: Grid, batch: int, more: int, seed: int):
    few = draw_masks(grid, [SHORT, LONG], batch, np.random.default_rng(seed))
    many = draw_masks(grid, [SHORT, LONG], batch + more, np.random.default_rng(seed))
    for one, other in zip(few, many, strict=True):
        assert torch.equal(one.context_BK, other.context_BK[:batch])
        assert torch.equal(one.target_BM, other.target_BM[:batch])


@pytest.mark.parametrize(("share", "wanted"), [(0.1875, 12), (0.25, 16), (0.001, 1), (0.999, 63)])
def test_shares_are_rounded_to_tokens_of_a_time_step(share: float, wanted: int):
    generator = BlockMaskConfig(context_share=share, target_share=min(0.25, 1 - share))
    assert tokens_per_step(Grid(4, 1, 8, 8), generator)[0] == wanted


def test_on_the_default_grid_the_prototypes_counts_come_out():
    grid = Grid(4, 1, 8, 8)
    assert [tuple(grid.t * count for count in tokens_per_step(grid, generator)) for generator in (SHORT, LONG)] == [(48, 64), (24, 64)]


@settings(max_examples=200, deadline=None)
@given(st.floats(0.01, 0.99), st.floats(0.05, 20.0), st.integers(2, 32), st.integers(2, 64))
def test_blocks_fit_the_grid_and_keep_their_area(area: float, aspect: float, size_y: int, size_x: int):
    height, width = (int(side[0]) for side in block_size(area, np.array([aspect]), size_y, size_x))
    assert 1 <= height <= size_y
    assert 1 <= width <= size_x
    wanted = area * size_y * size_x
    assert abs(height * width - wanted) <= max(height, 1) / 2 or (width == 1 and wanted < height)


def test_on_a_wide_grid_a_large_block_becomes_wider_instead_of_smaller():
    # V-JEPA clips sides of 15.5 and 11.5 tokens to 8 x 11.5 of this 8 x 32 grid: 36 % instead of 70 %.
    height, width = block_size(0.7, np.array([1.35]), 8, 32)
    assert (height * width / (8 * 32)).item() == pytest.approx(0.7, abs=0.02)


def test_context_lies_outside_the_blocks_where_there_is_room():
    # One block of 6 x 6 hides 36 of 144 positions: 108 visible are room enough for 36 context tokens in each time step.
    grid, generator = Grid(3, 2, 12, 12), BlockMaskConfig(blocks=1, area=0.25, aspect=(1.0, 1.0), context_share=0.25, target_share=0.25)
    (mask,) = draw_masks(grid, [generator], 16, np.random.default_rng(0))
    targets = _membership(grid, mask.target_BM)
    for target, context in zip(targets, _membership(grid, mask.context_BK), strict=True):
        # All 36 hidden positions are targets at all times and in all planes, and they are a block.
        assert (target == target[:1, :1]).all()
        rows, columns = target[0, 0].any(axis=1).nonzero()[0], target[0, 0].any(axis=0).nonzero()[0]
        assert len(rows) == len(columns) == np.ptp(rows) + 1 == np.ptp(columns) + 1 == 6
        assert not context[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].any()


@settings(max_examples=60, deadline=None)
@given(grids, any_generator(), seeds)
def test_what_is_context_at_one_time_is_a_target_at_none(grid: Grid, generator: BlockMaskConfig, seed: int):
    # Else a target could be copied from the same place at another time, which is what blocks that span all time prevent.
    (mask,) = draw_masks(grid, [generator], 2, np.random.default_rng(seed))
    ever_context = _membership(grid, mask.context_BK).any(axis=1)
    ever_target = _membership(grid, mask.target_BM).any(axis=1)
    assert not (ever_context & ever_target).any()


def test_hidden_positions_are_given_back_where_blocks_leave_too_little():
    grid, generator = Grid(4, 1, 8, 8), BlockMaskConfig(blocks=4, area=0.95, context_share=0.25, target_share=0.25)
    (mask,) = draw_masks(grid, [generator], 64, np.random.default_rng(0))
    context = _membership(grid, mask.context_BK)
    assert (context == context[:, :1]).all()  # given back at all times alike
    assert (context[:, 0].mean(axis=0) > 0).all()  # at random places


def test_tokens_are_dropped_at_random_and_differently_at_each_time():
    grid = Grid(8, 1, 14, 14)
    (mask,) = draw_masks(grid, [SHORT], 64, np.random.default_rng(0))
    context = _membership(grid, mask.context_BK)
    assert (context[:, 0] != context[:, 1]).any()
    # No corner of the clip is favoured: V-JEPA's context at the last time step covered 1.7 % of positions, ours what is asked for.
    per_time = context.mean(axis=(0, 2, 3, 4))
    assert per_time == pytest.approx(np.full(8, SHORT.context_share), abs=0.003)
    early, late = context[:, :4].mean(axis=(0, 1, 2)), context[:, 4:].mean(axis=(0, 1, 2))
    assert np.abs(early - late).max() < 0.15


def test_long_masks_are_solid_and_short_masks_are_scattered():
    # Distance from a target to the nearest context token of its time step: the point of having two generators.
    grid = Grid(1, 1, 16, 16)
    nearest = []
    for mask in draw_masks(grid, [SHORT, LONG], 32, np.random.default_rng(0)):
        y, x = np.divmod(np.arange(grid.tokens), grid.x)
        distance = np.hypot(y[:, None] - y, x[:, None] - x)
        pairs = zip(mask.target_BM, mask.context_BK, strict=True)
        nearest.append(np.mean([distance[np.ix_(target, context)].min(axis=1).mean() for target, context in pairs]))
    assert nearest[1] > 1.5 * nearest[0]


def test_the_same_generator_state_gives_the_same_masks_and_another_gives_others():
    def draw(seed: int) -> Mask:
        return draw_masks(Grid(4, 1, 8, 8), [SHORT], 4, np.random.default_rng(seed))[0]

    assert torch.equal(draw(1).context_BK, draw(1).context_BK)
    assert not torch.equal(draw(1).context_BK, draw(2).context_BK)


def test_one_token_per_time_step_cannot_be_masked():
    with pytest.raises(UserError, match="one token per time step, so none can be hidden. make clip.size_px at least twice"):
        draw_masks(Grid(8, 1, 1, 1), [SHORT], 1, np.random.default_rng(0))


@settings(deadline=None, max_examples=60)
@given(
    t=st.integers(2, 9),
    side=st.integers(1, 6),
    past=st.floats(0.05, 0.95),
    seen=st.floats(0.05, 1.0),
    asked=st.floats(0.05, 1.0),
    seed=st.integers(0, 99),
)
def test_a_forecast_sees_the_past_and_asks_for_the_future(t: int, side: int, past: float, seen: float, asked: float, seed: int) -> None:
    """Every place that is seen is seen at all past steps, every place asked for is asked for at all later ones; counts are exact."""
    grid = Grid(t, 1, side, side + 1)
    generator = ForecastMaskConfig(past=past, context_places=seen, target_places=asked)
    (mask,) = draw_masks(grid, (generator,), 3, np.random.default_rng(seed))
    for context, target in zip(mask.context_BK.numpy(), mask.target_BM.numpy(), strict=True):
        early, late = context // grid.per_step, target // grid.per_step
        assert early.max() + 1 == late.min()
        assert late.max() == t - 1
        assert early.min() == 0
        for steps, tokens, share in ((early, context, seen), (late, target, asked)):
            places = np.unique(tokens % grid.per_step)
            assert len(places) == max(1, round(share * grid.per_step))
            assert len(np.unique(tokens)) == len(tokens) == len(places) * len(np.unique(steps))


def test_one_time_step_cannot_be_forecast() -> None:
    with pytest.raises(UserError, match="nothing can be forecast"):
        draw_masks(Grid(1, 1, 4, 4), (ForecastMaskConfig(),), 1, np.random.default_rng(0))


def test_the_mask_of_one_clip_is_what_is_drawn_for_it():
    """What the encoder sees is 1, what it is asked for 2, the rest 3; the same seed draws it again."""
    grid, generators = Grid(4, 1, 6, 5), (SHORT, ForecastMaskConfig())
    found = mask_of_clip(grid, generators, seed=5)
    assert found.shape == (2, 4, 1, 6, 5)
    for values, mask in zip(found, draw_masks(grid, generators, 1, np.random.default_rng(5)), strict=True):
        assert (values == SEEN).sum() == mask.context_BK.numel()
        np.testing.assert_array_equal(values == SEEN, _membership(grid, mask.context_BK)[0])
        np.testing.assert_array_equal(values == ASKED, _membership(grid, mask.target_BM)[0])
        np.testing.assert_array_equal(values == NEITHER, (values != SEEN) & (values != ASKED))
    np.testing.assert_array_equal(found, mask_of_clip(grid, generators, seed=5))
    assert (found != mask_of_clip(grid, generators, seed=6)).any()
