"""Plots of numbers: how training went, where embeddings lie, how well a probe does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from cellvjepa.report.curves import LIGHTS, TRAINING_CURVES, Curve, curve_points, lights_of
from cellvjepa.report.score_plots import Score, confusion_figure, scores_figure
from cellvjepa.report.style import FAINT, INK, MUTED, PALETTE, calm, in_order, legend_columns, marks_of, new_figure, png_of

__all__ = ["Score", "draw_confusion", "draw_map", "draw_scores", "draw_training"]

Floats = npt.NDArray[np.float64]

_MAP_IN = 4.4  # two maps fit side by side on a page


def draw_training(rows: Sequence[Mapping[str, object]], curves: Sequence[Curve] = TRAINING_CURVES) -> bytes:
    """Draw one small plot per quantity over the steps of a run; above each, the verdict of the monitors as a strip of colour.

    Parameters
    ----------
    rows
        Lines of metrics.jsonl: ``step`` and one number per key; a quantity that is missing, null or not finite leaves a gap. The
        strip follows ``health``, where there is one.
    curves
        What to draw; a quantity found in no row is left out.

    Returns
    -------
    bytes
        A PNG.
    """
    series = [(curve, *curve_points(rows, curve)) for curve in curves]
    shown = [entry for entry in series if len(entry[1])] or series[:1]
    columns = min(3, len(shown))
    lines = -(-len(shown) // columns)
    figure = new_figure(3.1 * columns, 2.3 * lines)
    all_axes = figure.subplots(lines, columns, squeeze=False, gridspec_kw={"hspace": 0.14}).ravel()
    for axes, (curve, steps, values) in zip(all_axes, shown, strict=False):
        calm(axes, title=curve.title, x_label="step")
        axes.plot(steps, values, color=PALETTE[0], linewidth=1.6, marker="o" if len(steps) == 1 else None)
        if len(steps):
            axes.plot(steps[-1:], values[-1:], color=PALETTE[0], marker="o", markersize=4)
            axes.annotate(f"{values[-1]:.3g}", (steps[-1], values[-1]), (0, 6), textcoords="offset points", ha="right", fontsize=8.5, color=INK)
            axes.margins(y=0.2)
        if curve.guess is not None:
            axes.axhline(curve.guess, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        if curve.share:
            axes.set_ylim(0, 1.2)
            axes.set_yticks([0, 0.5, 1])
        elif curve.from_zero and len(values) and values.max() > 0:
            axes.set_ylim(0, 1.25 * values.max())
        _draw_lights(axes, rows)
    for axes in all_axes[len(shown) :]:
        axes.set_axis_off()
    return png_of(figure)


def _draw_lights(axes: Axes, rows: Sequence[Mapping[str, object]]) -> None:
    """Draw the verdicts as a strip above a plot."""
    for light in lights_of(rows):
        ends = [light.first_step, light.last_step]
        axes.plot(
            ends, [1.02, 1.02], color=LIGHTS[light.verdict], linewidth=3, transform=axes.get_xaxis_transform(), clip_on=False, solid_capstyle="butt"
        )


def draw_map(
    points_N2: npt.ArrayLike,
    names_N: Sequence[str] | None = None,
    *,
    values_N: npt.ArrayLike | None = None,
    title: str = "",
    order: Sequence[str] | None = None,
    grey: str | None = None,
) -> bytes:
    """Draw a projection of embeddings, one dot each, coloured by categories or by a number.

    Parameters
    ----------
    points_N2
        float (N, 2), e.g. UMAP; rows that are not finite are left out.
    names_N
        N names of categories; or
    values_N
        N numbers; neither gives dots of one colour.
    title
        Above the plot; of a number, also what it is.
    order
        Order of the names in the legend; fixes their colours.
    grey
        The name that stands for no category; drawn in grey, beneath the others.

    Returns
    -------
    bytes
        A PNG.
    """
    points = np.asarray(points_N2, dtype=np.float64)
    # Dots are drawn in an order that mixes them, so that no category hides another.
    mixed = np.argsort(np.arange(len(points)) * 0.6180339887 % 1, kind="stable")
    mixed = mixed[np.isfinite(points[mixed]).all(axis=1)]
    figure = new_figure(_MAP_IN, _MAP_IN)
    axes = figure.add_subplot()
    calm(axes, title=title, grid=False)
    axes.spines[["top", "right"]].set_visible(True)
    axes.spines[:].set_color(FAINT)
    axes.set_xticks([])
    axes.set_yticks([])
    if names_N is not None:
        _draw_names(axes, points, [str(name) for name in names_N], mixed, order, grey)
    elif values_N is not None:
        values = np.asarray(values_N, dtype=np.float64)
        known = mixed[np.isfinite(values[mixed])]
        dots = axes.scatter(points[known, 0], points[known, 1], c=values[known], cmap="viridis", s=_dot_size(len(mixed)), linewidths=0, alpha=0.85)
        bar = figure.colorbar(dots, ax=axes, shrink=0.8, aspect=25)
        bar.ax.tick_params(labelsize=8.5, colors=MUTED, length=0)
        bar.ax.spines[:].set_visible(False)
    else:
        axes.scatter(points[mixed, 0], points[mixed, 1], color=PALETTE[0], s=_dot_size(len(mixed)), linewidths=0, alpha=0.85)
    return png_of(figure)


def draw_confusion(counts_KK: npt.ArrayLike, classes: Sequence[str]) -> bytes:
    """Draw a confusion matrix (:func:`cellvjepa.report.score_plots.confusion_figure`); a PNG."""
    return png_of(confusion_figure(counts_KK, classes))


def draw_scores(scores: Sequence[Score], *, measure: str, chance: float | None = None) -> bytes:
    """Draw scores as points with intervals (:func:`cellvjepa.report.score_plots.scores_figure`); a PNG."""
    return png_of(scores_figure(scores, measure=measure, chance=chance))


def _dot_size(dots: int) -> float:
    return float(np.clip(400 / np.sqrt(max(dots, 1)), 1.5, 26))


def _draw_names(axes: Axes, points: Floats, names: Sequence[str], mixed: npt.NDArray[np.intp], order: Sequence[str] | None, grey: str | None) -> None:
    shown = in_order(names, order)
    marks = {name: mark for name, mark in marks_of(shown, order, grey).items() if name in shown}
    for marker in dict.fromkeys(mark.marker for mark in marks.values()):
        for beneath in (True, False):
            here = [i for i in mixed if marks[names[i]].marker == marker and (names[i] == grey) == beneath]
            colours = [marks[names[i]].colour for i in here]
            axes.scatter(
                points[here, 0], points[here, 1], c=colours, marker=marker, s=_dot_size(len(mixed)), linewidths=0, alpha=0.85, zorder=2 - beneath
            )
    listed = sorted(marks, key=lambda name: name == grey)
    handles = [Line2D([], [], color=marks[n].colour, marker=marks[n].marker, markersize=6, linestyle="none", label=n) for n in listed]
    columns = legend_columns(listed, _MAP_IN)
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.set_figheight(_MAP_IN + 0.19 * -(-len(listed) // columns))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9, labelcolor=INK, handletextpad=0.1, columnspacing=1.2
    )
