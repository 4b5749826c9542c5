from __future__ import annotations

import pytest
import torch

from cellvjepa.embedding.motion import motion, motion_width


def moving(dy: int, dx: int, steps: int = 4, size: int = 12, dim: int = 32) -> torch.Tensor:
    """A pattern that moves by (dy, dx) tokens a step, (t, z, y, x, D)."""
    pattern = torch.randn(40, 40, dim, generator=torch.Generator().manual_seed(0))
    return torch.stack([pattern[14 - dy * t : 14 - dy * t + size, 14 - dx * t : 14 - dx * t + size] for t in range(steps)])[:, None]


def told(tokens: torch.Tensor) -> torch.Tensor:
    """(lag, area, number): averages over groups."""
    return motion(tokens).unflatten(-1, (-1, 2, 4, 2)).mean(dim=-1)


@pytest.mark.parametrize("step", [(1, 0), (0, -1), (1, 1)])
def test_what_moves_is_told_to_move_as_far_as_it_does(step: tuple[int, int]) -> None:
    found = told(moving(*step))
    far = torch.tensor(step).float().norm()
    # By three steps some of the pattern has left the crop, and those places go anywhere; in the middle nothing has after one.
    torch.testing.assert_close(found[0, 1, 0], far, atol=0.15, rtol=0)
    torch.testing.assert_close(found[0, 1, 3], far, atol=0.15, rtol=0)
    torch.testing.assert_close(found[1, 1, 3], 2 * far, atol=0.4, rtol=0)
    assert found[0, 1, 1].abs() < 0.1
    assert found[0, 1, 2] > 0.8


def test_what_rests_stays_and_is_like_itself() -> None:
    found = told(moving(0, 0))
    assert found[..., 3].max() < 0.05
    torch.testing.assert_close(found[..., 1], torch.ones(3, 2), atol=1e-4, rtol=0)
    assert found[..., 2].abs().max() < 1e-4
    assert (told(moving(1, 0))[..., 0] > found[..., 0]).all()


def test_what_is_everywhere_and_how_strong_it_is_do_not_count() -> None:
    tokens = moving(1, 0)
    light = torch.randn(4, 1, 1, 1, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(motion(tokens + light), motion(tokens), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(motion(7 * tokens), motion(tokens), atol=1e-4, rtol=1e-4)


def test_the_places_that_differ_most_count_most() -> None:
    tokens = 1e-3 * moving(0, 0)
    blob = torch.randn(2, 2, 32, generator=torch.Generator().manual_seed(2))
    for t in range(4):
        tokens[t, 0, 5:7, 3 + t : 5 + t] += blob
    assert told(tokens)[0, 0, 0] == pytest.approx(1, abs=0.2)


def test_batches_and_channels_are_apart_and_of_the_length_that_is_said() -> None:
    tokens = torch.randn(2, 3, 4, 2, 5, 6, 48, generator=torch.Generator().manual_seed(3))
    found = motion(tokens)
    assert found.shape == (2, 3, motion_width(48, 4)) == (2, 3, 3 * 2 * 4 * 3)
    torch.testing.assert_close(found[1, 2], motion(tokens[1, 2]))


@pytest.mark.parametrize(("steps", "dim", "size", "width"), [(1, 32, 4, 0), (2, 32, 4, 16), (2, 20, 1, 8), (9, 7, 2, 24)])
def test_short_clips_small_grids_and_odd_widths(steps: int, dim: int, size: int, width: int) -> None:
    found = motion(torch.randn(3, steps, 1, size, size, dim))
    assert found.shape == (3, width) == (3, motion_width(dim, steps))
    assert torch.isfinite(found).all()


def test_an_empty_clip_gives_numbers() -> None:
    assert torch.isfinite(motion(torch.zeros(4, 1, 3, 3, 32))).all()
