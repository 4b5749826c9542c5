"""The report of a probe: how good it is, compared with what, on which split, and whether it may be believed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from cellvjepa.probing.evaluation import Evaluation
from cellvjepa.probing.scores import SCORES, ProbeReport
from cellvjepa.progress import Progress, silent
from cellvjepa.report.page import Block, Note, Page, Picture, Section, Table
from cellvjepa.report.score_plots import confusion_figure
from cellvjepa.report.style import png_of
from cellvjepa.stories.probe_comparison import MEASURE, comparison_figure, comparison_in_words, comparison_section, time_in_words
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


def tell_probe(out: str | os.PathLike[str], found: Evaluation, store: str | os.PathLike[str] | None = None, progress: Progress = silent) -> Path:
    """Write the report of a probe into its folder.

    Parameters
    ----------
    out
        Gets ``report.html``, ``report.json``, the tables behind it (``predictions.csv``, ``comparison.csv``, ``learning_curve.csv``,
        ``suspects.csv``, ``examples.csv``, as far as there are such) and ``figures/*`` as PNG and SVG, examples as GIF.
    found
        What was found.
    store
        The store; None: the report has no examples, and does not say how to make it again.
    progress
        Told of examples that are read; may cancel.

    Returns
    -------
    Path
        ``report.html``.

    Raises
    ------
    UserError
        If the disk is full or the folder cannot be written to.
    """
    folder = Path(out)
    shown, trouble = examples_or_trouble("" if store is None else os.fspath(store), found.examples, progress)
    command = "" if store is None else repeating_command(folder, found.labels.source, found.report.provenance, Path(store))
    files = ProbeFiles(figures(found), shown, _tables(found), _as_json(found, command))
    return write_probe_files(folder, page_of(found, shown, trouble, command), files)


def page_of(found: Evaluation, shown: tuple[Shown, ...] = (), trouble: str = "", command: str = "") -> Page:
    """Return the report as a page."""
    report = found.report
    sections = [score_section(found), comparison_section(found.comparison)]
    if len(found.learning_curve):
        sections.append(learning_section(found.comparison))
    if found.calibration is not None:
        sections.append(calibration_section(bins_of(found.calibration), found.calibration.error, len(report.classes)))
    if shown or trouble:
        sections.append(examples_section(shown, trouble))
    sections.append(suspects_section(found.suspects))
    sections.append(how_section(found.probe, len(found.labels.rows_N), _provenance(found), command))
    leaks = found.naive is not None and gap_kind(report.scores[MEASURE].value, found.naive.scores[MEASURE].value) == "warn"
    said = f"{lead(found)} {found.gap}" if leaks else lead(found)
    return Page(f"Probe: {named(report.classes)}", said, tuple(sections), f"cellvjepa {report.provenance.get('version', '')}")


def figures(found: Evaluation) -> dict[str, Figure]:
    """Return the figures of a report by name."""
    drawn = {"confusion": confusion_figure(found.report.confusion_KK, found.report.classes), "comparison": comparison_figure(found.comparison)}
    if len(found.learning_curve):
        drawn["learning_curve"] = learning_curve_figure(found.comparison)
    if found.calibration is not None:
        drawn["reliability"] = calibration_figure(bins_of(found.calibration), len(found.report.classes))
    return drawn


def lead(found: Evaluation) -> str:
    """Say in one sentence what was found."""
    score, provenance = found.report.scores[MEASURE], found.report.provenance
    return (
        f"{MEASURE.capitalize()} {score} in {provenance['folds']} folds over {provenance['groups']} groups by {provenance['grouped by']}; "
        f"guessing gives {found.report.chance[MEASURE]:.2f}."
    )


def score_section(found: Evaluation) -> Section:
    """Return the cross-validated scores, those of a split that leaks beside them, and the confusion matrix."""
    report, naive = found.report, found.naive
    header = ("score", "this probe [95 % interval]", *(("split row by row",) if naive else ()), "class prior")
    rows = tuple(
        (name, str(report.scores[name]), *((f"{naive.scores[name].value:.2f}",) if naive else ()), f"{report.chance[name]:.2f}") for name in SCORES
    )
    blocks: list[Block] = [Table(header, rows)]
    if found.gap:
        kind = gap_kind(report.scores[MEASURE].value, naive.scores[MEASURE].value) if naive else "warn"
        blocks.append(Note(found.gap, kind))
    blocks.append(
        Picture(
            png_of(confusion_figure(report.confusion_KK, report.classes)),
            "Rows: what the cells do. Columns: what the probe took them for. A perfect probe fills the diagonal.",
            f"Confusion matrix of the classes {named(report.classes)}",
        )
    )
    blocks += [Note(note, "warn") for note in found.notes]
    return Section(
        "How well are they told apart?",
        f"Every labelled window was predicted once, by a probe that had seen nothing of its group ({report.provenance['grouped by']}). "
        "Intervals come from resampling whole groups.",
        tuple(blocks),
    )


def _tables(found: Evaluation) -> dict[str, pd.DataFrame]:
    return {
        "predictions": found.report.predictions,
        "comparison": found.comparison,
        "learning_curve": found.learning_curve,
        "suspects": found.suspects,
        "examples": found.examples,
    }


def _as_json(found: Evaluation, command: str) -> Mapping[str, object]:
    report, naive, calibration = found.report, found.naive, found.calibration
    return {
        "classes": report.classes,
        "in short": lead(found),
        "kind": choice_in_words(found.probe),
        "confusion": report.confusion_KK.tolist(),
        "scores": _scores(report),
        "class prior": dict(report.chance),
        "scores of a split by rows": None if naive is None else _scores(naive),
        "gap": found.gap,
        "by group": records(report.by_group),
        "comparison": records(found.comparison),
        "in words": [sentence for sentence, _ in (*comparison_in_words(found.comparison), *time_in_words(found.comparison))],
        "learning curve": records(found.learning_curve),
        "learning curve in words": learning_in_words(found.comparison),
        "calibration": None if calibration is None else {"error": asdict(calibration.error), "bins": [asdict(part) for part in calibration.bins]},
        "suspects": records(found.suspects),
        "examples": records(found.examples),
        "notes": found.notes,
        "command": command,
        "provenance": _provenance(found),
    }


def _provenance(found: Evaluation) -> Mapping[str, object]:
    return {**found.report.provenance, "features": asdict(found.probe.made_from), "probe": dict(found.probe.notes)}


def _scores(report: ProbeReport) -> Mapping[str, Mapping[str, float]]:
    return {name: asdict(score) for name, score in report.scores.items()}
