"""The report of a probe for several classes at once: each class alone, all of them together, and compared with what."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from matplotlib.figure import Figure

from cellvjepa.probing.answer_scores import ANSWER_SCORES
from cellvjepa.probing.baselines import HAND_MADE, UNTRAINED
from cellvjepa.probing.labelled import THIS_ENCODER
from cellvjepa.probing.multilabel import THRESHOLD
from cellvjepa.probing.multilabel_evaluation import MEASURE, MultilabelEvaluation, mean_comparison
from cellvjepa.probing.scores import Interval
from cellvjepa.progress import Progress, silent
from cellvjepa.report.page import Block, Note, Page, Picture, Section, Table
from cellvjepa.report.score_plots import Score, scores_figure
from cellvjepa.report.style import png_of
from cellvjepa.stories.probe_comparison import comparison_figure, comparison_in_words, comparison_section, interval_of, time_in_words
from cellvjepa.stories.probe_examples import Shown, examples_or_trouble, examples_section
from cellvjepa.stories.probe_files import ProbeFiles, bins_of, choice_in_words, how_section, named, records, repeating_command, write_probe_files
from cellvjepa.stories.probe_trust import (
    calibration_figure,
    calibration_section,
    gap_kind,
    learning_curve_figure,
    learning_in_words,
    learning_section,
    suspects_section,
)

_MEASURES = (MEASURE, "ROC AUC")  # of each answer; those of scores.py that treat yes and no as two classes mean something else
_DRAWN = (THIS_ENCODER, HAND_MADE, UNTRAINED)


def tell_multilabel_probe(
    out: str | os.PathLike[str], found: MultilabelEvaluation, store: str | os.PathLike[str], progress: Progress = silent
) -> Path:
    """Write the report of a probe into its folder; files and errors as of :func:`cellvjepa.stories.probe.tell_probe`.

    Parameters
    ----------
    out
        The folder.
    found
        What was found.
    store
        The store.
    progress
        Told of examples that are read; may cancel.

    Returns
    -------
    Path
        ``report.html``.
    """
    folder = Path(out)
    shown, trouble = examples_or_trouble(os.fspath(store), found.examples, progress)
    command = repeating_command(folder, found.labels.source, _provenance(found), Path(store))
    tables = {
        "predictions": found.predictions,
        "comparison": found.comparison,
        "learning_curve": found.comparison[found.comparison["features"] == THIS_ENCODER],
        "suspects": found.suspects,
        "examples": found.examples,
    }
    page = page_of(found, shown, trouble, command)
    return write_probe_files(folder, page, ProbeFiles(figures(found), shown, tables, _as_json(found, command)))


def page_of(found: MultilabelEvaluation, shown: tuple[Shown, ...] = (), trouble: str = "", command: str = "") -> Page:
    """Return the report as a page."""
    mean = mean_comparison(found.comparison)
    sections = [score_section(found), comparison_section(mean, _MEASURES)]
    if mean["labels per class"].nunique() > 1:
        sections.append(learning_section(mean, _MEASURES))
    sections.append(calibration_section(bins_of(found.calibration), found.calibration.error, 2))
    if shown or trouble:
        sections.append(examples_section(shown, trouble))
    sections.append(suspects_section(found.suspects))
    sections.append(how_section(found.probe, len(found.labels.rows_N), _provenance(found), command))
    version = str(_provenance(found).get("version", ""))
    said = f"{lead(found)} {found.gap}" if _leaks(found) == "warn" else lead(found)
    return Page(f"Probe: {named(found.classes)}", said, tuple(sections), f"cellvjepa {version}")


def figures(found: MultilabelEvaluation) -> dict[str, Figure]:
    """Return the figures of a report by name."""
    mean = mean_comparison(found.comparison)
    drawn = {"classes": classes_figure(found), "comparison": comparison_figure(mean)}
    if mean["labels per class"].nunique() > 1:
        drawn["learning_curve"] = learning_curve_figure(mean)
    return {**drawn, "reliability": calibration_figure(bins_of(found.calibration), 2)}


def lead(found: MultilabelEvaluation) -> str:
    """Say in one sentence what was found."""
    provenance = _provenance(found)
    return (
        f"{MEASURE.capitalize()} {found.scores.macro[MEASURE]} (mean over {len(found.classes)} classes, of which several may fit a window) in "
        f"{provenance['folds']} folds over {provenance['groups']} groups by {provenance['grouped by']}; guessing gives {found.guessing[MEASURE]:.2f}."
    )


def score_section(found: MultilabelEvaluation) -> Section:
    """Return the scores of each class, their mean, and those of all answers together."""
    counts = found.fits_NK.sum(axis=0)
    lines = [(name, str(count), *_texts(scores)) for name, count, scores in zip(found.classes, counts, found.scores.by_class, strict=True)]
    lines.append(("macro", "", *_texts(found.scores.macro)))
    lines.append(("micro", "", *_texts(found.scores.micro)))
    lines.append(("macro, row by row", "", *(f"{found.naive.macro[name].value:.2f}" for name in ANSWER_SCORES)))
    lines.append(("macro, guessing", "", *(f"{found.guessing[name]:.2f}" for name in ANSWER_SCORES)))
    table = Table(
        ("class", "windows", *ANSWER_SCORES),
        tuple(lines),
        f"Of {len(found.fits_NK)} windows; brackets: 95 % intervals. Macro: mean over classes. Micro: all answers to all questions together. F1 and "
        "average precision are those of the answer yes; guessing has an average precision equal to the share of windows with the class.",
        (len(found.classes),),
    )
    picture = Picture(
        png_of(classes_figure(found)),
        "With all labels. Whiskers: 95 % intervals from resampling whole groups.",
        f"{MEASURE} of each class with the features of this encoder and of baselines",
    )
    blocks: list[Block] = [table, Note(found.gap, _leaks(found)), picture, *(Note(note, "warn") for note in found.notes)]
    return Section(
        "How well is each class recognised?",
        "Labels name several classes at once, so each class is a yes/no question of its own, with the same folds for all. Every labelled window was "
        f"asked about once, of probes that had seen nothing of its group ({_provenance(found)['grouped by']}). A class counts as predicted from a "
        f"probability of {THRESHOLD:g} on. Intervals come from resampling whole groups, the same ones for all classes.",
        tuple(blocks),
    )


def classes_figure(found: MultilabelEvaluation) -> Figure:
    """Draw the score of each class, with this encoder and with baselines; guessing as a dashed line."""
    table = found.comparison
    table = table[(table["labels per class"] == "all") & table["features"].isin(_DRAWN)]
    drawn = [
        Score(str(line["class"]), str(line["features"]), *_ends(interval_of(line, MEASURE)))
        for name in _DRAWN
        for _, line in table[table["features"] == name].iterrows()
    ]
    return scores_figure(drawn, measure=MEASURE, chance=found.guessing[MEASURE])


def _ends(score: Interval) -> tuple[float, float, float]:
    return score.value, score.low, score.high


def _texts(scores: Mapping[str, Interval]) -> tuple[str, ...]:
    return tuple(str(scores[name]) for name in ANSWER_SCORES)


def _leaks(found: MultilabelEvaluation) -> Literal["good", "plain", "warn"]:
    return gap_kind(found.scores.macro[MEASURE].value, found.naive.macro[MEASURE].value)


def _provenance(found: MultilabelEvaluation) -> Mapping[str, object]:
    first = next(iter(found.questions.values())).report.provenance
    counts = {name: int(count) for name, count in zip(found.classes, found.fits_NK.sum(axis=0), strict=True)}
    return {**first, "rows per class": counts, "labels not used": list(found.labels.notes)}


def _as_json(found: MultilabelEvaluation, command: str) -> Mapping[str, object]:
    mean = mean_comparison(found.comparison)
    scores = found.scores

    def plain(values: Mapping[str, Interval]) -> Mapping[str, object]:
        return {name: asdict(score) for name, score in values.items()}

    return {
        "classes": found.classes,
        "several labels at once": True,
        "in short": lead(found),
        "kind": choice_in_words(found.probe),
        "threshold": THRESHOLD,
        "scores by class": {name: plain(values) for name, values in zip(found.classes, scores.by_class, strict=True)},
        "macro": plain(scores.macro),
        "micro": plain(scores.micro),
        "guessing, macro": dict(found.guessing),
        "scores of a split by rows, macro": plain(found.naive.macro),
        "gap": found.gap,
        "comparison": records(found.comparison),
        "comparison, mean over classes": records(mean),
        "in words": [sentence for sentence, _ in (*comparison_in_words(mean), *time_in_words(mean))],
        "learning curve in words": learning_in_words(mean),
        "calibration": {"error": asdict(found.calibration.error), "bins": [asdict(part) for part in found.calibration.bins]},
        "suspects": records(found.suspects),
        "examples": records(found.examples),
        "notes": found.notes,
        "command": command,
        "provenance": {**_provenance(found), "features": asdict(found.probe.made_from), "probe": dict(found.probe.notes)},
    }
