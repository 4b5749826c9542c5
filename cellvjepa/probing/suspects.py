"""Labels that may be wrong, by confident learning and by what the most similar rows are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.probing.labels import Labels
from cellvjepa.probing.linear import standardisation
from cellvjepa.probing.scores import ProbeReport

_MEASURE = "balanced accuracy"
_NEIGHBOURS = 10
_MOST_COMPARED = 20_000  # rows that neighbours are sought among
_CHUNK = 1024
_COLUMNS = ("clip_id", "movie", "track_id", "t_start", "t_stop")


def suspect_labels(
    report: ProbeReport, labels: Labels, vectors_ND: npt.NDArray[Any], groups_N: npt.NDArray[np.int64], rng: np.random.Generator
) -> pd.DataFrame:
    """Return the labels that are most likely wrong, the most suspect first; none if the probe is not surely better than guessing.

    A label is suspect where another class is as probable as it is, on average, for the rows that bear its name, and more probable than
    all others of which that holds (confident learning; Northcutt et al. 2021, arXiv 1911.00068, section 3.1). They are sorted by the
    probability of the other class minus that of the label, and by the share of similar rows that do not bear the label.

    Parameters
    ----------
    report
        Predictions of the rows by a probe that had seen nothing of their groups.
    labels
        The rows, in the same order.
    vectors_ND
        (N, D): the embeddings of the rows, by which they are similar.
    groups_N
        int64 (N,): similar rows are sought in other groups only.
    rng
        Chooses the rows compared with, where there are more than 20,000.

    Returns
    -------
    DataFrame
        ``movie``, ``track_id``, ``t_start``, ``t_stop``, ``clip_id`` where known, ``row`` (position in the embedding table), ``label``,
        ``suggested``, ``probability`` (of the suggested class), ``probability of label``, ``neighbours with label`` (share of the ten most
        similar rows of other groups) and ``reason``, for people.
    """
    score = report.scores[_MEASURE]
    codes_N = labels.codes_N
    chances_NK = report.predictions[[f"p_{name}" for name in report.classes]].to_numpy(np.float64)
    usual_K = np.array([chances_NK[codes_N == k, k].mean() for k in range(len(report.classes))])
    sure_NK = np.where(chances_NK >= usual_K, chances_NK, -1.0)
    suggested_N = sure_NK.argmax(axis=1)
    suspect = (sure_NK.max(axis=1) >= 0) & (suggested_N != codes_N) & (suggested_N == chances_NK.argmax(axis=1))
    # What a probe that guesses disagrees with says nothing of the label.
    if not (score.value if np.isnan(score.low) else score.low) > report.chance[_MEASURE]:
        suspect[:] = False
    rows = np.flatnonzero(suspect)
    agreeing = _neighbours_with_label(vectors_ND, codes_N, groups_N, rows, rng)
    own, other = chances_NK[rows, codes_N[rows]], chances_NK[rows, suggested_N[rows]]
    names = np.array(report.classes, dtype=object)
    table = report.predictions.iloc[rows]
    found = pd.DataFrame(
        {
            **{name: table[name].to_numpy() for name in _COLUMNS if name in table},
            "row": labels.rows_N[rows],
            "label": names[codes_N[rows]],
            "suggested": names[suggested_N[rows]],
            "probability": other,
            "probability of label": own,
            "neighbours with label": agreeing,
        }
    )
    found["reason"] = [reason_of(line) for _, line in found.iterrows()]
    order = np.argsort(-(other - own + 1 - agreeing), kind="stable")
    return found.iloc[order].reset_index(drop=True)


def reason_of(line: pd.Series[Any]) -> str:
    """Say why the label of a line of :func:`suspect_labels` may be wrong."""
    return (
        f"seen by itself it is {line['suggested']} ({line['probability']:.2f}), {line['label']} ({line['probability of label']:.2f}); "
        f"of its {_NEIGHBOURS} most similar windows {round(_NEIGHBOURS * line['neighbours with label'])} are {line['label']}"
    )


def _neighbours_with_label(
    vectors_ND: npt.NDArray[Any],
    codes_N: npt.NDArray[np.int64],
    groups_N: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Return the share of the most similar rows of other groups that bear the same label, by cosine of standardised vectors."""
    mean_D, scale_D = standardisation(np.asarray(vectors_ND, np.float64))
    among = np.sort(rng.permutation(len(vectors_ND))[:_MOST_COMPARED])
    compared = _unit((vectors_ND[among] - mean_D) / scale_D)
    found = []
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        cosine = _unit((vectors_ND[some] - mean_D) / scale_D) @ compared.T
        cosine[groups_N[some, None] == groups_N[among]] = -np.inf
        count = min(_NEIGHBOURS, cosine.shape[1])
        nearest = np.argpartition(-cosine, count - 1, axis=1)[:, :count]
        usable = np.isfinite(np.take_along_axis(cosine, nearest, axis=1))
        same = (codes_N[among][nearest] == codes_N[some, None]) & usable
        found.append(same.sum(axis=1) / np.maximum(usable.sum(axis=1), 1))
    return np.concatenate(found) if found else np.empty(0)


def _unit(rows_ND: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = rows_ND / np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12)
    return found
