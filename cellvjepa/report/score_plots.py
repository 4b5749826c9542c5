"""Figures of what a classifier is worth: confusion, scores with intervals, calibration, and the score by number of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cellvjepa.report.style import FAINT, INK, MARKERS, MUTED, PALETTE, calm, legend_columns, new_figure

_WIDTH_IN = 6.4
_LARGEST_IN = 12.0  # side of a confusion matrix, however many classes there are
_MOST_COUNTED = 20  # classes, with more the numbers in the squares could not be read
_MOST_NAMED = 60  # classes, with more only some are named
_DASHED = (0, (4, 3))


@dataclass(frozen=True)
class Score:
    """A score with its interval: of ``method``, under ``condition`` (e.g. ``"20 labels per class"``).

    ``low`` and ``high`` may be NaN: then no interval is drawn.
    """

    method: str
    condition: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """Predictions of similar probability: their mean ``confidence``, the share of them that is right, and how many they are."""

    confidence: float
    accuracy: float
    rows: int


def confusion_figure(counts_KK: npt.ArrayLike, classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix: rows are the labels, columns the predictions; darker is a larger share of the row.

    Parameters
    ----------
    counts_KK
        int (K, K) counts; written into the squares where there are at most 20 classes.
    classes
        K names.
    """
    counts = np.asarray(counts_KK, dtype=np.int64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side_in = min(0.62 * len(classes) + 1.9, _LARGEST_IN)
    figure = new_figure(side_in, side_in - 0.3)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    calm(axes, x_label="predicted as", y_label="labelled as", grid=False)
    named = range(0, len(classes), -(-len(classes) // _MOST_NAMED))
    names = [classes[k] for k in named]
    axes.set_xticks(named, names, rotation=35 if len(classes) <= _MOST_COUNTED else 90, ha="right", rotation_mode="anchor")
    axes.set_yticks(named, names)
    axes.spines[:].set_visible(False)
    if len(classes) > _MOST_COUNTED:
        return figure
    for i, j in np.ndindex(*counts.shape):
        colour = "white" if shares[i, j] > 0.55 else INK if counts[i, j] else FAINT
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=9.5, color=colour, fontweight="bold" if i == j else "normal")
    return figure


def scores_figure(scores: Sequence[Score], *, measure: str, chance: float | None = None) -> Figure:
    """Draw scores as points with intervals: one line per method, one colour per condition.

    Parameters
    ----------
    scores
        In the order in which methods and conditions are to be shown.
    measure
        What is measured, e.g. ``"balanced accuracy"``.
    chance
        The score of guessing, drawn as a dashed line.
    """
    methods = list(dict.fromkeys(score.method for score in scores))
    conditions = list(dict.fromkeys(score.condition for score in scores))
    line_in = 0.55 + 0.08 * max(0, len(conditions) - 3)
    figure = new_figure(_WIDTH_IN, line_in * len(methods) + 1.15)
    axes = figure.add_subplot()
    calm(axes, x_label=measure)
    axes.grid(False, axis="y")
    for score in scores:
        c = conditions.index(score.condition)
        y = methods.index(score.method) + min(0.3, 0.84 / len(conditions)) * (c - (len(conditions) - 1) / 2)
        axes.plot([score.low, score.high], [y, y], color=PALETTE[c % len(PALETTE)], linewidth=2, alpha=0.55, solid_capstyle="round")
        axes.plot([score.value], [y], color=PALETTE[c % len(PALETTE)], marker=MARKERS[c % len(MARKERS)], markersize=6, linestyle="none")
        end = score.high if np.isfinite(score.high) else score.value
        axes.annotate(f"{score.value:.2f}", (end, y), (6, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
    if chance is not None:
        axes.axvline(chance, color=MUTED, linewidth=1, linestyle=_DASHED)
        axes.annotate("guessing", (chance, -0.55), (4, 0), textcoords="offset points", fontsize=8, color=MUTED, va="center")
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.45, -0.75)
    axes.tick_params(axis="y", labelcolor=INK)
    handles = [
        Line2D([], [], color=PALETTE[c % len(PALETTE)], marker=MARKERS[c % len(MARKERS)], linestyle="none", label=name)
        for c, name in enumerate(conditions)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False, fontsize=9, labelcolor=INK)
    return figure


def reliability_figure(bins: Sequence[Bin], *, chance: float | None = None) -> Figure:
    """Draw how often a classifier is right when it says it is so sure; below, how often it is so sure.

    Parameters
    ----------
    bins
        Predictions by their probability; those without rows are left out.
    chance
        The probability of guessing: a prediction is never less sure than that.
    """
    shown = sorted((part for part in bins if part.rows), key=lambda part: part.confidence)
    figure = new_figure(4.4, 4.9)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (3.4, 1)})
    calm(upper, y_label="share that is right")
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=_DASHED)
    confidence, accuracy = [part.confidence for part in shown], [part.accuracy for part in shown]
    upper.plot(confidence, accuracy, color=PALETTE[0], linewidth=1.4, marker="o", markersize=5)
    for part in shown:
        upper.plot([part.confidence] * 2, _wilson(part.accuracy, part.rows), color=PALETTE[0], linewidth=2, alpha=0.45, solid_capstyle="round")
    upper.set_ylim(-0.03, 1.05)
    upper.text(0.03, 0.97, "too modest", transform=upper.transAxes, va="top", fontsize=8.5, color=MUTED)
    upper.text(0.97, 0.03, "too sure", transform=upper.transAxes, ha="right", fontsize=8.5, color=MUTED)
    calm(lower, x_label="probability of the predicted class", y_label="rows", grid=False)
    lower.bar(confidence, [part.rows for part in shown], width=0.04, color=PALETTE[0], alpha=0.55)
    upper.set_xlim(max(0.0, (chance or 0.0) - 0.05), 1.03)
    return figure


