from __future__ import annotations

import pytest
import torch

from cellvjepa.embedding.motion import motion
from cellvjepa.embedding.pooling import STATISTICS, Pool, pool, statistics_of
from cellvjepa.model.grid import Grid
from cellvjepa.probing.attentive import pooled_dynamics

GRID = Grid(4, 2, 6, 5)
TOKENS = torch.randn(3, 2, GRID.tokens, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("how", STATISTICS)
def test_a_vector_is_as_long_as_its_statistics_say(how: Pool) -> None:
    assert pool(TOKENS, how, GRID).shape == (3, 2 * len(statistics_of(how, 7, GRID.t)))
    torch.testing.assert_close(pool(TOKENS[:, 0], how, GRID), pool(TOKENS[:, :1], how, GRID))


def test_all_begin_with_the_mean() -> None:
    for how in STATISTICS:
        torch.testing.assert_close(pool(TOKENS[:, 0], how, GRID)[:, :7], TOKENS[:, 0].mean(dim=1))


def test_dynamics_are_what_the_attentive_probe_begins_with() -> None:
    on_grid = TOKENS.unflatten(2, (GRID.t, GRID.z, GRID.y, GRID.x)).numpy()
    torch.testing.assert_close(pool(TOKENS, "dynamics", GRID).double(), torch.from_numpy(pooled_dynamics(on_grid)), atol=1e-5, rtol=1e-5)


def test_what_stands_still_has_no_change_and_time_may_run_backwards() -> None:
    one_step = TOKENS.unflatten(2, (GRID.t, -1))[:, :, :1]
    still = one_step.expand(-1, -1, GRID.t, -1, -1).flatten(2, 3)
    changes = pool(still, "dynamics", GRID).unflatten(1, (2, 4, 7))[:, :, [1, 3]]
    assert changes.abs().max() < 1e-6
    backwards = TOKENS.unflatten(2, (GRID.t, -1)).flip(2).flatten(2, 3)
    torch.testing.assert_close(pool(backwards, "dynamics", GRID), pool(TOKENS, "dynamics", GRID))


def test_motion_is_dynamics_and_more() -> None:
    both = pool(TOKENS, "motion", GRID).unflatten(1, (2, -1))
    assert torch.equal(both[..., :28].flatten(1), pool(TOKENS, "dynamics", GRID))
    on_grid = TOKENS.unflatten(2, (GRID.t, GRID.z, GRID.y, GRID.x))
    assert torch.equal(both[..., 28:], motion(on_grid))
    assert statistics_of("motion", 7, GRID.t).count("motion") == both.shape[-1] - 28


def cover_of(*tokens: int) -> torch.Tensor:
    cover = torch.zeros(3, GRID.tokens)
    cover[:, list(tokens)] = 0.5
    return cover


@pytest.mark.parametrize("how", STATISTICS)
def test_without_weight_or_cover_the_outline_changes_nothing(how: Pool) -> None:
    plain = pool(TOKENS, how, GRID)
    assert torch.equal(pool(TOKENS, how, GRID, cover_of(3, 4), 0.0), plain)
    torch.testing.assert_close(pool(TOKENS, how, GRID, cover_of(), 1.0), plain)
    torch.testing.assert_close(pool(TOKENS[:, 0], how, GRID, cover_of(3, 4), 0.7), pool(TOKENS[:, :1], how, GRID, cover_of(3, 4), 0.7))


def test_full_weight_leaves_the_tokens_under_the_outline() -> None:
    cover = cover_of(3, 10)
    cover[:, 10] = 0.25  # covered half as much as the other
    expected = (2 * TOKENS[:, :, 3] + TOKENS[:, :, 10]) / 3
    torch.testing.assert_close(pool(TOKENS, "mean", GRID, cover, 1.0), expected.flatten(1))
    spread = ((2 * (TOKENS[:, :, 3] - expected) ** 2 + (TOKENS[:, :, 10] - expected) ** 2) / 3).sqrt()
    torch.testing.assert_close(pool(TOKENS, "moments", GRID, cover, 1.0).unflatten(1, (2, 2, 7))[:, :, 1], spread)


def test_the_weight_mixes_averages() -> None:
    cover = cover_of(3, 50)
    none, full = (pool(TOKENS, "mean", GRID, cover, weight) for weight in (0.0, 1.0))
    torch.testing.assert_close(pool(TOKENS, "mean", GRID, cover, 0.3), 0.7 * none + 0.3 * full)
    none, some, full = (pool(TOKENS, "dynamics", GRID, cover, weight).unflatten(1, (2, 4, 7)) for weight in (0.0, 0.3, 1.0))
    torch.testing.assert_close(some, 0.7 * none + 0.3 * full)
    assert torch.equal(none[:, :, :2], full[:, :, :2])  # what is all around stays


def test_the_outline_takes_the_place_of_the_middle() -> None:
    # In time step 0 the cell is at y 0, x 0; in the others it is not there: a place counts as often as it is covered.
    found = pool(TOKENS, "dynamics", GRID, cover_of(0), 1.0).unflatten(1, (2, 4, 7))
    place = TOKENS.unflatten(2, (GRID.t, GRID.z, GRID.y, GRID.x))[:, :, :, 0, 0, 0]
    torch.testing.assert_close(found[:, :, 2], place.mean(dim=2))
    torch.testing.assert_close(found[:, :, 3], place.std(dim=2, correction=0))
