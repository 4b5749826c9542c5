"""The tables of few_labels.py, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# What stands in a row: method, pooling, and what it is called.
ROWS = (
    ("class prior", "dynamics", "class prior"),
    ("hand-made", "dynamics", "hand-made features"),
    ("untrained", "mean", "untrained encoder, mean"),
    ("untrained", "dynamics", "untrained encoder, dynamics"),
    ("single frame", "dynamics", "ours on a single frame"),
    ("time shuffled", "dynamics", "ours on shuffled frames"),
    ("time arrow", "mean", "time arrow, mean"),
    ("time arrow", "dynamics", "time arrow, dynamics"),
    ("time-contrastive", "mean", "time-contrastive, mean"),
    ("time-contrastive", "dynamics", "time-contrastive, dynamics"),
    ("ours", "mean", "ours, mean"),
    ("ours", "moments", "ours, moments"),
    ("ours", "dynamics", "**ours, dynamics**"),
)
FEW_LABELS = (*(f"{task} {few}" for task in ("motility", "state") for few in (1, 5, 20, 80)), *(f"behaviours {few}" for few in (1, 5, 20)))
MITOSIS = ("mitosis 1", "mitosis all", "mitosis (balanced accuracy) 1", "mitosis (balanced accuracy) all")
TIME = tuple(f"{task} {movie} all" for movie in ("cellphe", "nuclei", "oocyte", "S2") for task in ("direction", "stride", "order"))
# What the README shows: all rows with dynamics pooling, few columns.
SHORT = ("motility 5", "motility 20", "state 5", "state 20", "behaviours 5", "behaviours 20", "direction cellphe all")
OTHERS = ("hand-made", "untrained", "single frame", "time shuffled", "time arrow", "time-contrastive")
KINDS = ("linear", "knn", "attentive", "auto")
FEWEST_SEEDS = 3  # for a word on a difference
_WORTH_A_WORD = 0.005

Array = npt.NDArray[np.float64]
Results = Sequence[dict[str, Any]]


def print_tables(results: Results, out: Path) -> None:
    """Print everything: what was trained, scores, differences with verdicts, kinds of probe."""
    for file in sorted(out.glob("*.json")):
        print(f"- {file.stem}: {json.loads(file.read_text(encoding='utf-8'))}")
    short = tuple((method, how, name.replace(", dynamics", "")) for method, how, name in ROWS if how == "dynamics")
    for title, tasks, rows in (("In short", SHORT, short), ("Few labels", FEW_LABELS, ROWS), ("Mitosis", MITOSIS, ROWS), ("Time", TIME, ROWS)):
        heads = [task if title == "Mitosis" else task.removesuffix(" all") for task in tasks]
        print(f"\n### {title}\n\n| features | seeds | {' | '.join(heads)} |\n|{'---|' * (len(tasks) + 2)}")
        for method, how, name in rows:
            cells = [mean_and_sd(list(by_seed(results, method, f"{task} {how}").values())) for task in tasks]
            if any(cells):
                print(f"| {name} | {sum(row['variant'] == method for row in results)} | {' | '.join(cells)} |")
    for how in ("dynamics", "mean"):
        print(f"\n### Ours minus others, {how} pooling\n\n| task | {' | '.join(OTHERS)} |\n|{'---|' * (len(OTHERS) + 1)}")
        for task in (*FEW_LABELS, *MITOSIS, *TIME):
            print(f"| {task} | {' | '.join(comparison(results, other, f'{task} {how}') for other in OTHERS)} |")
    print(f"\n### Kinds of probe on our encoder\n\n| task | {' | '.join(KINDS)} | auto - linear | attentive - linear |\n|{'---|' * (len(KINDS) + 3)}")
    for task in FEW_LABELS:
        scores = {kind: by_seed(results, "kinds of probe", f"{task} {kind}") for kind in KINDS}
        cells = [mean_and_sd(list(scores[kind].values())) for kind in KINDS]
        against = [in_words(differences(scores[kind], scores["linear"])) for kind in ("auto", "attentive")]
        print(f"| {task} | {' | '.join([*cells, *against])} |")


def by_seed(results: Results, method: str, key: str) -> dict[int, float]:
    """Return a score by seed."""
    return {row["seed"]: row["scores"][key] for row in results if row["variant"] == method and key in row["scores"]}


def comparison(results: Results, other: str, key: str) -> str:
    """Return how far ours is ahead of another method, and whether that is more than noise."""
    ours, theirs = by_seed(results, "ours", key), by_seed(results, other, key)
    if other == "hand-made" and theirs:  # not trained: the same for all seeds
        theirs = dict.fromkeys(ours, next(iter(theirs.values())))
    return in_words(differences(ours, theirs))


def differences(left: dict[int, float], right: dict[int, float]) -> Array:
    """Return left minus right for the seeds that both have."""
    return np.array([left[seed] - right[seed] for seed in sorted(left.keys() & right.keys())])


def in_words(differences_S: Array) -> str:
    """Return mean and standard error of paired differences, and: ahead, behind, or within noise (less than two standard errors, or .005)."""
    if len(differences_S) == 0:
        return ""
    mean = differences_S.mean()
    if len(differences_S) < 2:
        return f"{mean:+.3f}"
    error = differences_S.std(ddof=1) / np.sqrt(len(differences_S))
    said = f"{mean:+.3f} ± {error:.3f}"
    if len(differences_S) < FEWEST_SEEDS:
        return said
    if abs(mean) < max(2 * error, _WORTH_A_WORD):
        return f"{said} within noise"
    return f"{said} **{'ahead' if mean > 0 else 'behind'}**"


def mean_and_sd(values: Sequence[float]) -> str:
    """Return e.g. ``.912 ± .010``; nothing of nothing, and no deviation of one value."""
    if not values:
        return ""
    shown = f"{np.mean(values):.3f}" if len(values) == 1 else f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    return shown.replace("0.", ".")
