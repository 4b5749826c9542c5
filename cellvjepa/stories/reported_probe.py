"""A probe's report, read back from its folder as values: what a window shows of it, now or months later."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.errors import UserError
from cellvjepa.probing.label_counts import counts_of
from cellvjepa.probing.label_sets import members
from cellvjepa.probing.labelled import CLASS_PRIOR, THIS_ENCODER
from cellvjepa.probing.multilabel import THRESHOLD
from cellvjepa.probing.scores import Interval, confusion_matrix
from cellvjepa.stories.probe_comparison import MEASURE
from cellvjepa.stories.probe_trust import gap_kind

ALL_CLASSES = "all classes"
_AGAIN = "make the probe again"


@dataclass(frozen=True)
class ScoreLine:
    """One score of a probe: split by group with its interval, split row by row, and of guessing; NaN where it is not known."""

    name: str
    grouped: Interval
    by_rows: float
    guessing: float


@dataclass(frozen=True, eq=False)
class ReportedQuestion:
    """What was asked of each labelled window, and what was answered by a probe that had seen nothing of its group.

    Parameters
    ----------
    classes
        K names, the possible answers. Of several labels at once: ``not CLASS`` and ``CLASS``; none where there is no single question.
    truth_N, answer_N
        int64 (N,): positions in ``classes``; empty where there are no classes.
    certain_N
        float64 (N,): probability of the answer.
    scores
        Of this question.
    comparison
        One line per kind of features and number of labels, as in ``comparison.csv``.
    """

    classes: tuple[str, ...]
    truth_N: npt.NDArray[np.int64]
    answer_N: npt.NDArray[np.int64]
    certain_N: npt.NDArray[np.float64]
    scores: tuple[ScoreLine, ...]
    comparison: pd.DataFrame

    @property
    def confusion_KK(self) -> npt.NDArray[np.int64]:
        """int64 (K, K): lines are true classes, columns predicted ones."""
        return confusion_matrix(self.truth_N, self.answer_N, len(self.classes))

    def which(self, truth: int, answer: int) -> npt.NDArray[np.int64]:
        """Return the positions of the windows in one cell of the confusion matrix, the surest first."""
        found = np.flatnonzero((self.truth_N == truth) & (self.answer_N == answer))
        return found[np.argsort(-self.certain_N[found], kind="stable")]


@dataclass(frozen=True, eq=False)
class ReportedProbe:
    """The report of a probe.

    Parameters
    ----------
    folder, page
        Where it is, and ``report.html``.
    in_short, gap
        The score in a sentence; and how a split row by row compares, and what that means.
    gap_matters
        ``"warn"`` where the split row by row scores clearly higher.
    kind
        Which kind of probe it is, and what it was chosen from.
    sentences
        How it compares with baselines, and whether it uses time.
    learning
        Whether more labels would help.
    notes
        What was left out or could not be computed.
    questions
        By name; one (:data:`ALL_CLASSES`) unless windows have several labels at once.
    windows
        One line per labelled window: ``clip_id``, ``movie``, ``track_id``, ``t_start``, ``t_stop``, ``group``, ``label``, ``predicted``,
        ``probability`` and ``p_CLASS``.
    counts
        int64: windows by group (lines) and class (columns).
    measure
        The score that comparisons are made by.
    own, guess
        What this encoder and guessing are called in comparisons.
    labels
        The file that the labels came from.
    settings
        The section ``probe`` of the configuration, as it was made with.
    """

    folder: Path
    page: Path
    in_short: str
    gap: str
    gap_matters: Literal["good", "plain", "warn"]
    kind: str
    sentences: tuple[str, ...]
    learning: str
    notes: tuple[str, ...]
    questions: Mapping[str, ReportedQuestion]
    windows: pd.DataFrame
    counts: pd.DataFrame
    measure: str = MEASURE
    own: str = THIS_ENCODER
    guess: str = CLASS_PRIOR
    labels: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_probe_report(folder: str | os.PathLike[str]) -> ReportedProbe:
    """Read the report that ``cellvjepa probe`` left in a folder.

    Raises
    ------
    UserError
        If there is none, it is damaged, or it was made by an older version that did not write all of it.
    """
    path = Path(folder)
    if not (path / "report.json").is_file():
        raise UserError("there is no report of a probe here", "choose a folder made by `cellvjepa probe`", path)
    try:
        numbers = json.loads((path / "report.json").read_text(encoding="utf-8"))
        windows, comparison = _table(path / "predictions.csv"), _table(path / "comparison.csv")
        several = bool(numbers.get("several labels at once", False))
        questions = _questions(numbers, windows, comparison) if several else {ALL_CLASSES: _question(numbers, windows, comparison)}
        whole = questions[ALL_CLASSES].scores[0]
        counts = counts_of(windows["label"].to_numpy(object), windows["group"].to_numpy(object), several=several)
        return ReportedProbe(
            folder=path,
            page=path / "report.html",
            in_short=str(numbers["in short"]),
            gap=str(numbers["gap"]),
            gap_matters="plain" if np.isnan(whole.by_rows) else gap_kind(whole.grouped.value, whole.by_rows),
            kind=str(numbers["kind"]),
            sentences=tuple(map(str, numbers["in words"])),
            learning=str(numbers["learning curve in words"]),
            notes=tuple(map(str, numbers["notes"])),
            questions=questions,
            windows=windows,
            counts=counts,
            labels=str(numbers["provenance"]["labels"]),
            settings=dict(numbers["provenance"]["settings"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pd.errors.ParserError) as error:
        raise UserError(f"the report cannot be read ({type(error).__name__}: {error})", _AGAIN, path) from None


def _table(path: Path) -> pd.DataFrame:
    """Read a table; texts stay texts, whatever they look like."""
    texts = dict.fromkeys(("clip_id", "movie", "group", "label", "predicted", "features", "labels per class", "class"), str)
    return pd.read_csv(path, dtype=texts, keep_default_na=False, na_values={}, low_memory=False)


def _question(numbers: Mapping[str, Any], windows: pd.DataFrame, comparison: pd.DataFrame) -> ReportedQuestion:
    """Return the one question of windows with one label each."""
    classes = tuple(map(str, numbers["classes"]))
    by_rows = numbers["scores of a split by rows"] or {}
    scores = tuple(
        ScoreLine(name, _interval(score), _value(by_rows.get(name)), float(numbers["class prior"][name])) for name, score in numbers["scores"].items()
    )
    truth, answer = (pd.Categorical(windows[name], classes).codes.astype(np.int64) for name in ("label", "predicted"))
    if min(truth.min(), answer.min()) < 0:
        raise ValueError("predictions.csv names classes that report.json does not")
    return ReportedQuestion(classes, truth, answer, windows["probability"].to_numpy(np.float64), scores, _numbers_in(comparison))


def _questions(numbers: Mapping[str, Any], windows: pd.DataFrame, comparison: pd.DataFrame) -> dict[str, ReportedQuestion]:
    """Return the questions of windows with several labels at once: first all classes together, which is none by itself."""
    none, by_rows, guessing = np.zeros(0, np.int64), numbers["scores of a split by rows, macro"], numbers["guessing, macro"]
    macro = tuple(
        ScoreLine(f"{name}, mean over classes", _interval(score), _value(by_rows.get(name)), float(guessing[name]))
        for name, score in numbers["macro"].items()
    )
    mean = pd.DataFrame(numbers["comparison, mean over classes"])
    found = {ALL_CLASSES: ReportedQuestion((), none, none, none.astype(np.float64), macro, _numbers_in(mean))}
    for name in map(str, numbers["classes"]):
        truth = windows["label"].map(lambda label, name=name: name in members(label)).to_numpy(np.int64)
        chances = windows[f"p_{name}"].to_numpy(np.float64)
        answer = (chances >= THRESHOLD).astype(np.int64)
        scores = tuple(ScoreLine(score, _interval(value), np.nan, np.nan) for score, value in numbers["scores by class"][name].items())
        own = comparison[comparison["class"] == name].drop(columns="class").reset_index(drop=True)
        certain = np.where(answer == 1, chances, 1 - chances)
        found[name] = ReportedQuestion((f"not {name}", name), truth, answer, certain, scores, _numbers_in(own))
    return found


def _numbers_in(comparison: pd.DataFrame) -> pd.DataFrame:
    """Return a comparison whose scores are numbers, NaN where a field is empty."""
    texts = ("features", "labels per class")
    found = {name: comparison[name].astype(str) if name in texts else pd.to_numeric(comparison[name], errors="coerce") for name in comparison}
    return pd.DataFrame(found)


def _interval(score: Mapping[str, Any]) -> Interval:
    return Interval(_value(score), *(np.nan if score[end] is None else float(score[end]) for end in ("low", "high")))


def _value(score: Mapping[str, Any] | None) -> float:
    return np.nan if score is None or score["value"] is None else float(score["value"])
