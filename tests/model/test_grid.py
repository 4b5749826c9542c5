from __future__ import annotations

import pytest
import torch

from cellvjepa.errors import UserError
from cellvjepa.model.grid import Grid, grid_of, positions_N4


def test_a_clip_is_cut_along_each_axis_independently():
    assert grid_of(16, 8, 64, 96, (4, 2, 8, 16)) == Grid(4, 4, 8, 6)


def test_tokens_are_numbered_with_x_fastest_and_t_slowest():
    grid = Grid(2, 3, 4, 5)
    for token, (t, z, y, x) in enumerate(positions_N4(grid).tolist()):
        assert token == ((t * grid.z + z) * grid.y + y) * grid.x + x
    assert grid.tokens == 120
    assert grid.per_step == 60


def test_positions_are_float32():
    assert positions_N4(Grid(1, 1, 2, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("grid", "axes"), [(Grid(8, 1, 4, 4), ("t", "y", "x")), (Grid(1, 1, 4, 4), ("y", "x")), (Grid(2, 2, 2, 2), ("t", "z", "y", "x"))]
)
def test_axes_with_one_token_tell_nothing_apart(grid: Grid, axes: tuple[str, ...]):
    assert grid.long_axes == axes


@pytest.mark.parametrize(
    ("extent", "found", "remedy"),
    [
        ((15, 1, 64, 64), "15 frames cannot be cut into tubelets of 4", "clip.frames"),
        ((16, 3, 64, 64), "3 planes cannot be cut into tubelets of 2", "clip.z"),
        ((16, 2, 60, 64), "60 px in y cannot be cut into tubelets of 8", "clip.size_px"),
        ((16, 2, 64, 4), "4 px in x cannot be cut into tubelets of 8", "clip.size_px"),
    ],
)
def test_a_clip_that_cannot_be_cut_is_refused(extent: tuple[int, int, int, int], found: str, remedy: str):
    with pytest.raises(UserError, match=f"a clip of {found}.*change {remedy} or model.tubelet"):
        grid_of(*extent, (4, 2, 8, 8))
