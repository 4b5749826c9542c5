from __future__ import annotations

import pytest
import torch

from cellvjepa.embedding.pooling import STATISTICS, Pool, pool
from cellvjepa.model.grid import Grid
from cellvjepa.probing.attentive import pooled_dynamics

GRID = Grid(4, 2, 6, 5)
TOKENS = torch.randn(3, 2, GRID.tokens, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("how", STATISTICS)
def test_a_vector_is_as_long_as_its_statistics_say(how: Pool) -> None:
    assert pool(TOKENS, how, GRID).shape == (3, 2 * len(STATISTICS[how]) * 7)
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
