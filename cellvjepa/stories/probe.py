"""The report of a probe: how good it is, compared with what, on which split."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from cellvjepa.probing.evaluation import CLASS_PRIOR, THIS_ENCODER, UNTRAINED, Evaluation
from cellvjepa.probing.scores import SCORES
from cellvjepa.report import plots
from cellvjepa.report.html import write_page
from cellvjepa.report.page import Details, Note, Page, Picture, Section, Table
from cellvjepa.writing import atomic_path

MEASURE = "balanced accuracy"
_NOISE = 0.02


def tell_probe(out: str | os.PathLike[str], found: Evaluation) -> Path:
    """Write ``report.html``, ``report.json``, ``predictions.csv``, ``comparison.csv`` and ``figures/*.png`` into the folder of a probe."""
    folder = Path(out)
    drawn = {"confusion": plots.draw_confusion(found.report.confusion_KK, found.report.classes), "comparison": draw_comparison(found.comparison)}
    for name, data in drawn.items():
        with atomic_path(folder / "figures" / f"{name}.png") as part:
            part.write_bytes(data)
    for name, table in (("predictions", found.report.predictions), ("comparison", found.comparison)):
        with atomic_path(folder / f"{name}.csv") as part:
            table.to_csv(part, index=False)
    with atomic_path(folder / "report.json") as part:
        part.write_text(json.dumps(_as_json(found), indent=2, default=str) + "\n", encoding="utf-8")
    page = Page(
        title=f"Probe: {', '.join(found.report.classes)}",
        lead=lead(found),
        sections=(
            score_section(found),
            comparison_section(found),
            Section("Where it comes from", "", (Details("Provenance", json.dumps(found.report.provenance, indent=2, default=str)),)),
        ),
    )
    return write_page(page, folder / "report.html")


def lead(found: Evaluation) -> str:
    """Say in one sentence what was found."""
    score, provenance = found.report.scores[MEASURE], found.report.provenance
    return (
        f"{MEASURE.capitalize()} {score} in {provenance['folds']} folds over {provenance['groups']} groups by {provenance['grouped by']}; "
        f"guessing gives {found.report.chance[MEASURE]:.2f}."
    )


def score_section(found: Evaluation) -> Section:
    """Return the cross-validated scores and the confusion matrix."""
    report = found.report
    rows = tuple((name, str(report.scores[name]), f"{report.chance[name]:.2f}") for name in SCORES)
    return Section(
        "How well are they told apart?",
        f"Every labelled window was predicted once, by a probe that had seen nothing of its group ({report.provenance['grouped by']}). "
        "Intervals come from resampling whole groups.",
        (
            Table(("score", "this probe [95 % interval]", "class prior"), rows),
            Picture(
                plots.draw_confusion(report.confusion_KK, report.classes),
                "Rows: what the cells do. Columns: what the probe took them for. A perfect probe fills the diagonal.",
                f"Confusion matrix of the classes {', '.join(report.classes)}",
            ),
            *(Note(note, "warn") for note in found.notes),
        ),
    )


def comparison_section(found: Evaluation) -> Section:
    """Return this encoder beside simple baselines, with the same folds and the same labels."""
    header = ("labels per class", "features", *(f"{name} (sd)" for name in SCORES))
    # Read by number of labels: that is the comparison a reader makes.
    order = {str(labels): i for i, labels in enumerate(found.comparison["labels per class"].unique())}
    lines = found.comparison.sort_values("labels per class", key=lambda column: column.astype(str).map(order), kind="stable")
    rows = tuple(
        (str(line["labels per class"]), str(line["features"]), *(f"{line[name]:.2f} ({line[f'{name} sd']:.2f})" for name in SCORES))
        for _, line in lines.iterrows()
    )
    ours = tuple(i for i, row in enumerate(rows) if row[1] == THIS_ENCODER)
    draws = int(found.comparison["draws"].max())
    return Section(
        "Compared with what?",
        "A score means little alone. The same probe was trained on the same few labels of the same training groups with other features: none at all "
        "(class prior), numbers made by hand (brightness, change, motion, rhythm), and a network of the same form that was never trained.",
        (
            Table(header, rows, f"Mean over {draws} draws of labels, in brackets the standard deviation between draws.", ours),
            Picture(
                draw_comparison(found.comparison),
                "The same as a picture; whiskers are one standard deviation between draws.",
                f"{MEASURE} of each kind of features by number of labels",
            ),
            *(Note(sentence, kind) for sentence, kind in comparison_in_words(found.comparison)),
        ),
    )


def comparison_in_words(comparison: pd.DataFrame) -> list[tuple[str, Literal["good", "warn"]]]:
    """Say for each number of labels how this encoder stands to the best baseline and to itself untrained, whatever the answer is."""
    said: list[tuple[str, Literal["good", "warn"]]] = []
    for labels, lines in comparison.groupby("labels per class", sort=False):
        scores = lines.set_index("features")[MEASURE]
        ours, others = float(scores[THIS_ENCODER]), scores.drop(THIS_ENCODER)
        best, value = str(others.idxmax()), float(others.max())
        sentence = f"{'With all labels' if labels == 'all' else f'With {labels} labels per class'} this encoder ({ours:.2f}) is "
        sentence += f"{_against(ours, value)} the best baseline, {best} ({value:.2f})"
        if UNTRAINED in others and best != UNTRAINED:
            sentence += f", and {_against(ours, float(others[UNTRAINED]))} the same network without training ({others[UNTRAINED]:.2f})"
        said.append((f"{sentence}.", "good" if ours > value + _NOISE else "warn"))
    return said


def _against(ours: float, other: float) -> str:
    if abs(ours - other) <= _NOISE:
        return "within noise of"
    return "ahead of" if ours > other else "behind"


def draw_comparison(comparison: pd.DataFrame) -> bytes:
    """Draw the comparison table; a PNG."""
    scores = [
        plots.Score(
            str(line["features"]),
            "all labels" if line["labels per class"] == "all" else f"{line['labels per class']} labels per class",
            float(line[MEASURE]),
            float(line[MEASURE] - line[f"{MEASURE} sd"]) if line["draws"] > 1 else np.nan,
            float(line[MEASURE] + line[f"{MEASURE} sd"]) if line["draws"] > 1 else np.nan,
        )
        for _, line in comparison.iterrows()
        if line["features"] != CLASS_PRIOR
    ]
    chance = comparison.loc[comparison["features"] == CLASS_PRIOR, MEASURE]
    return plots.draw_scores(scores, measure=MEASURE, chance=float(chance.mean()))


def _as_json(found: Evaluation) -> Mapping[str, object]:
    report = found.report
    return {
        "classes": report.classes,
        "confusion": report.confusion_KK.tolist(),
        "scores": {name: {"value": s.value, "low": s.low, "high": s.high} for name, s in report.scores.items()},
        "class prior": dict(report.chance),
        "by group": report.by_group.to_dict("records"),
        "comparison": found.comparison.to_dict("records"),
        "notes": found.notes,
        "provenance": dict(report.provenance),
    }
