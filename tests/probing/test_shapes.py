from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import Clip, clip_at
from cellvjepa.movies.movie import Movie
from cellvjepa.probing.handmade import Features
from cellvjepa.probing.shapes import outline_features, shapes_of_clips, texture_features, window_features


def value(found: Features, name: str, row: int = 0) -> float:
    return float(found.values_ND[row, found.names.index(name)])


def movie_of(labels_TYX: np.ndarray, name: str = "m") -> Movie:
    axes = dict.fromkeys("TCZYX", "given")
    return Movie(f"{name}.tif", name, labels_TYX[:, None, None], ("c0",), None, None, axes, "none", labels_TYX.nbytes, levels=np.array([[0.0, 1.0]]))


@pytest.fixture
def outlines() -> Movie:
    """Cell 1 is a square of 6 px that becomes a bar of 6 x 12; cell 2 is far away.

    ::

        t=0..3   11      t=4..7   1111    2 in the corner, always
                 11               1111
    """
    frames = np.zeros((8, 40, 40), np.uint16)
    frames[:4, 17:23, 17:23] = 1
    frames[4:, 17:23, 14:26] = 1
    frames[:, 0:4, 0:4] = 2
    return movie_of(frames)


@pytest.fixture
def clip_shape() -> ClipShape:
    return ClipShape(frames=8, interval_s=None, size_px=32, pixel_um=None, channels=None, z="max")


def clip_of(movie: Movie, shape: ClipShape, *values: int) -> Clip:
    return replace(clip_at(movie, shape, 0, 19.5, 19.5), cell_values=values)


def test_outlines_are_measured_and_followed(outlines: Movie, clip_shape: ClipShape) -> None:
    found = outline_features({"m": outlines}, {"m": outlines}, [clip_of(outlines, clip_shape, 1)], clip_shape)
    assert value(found, "shape: area mean") == pytest.approx((36 + 72) / 2)
    assert value(found, "shape: area change") == 36
    assert value(found, "shape: area spread") == 18
    assert value(found, "shape: eccentricity change") > 0.5
    assert value(found, "shape: solidity mean") == pytest.approx(1)


def test_a_cell_that_is_never_seen_is_unknown(outlines: Movie, clip_shape: ClipShape) -> None:
    chosen = [clip_of(outlines, clip_shape, 1), clip_of(outlines, clip_shape, 7)]
    found = outline_features({"m": outlines}, {"m": outlines}, chosen, clip_shape)
    assert np.isfinite(found.values_ND[0]).all()
    assert np.isnan(found.values_ND[1]).all()
    assert shapes_of_clips({"m": outlines}, {}, chosen, clip_shape) is None
    assert shapes_of_clips({"m": outlines}, {"m": outlines}, [clip_of(outlines, clip_shape)], clip_shape) is None
    told: list[tuple[str, int, int]] = []
    whole = shapes_of_clips({"m": outlines}, {"m": outlines}, chosen, clip_shape, lambda *step: told.append(step))
    assert whole is not None
    np.testing.assert_array_equal(whole.values_ND, found.values_ND)
    assert told == [("outlines", 2, 2)]


def test_texture_tells_grain_from_smoothness() -> None:
    rng = np.random.default_rng(0)
    noise = rng.random((1, 1, 3, 1, 32, 32)).astype(np.float32)
    ramp = np.broadcast_to(np.linspace(0, 1, 32, dtype=np.float32), noise.shape).copy()
    rough, smooth = texture_features(noise, ("c0",)), texture_features(ramp, ("c0",))
    assert value(rough, "texture: contrast at 1 px (c0)") > 20 * value(smooth, "texture: contrast at 1 px (c0)")
    assert value(smooth, "texture: correlation at 1 px (c0)") > 0.9 > 0.2 > abs(value(rough, "texture: correlation at 1 px (c0)"))
    assert value(smooth, "texture: contrast at 4 px (c0)") > value(smooth, "texture: contrast at 1 px (c0)")


@pytest.mark.parametrize("side", [1, 3, 8])
def test_texture_of_dark_small_and_unknown_pixels_is_finite(side: int) -> None:
    dark = np.zeros((2, 2, 1, 2, side, side), np.float32)
    dark[0, 0] = np.nan
    found = texture_features(dark, ("a", "b"))
    assert found.values_ND.shape == (2, len(found.names)) == (2, 16)
    assert np.isfinite(found.values_ND).all()


def test_the_table_knows_how_cells_change() -> None:
    """Track 1 grows by 10 and goes 8 px right from window to window; track 2 has one window; -1 is a place on a grid."""
    table = pd.DataFrame(
        {
            "movie": "m",
            "track_id": [1, 1, 1, 2, -1],
            "t_start": [0, 8, 16, 0, 0],
            "y_px": 5.0,
            "x_px": [0.0, 8, 16, 30, 20],
            "area_px": [100.0, 110, 120, 50, np.nan],
            "intensity_dna": [1.0, 2, 3, 4, np.nan],
            "note": "x",
        }
    )
    found = window_features(table, np.array([1, 0, 3, 4]))
    assert "track: note" not in found.names
    assert [value(found, "track: area_px", row) for row in range(3)] == [110, 100, 50]
    assert [value(found, "track: net speed", row) for row in range(2)] == [1, 1]
    assert value(found, "track: change of area_px") == pytest.approx(20 / 16)
    assert value(found, "track: change of intensity_dna", 1) == pytest.approx(1 / 8)
    assert np.isnan(value(found, "track: net speed", 2))
    assert np.isnan(found.values_ND[3]).all()
    grid = window_features(table, np.array([4]))
    assert grid.values_ND.shape == (1, 0)
