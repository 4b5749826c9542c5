"""A plot of embeddings for a publication."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellvjepa.errors import UserError
from cellvjepa.report.scatter import ScatterPlot, save_scatter, scatter_figure

POINTS = np.array([[0, 0], [10, 0], [10, 5], [0, 5], [5, 2.5]], float)
COLOURS = np.tile(np.array([0.84, 0.37, 0.0, 1.0], np.float32), (5, 1))
PLOT = ScatterPlot(POINTS, COLOURS, (-1, 11), (-0.5, 5.5), shape=0.5, x_title="x [µm]", y_title="UMAP 2", y_numbers=False, kinds=[("$a", "#d55e00")])


def near(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return where a picture has a colour."""
    return np.argwhere(np.abs(picture.astype(int) - colour).max(axis=2) < 8)


def test_dots_lie_where_they_should_at_300_dots_per_inch(tmp_path: Path) -> None:
    picture = Image.open(save_scatter(PLOT, tmp_path / "plot.png"))
    assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    pixels = np.asarray(picture.convert("RGB"))
    axes = scatter_figure(PLOT).axes[0]
    assert axes.get_xlim() == (-1, 11)
    assert len(axes.get_yticks()) == 0
    assert len(axes.get_xticks()) > 2
    found = near(pixels, (214, 94, 0))
    plot = found[found[:, 0] < 0.8 * len(pixels)]  # above the legend
    width = plot[:, 1].max() - plot[:, 1].min()
    assert (plot[:, 0].max() - plot[:, 0].min()) / width == pytest.approx(0.5, abs=0.03)
    assert width == pytest.approx(1500 * 10 / 12, rel=0.1)


def test_a_drawing_has_letters_and_a_mark_for_each_dot(tmp_path: Path) -> None:
    text = save_scatter(PLOT, tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert {"x [µm]", "UMAP 2", "$a"} <= set(re.findall(r"<text[^>]*>([^<]*)</text>", text))
    assert "<image" not in text
    outside = replace(PLOT, x_limits=(20, 30))
    fewer = save_scatter(outside, tmp_path / "empty.svg").read_text(encoding="utf-8")
    assert text.count("<use") - fewer.count("<use") >= len(POINTS)


def test_a_density_is_a_picture_with_the_first_row_lowest(tmp_path: Path) -> None:
    density = np.zeros((20, 40, 4), np.uint8)
    density[:10, :20] = (0, 158, 115, 255)
    plot = replace(PLOT, density=density, kinds=())
    assert save_scatter(plot, tmp_path / "plot.svg").read_text(encoding="utf-8").count("<image") == 1
    pixels = np.asarray(Image.open(save_scatter(plot, tmp_path / "plot.png")).convert("RGB"))
    rows, columns = near(pixels, (0, 158, 115)).T
    assert rows.min() > 0.3 * len(pixels)
    assert columns.max() < 0.6 * pixels.shape[1]


def test_a_scale_has_its_numbers_and_tracks_are_lines(tmp_path: Path) -> None:
    scale = np.column_stack([np.linspace(0, 1, 5), np.zeros((5, 2)), np.ones(5)])
    plot = replace(PLOT, kinds=(), scale=(2.0, 8.0), scale_colours_K4=scale, colour_title="time [s]", lines=[POINTS[:3]])
    figure = scatter_figure(plot)
    assert len(figure.axes) == 2
    assert figure.axes[1].get_ylim() == (2, 8)
    np.testing.assert_allclose(figure.axes[0].collections[1].get_segments()[0], POINTS[:3])
    assert "time [s]" in save_scatter(plot, tmp_path / "plot.svg").read_text(encoding="utf-8")


def test_nothing_to_see_is_still_a_plot(tmp_path: Path) -> None:
    assert save_scatter(ScatterPlot(np.empty((0, 2)), np.empty((0, 4), np.float32), (0, 1), (0, 1)), tmp_path / "plot.png").stat().st_size > 1000


def test_other_endings_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pictures are written as .png or .svg, not as '.pdf'"):
        save_scatter(PLOT, tmp_path / "plot.pdf")
    assert list(tmp_path.iterdir()) == []
