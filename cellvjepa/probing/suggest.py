"""What to label next: clips that the probe is unsure of and that differ from each other, and clips that stand for many.

1. *Unsure.* Clips are taken one after the other, each time the one with the largest u d: u is the entropy of its probabilities (0 to 1), d the
   distance of its embedding from the nearest clip that is labelled or taken already. Uncertainty alone would ask for the same doubtful cell
   ten times; distance alone would ask for dirt.
2. *Representatives.* Unlabelled clips are divided into as many clusters (k-means) as representatives are asked for; the one nearest to the
   middle of each is taken. They need no probe, and find what it has never seen. Where nothing is predicted yet, all suggestions are these.

Neighbouring windows of a cell show much the same, so no cell is suggested twice in one go unless there are too few cells, and windows that
overlap a label in time are not suggested again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.names import meant_names
from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.aggregate import cells_of
from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.errors import UserError
from cellvjepa.probing.label_file import read_lines, standing_lines
from cellvjepa.progress import Progress, silent

_CANDIDATES = 20_000  # clips that are compared with each other; of more, these are drawn at random
_COMPONENTS = 50
_NEIGHBOURS_AT_ONCE = 4096

Floats = npt.NDArray[np.float64]
_ROUNDED = 1e-3  # probabilities of classes that exclude each other sum to one but for this

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Suggestions:
    """Clips to label.

    Parameters
    ----------
    table
        A label file to fill in: ``movie``, ``track_id``, ``label`` (empty), ``t_start``, ``t_stop``, ``annotator``, ``date`` (empty), then
        ``why`` (for people; not what the probe takes it for, which would sway who labels it) and ``clip_id``.
    rows_K
        int64 (K,): which rows of the store they are.
    unlabelled
        How many clips there were to choose from.
    notes
        What could not be done as asked.
    """

    table: pd.DataFrame
    rows_K: Ints
    unlabelled: int
    notes: tuple[str, ...]


def suggest(
    store: str | os.PathLike[str],
    count: int,
    config: ProbeConfig,
    labels_csv: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> Suggestions:
    """Suggest clips of a store to label next.

    Parameters
    ----------
    store
        A store; with the predictions of a probe (``cellvjepa predict``) it is known which clips are doubtful.
    count
        How many clips.
    config
        ``suggest_representatives`` and ``seed``.
    labels_csv
        What is labelled already.
    progress
        Told of the clips taken; may cancel.

    Raises
    ------
    UserError
        If the labels cannot be read, or every clip is labelled.
    """
    embeddings = open_store(store)
    labelled_N = labelled_rows(embeddings.table, labels_csv)
    entropy_N = entropy_of(last_predictions(embeddings))
    rng = np.random.default_rng(config.seed)
    free = np.flatnonzero(~labelled_N)
    if not len(free):
        raise UserError("every clip of this store overlaps a label", "embed more cells or movies", store)
    notes = []
    if entropy_N is None:
        notes.append("Nothing is predicted in this store yet (cellvjepa predict), so all suggestions are representatives of clusters.")
    candidates = np.sort(rng.permutation(free)[:_CANDIDATES])
    anchors = np.sort(rng.permutation(np.flatnonzero(labelled_N))[:_CANDIDATES])
    points, known = _points(embeddings, candidates, anchors, rng)
    usable = np.isfinite(points).all(axis=1)
    if not usable.all():
        notes.append(f"{int((~usable).sum())} clips whose embedding is not a number are passed over.")
        candidates, points = candidates[usable], points[usable]
    cells = cells_of(embeddings.table)[candidates]
    typical = min(count, len(candidates)) if entropy_N is None else round(config.suggest_representatives * min(count, len(candidates)))
    chosen, sizes = representatives(points, cells, typical, config.seed)
    doubtful: Ints = np.zeros(0, np.int64)
    u = np.zeros(len(candidates))
    if entropy_N is not None:
        u = np.where(np.isfinite(entropy_N[candidates]), entropy_N[candidates], 0.0)
        doubtful = unsure_and_diverse(u, points, cells, known, chosen, count - len(chosen), progress)
    if len(chosen) + len(doubtful) < count:
        notes.append(f"There are only {len(chosen) + len(doubtful)} unlabelled clips.")
    why = [*(f"unsure ({u[i]:.2f})" for i in doubtful), *(f"stands for {size} similar clips" for size in sizes)]
    rows = candidates[np.concatenate([doubtful, chosen])]
    return Suggestions(_to_fill_in(embeddings.table, rows, why), rows, len(free), tuple(notes))


def labelled_rows(table: pd.DataFrame, labels_csv: str | os.PathLike[str] | None) -> npt.NDArray[np.bool_]:
    """Tell which rows of a store overlap a line of a label file in time, bool (N,); ``unsure`` is an answer, too."""
    labelled = np.zeros(len(table), bool)
    if labels_csv is None:
        return labelled
    lines = standing_lines(read_lines(labels_csv))
    movies = sorted(table["movie"].astype(str).unique())
    if (lines["movie"] == "").all() and len(movies) == 1:
        lines["movie"] = movies[0]
    written = lines["movie"].unique().tolist()
    lines["movie"] = lines["movie"].map(dict(zip(written, meant_names(written, movies), strict=True)))
    for name, empty in (("track_id", np.nan), ("t_start", -np.inf), ("t_stop", np.inf)):
        lines[name] = pd.to_numeric(lines[name], errors="coerce").fillna(empty)
    rows = table[["movie", "track_id", "t_start", "t_stop"]].astype({"movie": str}).assign(row=np.arange(len(table)))
    pairs = lines.dropna(subset=["movie", "track_id"])[["movie", "track_id", "t_start", "t_stop"]].merge(
        rows, on=["movie", "track_id"], suffixes=("_label", "")
    )
    overlapping = (pairs["t_start"] < pairs["t_stop_label"]) & (pairs["t_stop"] > pairs["t_start_label"])
    labelled[pairs.loc[overlapping, "row"].to_numpy(np.int64)] = True
    return labelled


def last_predictions(embeddings: Embeddings) -> pd.DataFrame:
    """Return the probabilities that the last probe gave, columns ``p_CLASS``: those of other classes, by earlier probes, are left in a store."""
    table = embeddings.table
    known = embeddings.steps.get("probe", {}).get("rows per class", {})
    names = [f"p_{name}" for name in known if f"p_{name}" in table]
    return table[names or [str(name) for name in table if str(name).startswith("p_")]]


def entropy_of(table: pd.DataFrame) -> Floats | None:
    """Return how unsure a probe is of each row, float64 (N,): the entropy of its probabilities over the largest possible; None without any.

    Where several classes may fit at once, and probabilities do not sum to one, each of them has an entropy; returned is their mean.
    """
    names = [name for name in table if str(name).startswith("p_")]
    if not names:
        return None
    p_NK = table[names].to_numpy(np.float64)
    totals = p_NK[np.isfinite(p_NK).all(axis=1)].sum(axis=1)
    if (np.abs(totals - 1) > _ROUNDED).any():
        either_2NK = np.stack([p_NK, 1 - p_NK])
        return np.asarray(_surprise(either_2NK).sum(axis=0).mean(axis=1) / np.log(2), np.float64)
    return None if len(names) < 2 else np.asarray(_surprise(p_NK).sum(axis=1) / np.log(len(names)), np.float64)


def _surprise(p: Floats) -> Floats:
    """Return -p log p; NaN stays NaN."""
    found: Floats = -np.where(p > 0, p * np.log(np.maximum(p, 1e-300)), 0 * p)
    return found


def unsure_and_diverse(u_N: Floats, points_ND: Floats, cells_N: Ints, known_MD: Floats, taken: Ints, count: int, progress: Progress = silent) -> Ints:
    """Choose clips one after the other, each with the largest product of uncertainty and distance from the nearest one labelled or taken.

    Parameters
    ----------
    u_N
        float64 (N,): uncertainty, 0 to 1.
    points_ND
        float64 (N, D): embeddings.
    cells_N
        int64 (N,): whom each clip shows.
    known_MD
        Embeddings of labelled clips.
    taken
        Positions that are taken already; their cells count as taken.
    count
        How many to choose.

    Returns
    -------
    int64 (count or fewer,)
        Positions, in the order in which they were chosen.
    """
    nearest = _distances_to_nearest(points_ND, np.concatenate([known_MD, points_ND[taken]]))
    open_N = np.ones(len(u_N), bool)
    open_N[taken] = False
    used = set(cells_N[taken].tolist())
    fresh_N = ~np.isin(cells_N, list(used))
    chosen: list[int] = []
    while len(chosen) < count and open_N.any():
        allowed = open_N & fresh_N if (open_N & fresh_N).any() else open_N
        # The first of all has nothing to be far from: it is the most doubtful.
        far = nearest if np.isfinite(nearest).all() else np.ones(len(u_N))
        best = int(np.argmax(np.where(allowed, u_N * far, -1.0)))
        chosen.append(best)
        open_N[best] = False
        fresh_N &= cells_N != cells_N[best]
        nearest = np.minimum(nearest, np.sqrt(((points_ND - points_ND[best]) ** 2).sum(axis=1)))
        progress("choosing clips", len(chosen), count)
    return np.array(chosen, np.int64)


def representatives(points_ND: Floats, cells_N: Ints, count: int, seed: int) -> tuple[Ints, list[int]]:
    """Choose the clip nearest to the middle of each of ``count`` clusters, of different cells where possible; and how large each cluster is."""
    if not count:
        return np.zeros(0, np.int64), []
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(points_ND, axis=0)))
    clusters = KMeans(count, n_init=3, random_state=seed).fit(points_ND)
    chosen: list[int] = []
    sizes = np.bincount(clusters.labels_, minlength=count)
    for cluster in np.argsort(-sizes, kind="stable"):
        members = np.flatnonzero(clusters.labels_ == cluster)
        distance = ((points_ND[members] - clusters.cluster_centers_[cluster]) ** 2).sum(axis=1)
        ordered = members[np.argsort(distance, kind="stable")]
        fresh = ordered[~np.isin(cells_N[ordered], cells_N[chosen])]
        chosen.append(int((fresh if len(fresh) else ordered)[0]))
    return np.array(chosen, np.int64), np.sort(sizes)[::-1].tolist()


def _points(embeddings: Embeddings, candidates: Ints, anchors: Ints, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return candidates and labelled clips in a space where distances mean something: standardised, their first principal components."""
    from sklearn.decomposition import PCA

    rows = np.union1d(candidates, anchors)
    vectors = embeddings.vectors_at(rows).astype(np.float64)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.any():
        raise UserError("no embedding of an unlabelled clip is a number", "make the store again with `cellvjepa embed`", embeddings.path)
    mean, scale = vectors[finite].mean(axis=0), vectors[finite].std(axis=0)
    vectors = (vectors - mean) / np.where(scale > 0, scale, 1.0)
    parts = min(_COMPONENTS, vectors.shape[1], int(finite.sum()))
    points = np.full((len(rows), parts), np.nan)
    points[finite] = PCA(parts, random_state=int(rng.integers(2**31))).fit_transform(vectors[finite])
    known = points[np.searchsorted(rows, anchors)]
    return points[np.searchsorted(rows, candidates)], known[np.isfinite(known).all(axis=1)]


def _distances_to_nearest(points_ND: Floats, others_MD: Floats) -> Floats:
    from sklearn.metrics import pairwise_distances_argmin_min

    found = np.full(len(points_ND), np.inf)
    for start in range(0, len(points_ND) if len(others_MD) else 0, _NEIGHBOURS_AT_ONCE):
        some = slice(start, start + _NEIGHBOURS_AT_ONCE)
        found[some] = pairwise_distances_argmin_min(points_ND[some], others_MD)[1]
    return found


def _to_fill_in(table: pd.DataFrame, rows: Ints, why: list[str]) -> pd.DataFrame:
    some = table.iloc[rows]
    columns = {name: some[name].to_numpy() for name in ("movie", "track_id", "t_start", "t_stop", "clip_id")}
    found = pd.DataFrame(columns).assign(label="", annotator="", date="", why=why)
    return found[["movie", "track_id", "label", "t_start", "t_stop", "annotator", "date", "why", "clip_id"]]
