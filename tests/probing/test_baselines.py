from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellvjepa.probing.baselines import Features, handmade_features, no_features, track_features


def disc(frames: int, y: np.ndarray, x: np.ndarray, brightness: np.ndarray) -> np.ndarray:
    """A soft disc on a dark ground, 1 1 T 1 32 32, at (y, x) and of some brightness in each frame."""
    rows, columns = np.mgrid[:32, :32]
    shown = [b * np.exp(-((rows - v) ** 2 + (columns - u) ** 2) / 18) for v, u, b in zip(y, x, brightness, strict=True)]
    return np.stack(shown).astype(np.float32).reshape(1, 1, frames, 1, 32, 32)


def value(found: Features, name: str) -> float:
    return float(found.values_ND[0, found.names.index(f"{name} (c0)")])


def test_they_measure_what_they_say() -> None:
    time = np.arange(8)
    still, ones = np.full(8, 15.5), np.ones(8)
    resting = handmade_features(disc(8, still, still, ones), ("c0",))
    moving = handmade_features(disc(8, still, 12 + time * 1.0, ones), ("c0",))
    pulsing = handmade_features(disc(8, still, still, 1 + 0.5 * (-1.0) ** time), ("c0",))
    brightening = handmade_features(disc(8, still, still, 1 + 0.1 * time), ("c0",))
    for name in ("change: whole per frame", "change: centre first to last", "motion: net displacement", "rhythm: brightness spread"):
        assert value(resting, name) == pytest.approx(0, abs=1e-6)
    assert value(moving, "motion: net displacement") == pytest.approx(7, rel=0.25)
    assert value(moving, "motion: per frame") == pytest.approx(1, rel=0.25)
    assert value(pulsing, "motion: net displacement") < 0.1
    assert value(pulsing, "rhythm: brightness per frame") > 10 * value(moving, "rhythm: brightness per frame")
    assert value(pulsing, "rhythm: alike next frame") < -0.9
    assert value(brightening, "rhythm: brightness trend") > 0.02
    assert value(brightening, "intensity: centre mean") > value(resting, "intensity: centre mean")


def test_clips_do_not_depend_on_their_batch_and_channels_stand_side_by_side() -> None:
    clips = np.random.default_rng(0).random((5, 2, 6, 3, 16, 20)).astype(np.float32)
    together = handmade_features(clips, ("green", "red"))
    np.testing.assert_allclose(handmade_features(clips[3:4], ("green", "red")).values_ND[0], together.values_ND[3], rtol=1e-5, atol=1e-6)
    red = handmade_features(clips[:, 1:], ("red",))
    half = len(together.names) // 2
    assert together.names[half:] == red.names
    np.testing.assert_allclose(together.values_ND[:, half:], red.values_ND, rtol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_and_dark_clips_give_finite_numbers(frames: int) -> None:
    for clips in (np.zeros((2, 1, frames, 1, 8, 8), np.float32), np.random.default_rng(0).random((2, 1, frames, 1, 9, 8)).astype(np.float32)):
        found = handmade_features(clips, ("c0",))
        assert np.isfinite(found.values_ND).all()
    if frames == 1:
        assert (found.family("change", "motion").values_ND[:, :4] == 0).all()


def test_families_can_be_chosen() -> None:
    found = handmade_features(np.zeros((1, 1, 4, 1, 8, 8), np.float32), ("phase: odd/name",))
    chosen = found.family("change")
    assert chosen.values_ND.shape == (1, len(chosen.names))
    assert all(name.startswith("change: ") for name in chosen.names)
    assert len(chosen.names) == 8


def test_no_features_are_one_constant() -> None:
    assert no_features(3).values_ND.tolist() == [[0.0]] * 3


def test_tracks_alone() -> None:
    """Track 1 goes 3 px right in each frame and doubles in size; track 2 is seen once; track 3 is not in the table."""
    cells = pd.DataFrame(
        {
            "movie": "m",
            "track_id": [1, 1, 1, 1, 2],
            "t": [0, 1, 2, 3, 1],
            "y_px": 10.0,
            "x_px": [0.0, 3, 6, 9, 5],
            "area_px": [100.0, 120, 160, 200, np.nan],
        }
    )
    windows = pd.DataFrame({"movie": "m", "track_id": [1, 1, 2, 3], "t_start": [0, 0, 0, 0], "t_stop": [4, 2, 4, 4]})
    found = track_features(windows, cells)
    assert found.names[:3] == ("track: net displacement", "track: step", "track: straightness")
    assert found.values_ND[0].tolist() == pytest.approx([9, 3, 1, np.std([0, 3, 6, 9], ddof=1), 145, np.std([100, 120, 160, 200], ddof=1), 100])
    assert found.values_ND[1, :3].tolist() == [3, 3, 1]
    assert (found.values_ND[2:] == 0).all()
    assert track_features(windows, cells.drop(columns="area_px")).values_ND[0].tolist() == pytest.approx(
        [9, 3, 1, np.std([0, 3, 6, 9], ddof=1), 0, 0, 0]
    )
