"""Figures of scores must show what they are given, and bear whatever a study may hold."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure

from cellvjepa.report.score_plots import Bin, Score, confusion_figure, learning_figure, reliability_figure, scores_figure
from cellvjepa.report.style import png_of, svg_of

NAN = math.nan
AWKWARD = "$x_1$ < & \N{GREEK SMALL LETTER MU}"


def texts(figure: Figure) -> list[str]:
    return [text for axes in figure.axes for text in (t.get_text() for t in axes.texts)]


def test_counts_are_written_while_they_can_be_read() -> None:
    assert texts(confusion_figure([[3, 1], [0, 7]], ["a", "b"])) == ["3", "1", "0", "7"]
    many = confusion_figure(np.eye(200, dtype=int), [f"class {k}" for k in range(200)])
    assert texts(many) == []
    assert max(many.get_size_inches()) <= 12
    named = [label.get_text() for label in many.axes[0].get_yticklabels()]
    assert named[0] == "class 0"
    assert len(named) <= 60


def test_a_curve_has_a_line_for_each_method_and_a_bar_for_each_interval() -> None:
    scores = [Score(m, n, v, v - 0.1, v + 0.1) for m, v in (("ours", 0.8), ("theirs", 0.6)) for n in ("1", "5", "all")]
    axes = learning_figure(scores, measure="accuracy", chance=0.5, strong="ours").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "5", "all"]
    ys = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    intervals = [y.tolist() for y in ys if len(y) == 2 and abs(y[1] - y[0] - 0.2) < 1e-9]
    assert len(intervals) == 6
    assert any(np.allclose(y, 0.5) for y in ys), "the line of guessing"
    wide = max(axes.lines, key=lambda line: line.get_linewidth())
    assert np.allclose(np.asarray(wide.get_ydata(), float), 0.8)


def test_reliability_draws_the_bins_that_have_rows() -> None:
    figure = reliability_figure([Bin(0.9, 0.6, 10), Bin(NAN, NAN, 0), Bin(0.55, 0.5, 4)], chance=0.5)
    upper, lower = figure.axes
    drawn = [np.asarray(line.get_xdata(), float).tolist() for line in upper.lines]
    assert [0.55, 0.9] in drawn
    assert [patch.get_height() for patch in lower.patches] == [4, 10]  # type: ignore[attr-defined]


def test_an_svg_keeps_its_texts_and_is_the_same_each_time() -> None:
    def drawn() -> bytes:
        return svg_of(scores_figure([Score(AWKWARD, "5 labels", 0.5, 0.2, 0.9)], measure="accuracy", chance=0.25))

    first = drawn()
    assert first == drawn()
    found = "".join(text for text in ET.fromstring(first).itertext())
    assert AWKWARD in found
    assert "guessing" in found
    assert b"<dc:date>" not in first


@pytest.mark.parametrize("methods", [1, 9])
@pytest.mark.parametrize("conditions", [1, 5])
def test_figures_of_many_and_unknown_things_can_be_drawn(methods: int, conditions: int) -> None:
    scores = [Score(f"{AWKWARD} {m}", str(c), 0.5, NAN, NAN) for m in range(methods) for c in range(conditions)]
    for figure in (scores_figure(scores, measure=AWKWARD), learning_figure(scores, measure=AWKWARD), reliability_figure([])):
        assert png_of(figure).startswith(b"\x89PNG")
        ET.fromstring(svg_of(figure))