def learning_figure(scores: Sequence[Score], *, measure: str, chance: float | None = None, strong: str = "") -> Figure:
    """Draw scores against the number of labels: one line per method, intervals as bars.

    Parameters
    ----------
    scores
        ``condition`` is the number of labels per class as a text, ``"all"`` for all; in the order in which they are to be shown.
    measure
        What is measured.
    chance
        The score of guessing, drawn as a dashed line.
    strong
        The method to look at first.
    """
    methods = list(dict.fromkeys(score.method for score in scores))
    conditions = list(dict.fromkeys(score.condition for score in scores))
    figure = new_figure(_WIDTH_IN, 3.9)
    axes = figure.add_subplot()
    calm(axes, x_label="labels per class", y_label=measure)
    for m, method in enumerate(methods):
        own = [score for score in scores if score.method == method]
        # Side by side, or the intervals of one method would hide those of another.
        x = np.array([conditions.index(score.condition) for score in own]) + 0.07 * (m - (len(methods) - 1) / 2)
        colour, wide = PALETTE[m % len(PALETTE)], method == strong
        axes.plot(x, [score.value for score in own], color=colour, linewidth=2.4 if wide else 1.2, zorder=3 if wide else 2)
        axes.plot(x, [score.value for score in own], color=colour, marker=MARKERS[m % len(MARKERS)], linestyle="none", markersize=6 if wide else 4.5)
        for at, score in zip(x, own, strict=True):
            axes.plot([at, at], [score.low, score.high], color=colour, linewidth=1.6, alpha=0.5, solid_capstyle="round")
    if chance is not None:
        axes.axhline(chance, color=MUTED, linewidth=1, linestyle=_DASHED)
        axes.set_ylim(bottom=min(axes.get_ylim()[0], chance - 0.03))
        axes.annotate("guessing", (len(conditions) - 0.6, chance), (0, 3), textcoords="offset points", fontsize=8, color=MUTED, ha="right")
    axes.set_xticks(range(len(conditions)), conditions)
    axes.set_xlim(-0.45, len(conditions) - 0.55)
    handles = [
        Line2D([], [], color=PALETTE[m % len(PALETTE)], marker=MARKERS[m % len(MARKERS)], label=name, linewidth=2.4 if name == strong else 1.2)
        for m, name in enumerate(methods)
    ]
    columns = legend_columns(methods, _WIDTH_IN)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _wilson(share: float, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of rows (Wilson 1927): one of three rows does not look like a finding, even where all are right."""
    z = 1.96
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
    return float(middle - half), float(middle + half)
