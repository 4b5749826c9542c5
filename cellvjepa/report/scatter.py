"""A plot of embeddings for a publication: dots or their density, axes, legend, 300 dots per inch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cellvjepa.errors import UserError
from cellvjepa.report.style import INK, MUTED, calm, legend_columns, new_figure, png_of, svg_of
from cellvjepa.writing import atomic_path

DPI = 300
_WIDTH_IN = 5.0
_MOST_VECTORS = 20_000  # dots; an SVG with more of them has them as a picture, and only the rest as lines and letters
_FORMATS = (".png", ".svg")


@dataclass(frozen=True, eq=False)
class ScatterPlot:
    """What is to be seen.

    Parameters
    ----------
    points_M2
        (M, 2) x and y of the dots, the first ones below; those that are not finite are left out.
    colours_M4
        float (M, 4), 0 to 1, with opacity.
    x_limits, y_limits
        What is in view, in the units of the points.
    shape
        Height of the plot over its width.
    x_title, y_title
        Of the axes.
    x_numbers, y_numbers
        Whether the axes have ticks.
    density
        uint8 (rows, columns, 4), the first row the lowest: a picture of what is in view, in the place of dots.
    kinds
        Names and colours (``"#rrggbb"``) for the legend.
    scale
        Numbers at the ends of a colour scale.
    scale_colours_K4
        (K, 4): its colours.
    colour_title
        What the colours show.
    lines
        (L, 2) each: tracks, in the units of the points.
    """

    points_M2: npt.NDArray[np.float64]
    colours_M4: npt.NDArray[np.float32]
    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    shape: float = 1.0
    x_title: str = ""
    y_title: str = ""
    x_numbers: bool = True
    y_numbers: bool = True
    density: npt.NDArray[np.uint8] | None = None
    kinds: Sequence[tuple[str, str]] = ()
    scale: tuple[float, float] | None = None
    scale_colours_K4: npt.NDArray[np.float32] | None = None
    colour_title: str = ""
    lines: Sequence[npt.NDArray[np.float64]] = ()


def save_scatter(plot: ScatterPlot, path: str | os.PathLike[str]) -> Path:
    """Write a plot as PNG or SVG, as the name of the file says, at 300 dots per inch.

    Raises
    ------
    UserError
        If the name ends in something else, or the file cannot be written.
    """
    file = Path(path)
    if file.suffix.lower() not in _FORMATS:
        raise UserError(f"pictures are written as {' or '.join(_FORMATS)}, not as '{file.suffix}'", "give the file another ending", file)
    figure = scatter_figure(plot)
    content = png_of(figure, DPI) if file.suffix.lower() == ".png" else svg_of(figure, DPI)
    with atomic_path(file) as part:
        part.write_bytes(content)
    return file


def scatter_figure(plot: ScatterPlot) -> Figure:
    """Draw a plot on white paper."""
    lines = -(-len(plot.kinds) // legend_columns([name for name, _ in plot.kinds], _WIDTH_IN)) if plot.kinds else 0
    figure = new_figure(_WIDTH_IN, _WIDTH_IN * plot.shape + 0.35 + 0.2 * lines)
    axes = figure.add_subplot()
    calm(axes, x_label=plot.x_title, y_label=plot.y_title, grid=False)
    axes.set_box_aspect(plot.shape)
    if not plot.x_numbers:
        axes.set_xticks([])
    if not plot.y_numbers:
        axes.set_yticks([])
    _draw_points(axes, plot)
    if plot.lines:
        axes.add_collection(LineCollection(list(plot.lines), colors=INK, linewidths=0.8, alpha=0.7, capstyle="round"))
    axes.set_xlim(*plot.x_limits)
    axes.set_ylim(*plot.y_limits)
    _draw_legend(figure, axes, plot)
    return figure


def _draw_points(axes: Axes, plot: ScatterPlot) -> None:
    if plot.density is not None:
        extent = (*plot.x_limits, *plot.y_limits)
        axes.imshow(plot.density, extent=extent, origin="lower", aspect="auto", interpolation="nearest")
        return
    (low_x, high_x), (low_y, high_y) = plot.x_limits, plot.y_limits
    x, y = plot.points_M2.T
    seen = np.flatnonzero((x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y))
    size = float(np.clip(500 / np.sqrt(max(len(seen), 1)), 1.2, 30))
    axes.scatter(x[seen], y[seen], c=plot.colours_M4[seen], s=size, linewidths=0, rasterized=len(seen) > _MOST_VECTORS)


def _draw_legend(figure: Figure, axes: Axes, plot: ScatterPlot) -> None:
    if plot.scale is not None and plot.scale_colours_K4 is not None:
        mapped = ScalarMappable(Normalize(*plot.scale), ListedColormap(plot.scale_colours_K4))
        bar = figure.colorbar(mapped, ax=axes, shrink=0.7, aspect=25)
        bar.set_label(plot.colour_title, fontsize=9, color=MUTED)
        bar.ax.tick_params(labelsize=8.5, colors=MUTED, length=0)
        bar.outline.set_visible(False)
        return
    if not plot.kinds:
        return
    handles = [Line2D([], [], color=colour, marker="o", markersize=6, linestyle="none", label=name) for name, colour in plot.kinds]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=legend_columns([name for name, _ in plot.kinds], _WIDTH_IN),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handletextpad=0.1,
        columnspacing=1.2,
        title=plot.colour_title or None,
        title_fontsize=9,
    )
