"""Rows worth a look: those a probe is most sure of, least sure of, and wrong about without doubt."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cellvjepa.probing.labels import Labels
from cellvjepa.probing.scores import ProbeReport

MOST_CERTAIN, MOST_UNCERTAIN, CONFIDENTLY_WRONG = "most certain", "most uncertain", "confidently wrong"
_EACH = 6
_COLUMNS = ("clip_id", "movie", "track_id", "t_start", "t_stop")


def pick_examples(report: ProbeReport, labels: Labels, each: int = _EACH) -> pd.DataFrame:
    """Return a few rows of each class for each of three reasons.

    Parameters
    ----------
    report
        Predictions of rows by a probe that had seen nothing of their groups.
    labels
        The rows, in the same order.
    each
        How many of each class and kind, at most.

    Returns
    -------
    DataFrame
        ``kind`` (``"most certain"``: right, most probable first; ``"most uncertain"``: the two best classes closest to each other first;
        ``"confidently wrong"``: wrong, most probable first), ``row`` (position in the embedding table), ``label``, ``predicted``,
        ``probability`` and, where the table has them, ``clip_id``, ``movie``, ``track_id``, ``t_start``, ``t_stop``.
    """
    found = report.predictions
    chances = np.sort(found[[f"p_{name}" for name in report.classes]].to_numpy(np.float64), axis=1)
    known = [name for name in _COLUMNS if name in found]
    table = found[["label", "predicted", "probability", *known]].assign(row=labels.rows_N, margin=chances[:, -1] - chances[:, -2])
    right = table["label"] == table["predicted"]
    kinds = {
        MOST_CERTAIN: table[right].sort_values("probability", ascending=False, kind="stable"),
        MOST_UNCERTAIN: table.sort_values("margin", kind="stable"),
        CONFIDENTLY_WRONG: table[~right].sort_values("probability", ascending=False, kind="stable"),
    }
    parts = [
        lines[lines["label"] == name].head(each).assign(kind=kind)  # by the label: a class that is never predicted has examples too
        for kind, lines in kinds.items()
        for name in report.classes
    ]
    return pd.concat(parts, ignore_index=True)[["kind", "row", "label", "predicted", "probability", *known]]
