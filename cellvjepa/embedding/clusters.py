"""Clusters of embeddings: groups of cells that look and behave alike, found without labels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.embedding.project import project
from cellvjepa.embedding.store import Embeddings, open_store, revise_store
from cellvjepa.errors import UserError
from cellvjepa.progress import Progress, silent

UNASSIGNED = "unassigned"

_FEWEST_ROWS = 5
_SEED_ROWS = 5000  # rows on which the number of k-means clusters is chosen
_MOST_CLUSTERS = 12
_NEIGHBOURS = 15

Labels: TypeAlias = npt.NDArray[np.int64]
Parameters: TypeAlias = dict[str, Any]


def cluster(
    store: str | os.PathLike[str],
    method: Literal["hdbscan", "kmeans", "leiden"] = "hdbscan",
    *,
    seed: int = 0,
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
        Of k-means and Leiden.
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
    embeddings = open_store(store)
    if len(embeddings) < _FEWEST_ROWS:
        raise UserError(f"{len(embeddings)} rows are too few for clusters, which need {_FEWEST_ROWS}", "embed more cells or movies", embeddings.path)
    if "X_pca" not in embeddings.projections:
        embeddings = project(store, "pca", progress=progress)
    progress(f"clustering ({method}, one step)", 0, 1)
    labels, parameters = methods[method](embeddings.projections["X_pca"], seed)
    progress(f"clustering ({method}, one step)", 1, 1)
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
            "the method leiden needs two more packages", "pip install leidenalg igraph, or choose hdbscan or kmeans", "--method"
        ) from None
    from sklearn.neighbors import kneighbors_graph

    neighbours = min(_NEIGHBOURS, len(pca_NK) - 1)
    sources, targets = kneighbors_graph(pca_NK, neighbours).nonzero()
    graph = igraph.Graph(n=len(pca_NK), edges=np.column_stack([sources, targets]).tolist()).simplify()
    partition = leidenalg.find_partition(graph, leidenalg.RBConfigurationVertexPartition, seed=seed)
    return np.asarray(partition.membership, np.int64), {"neighbours": neighbours, "resolution": 1.0, "seed": seed}


def _named_by_size(labels: Labels) -> npt.NDArray[np.object_]:
    """Rename clusters "0", "1", ... by falling size; negative labels belong to none."""
    found, sizes = np.unique(labels[labels >= 0], return_counts=True)
    names = {int(found[i]): str(rank) for rank, i in enumerate(np.argsort(-sizes, kind="stable"))}
    return np.array([names.get(int(label), UNASSIGNED) for label in labels], dtype=object)
