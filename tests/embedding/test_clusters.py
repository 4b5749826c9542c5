from __future__ import annotations

import importlib.util
import sys

import anndata
import numpy as np
import pandas as pd
import pytest

from cellvjepa.embedding.clusters import UNASSIGNED, cluster
from cellvjepa.embedding.project import landmark_rows
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import UserError


def groups_of(three_groups: np.ndarray) -> np.ndarray:
    """The true group of each vector, 0 for the largest."""
    from sklearn.cluster import KMeans

    labels = KMeans(3, n_init=5, random_state=0).fit_predict(three_groups)
    return np.argsort(np.argsort(-np.bincount(labels)))[labels]


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_three_groups_are_found_and_named_by_size(store_of, three_groups, method):
    path = store_of(three_groups)
    found = cluster(path, method)
    names = found.table["cluster"].to_numpy()
    clear = names != UNASSIGNED
    assert clear.mean() > 0.8
    assert set(names[clear]) == {"0", "1", "2"}
    assert (names[clear].astype(int) == groups_of(three_groups)[clear]).all()
    assert found.steps["cluster"]["method"] == method
    assert found.steps["cluster"]["of"] == "X_pca"
    assert "X_pca" in found.projections, "made on the way"
    assert isinstance(anndata.read_zarr(path).obs["cluster"].dtype, pd.CategoricalDtype)
    if method == "kmeans":
        assert (found.steps["cluster"]["clusters"], found.steps["cluster"]["seed"]) == (3, 0)
        assert found.steps["cluster"]["silhouette"] > 0.5
    again = cluster(path, method)
    np.testing.assert_array_equal(again.table["cluster"].to_numpy(), names)


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_small_and_repeated_vectors_are_clustered_too(store_of, method):
    rng = np.random.default_rng(0)
    for name, vectors in {"small": rng.normal(size=(5, 4)), "repeated": np.repeat(rng.normal(size=(2, 4)), 10, axis=0)}.items():
        found = cluster(store_of(vectors.astype(np.float32), name), method)
        assert len(found.table["cluster"]) == len(vectors)


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_rows_beside_the_landmarks_go_where_these_are(store_of, three_groups, method):
    outlier = np.full((1, 12), 1e4, np.float32)
    path = store_of(np.concatenate([three_groups, outlier]) if method == "hdbscan" else three_groups)
    rows = len(open_store(path))
    seed = next(seed for seed in range(99) if rows - 1 not in landmark_rows(rows, 60, seed))
    found = cluster(path, method, seed=seed, landmarks=60)
    assert found.steps["cluster"]["landmarks"] == 60
    names = found.table["cluster"].to_numpy()
    truth = groups_of(three_groups)
    sure = names[:90] != UNASSIGNED
    assert sure.mean() > 0.7
    assert (names[:90][sure].astype(int) == truth[sure]).all()
    if method == "hdbscan":
        assert names[90] == UNASSIGNED, "it is far from all landmarks"
    with pytest.raises(UserError, match="--landmarks: 4 landmarks are too few. take 5 or more"):
        cluster(path, method, landmarks=4)


def test_bad_input_is_refused(store_of, three_groups, monkeypatch):
    path = store_of(three_groups[:4])
    with pytest.raises(UserError, match="4 rows are too few for clusters, which need 5"):
        cluster(path, "kmeans")
    with pytest.raises(UserError, match="there is no clustering named 'dbscan'. choose hdbscan, kmeans, leiden"):
        cluster(path, "dbscan")
    monkeypatch.setitem(sys.modules, "leidenalg", None)
    with pytest.raises(UserError, match='--method: the method leiden needs two more packages. pip install "cellvjepa.leiden.", or'):
        cluster(store_of(three_groups, "t.zarr"), "leiden")
    assert "cluster" not in open_store(path).table


@pytest.mark.skipif(importlib.util.find_spec("leidenalg") is None, reason="leidenalg and igraph are optional and not installed")
def test_leiden_finds_three_groups(store_of, three_groups):
    path = store_of(three_groups)
    names = cluster(path, "leiden", seed=1).table["cluster"].to_numpy()
    truth = groups_of(three_groups)
    for name in np.unique(names):
        assert len(np.unique(truth[names == name])) == 1, "no community spans two groups"
    np.testing.assert_array_equal(cluster(path, "leiden", seed=1).table["cluster"].to_numpy(), names)
