"""Clusters of embeddings: groups of cells that look and behave alike, found without labels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.embedding.project import landmark_rows, project
from cellvjepa.embedding.store import Embeddings, open_store, revise_store
from cellvjepa.errors import UserError
from cellvjepa.progress import Progress, silent

UNASSIGNED = "unassigned"

_FEWEST_ROWS = 5
_SEED_ROWS = 5000  # rows on which the number of k-means clusters is chosen
_MOST_CLUSTERS = 12
_NEIGHBOURS = 15
_LANDMARKS = {"hdbscan": 20_000, "kmeans": 100_000, "leiden": 100_000}  # minutes on one core; the time of HDBSCAN grows with the square
_ASSIGNED_AT_ONCE = 8192

Labels: TypeAlias = npt.NDArray[np.int64]
Parameters: TypeAlias = dict[str, Any]


def cluster(
    store: str | os.PathLike[str],
    method: Literal["hdbscan", "kmeans", "leiden"] = "hdbscan",
    *,
    seed: int = 0,
    landmarks: int | None = None,
    progress: Progress = silent,
) -> Embeddings:
    """Find clusters among the principal components and write them into the store as the column ``cluster``.

    Clusters are named "0", "1", ... from the largest to the smallest; what belongs to none is "unassigned".

    Parameters
    ----------
    store
        A finished store; principal components are added where they are missing.
    method
        ``"hdbscan"`` finds dense groups and leaves the rest unassigned; ``"kmeans"`` divides everything, into as many groups (2 to
        12) as give the best silhouette; ``"leiden"`` finds communities in the graph of 15 neighbours.
    seed
        Of k-means, Leiden and the landmarks.
    landmarks
        Rows, drawn at random, that clusters are found among; where there are more, the others then belong to the cluster of their
        nearest landmark (k-means: to the nearest mean; HDBSCAN: to none if they are farther from it than landmarks of that cluster
        are from each other). None: 20,000 for HDBSCAN, 100,000 for the others.
    progress
        Told of each stage; may cancel.

    Returns
    -------
    Embeddings
        The store, opened again.

    Raises
    ------
    UserError
        If the method is unknown or needs a package that is missing, or there are too few rows.
    """
    methods: dict[str, Callable[[npt.NDArray[np.float32], int], tuple[Labels, Parameters]]]
    methods = {"hdbscan": _hdbscan, "kmeans": _kmeans, "leiden": _leiden}
    if method not in methods:
        raise UserError(f"there is no clustering named '{method}'", f"choose {', '.join(methods)}", "--method")
    if landmarks is not None and landmarks < _FEWEST_ROWS:
        raise UserError(f"{landmarks} landmarks are too few", f"take {_FEWEST_ROWS} or more", "--landmarks")
    embeddings = open_store(store)
    if len(embeddings) < _FEWEST_ROWS:
        raise UserError(f"{len(embeddings)} rows are too few for clusters, which need {_FEWEST_ROWS}", "embed more cells or movies", embeddings.path)
    if "X_pca" not in embeddings.projections:
        embeddings = project(store, "pca", progress=progress)
    pca = embeddings.projections["X_pca"]
    chosen = landmark_rows(len(pca), landmarks or _LANDMARKS[method], seed)
    progress(f"clustering ({method}, one step)", 0, 1)
    labels, parameters = methods[method](pca[chosen], seed)
    progress(f"clustering ({method}, one step)", 1, 1)
    if len(chosen) < len(pca):
        labels = _spread(pca, chosen, labels, method, progress)
    parameters = {"landmarks": len(chosen), **parameters}
    column = pd.DataFrame({"cluster": _named_by_size(labels)})
    revise_store(store, columns=column, steps={"cluster": {"method": method, "of": "X_pca", **parameters}})
    return open_store(store)


def _hdbscan(pca_NK: npt.NDArray[np.float32], seed: int) -> tuple[Labels, Parameters]:
    from sklearn.cluster import HDBSCAN

    smallest = max(5, len(pca_NK) // 100)
    smallest = min(smallest, len(pca_NK) // 2)
    model = HDBSCAN(min_cluster_size=smallest, min_samples=min(5, smallest), copy=True)
    return model.fit_predict(pca_NK), {"min_cluster_size": smallest}


def _kmeans(pca_NK: npt.NDArray[np.float32], seed: int) -> tuple[Labels, Parameters]:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import silhouette_score

    rows = np.random.default_rng(seed).permutation(len(pca_NK))[:_SEED_ROWS]
    some = pca_NK[rows]
    silhouettes = {}
    with warnings.catch_warnings():
        # Where vectors repeat there may be fewer groups than asked for; their silhouette says so.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for count in range(2, min(_MOST_CLUSTERS, len(some) - 1) + 1):
            labels = KMeans(count, n_init=3, random_state=seed).fit_predict(some)
            silhouettes[count] = float(silhouette_score(some, labels)) if len(np.unique(labels)) > 1 else -1.0
    best = max(silhouettes, key=lambda count: silhouettes[count])
    return KMeans(best, n_init=10, random_state=seed).fit_predict(pca_NK), {"clusters": best, "silhouette": silhouettes[best], "seed": seed}


def _leiden(pca_NK: npt.NDArray[np.float32], seed: int) -> tuple[Labels, Parameters]:
    try:
        import igraph
        import leidenalg
    except ImportError:
        raise UserError(
            "the method leiden needs two more packages", 'pip install "cellvjepa[leiden]", or choose hdbscan or kmeans', "--method"
        ) from None
    from sklearn.neighbors import kneighbors_graph

    neighbours = min(_NEIGHBOURS, len(pca_NK) - 1)
    sources, targets = kneighbors_graph(pca_NK, neighbours).nonzero()
    graph = igraph.Graph(n=len(pca_NK), edges=np.column_stack([sources, targets]).tolist()).simplify()
    partition = leidenalg.find_partition(graph, leidenalg.RBConfigurationVertexPartition, seed=seed)
    return np.asarray(partition.membership, np.int64), {"neighbours": neighbours, "resolution": 1.0, "seed": seed}


def _spread(pca_NK: npt.NDArray[np.float32], chosen: npt.NDArray[np.int64], labels_L: Labels, method: str, progress: Progress) -> Labels:
    """Give every row a label, from those of the landmarks; these keep theirs."""
    from sklearn.metrics import pairwise_distances_argmin_min

    points, names = pca_NK[chosen], labels_L
    if method == "kmeans":
        names = np.unique(labels_L)
        points = np.stack([points[labels_L == name].mean(axis=0) for name in names])
    reach = _reach(points, names) if method == "hdbscan" else np.full(len(points), np.inf)
    labels = np.empty(len(pca_NK), np.int64)
    for start in range(0, len(pca_NK), _ASSIGNED_AT_ONCE):
        rows = slice(start, start + _ASSIGNED_AT_ONCE)
        nearest, distances = pairwise_distances_argmin_min(pca_NK[rows], points)
        labels[rows] = np.where(distances <= reach[nearest], names[nearest], -1)
        progress("clustering (other rows)", min(rows.stop, len(labels)), len(labels))
    labels[chosen] = labels_L
    return labels


def _reach(points_LK: npt.NDArray[np.float32], labels_L: Labels) -> npt.NDArray[np.float64]:
    """Return for each landmark how far the landmarks of its cluster are, at most, from the next one of it: (L,)."""
    from sklearn.neighbors import NearestNeighbors

    reach = np.zeros(len(points_LK))
    for label in np.unique(labels_L):
        members = labels_L == label
        if members.sum() > 1:
            distances, _ = NearestNeighbors(n_neighbors=1).fit(points_LK[members]).kneighbors()
            reach[members] = distances[:, 0].max()
    return reach


def _named_by_size(labels: Labels) -> npt.NDArray[np.object_]:
    """Rename clusters "0", "1", ... by falling size; negative labels belong to none."""
    found, sizes = np.unique(labels[labels >= 0], return_counts=True)
    names = {int(found[i]): str(rank) for rank, i in enumerate(np.argsort(-sizes, kind="stable"))}
    return np.array([names.get(int(label), UNASSIGNED) for label in labels], dtype=object)
