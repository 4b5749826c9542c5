"""Ticks, titles, and what they say about a plot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_cellvjepa.plot.axes import Axis, AxisStrip, ticks, titled
from napari_cellvjepa.plot.palette import plain
from napari_cellvjepa.plot.scatter import Scatter
from tests.plugin import mouse


@pytest.mark.parametrize(
    ("low", "high", "most", "texts"),
    [
        (0, 1, 5, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-3.2, 7.9, 4, ["0", "5"]),
        (-11, 11, 5, ["-10", "-5", "0", "5", "10"]),
        (0, 12_000, 3, ["0", "5,000", "10,000"]),
        (0.00001, 0.00009, 4, ["2e-05", "4e-05", "6e-05", "8e-05"]),
        (1e9, 1e9 + 4, 4, ["1000000000", "1000000001", "1000000002", "1000000003", "1000000004"]),
    ],
)
def test_ticks_are_round_and_written_so_that_they_differ(low: float, high: float, most: int, texts: list[str]) -> None:
    found = ticks(low, high, most)
    assert [text for _, text in found] == texts
    assert all(low <= value + 1e-9 * abs(value) and value <= high + 1e-9 for value, _ in found)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("x_um", "x [µm]"),
        ("area_um2", "area [µm²]"),
        ("time_s", "time [s]"),
        ("t_start", "t start [frame]"),
        ("speed_um_per_s", "speed [µm/s]"),
        ("speed_px_per_frame", "speed [px/frame]"),
        ("cells_per_s", "cells per s"),
        ("intensity", "intensity"),
        ("s", "s"),
    ],
)
def test_titles_have_units(name: str, title: str) -> None:
    assert titled(name) == title


def test_an_axis_without_title_takes_no_room_and_one_without_numbers_less(qtbot: Any) -> None:
    strip = AxisStrip(up=True)
    qtbot.addWidget(strip)
    widths = []
    for axis in (Axis(), Axis("UMAP 2"), Axis("y [µm]", numbers=True)):
        strip.show_axis(axis)
        widths.append(strip.width())
    assert widths[0] == 0
    assert 0 < widths[1] < widths[2]
    assert strip.texts()[-1] == "y [µm]"


def test_ticks_stand_where_the_points_are_also_after_the_plot_has_moved_and_grown(qtbot: Any) -> None:
    plot = Scatter()
    qtbot.addWidget(plot, before_close_func=lambda it: it.close_canvas())
    plot.resize(420, 420)
    plot.show()
    qtbot.waitExposed(plot)
    plot.name_axes(Axis("x [µm]", numbers=True), Axis("y [µm]", numbers=True))
    values = np.array([0.0, 50.0, 100.0])
    plot.show_points(values, values, False, plain(3), np.zeros(3, bool))
    qtbot.waitUntil(lambda: plot._canvas.native.width() == plot.across.width() < 420)

    def assert_ticks_are_right() -> None:
        (x0, y0), (x2, y2) = plot.position_px(0), plot.position_px(2)
        assert min(len(plot.across._ticks()), len(plot.up._ticks())) > 1
        for share, text in plot.across._ticks():
            assert share * plot.across.width() == pytest.approx(x0 + (x2 - x0) * float(text) / 100, abs=1)
        for share, text in plot.up._ticks():
            assert (1 - share) * plot.up.height() == pytest.approx(y0 + (y2 - y0) * float(text) / 100, abs=1)

    assert_ticks_are_right()
    x, y = plot.position_px(1)
    mouse.drag(plot._canvas.native, [(x, y), (x + 30, y + 12), (x + 60, y + 30)])
    assert_ticks_are_right()
    plot.resize(520, 480)
    qtbot.waitUntil(lambda: plot.across.width() > 430)
    mouse.wait(50)
    assert_ticks_are_right()
