from __future__ import annotations

import numpy as np

from cellvjepa.movies.clips import Clip
from cellvjepa.probing.timeless import held_still, shuffled


def clips(count: int, frames: int) -> tuple[np.ndarray, list[Clip]]:
    """Clips whose pixels say which frame they are."""
    pixels = np.broadcast_to(np.arange(frames, dtype=np.float32)[:, None, None, None], (count, 2, frames, 1, 3, 3)).copy()
    return pixels, [Clip("m", 0, 1, 0, 0, 0, (1, 3, 3), f"m#{i}") for i in range(count)]


def test_a_clip_held_still_shows_its_middle_frame() -> None:
    pixels, _ = clips(2, 8)
    still = held_still(pixels)
    assert still.shape == pixels.shape
    assert (still == 4).all()


def test_shuffled_frames_are_the_same_frames_in_another_order() -> None:
    pixels, addresses = clips(20, 8)
    found = shuffled(pixels, addresses, seed=0)
    orders = found[:, 0, :, 0, 0, 0]
    assert (np.sort(orders, axis=1) == np.arange(8)).all()
    assert len(np.unique(orders, axis=0)) > 15
    assert (found == found[:, :1]).all(), "channels must stay together"
    assert not (np.abs(np.diff(orders, axis=1)) == 1).all(axis=1).any()


def test_the_order_follows_the_clip_and_the_seed_not_the_batch() -> None:
    pixels, addresses = clips(6, 8)
    whole = shuffled(pixels, addresses, seed=0)
    np.testing.assert_array_equal(shuffled(pixels[3:4], addresses[3:4], seed=0)[0], whole[3])
    assert (shuffled(pixels, addresses, seed=1) != whole).any()


def test_short_clips() -> None:
    for frames, order in ((1, [0]), (2, [1, 0])):
        pixels, addresses = clips(5, frames)
        assert shuffled(pixels, addresses, seed=0)[:, 0, :, 0, 0, 0].tolist() == [order] * 5
    pixels, addresses = clips(40, 3)
    orders = shuffled(pixels, addresses, seed=0)[:, 0, :, 0, 0, 0].tolist()
    assert [0, 1, 2] not in orders
    assert [2, 1, 0] not in orders
