"""Whether a probe may be believed: the score of a split that leaks beside the honest one, calibration, numbers of labels, suspected labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd
from matplotlib.figure import Figure

from cellvjepa.probing.evaluation import THIS_ENCODER
from cellvjepa.probing.scores import SCORES, Interval
from cellvjepa.report.page import Note, Picture, Section, Table
from cellvjepa.report.score_plots import Bin, learning_figure, reliability_figure
from cellvjepa.report.style import png_of
from cellvjepa.stories.probe_comparison import MEASURE, NOISE, guessing, interval_of, scores_of

_WELL_CALIBRATED = 0.05  # expected calibration error below which probabilities may be taken at their word
_MOST_SUSPECTS = 25  # on the page; the file has all


def gap_kind(grouped: float, naive: float) -> Literal["good", "plain", "warn"]:
    """Return how much it matters that a split by rows scores higher than one by groups."""
    gap = naive - grouped
    return "good" if gap <= NOISE else "plain" if gap <= 2 * NOISE else "warn"


def calibration_section(bins: Sequence[Bin], error: Interval, classes: int) -> Section:
    """Return how far probabilities may be taken at their word.

    Parameters
    ----------
    bins
        Predictions by their probability.
    error
        Expected calibration error: the mean distance between how sure and how often right, weighted by rows.
    classes
        How many there are.
    """
    well = error.value <= _WELL_CALIBRATED
    said = "may be taken at their word" if well else f"must not be taken at their word; {_direction(bins)}"
    note = Note(f"Expected calibration error {error}: probabilities {said}.", "good" if well else "warn")
    picture = Picture(
        png_of(calibration_figure(bins, classes)),
        "Above: of the predictions with such a probability, the share that is right, with the 95 % interval of so many rows. A probe that knows "
        "how sure it may be follows the dashed line. Below: how many predictions there are.",
        "Reliability diagram: share of right predictions against their probability",
    )
    return Section("How sure is it, and how sure may it be?", "", (note, picture))


def calibration_figure(bins: Sequence[Bin], classes: int) -> Figure:
    """Draw calibration."""
    return reliability_figure(bins, chance=1 / max(classes, 1))


def learning_section(comparison: pd.DataFrame, measures: Sequence[str] = SCORES) -> Section:
    """Return the score by number of labels, with intervals.

    Parameters
    ----------
    comparison
        As :class:`cellvjepa.probing.evaluation.Evaluation` has it.
    measures
        Scores to show.
    """
    own = comparison[comparison["features"] == THIS_ENCODER]
    names = [name for name in measures if name in own]
    rows = tuple((str(line["labels per class"]), *(str(interval_of(line, name)) for name in names)) for _, line in own.iterrows())
    return Section(
        "How many labels does it take?",
        learning_in_words(comparison),
        (
            Picture(
                png_of(learning_curve_figure(comparison)),
                "Bars: 95 % intervals from resampling whole groups and from drawing labels several times.",
                f"{MEASURE} against the number of labels per class",
            ),
            Table(("labels per class", *(f"{name} [95 %]" for name in names)), rows, f"Of {THIS_ENCODER}; the others stand in the comparison."),
        ),
    )


def learning_in_words(comparison: pd.DataFrame) -> str:
    """Say whether more labels would help, from the last two numbers of labels."""
    own = comparison[comparison["features"] == THIS_ENCODER]
    if len(own) < 2:
        return "There are too few labels for a curve."
    before, last = own.iloc[-2], own.iloc[-1]
    gained = float(last[MEASURE] - before[MEASURE])
    step = f"From {before['labels per class']} to {last['labels per class']} labels per class"
    step += f" the score went from {before[MEASURE]:.2f} to {last[MEASURE]:.2f}"
    if gained > NOISE:
        return f"{step}: more labels are likely to help further."
    return f"{step}: more labels of the same kind are unlikely to help much; labels in other groups may."


def learning_curve_figure(comparison: pd.DataFrame) -> Figure:
    """Draw the score by number of labels of each kind of features; guessing as a dashed line."""
    return learning_figure(scores_of(comparison), measure=MEASURE, chance=guessing(comparison), strong=THIS_ENCODER)


def suspects_section(suspects: pd.DataFrame) -> Section:
    """Return the labels that are most likely wrong.

    Parameters
    ----------
    suspects
        The most suspect first: ``movie``, ``track_id``, ``t_start``, ``t_stop``, ``label``, ``suggested``, ``probability`` and, where known,
        ``reason``.
    """
    if suspects.empty:
        return Section("Labels to look at again", "No label is suspected to be wrong.")
    columns = [name for name in ("movie", "track_id", "t_start", "t_stop", "label", "suggested", "reason") if name in suspects]
    shown = suspects.head(_MOST_SUSPECTS)
    rows = tuple(tuple(str(line[name]) for name in columns) for _, line in shown.iterrows())
    more = (
        f" The first {len(shown)} of {len(suspects)}; all are in suspects.csv." if len(suspects) > len(shown) else " They are also in suspects.csv."
    )
    return Section(
        "Labels to look at again",
        "A probe that had not seen these windows, nor any of their group, disagrees with their labels. Some labels will be wrong, some cells "
        "unusual. Correct what is wrong in labels.csv and score again; never remove a label because the probe disagrees.",
        (Table(tuple(name.replace("_", " ") for name in columns), rows, f"The most suspect first.{more}"),),
    )


def _labels(labels: object) -> str:
    return "all" if labels == "all" else f"{labels} labels"


def _direction(bins: Sequence[Bin]) -> str:
    rows = sum(part.rows for part in bins)
    surplus = sum((part.confidence - part.accuracy) * part.rows for part in bins) / max(rows, 1)
    return "it is too sure of itself" if surplus > 0 else "it is right more often than it dares to say"
