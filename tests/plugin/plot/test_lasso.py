"""Which points lie inside a drawn line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from napari_cellvjepa.plot.lasso import inside

SQUARE = np.array([[0.2, 0.2], [0.6, 0.2], [0.6, 0.6], [0.2, 0.6]])


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return np.random.default_rng(0).random((60_000, 2)).astype(np.float32)


@pytest.mark.parametrize("count", [10, 60_000])
def test_a_rectangle_holds_what_lies_between_its_sides(points: np.ndarray, count: int) -> None:
    x, y = points[:count].T
    np.testing.assert_array_equal(inside(points[:count], SQUARE), (x > 0.2) & (x < 0.6) & (y > 0.2) & (y < 0.6))


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 60), st.integers(0, 10_000))
def test_any_line_that_does_not_cross_itself_holds_what_matplotlib_says(corners: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    angle = np.sort(generator.random(corners)) * 2 * np.pi
    radius = 0.05 + 0.6 * generator.random(corners)
    line = 0.5 + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    points = generator.random((20_000, 2)).astype(np.float32)
    np.testing.assert_array_equal(inside(points, line), Outline([*line, line[0]], closed=True).contains_points(points))


def test_a_line_that_crosses_itself_has_a_hole(points: np.ndarray) -> None:
    turn = np.linspace(0, 2 * np.pi, 6)[:5]
    star = 0.5 + 0.4 * np.column_stack([np.sin(2 * turn), np.cos(2 * turn)])
    chosen = inside(points, star)
    assert not chosen[np.hypot(*(points - 0.5).T) < 0.1].any()  # the pentagon in the middle
    assert chosen.any()


@pytest.mark.parametrize("corners", [0, 1, 2])
def test_no_area_holds_nothing(points: np.ndarray, corners: int) -> None:
    assert not inside(points, SQUARE[:corners]).any()


def test_a_flat_line_and_unknown_places_hold_nothing(points: np.ndarray) -> None:
    assert not inside(points, np.array([[0, 0.5], [1, 0.5], [0.3, 0.5]])).any()
    unknown = np.full((3, 2), np.nan, np.float32)
    assert not inside(unknown, SQUARE).any()
