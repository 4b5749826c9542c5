"""How far places move is what was moved, and nothing else counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cellvjepa import sample_data_folder
from cellvjepa.model.displacement import WIDTH, displacement
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import random_clip, read_clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.readers import open_archive

TUBELET = (4, 1, 8, 8)


def moving(rows_per_step: int, columns_per_step: int, steps: int = 4, size_px: int = 64, planes: int = 1) -> torch.Tensor:
    """Return clips (2, 1, T, planes, Y, X) of a texture that jumps so many pixels from one tubelet to the next, and back at the edges."""
    noise = torch.randn(2, 1, size_px // 4, size_px // 4, generator=torch.Generator().manual_seed(0))
    texture = F.interpolate(noise, scale_factor=4, mode="nearest").repeat(1, 1, 2, 2)
    frames = [
        torch.roll(texture, (step * rows_per_step, step * columns_per_step), dims=(2, 3))[
            ..., size_px // 2 : -size_px // 2, size_px // 2 : -size_px // 2
        ]
        for step in range(steps)
    ]
    return torch.stack(frames, dim=2).repeat_interleave(TUBELET[0], dim=2)[:, :, :, None].expand(-1, -1, -1, planes, -1, -1)


def far(pixels: torch.Tensor, tubelet: tuple[int, int, int, int] = TUBELET) -> torch.Tensor:
    """Return the lengths, (B, t, z, y, x, lag), without the places at the border."""
    height, width = pixels.shape[4] // tubelet[2], pixels.shape[5] // tubelet[3]
    found = displacement(pixels, tubelet, 1.0).reshape(len(pixels), pixels.shape[2] // tubelet[0], -1, height, width, WIDTH)
    return found[:, :, :, 2:-2, 2:-2, ::2]


@pytest.mark.parametrize(("rows", "columns"), [(4, 0), (0, -4), (4, 4), (0, 8), (0, 0)])
def test_it_is_as_far_as_the_picture_was_moved(rows: int, columns: int) -> None:
    """In tubelets, for one step and, as far as it can see (12 px), for two."""
    expected = (rows**2 + columns**2) ** 0.5 / 8
    lengths = far(moving(rows, columns))
    assert torch.allclose(lengths[..., 0], torch.tensor(expected), atol=0.06)
    if max(abs(rows), abs(columns)) <= 4:
        assert torch.allclose(lengths[..., 1], torch.tensor(2 * expected), atol=0.12)


def test_moving_explains_what_changes_and_a_change_of_the_picture_is_not_explained_by_it() -> None:
    def gain(pixels: torch.Tensor) -> float:
        return float(displacement(pixels, TUBELET, 1.0)[..., 1].mean())

    other = torch.randn(2, 1, 16, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    assert gain(moving(0, 0)) == pytest.approx(0.0, abs=1e-6)
    assert gain(moving(4, 4)) > 3 * gain(other) > 0


def test_brightness_and_unit_leave_it_alone() -> None:
    pixels = moving(4, 0)
    plain = displacement(pixels, TUBELET, 1.0)
    assert torch.allclose(displacement(pixels + 7, TUBELET, 1.0), plain, atol=1e-3)
    assert torch.allclose(displacement(1000 * pixels, TUBELET, 1000.0), plain, atol=1e-4)


def test_faint_noise_goes_nowhere() -> None:
    faint = 0.02 * torch.randn(2, 1, 16, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert float(far(faint).max()) < 0.25 * float(far(50 * faint).max())


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_clips_too_short_for_a_lag_move_nowhere_at_it(steps: int) -> None:
    lengths = far(moving(4, 0, steps=steps))
    assert bool((lengths[..., 1] < 0.05).all()) == (steps < 3)
    assert bool((lengths[..., 0] < 0.05).all()) == (steps < 2)


def test_numbers_come_in_the_order_of_the_tokens() -> None:
    """Planes, rows and columns of their own: what moves in one corner of one plane is told there."""
    still = moving(0, 0, planes=2).clone()
    still[:, :, :, 1, :32] = moving(4, 0)[:, :, :, 0, :32]
    found = displacement(still, TUBELET, 1.0).reshape(2, 4, 2, 8, 8, WIDTH)[..., 0]
    assert torch.allclose(found[:, :, 1, 1:3], torch.tensor(0.5), atol=0.1)
    assert float(found[:, :, 0].max()) < 0.05
    assert float(found[:, :, 1, 5:].max()) < 0.05


def test_two_planes_of_a_tubelet_count_as_their_mean_and_oblong_tubelets_fit() -> None:
    pixels = moving(4, 0, planes=2)
    assert torch.allclose(displacement(pixels, (4, 2, 8, 8), 1.0), displacement(pixels[:, :, :, :1], TUBELET, 1.0), atol=1e-5)
    assert displacement(pixels, (2, 1, 16, 4), 1.0).shape == (2, 8 * 2 * 4 * 16, WIDTH)


def test_real_cells_that_stand_still_hardly_move_and_a_single_frame_not_at_all() -> None:
    """Gradients and edges draw a soft choice to one side, also where nothing moves."""
    movie = open_archive(sample_data_folder() / "migration_nuclei").movies[0]
    movie, shape = with_levels(movie), ClipShape(frames=16, interval_s=None, size_px=64, pixel_um=None, channels=None, z="max")
    clip = torch.from_numpy(read_clip(movie, random_clip(movie, shape, np.random.default_rng(0)), shape))[None]
    still = clip[:, :, :1].expand_as(clip)
    spread = float(clip.std())
    assert float(displacement(clip, TUBELET, spread)[..., ::2].mean()) > 2 * float(displacement(still, TUBELET, spread)[..., ::2].mean())
    assert float(displacement(clip[:, :, :4], TUBELET, spread).abs().max()) == 0.0
    assert float(displacement(clip[:, :, :8], TUBELET, spread)[..., 2:].abs().max()) == 0.0
