"""From a store and its labels to the folder of a probe: fitted, scored by group, told in a report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cellvjepa.config import ProbeConfig
from cellvjepa.probing.evaluation import evaluate_labelled
from cellvjepa.probing.labelled import Labelled
from cellvjepa.probing.learnt import Watch, unwatched
from cellvjepa.probing.multilabel_evaluation import evaluate_multilabel
from cellvjepa.probing.probe import Probe, save_probe
from cellvjepa.progress import Progress, silent
from cellvjepa.stories import multilabel_probe
from cellvjepa.stories.probe import lead, tell_probe
from cellvjepa.writing import writable_folder


@dataclass(frozen=True, eq=False)
class MadeProbe:
    """A probe in its folder.

    Parameters
    ----------
    probe
        Fitted on all labelled rows, to be used.
    folder
        Holds ``probe.safetensors``, ``probe.json``, ``report.html``, ``report.json``, tables and figures.
    page
        ``report.html``.
    said
        What was found, a sentence each: the score, how it compares with a split by rows, and notes.
    """

    probe: Probe
    folder: Path
    page: Path
    said: tuple[str, ...]


def make_probe(
    store: str | os.PathLike[str],
    labels_csv: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: ProbeConfig,
    *,
    progress: Progress = silent,
    watch: Watch = unwatched,
) -> MadeProbe:
    """Fit a probe, score it beside simple baselines, and write it with its report into a folder.

    Nothing is written before all has been computed; once writing has begun there is no way to cancel, and it takes seconds.

    Parameters
    ----------
    store
        A store made by ``cellvjepa embed``.
    labels_csv
        The labels; those with several classes at once make each class a yes/no question of its own.
    out
        The folder, which is made; files of a probe that are there are replaced.
    config
        Kind of probe, groups, folds, seed.
    progress
        Told of each step; may cancel.
    watch
        Told what has been learnt so far.

    Raises
    ------
    UserError
        If labels and store do not fit together, groups do not allow a split, an attentive probe cannot read the movies, or the folder cannot
        be written to.
    """
    there, folder = Path(out).exists(), writable_folder(out)
    try:
        return _made(store, labels_csv, folder, config, progress, watch)
    except BaseException:
        if not there and not any(folder.iterdir()):
            folder.rmdir()  # who cancels finds nothing new
        raise


def _made(
    store: str | os.PathLike[str], labels_csv: str | os.PathLike[str], folder: Path, config: ProbeConfig, progress: Progress, watch: Watch
) -> MadeProbe:
    progress("reading labels", 0, 0)
    labelled = Labelled.of(store, labels_csv, config)
    if labelled.labels.multilabel:
        several = evaluate_multilabel(labelled, config, progress=progress, watch=watch)
        page = multilabel_probe.tell_multilabel_probe(folder, several, store, progress)
        probe, found = several.probe, (multilabel_probe.lead(several), several.gap, *(f"Note: {note}" for note in several.notes))
    else:
        one = evaluate_labelled(labelled, config, progress=progress, watch=watch)
        page = tell_probe(folder, one, store, progress)
        probe, found = one.probe, (lead(one), one.gap, *(f"Note: {note}" for note in one.notes))
    save_probe(probe, folder)  # last: a folder that holds a probe holds its report
    return MadeProbe(probe, folder, page, found)
