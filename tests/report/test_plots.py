"""Plots: they draw what there is, whatever is missing, and need no global state."""

from __future__ import annotations

import io
import math
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from cellvjepa.report.plots import Score, draw_confusion, draw_map, draw_scores, draw_training
from cellvjepa.report.style import GREY, PALETTE

AWKWARD = ["$\\frac{a}{b$", "<script>", "a_b^c", "", "{x}", "\\", "100 %", "a" * 60]


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def count_like(png: bytes, colour: str) -> int:
    return int((np.abs(pixels_of(png) - np.array(to_rgb(colour)) * 255).max(axis=2) < 4).sum())


def metrics(**changed: object) -> dict[str, object]:
    return {"step": 0, "loss": 0.5, "loss_ratio": 0.9, "target_std": 0.4, "rankme": 12.0, "rankme_tokens": 20.0, "grad_norm": None} | changed


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [metrics()],
        [metrics(step=step, loss=math.nan if step == 2 else 0.5) for step in range(4)],
        [{"step": 0}, {"step": 1}],
        [metrics(step=step, rankme=None) for step in range(3)],
        [metrics(loss="much"), metrics(step=1, loss=True)],
    ],
    ids=["none", "one", "nan", "steps only", "null", "text"],
)
def test_training_is_drawn_with_whatever_is_missing(rows: list[dict[str, object]]) -> None:
    assert pixels_of(draw_training(rows)).std() > 0


def test_a_map_draws_every_category_and_mixes_them() -> None:
    points = np.random.default_rng(0).normal(size=(300, 2))
    names = ["a"] * 150 + ["b"] * 150
    on_top = [count_like(draw_map(points, names_N=names, order=["a", "b"]), colour) for colour in PALETTE[:2]]
    assert min(on_top) > 0.7 * max(on_top), "neither category hides the other"
    assert draw_map(points, names_N=names) == draw_map(points, names_N=names), "the same values give the same picture"


def test_a_map_puts_no_category_beneath_the_others() -> None:
    points = np.zeros((40, 2))
    png = draw_map(points, names_N=["none", "a"] * 20, grey="none")
    coloured = draw_map(points[:20], names_N=["a"] * 20)
    assert count_like(png, GREY) < 2 * count_like(coloured, PALETTE[0])
    assert count_like(png, PALETTE[0]) > 0


def test_a_map_leaves_out_rows_without_a_place_or_value() -> None:
    points = np.array([[0, 0], [1, 1], [np.nan, 0], [2, np.inf]])
    for png in (
        draw_map(points, names_N=["a", "b", "c", "d"]),
        draw_map(points, values_N=[1.0, np.nan, 2.0, 3.0], title="time [h]"),
        draw_map(points),
        draw_map(np.zeros((0, 2))),
        draw_map(np.zeros((0, 2)), names_N=[]),
    ):
        assert pixels_of(png).std() > 0


def test_names_are_texts_and_no_formulas() -> None:
    k = len(AWKWARD)
    drawn = (
        draw_map(np.random.default_rng(0).normal(size=(k, 2)), names_N=AWKWARD, title=AWKWARD[0]),
        draw_confusion(np.eye(k, dtype=int), AWKWARD),
        draw_scores([Score(name, AWKWARD[0], 0.5, math.nan, math.nan) for name in AWKWARD], measure=AWKWARD[0]),
    )
    assert all(pixels_of(png).std() > 0 for png in drawn)


def test_a_confusion_matrix_is_darker_where_more_of_a_row_lies() -> None:
    perfect, mixed = (pixels_of(draw_confusion(counts, ["a", "b"])) for counts in ([[9, 0], [0, 9]], [[5, 4], [4, 5]]))
    assert perfect.min(axis=2).mean() != mixed.min(axis=2).mean()
    assert pixels_of(draw_confusion([[0, 0], [0, 3]], ["never seen", "b"])).std() > 0


def test_scores_show_intervals_where_there_are_any() -> None:
    with_bar = draw_scores([Score("ours", "5 labels", 0.5, 0.2, 0.9)], measure="accuracy", chance=0.25)
    without = draw_scores([Score("ours", "5 labels", 0.5, math.nan, math.nan)], measure="accuracy", chance=0.25)
    assert with_bar != without


def test_drawing_needs_no_pyplot() -> None:
    code = (
        "import sys; from cellvjepa.report.plots import *; from cellvjepa.report.pictures import draw_frame; import numpy as np;"
        "draw_training([{'step': 0, 'loss': 1.0}]); draw_frame(np.zeros((8, 8))); print('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
