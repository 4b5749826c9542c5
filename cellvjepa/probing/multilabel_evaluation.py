"""What a store's embeddings are worth where labels name several classes at once: each class is a yes/no question of its own.

All questions share rows, groups, folds, features and resamples; each is fitted, scored and compared with baselines as any other probe
(:func:`cellvjepa.probing.evaluation.judge`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.probing.answer_scores import ANSWER_SCORES, AnswerScores, answer_scores, resampled_answers
from cellvjepa.probing.calibration import Calibration, calibration_of
from cellvjepa.probing.evaluation import Evaluation, judge
from cellvjepa.probing.examples import MOST_CERTAIN
from cellvjepa.probing.labelled import Labelled, features_of
from cellvjepa.probing.labels import Labels
from cellvjepa.probing.learnt import Watch, unwatched, within
from cellvjepa.probing.multilabel import YES, MultilabelHead, answers_table, classes_of, question
from cellvjepa.probing.probe import Probe
from cellvjepa.probing.scores import affordable_draws, interval
from cellvjepa.probing.splits import Groups, shared_folds
from cellvjepa.probing.suspects import reason_of
from cellvjepa.probing.validation import gap_sentence, searched
from cellvjepa.progress import Progress, silent

MEASURE = "balanced accuracy"

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class MultilabelEvaluation:
    """A probe on labels that name several classes at once.

    Parameters
    ----------
    probe
        Fitted on all labelled rows, to be used; its head is a :class:`cellvjepa.probing.multilabel.MultilabelHead`.
    questions
        By class: the evaluation of its yes/no question alone.
    fits_NK
        bool (N, K): which classes each row was labelled with.
    scores, naive
        Split by group, and row by row as if rows were independent.
    guessing
        Macro scores of a probe that knows how common each class is, and nothing else.
    gap
        What lies between the two, in words.
    calibration
        Of all answers to all questions.
    predictions
        One line per labelled row: the columns of the embedding table, then ``group``, ``fold``, ``label``, ``predicted``, ``probability``
        (of the answer that is least sure) and ``p_CLASS``.
    comparison
        One line per class, kind of features and number of labels: ``class``, and as :class:`cellvjepa.probing.evaluation.Evaluation` has them.
    examples, suspects
        Of all questions; the answer *yes* is called as the class is, *no* ``not CLASS``.
    labels
        The labelled rows.
    notes
        What could not be computed or was left out, and why, for people.
    """

    probe: Probe
    questions: Mapping[str, Evaluation]
    fits_NK: Bools
    scores: AnswerScores
    naive: AnswerScores
    guessing: Mapping[str, float]
    gap: str
    calibration: Calibration
    predictions: pd.DataFrame
    comparison: pd.DataFrame
    examples: pd.DataFrame
    suspects: pd.DataFrame
    labels: Labels
    notes: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """K names, sorted."""
        return tuple(self.questions)


def evaluate_multilabel(labelled: Labelled, config: ProbeConfig, *, progress: Progress = silent, watch: Watch = unwatched) -> MultilabelEvaluation:
    """Fit a probe for several classes at once, score it by group, and score simple baselines in the same way.

    Parameters
    ----------
    labelled
        Rows whose labels name several classes at once.
    config
        Kind of probe, groups, folds, seed. There is no order among classes that may fit together.
    progress
        Told of each step; may cancel.
    watch
        Told what has been learnt so far of each question.

    Raises
    ------
    UserError
        If groups do not allow a split, an order is asked for, or an attentive probe cannot read the movies.
    """
    labels, groups = labelled.labels, labelled.groups
    if config.order:
        raise UserError("several labels at once have no order", "leave probe.order out", labels.source)
    names, notes = _learnable(labels, groups)
    asked = {name: question(labels, name) for name in names}
    fits_NK = np.stack([found.names_N == YES for found in asked.values()], axis=1)
    folds = shared_folds(groups, labels.codes_N, fits_NK, names, config)
    features = features_of(labelled, config, progress)
    found = {}
    for number, (name, answers) in enumerate(asked.items(), start=1):

        def tell(stage: str, done: int, total: int, about: str = f"{name} ({number} of {len(asked)})") -> None:
            progress(f"{about}: {stage}", done, total)

        found[name] = judge(labelled, answers, features, folds, config, tell, within(watch, name))
    chances_NK = _chances([one.report.predictions for one in found.values()])
    naive_NK = _chances([one.naive.predictions for one in found.values() if one.naive is not None])
    scores, naive, guessing = (
        answer_scores(fits_NK, each_NK, groups.codes_N, draws, config.seed)
        for each_NK, draws in ((chances_NK, config.bootstrap), (naive_NK, config.bootstrap), (np.tile(fits_NK.mean(axis=0), (len(fits_NK), 1)), 0))
    )
    return MultilabelEvaluation(
        probe=_together(list(found.values()), labels, names),
        questions=found,
        fits_NK=fits_NK,
        scores=scores,
        naive=naive,
        guessing={name: guessing.macro[name].value for name in ANSWER_SCORES},
        gap=_gap(scores, naive, found, groups, config),
        calibration=_calibration(fits_NK, chances_NK, groups, config),
        predictions=_predictions(next(iter(found.values())), labels, chances_NK, names),
        comparison=pd.concat([one.comparison.assign(**{"class": name}) for name, one in found.items()], ignore_index=True),
        examples=_examples(found),
        suspects=_suspects(found),
        labels=labels,
        notes=(*labels.notes, *groups.notes, *notes, *features.trouble),
    )


def mean_comparison(comparison: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison as means over classes, ``low`` and ``high`` too: the interval if all classes erred together, so never too narrow.

    Where some classes have too few rows for a number of labels, that number is left out.
    """
    keys = ["features", "labels per class"]
    numbers = comparison.drop(columns="class")
    mean = numbers.groupby(keys, sort=False).mean(numeric_only=True)
    asked = numbers.groupby(keys, sort=False).size()
    mean = mean[asked == comparison["class"].nunique()].reset_index()
    return mean.assign(draws=mean["draws"].astype(int))


