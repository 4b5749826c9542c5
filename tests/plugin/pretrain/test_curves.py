"""Curves that grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from qtpy.QtGui import QImage

import cellvjepa
from napari_cellvjepa.pretrain.curves import CurvesView, CurveView
from tests.plugin.mouse import move

LOSS = next(curve for curve in cellvjepa.TRAINING_CURVES if curve.key == "loss")
LINE = np.array([0x56, 0xB4, 0xE9])


def picture(view: Any) -> np.ndarray:
    """The pixels of a widget, (Y, X, 3)."""
    image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    return np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4)[..., 2::-1].astype(int)


def places(view: Any, colour: np.ndarray) -> np.ndarray:
    """Where a colour is, (N, 2) as y, x."""
    return np.argwhere(np.abs(picture(view) - colour).max(axis=2) < 12)


def test_the_curve_falls_as_its_values_do(qtbot: Any, row: Callable[..., dict[str, Any]]) -> None:
    view = CurveView(LOSS)
    qtbot.addWidget(view)
    view.resize(200, view.height())
    assert not view.show_rows([], ())
    assert not len(places(view, LINE))
    assert view.show_rows([row(step) for step in range(40)], ())
    line = places(view, LINE)
    left, right = line[line[:, 1] < 60, 0].mean(), line[line[:, 1] > 140, 0].mean()
    assert left < right - 10  # y counts downwards
    assert view.text == f"{1 / 40:.3g}"


def test_the_mouse_reads_off_a_value(qtbot: Any, row: Callable[..., dict[str, Any]]) -> None:
    view = CurveView(LOSS)
    qtbot.addWidget(view)
    view.resize(200, view.height())
    view.show_rows([row(step) for step in range(11)], ())
    move(view, (5 + 190 * 0.3, 50))
    assert view.text == "step 3: 0.25"
    view.leaveEvent(None)
    assert view.text == f"{1 / 11:.3g}"


def test_the_verdicts_stand_above_where_they_were_given(qtbot: Any, row: Callable[..., dict[str, Any]]) -> None:
    rows = [row(step, health="green" if step < 20 else "red") for step in range(41)]
    view = CurveView(LOSS)
    qtbot.addWidget(view)
    view.resize(200, view.height())
    view.show_rows(rows, cellvjepa.lights_of(rows))
    green, red = (places(view, np.array([int(cellvjepa.LIGHTS[name][i : i + 2], 16) for i in (1, 3, 5)])) for name in ("green", "red"))
    assert green[:, 1].max() <= red[:, 1].min() + 2
    assert abs(green[:, 1].max() - 100) < 8


def test_only_what_there_are_values_for_is_shown(qtbot: Any, row: Callable[..., dict[str, Any]]) -> None:
    view = CurvesView()
    qtbot.addWidget(view)
    view.show_rows([row(step) for step in range(3)])
    shown = {one.curve.key for one in view.views if not one.isHidden()}
    assert {"rankme", "loss", "loss_ratio", "target_std"} <= shown
    assert not {"labelled", "place"} & shown
    view.show_rows([row(step, labelled=0.5) for step in range(3)])
    assert "labelled" in {one.curve.key for one in view.views if not one.isHidden()}
