"""Animations play every frame, in step, for ever."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from cellvjepa.report.animations import animate


def frames_of(gif: bytes) -> list[np.ndarray]:
    return [np.asarray(frame.convert("L")).astype(int) for frame in ImageSequence.Iterator(Image.open(io.BytesIO(gif)))]


def test_every_frame_is_shown_side_by_side_with_its_values() -> None:
    rng = np.random.default_rng(0)
    clips = rng.uniform(0, 1, (3, 5, 6, 7))
    gif = animate(clips, zoom=2)
    frames = frames_of(gif)
    assert len(frames) == 5
    for t, frame in enumerate(frames):
        assert frame.shape == (12, 3 * 14 + 2 * 4)
        for c in range(3):
            np.testing.assert_allclose(frame[::2, c * 18 : c * 18 + 14 : 2], clips[c, t] * 254, atol=1)
        assert (frame[:, 14:18] == 255).all()


def test_it_loops_at_the_speed_asked_for() -> None:
    image = Image.open(io.BytesIO(animate([np.random.default_rng(0).uniform(size=(4, 8, 8))], frames_per_s=5)))
    assert (image.info["loop"], image.info["duration"]) == (0, 200)


def test_values_outside_the_limits_are_black_and_white() -> None:
    clip = np.array([[[-5.0, 10.0], [np.nan, 20.0]]])
    np.testing.assert_array_equal(frames_of(animate([clip], limits=(0, 20), zoom=1))[0], [[0, 127], [0, 254]])


def test_clips_of_different_shape_do_not_go_together() -> None:
    with pytest.raises(AssertionError):
        animate([np.zeros((4, 8, 8)), np.zeros((4, 8, 9))])