def _learnable(labels: Labels, groups: Groups) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the classes that can be both learnt and tested, and why others cannot."""
    names, notes = [], []
    for name in classes_of(labels):
        fits_N = question(labels, name).names_N == YES
        inside, outside = np.unique(groups.codes_N[fits_N]), np.unique(groups.codes_N[~fits_N])
        if min(len(inside), len(outside)) > 1:
            names.append(name)
        else:
            rare = f"occurs in one group only ({groups.names[inside[0]]})" if len(inside) < 2 else "is missing in one group at most"
            notes.append(f"class '{name}' {rare} by {groups.basis}, so it cannot be both learnt and tested, and the probe does not know it")
    if not names:
        raise UserError(f"no class can be both learnt and tested: {notes[0]}", "label each class in another group too", labels.source)
    return tuple(names), tuple(notes)


def _chances(predictions: list[pd.DataFrame]) -> Floats:
    return np.stack([table[f"p_{YES}"].to_numpy(np.float64) for table in predictions], axis=1)


def _together(found: list[Evaluation], labels: Labels, names: tuple[str, ...]) -> Probe:
    """Return the probes of all questions as one."""
    first = found[0].probe
    heads = [one.probe.head for one in found]
    notes = {
        **first.notes,
        "rows": len(labels.rows_N),
        "rows per class": {name: one.probe.notes["rows per class"][YES] for name, one in zip(names, found, strict=True)},
        "choice": {name: one.probe.notes["choice"] for name, one in zip(names, found, strict=True)},
    }
    head = MultilabelHead.of(heads)
    return Probe(head.kind, head, names, first.made_from, notes)


def _gap(scores: AnswerScores, naive: AnswerScores, found: Mapping[str, Evaluation], groups: Groups, config: ProbeConfig) -> str:
    column, draws = ANSWER_SCORES.index(MEASURE), affordable_draws(config.bootstrap, len(found) * len(groups.codes_N))
    drawn = []
    for reports in ([one.report for one in found.values()], [one.naive for one in found.values() if one.naive is not None]):
        tables = [report.predictions for report in reports]
        of_each = [
            resampled_answers(table["label"].to_numpy() == YES, table[f"p_{YES}"].to_numpy(np.float64), groups.codes_N, draws, config.seed)
            for table in tables
        ]
        drawn.append(np.mean(of_each, axis=0)[:, column])
    gap = interval(naive.macro[MEASURE].value - scores.macro[MEASURE].value, drawn[1] - drawn[0])
    honest, leaky = scores.macro[MEASURE].value, naive.macro[MEASURE].value
    unlike = any(searched(one.report, one.naive) for one in found.values() if one.naive is not None)
    return gap_sentence(honest, leaky, gap, f"{MEASURE}, mean over classes", groups.basis, searched=unlike)


def _calibration(fits_NK: Bools, chances_NK: Floats, groups: Groups, config: ProbeConfig) -> Calibration:
    flat = chances_NK.T.ravel()
    both = np.stack([1 - flat, flat], axis=1)
    groups_N = np.tile(groups.codes_N, fits_NK.shape[1])
    return calibration_of(fits_NK.T.ravel().astype(np.int64), both, groups_N, config.bootstrap, np.random.default_rng(config.seed))


def _predictions(any_question: Evaluation, labels: Labels, chances_NK: Floats, names: tuple[str, ...]) -> pd.DataFrame:
    answers = answers_table(chances_NK, names)
    own = any_question.report.predictions
    table = own.drop(columns=[name for name in own if str(name).startswith("p_") or name in ("predicted", "probability")])
    return pd.concat([table.assign(label=labels.names_N.astype(object)), answers], axis=1)


def _examples(found: Mapping[str, Evaluation]) -> pd.DataFrame:
    """Return the examples of all questions; what is surely no member of a class is not shown: most rows are."""
    parts = []
    for name, one in found.items():
        dull = (one.examples["kind"] == MOST_CERTAIN) & (one.examples["label"] != YES)
        parts.append(_called(one.examples[~dull], name, ("label", "predicted")))
    return pd.concat(parts, ignore_index=True)


def _suspects(found: Mapping[str, Evaluation]) -> pd.DataFrame:
    parts = []
    for name, one in found.items():
        table = _called(one.suspects, name, ("label", "suggested")).assign(**{"class": name})
        parts.append(table.assign(reason=[reason_of(line) for _, line in table.iterrows()]))
    together = pd.concat(parts, ignore_index=True)
    return together.sort_values("probability", ascending=False, kind="stable", ignore_index=True)


def _called(table: pd.DataFrame, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    called = {column: np.where(table[column] == YES, name, f"not {name}").astype(object) for column in columns}
    return table.assign(**called)
