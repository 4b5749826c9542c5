"""Pictures of events: they draw what there is, whatever is missing."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from cellvjepa.report.style import PALETTE, png_of
from cellvjepa.report.timelines import MOST_TRACKS, aligned_figure, errors_figure, survival_figure, tracks_figure


def count_like(figure: Figure, colour: str) -> int:
    pixels = np.asarray(Image.open(io.BytesIO(png_of(figure))).convert("RGB")).astype(int)
    return int((np.abs(pixels - np.array(to_rgb(colour)) * 255).max(axis=2) < 4).sum())


def curves(*conditions: str) -> pd.DataFrame:
    one = {"time": [0.0, 2, 3, 5], "surviving": [1, 0.8, 0.8, 0.4], "low": [1, 0.6, 0.6, 0.2], "high": [1, 0.9, 0.9, 0.7], "at_risk": [5, 5, 3, 2]}
    return pd.concat([pd.DataFrame(one).assign(condition=name) for name in conditions])


@pytest.mark.parametrize("conditions", [("",), ("drug", "none"), ("$x$", "<b>", "c", "d", "e", "f", "g", "h", "i")])
def test_each_condition_has_a_curve(conditions: tuple[str, ...]) -> None:
    figure = survival_figure(curves(*conditions), "h", "dying")
    for colour in PALETTE[: min(len(conditions), 2)]:
        assert len([line for line in figure.axes[0].lines if line.get_color() == colour]) >= 2, "the steps, and the tracks that ended"


def test_tracks_that_ended_are_marked_where_the_curve_stays() -> None:
    ended = survival_figure(curves(""), "h", "dying").axes[0].lines[1]
    assert np.asarray(ended.get_xdata()).tolist() == [3]


def test_an_average_is_drawn_for_each_feature() -> None:
    one = {"frames": [-2.0, 2.0], "mean": [0.0, 1.0], "low": [-0.1, np.nan], "high": [0.1, np.nan], "events": [3, 2]}
    figure = aligned_figure(pd.concat([pd.DataFrame(one).assign(feature=name) for name in ("a", "b", "c")]))
    assert [axes.get_title(loc="left") for axes in figure.axes[:3]] == ["a", "b", "c"]
    assert count_like(figure, PALETTE[0]) > 100


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_tracks_are_lines_in_the_order_of_their_events(n: int) -> None:
    tracks = pd.DataFrame({"movie": "m", "track_id": np.arange(n), "first": 0.0, "last": 50.0})
    found = pd.DataFrame({"movie": "m", "track_id": np.arange(n), "event": "dying", "onset": 10.0 + np.arange(n)[::-1] % 30, "end": 45.0})
    figure = tracks_figure(tracks, found, ["dying", "dividing"])
    dots = figure.axes[0].lines[0]
    assert len(np.asarray(dots.get_xdata())) == min(n, MOST_TRACKS)
    order = np.argsort(np.asarray(dots.get_ydata()))
    assert (np.diff(np.asarray(dots.get_xdata())[order]) >= 0).all()
    assert count_like(figure, PALETTE[0]) > 0, "the legend at least"


def test_errors_are_counted() -> None:
    bars = errors_figure([-3.0, 0.5, 0.6], 4).axes[0].containers[0]
    assert [patch.get_height() for patch in bars if patch.get_height()] == [1, 2]
    assert count_like(errors_figure([], 4), PALETTE[0]) == 0
