"""The plot: what is drawn, and what the mouse does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_cellvjepa.plot import dots
from napari_cellvjepa.plot.palette import colouring, plain
from napari_cellvjepa.plot.scatter import Scatter
from tests.plugin import mouse

CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)  # of the unit square, and one point in the middle
POINTS = np.array([*CORNERS, [0.5, 0.5]])


@pytest.fixture
def plot(qtbot: Any) -> Any:
    widget = Scatter()
    widget.resize(400, 400)
    widget.show()
    qtbot.addWidget(widget, before_close_func=lambda it: it.close_canvas())
    qtbot.waitExposed(widget)
    return widget


def fill(plot: Scatter, points: np.ndarray = POINTS, chosen: np.ndarray | None = None) -> None:
    chosen = np.zeros(len(points), bool) if chosen is None else chosen
    plot.show_points(points[:, 0], points[:, 1], True, plain(len(points)), chosen)


def canvas(plot: Scatter) -> Any:
    return plot._canvas.native


def listen(signal: Any) -> list[Any]:
    heard: list[Any] = []
    signal.connect(lambda *values: heard.append(values if len(values) > 1 else values[0]))
    return heard


def around(plot: Scatter, row: int, reach_px: float = 12) -> list[tuple[float, float]]:
    """Corners of a small diamond around a row."""
    x, y = plot.position_px(row)
    return [(x - reach_px, y), (x, y - reach_px), (x + reach_px, y), (x, y + reach_px), (x - reach_px, y)]


def test_a_click_picks_the_point_and_beside_it_none(plot: Scatter) -> None:
    fill(plot)
    picked = listen(plot.picked)
    mouse.click(canvas(plot), plot.position_px(2))
    x, y = plot.position_px(4)
    mouse.click(canvas(plot), (x + 40, y))
    assert picked == [2, -1]


def test_a_lasso_encloses_what_lies_inside(plot: Scatter) -> None:
    fill(plot)
    plot.tool = "lasso"
    enclosed = listen(plot.enclosed)
    mouse.drag(canvas(plot), around(plot, 4))
    ((rows, how),) = enclosed
    assert rows.tolist() == [False] * 4 + [True]
    assert how == "new"


def test_a_rectangle_encloses_what_lies_inside(plot: Scatter) -> None:
    fill(plot)
    plot.tool = "rectangle"
    enclosed = listen(plot.enclosed)
    (x0, y0), (x1, y1) = plot.position_px(0), plot.position_px(1)
    mouse.drag(canvas(plot), [(x0 - 8, y0 - 8), (x1, y1), (x1 + 8, y1 + 8)])
    assert enclosed[0][0].tolist() == [True, True, False, False, False]


@pytest.mark.parametrize(("keys", "how"), [(mouse.NO_KEY, "subtract"), (mouse.SHIFT, "add"), (mouse.ALT, "subtract")])
def test_keys_say_more_than_buttons(plot: Scatter, keys: Any, how: str) -> None:
    fill(plot)
    plot.tool, plot.how = "lasso", "subtract"
    enclosed = listen(plot.enclosed)
    mouse.drag(canvas(plot), around(plot, 0), keys)
    assert enclosed[0][1] == how


def test_shift_draws_a_lasso_while_the_tool_is_pan(plot: Scatter) -> None:
    fill(plot)
    enclosed, before = listen(plot.enclosed), plot.seen()
    mouse.drag(canvas(plot), around(plot, 3), mouse.SHIFT)
    assert enclosed[0][0].tolist() == [False, False, False, True, False]
    assert plot.seen() == before


def test_dragging_moves_the_plot_with_the_mouse(plot: Scatter) -> None:
    fill(plot)
    picked = listen(plot.picked)
    x, y = plot.position_px(4)
    mouse.drag(canvas(plot), [(x, y), (x + 20, y + 10), (x + 50, y + 30)])
    np.testing.assert_allclose(plot.position_px(4), (x + 50, y + 30), atol=0.5)
    assert picked == []
    plot.reset_view()
    np.testing.assert_allclose(plot.position_px(4), (x, y), atol=0.5)


def test_the_point_under_the_mouse_is_told_and_when_it_is_left(plot: Scatter, qtbot: Any) -> None:
    fill(plot)
    hovered = listen(plot.hovered)
    mouse.move(canvas(plot), plot.position_px(1))
    qtbot.waitUntil(lambda: hovered == [1])
    mouse.move(canvas(plot), (200, 120))
    qtbot.waitUntil(lambda: len(hovered) > 1)
    assert hovered == [1, -1]


def test_rows_without_a_place_are_neither_drawn_nor_enclosed(plot: Scatter) -> None:
    points = POINTS.copy()
    points[4] = np.nan
    fill(plot, points)
    plot.tool = "rectangle"
    enclosed = listen(plot.enclosed)
    mouse.drag(canvas(plot), [(1, 1), (200, 200), (398, 398)])
    assert enclosed[0][0].tolist() == [True] * 4 + [False]


@pytest.mark.parametrize("points", [np.empty((0, 2)), np.full((3, 2), np.nan), np.ones((1, 2)), np.array([[1e9, 1e9], [1e9 + 1e-3, 1e9]])])
def test_a_plot_of_next_to_nothing(plot: Scatter, points: np.ndarray) -> None:
    fill(plot, points)
    picked = listen(plot.picked)
    mouse.click(canvas(plot), (200, 200))
    assert len(picked) == 1
    plot.mark(len(points) - 1 if len(points) else None)
    plot.refine()


def colour_at(plot: Scatter, row: int) -> np.ndarray:
    picture = plot.picture()
    scale = picture.shape[0] / canvas(plot).height()
    x, y = plot.position_px(row)
    return picture[round(y * scale), round(x * scale), :3].astype(int)


def test_points_have_their_colours_and_fade_when_others_are_selected(plot: Scatter) -> None:
    colours = colouring("cluster", np.array(["0", "0", "1", "1", "unassigned"], dtype=object))
    none, last = np.zeros(5, bool), np.arange(5) == 4
    plot.show_points(POINTS[:, 0], POINTS[:, 1], True, colours, none)
    np.testing.assert_allclose(colour_at(plot, 0), (0xE6, 0x9F, 0x00), atol=6)
    np.testing.assert_allclose(colour_at(plot, 2), (0x56, 0xB4, 0xE9), atol=6)
    plot.paint(colours, last)
    assert colour_at(plot, 0).max() < 90
    np.testing.assert_allclose(colour_at(plot, 4), (0x8C,) * 3, atol=6)


def test_many_points_are_drawn_as_density_and_selected_all_the_same(plot: Scatter, monkeypatch: pytest.MonkeyPatch, qtbot: Any) -> None:
    monkeypatch.setattr(dots, "MOST_MARKERS", 1000)
    monkeypatch.setattr(dots, "MOST_SMOOTH", 1000)
    points = np.random.default_rng(0).random((5000, 2))
    fill(plot, points)
    assert plot.dots._picture.visible
    assert not plot.dots._markers.visible
    plot.tool = "rectangle"
    enclosed = listen(plot.enclosed)
    (x0, y0), (x1, y1) = np.round(plot._view.scene.transform.map([[0.25, 0.25], [0.75, 0.75]])[:, :2])
    mouse.drag(canvas(plot), [(x0, y0), (x1, y1)])
    (low_x, low_y), (high_x, high_y) = plot._in_plane((x0, y0)), plot._in_plane((x1, y1))
    inside = (plot.dots.points_N2 > (low_x, low_y)).all(axis=1) & (plot.dots.points_N2 < (high_x, high_y)).all(axis=1)
    np.testing.assert_array_equal(enclosed[0][0], inside)
    assert 1000 < inside.sum() < 1500

    plot.look_at(dots.Box(0.4, 0.4, 0.1, 0.1))  # so near that few are left
    qtbot.waitUntil(lambda: plot.dots._markers.visible)
    assert not plot.dots._picture.visible


def test_more_points_than_markers_are_good_for_are_stamped_where_they_are(plot: Scatter, monkeypatch: pytest.MonkeyPatch, qtbot: Any) -> None:
    monkeypatch.setattr(dots, "MOST_SMOOTH", 4)
    colours = colouring("cluster", np.array(["0", "0", "1", "1", "unassigned"], dtype=object))
    plot.show_points(POINTS[:, 0], POINTS[:, 1], True, colours, np.zeros(5, bool))
    assert plot.dots._picture.visible
    assert not plot.dots._markers.visible
    for row, colour in ((0, (0xE6, 0x9F, 0x00)), (2, (0x56, 0xB4, 0xE9)), (4, (0x8C,) * 3)):
        np.testing.assert_allclose(colour_at(plot, row), colour, atol=6)
    box = plot.seen()
    plot.look_at(dots.Box(box.x + 0.1, box.y, box.width, box.height))  # what is drawn moves along, before it is drawn anew and after
    np.testing.assert_allclose(colour_at(plot, 4), (0x8C,) * 3, atol=6)
    qtbot.waitUntil(lambda: not plot._refining.isActive())
    np.testing.assert_allclose(colour_at(plot, 4), (0x8C,) * 3, atol=6)
    plot.paint(colours, np.arange(5) == 1)
    assert colour_at(plot, 2).max() < 90
    np.testing.assert_allclose(colour_at(plot, 1), (0xE6, 0x9F, 0x00), atol=6)


def test_a_colour_is_drawn_in_the_density_too(plot: Scatter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dots, "MOST_MARKERS", 100)
    monkeypatch.setattr(dots, "MOST_SMOOTH", 100)
    points = np.repeat(POINTS, 100, axis=0) + np.random.default_rng(0).normal(0, 1e-3, (500, 2))
    colours = colouring("cluster", np.repeat(["0", "1", "2", "3", "4"], 100).astype(object))
    plot.show_points(points[:, 0], points[:, 1], True, colours, np.zeros(500, bool))
    assert plot.dots._picture.visible
    red, green, blue = colour_at(plot, 150)
    assert blue > green > red  # sky blue


@pytest.mark.parametrize(("keys", "expected"), [(POINTS[:, 0] * 1e6 + 1e9, 1e9)])
def test_limits_are_in_the_units_of_the_columns(plot: Scatter, keys: np.ndarray, expected: float) -> None:
    plot.show_points(keys, POINTS[:, 1], False, plain(5), np.zeros(5, bool))
    (x0, x1), (y0, y1) = plot.limits()
    assert x0 == pytest.approx(expected - 6e4, abs=1e3)
    assert x1 == pytest.approx(expected + 1.06e6, abs=1e3)
    assert (y0, y1) == (pytest.approx(-0.06, abs=1e-3), pytest.approx(1.06, abs=1e-3))


def test_closing_while_something_is_pending(qtbot: Any) -> None:
    plot = Scatter()
    plot.show()
    fill(plot)
    told = listen(plot.hovered)
    mouse.move(canvas(plot), plot.position_px(1))
    plot._refining.start()
    assert plot._hovering.isActive()
    plot.close_canvas()
    plot.close()
    qtbot.wait(200)
    assert told == []
    assert not plot._hovering.isActive()
    assert not plot._refining.isActive()
