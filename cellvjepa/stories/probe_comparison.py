"""What a probe's score is compared with: simple baselines, the encoder untrained, and the encoder without time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure

from cellvjepa.probing.baselines import HAND_MADE, POOLED, SINGLE_FRAME, TIME_SHUFFLED, UNTRAINED
from cellvjepa.probing.evaluation import CLASS_PRIOR, THIS_ENCODER
from cellvjepa.probing.scores import SCORES, Interval
from cellvjepa.report.page import Note, Picture, Section, Table
from cellvjepa.report.score_plots import Score, scores_figure
from cellvjepa.report.style import png_of

MEASURE = "balanced accuracy"
NOISE = 0.02

Sentence = tuple[str, Literal["good", "warn", "plain"]]

_TIMELESS = (SINGLE_FRAME, TIME_SHUFFLED)
_DRAWN = ("5", "20", "all")  # numbers of labels in the picture, where there are more than can be told apart
_WHAT = {
    CLASS_PRIOR: "none at all (class prior)",
    HAND_MADE: "numbers made by hand (brightness, change, motion, rhythm and texture; shape, area and speed where they are known)",
    UNTRAINED: "a network of the same form that was never trained",
    POOLED: "this encoder's tokens averaged, which a linear probe reads",
    SINGLE_FRAME: "this encoder on the middle frame, held still",
    TIME_SHUFFLED: "this encoder on the same frames in another order",
}


def comparison_section(comparison: pd.DataFrame, measures: Sequence[str] = SCORES) -> Section:
    """Return this encoder beside simple baselines, with the same folds and the same labels, by these scores."""
    others = [name for name in measures if name != MEASURE]
    # Read by number of labels: that is the comparison a reader makes. Guessing is the same for all of them.
    order = {str(labels): i for i, labels in enumerate(comparison["labels per class"].unique())}
    shown = comparison[(comparison["features"] != CLASS_PRIOR) | (comparison["labels per class"] == list(order)[-1])]
    lines = shown.sort_values("labels per class", key=lambda column: column.astype(str).map(order), kind="stable")
    rows = tuple(
        (str(line["labels per class"]), str(line["features"]), str(interval_of(line, MEASURE)), *(f"{line[name]:.2f}" for name in others))
        for _, line in lines.iterrows()
    )
    ours = tuple(i for i, row in enumerate(rows) if row[1] == THIS_ENCODER)
    draws = int(comparison["draws"].max())
    present = [said for name, said in _WHAT.items() if name in set(comparison["features"])]
    return Section(
        "Compared with what?",
        "A score means little alone. The same probe was trained on the same few labels of the same training groups with other features: "
        f"{'; '.join(present)}.",
        (
            *(Note(sentence, kind) for sentence, kind in (*comparison_in_words(comparison), *time_in_words(comparison))),
            Picture(
                png_of(comparison_figure(comparison)),
                "Whiskers: 95 % intervals from resampling whole groups and from drawing labels several times.",
                f"{MEASURE} of each kind of features by number of labels",
            ),
            Table(
                ("labels per class", "features", f"{MEASURE} [95 %]", *others),
                rows,
                f"Mean over up to {draws} draws of labels; brackets: 95 % interval from resampling groups and draws. The other intervals are in "
                "comparison.csv.",
                ours,
            ),
        ),
    )


def comparison_in_words(comparison: pd.DataFrame) -> list[Sentence]:
    """Say for each number of labels how this encoder stands to the best baseline and to itself untrained, whatever the answer is."""
    said: list[Sentence] = []
    for labels, lines in comparison.groupby("labels per class", sort=False):
        scores = lines.set_index("features")[MEASURE].drop(list(_TIMELESS), errors="ignore")
        ours, others = float(scores[THIS_ENCODER]), scores.drop(THIS_ENCODER)
        best, value = str(others.idxmax()), float(others.max())
        sentence = f"{_with_labels(labels)} this encoder ({ours:.2f}) is {_against(ours, value)} the best baseline, {best} ({value:.2f})"
        if UNTRAINED in others and best != UNTRAINED:
            sentence += f", and {_against(ours, float(others[UNTRAINED]))} the same network without training ({others[UNTRAINED]:.2f})"
        said.append((f"{sentence}.", "good" if ours > value + NOISE else "warn"))
    return said


def time_in_words(comparison: pd.DataFrame) -> list[Sentence]:
    """Say what this encoder loses without time, with the most labels; nothing where it was not asked."""
    lines = comparison[comparison["labels per class"] == comparison["labels per class"].iloc[-1]]
    scores = lines.set_index("features")[MEASURE]
    if not set(_TIMELESS) <= set(scores.index):
        return []
    # An attentive probe reads tokens; those without time are pooled, and compared with what is pooled.
    whole = POOLED if POOLED in scores.index else THIS_ENCODER
    ours, still, mixed = (float(scores[name]) for name in (whole, *_TIMELESS))
    numbers = f"with the frames in another order it scores {mixed:.2f} instead of {ours:.2f}, with one frame held still {still:.2f}"
    with_labels = _with_labels(lines["labels per class"].iloc[0])
    if ours > mixed + NOISE:
        return [(f"{with_labels} this encoder uses the order of frames: {numbers}.", "good")]
    if ours > still + NOISE:
        return [(f"{with_labels} this encoder uses more than one frame, but not their order: {numbers}.", "plain")]
    return [
        (f"{with_labels} time adds nothing here: {numbers}. The classes can be told from one frame, or this encoder misses how they move.", "warn")
    ]


def comparison_figure(comparison: pd.DataFrame) -> Figure:
    """Draw the comparison table, of many numbers of labels only a few; guessing as a dashed line."""
    numbers = comparison["labels per class"].astype(str)
    few = comparison[numbers.isin(_DRAWN)] if numbers.nunique() > len(_DRAWN) else comparison
    drawn = [replace(score, condition=_with_labels(score.condition).removeprefix("With ")) for score in scores_of(few)]
    return scores_figure(drawn, measure=MEASURE, chance=guessing(comparison))


def scores_of(comparison: pd.DataFrame) -> list[Score]:
    """Return the comparison as it is drawn: without guessing, and the number of labels as a text."""
    lines = comparison[comparison["features"] != CLASS_PRIOR]
    found = [(line, interval_of(line, MEASURE)) for _, line in lines.iterrows()]
    return [Score(str(line["features"]), str(line["labels per class"]), score.value, score.low, score.high) for line, score in found]


def interval_of(line: pd.Series[Any], name: str) -> Interval:
    """Return a score of a line of the comparison with its interval."""
    return Interval(float(line[name]), float(line[f"{name} low"]), float(line[f"{name} high"]))


def guessing(comparison: pd.DataFrame) -> float:
    """Return what guessing scores."""
    return float(comparison.loc[comparison["features"] == CLASS_PRIOR, MEASURE].mean())


def _with_labels(labels: object) -> str:
    return "With all labels" if labels == "all" else f"With {labels} label{'s' * (str(labels) != '1')} per class"


def _against(ours: float, other: float) -> str:
    if abs(ours - other) <= NOISE:
        return "within noise of"
    return "ahead of" if ours > other else "behind"
