from __future__ import annotations

import anndata
import numpy as np
import pytest

from cellvjepa.embedding import layout, project, store, unfinished
from cellvjepa.embedding.project import principal_components
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import Cancelled, UserError


@pytest.mark.parametrize(("rows", "dim"), [(90, 12), (8, 12), (200, 60)])
def test_components_are_those_of_scikit_learn(store_of, monkeypatch, rows, dim):
    from sklearn.decomposition import PCA

    for module in (layout, unfinished, store):
        monkeypatch.setattr(module, "CHUNK_ROWS", 32)
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(rows, dim)) * np.linspace(1, 5, dim) + 100).astype(np.float32)
    found = principal_components(open_store(store_of(vectors)), 50)
    kept = min(50, rows - 1, dim)
    expected = PCA(kept, svd_solver="full").fit(vectors.astype(np.float64))
    assert found.axes_DK.shape == (dim, kept)
    np.testing.assert_allclose(found.axes_DK.T @ found.axes_DK, np.eye(kept), atol=1e-10)
    np.testing.assert_allclose(np.abs(np.sum(found.axes_DK.T * expected.components_, axis=1)), 1, atol=1e-6)
    np.testing.assert_allclose(found.variance_share_K, expected.explained_variance_ratio_, atol=1e-8)
    assert (found.axes_DK[np.abs(found.axes_DK).argmax(axis=0), np.arange(kept)] > 0).all()


def test_pca_is_written_with_its_parameters(store_of, three_groups):
    path = store_of(three_groups)
    found = project.project(path, "pca")
    assert list(found.projections) == ["X_pca"]
    scores = found.projections["X_pca"]
    assert scores.shape == (90, 12)
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-4)
    distances = np.linalg.norm(three_groups[:, None] - three_groups[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(scores[:, None] - scores[None], axis=-1), distances, atol=1e-3)
    assert found.steps["X_pca"]["components"] == 12
    assert sum(found.steps["X_pca"]["variance_share"]) == pytest.approx(1, abs=1e-4)


def test_umap_keeps_groups_apart_and_is_the_same_for_the_same_seed(store_of, three_groups):
    path = store_of(three_groups)
    seen = []
    first = project.project(path, "umap", seed=3, progress=lambda *event: seen.append(event))
    assert first.steps["X_umap"] == {"method": "umap", "of": "X_pca", "neighbours": 15, "min_dist": 0.1, "seed": 3, "landmarks": 90}
    umap = first.projections["X_umap"]
    assert umap.shape == (90, 2)
    assert umap.dtype == np.float32
    nearest = np.argsort(np.linalg.norm(umap[:, None] - umap[None], axis=-1), axis=1)[:, 1]
    far = np.linalg.norm(three_groups - three_groups[nearest], axis=1)
    assert (far < 12).all(), "the nearest neighbour on the plane is one of the same group"
    assert seen[-2:] == [("UMAP (one step)", 0, 1), ("UMAP (one step)", 1, 1)]
    again = project.project(path, "umap", seed=3)
    np.testing.assert_array_equal(again.projections["X_umap"], umap)
    assert not np.array_equal(project.project(path, "umap", seed=4).projections["X_umap"], umap)
    read = anndata.read_zarr(path)
    assert sorted(read.obsm) == ["X_pca", "X_umap"]
    np.testing.assert_array_equal(read.X, three_groups)


@pytest.mark.parametrize("rows", [5, 7])
def test_tiny_stores_are_projected_too(store_of, three_groups, rows):
    found = project.project(store_of(three_groups[:rows]), "umap")
    assert found.steps["X_umap"]["neighbours"] == rows - 1
    assert np.isfinite(found.projections["X_umap"]).all()


def test_too_few_rows_and_unknown_methods_are_refused(store_of, three_groups):
    path = store_of(three_groups[:4])
    with pytest.raises(UserError, match="4 rows are too few for umap, which needs 5. embed more cells or movies"):
        project.project(path, "umap")
    with pytest.raises(UserError, match="there is no projection named 'tsne'. choose umap or pca"):
        project.project(path, "tsne")
    with pytest.raises(UserError, match="1 rows are too few for pca, which needs 2"):
        project.project(store_of(three_groups[:1], "one.zarr"), "pca")


def test_a_collapsed_encoder_is_said(store_of):
    path = store_of(np.full((20, 6), 0.1, np.float32))
    with pytest.raises(UserError, match="all vectors are the same. the encoder has collapsed"):
        project.project(path, "pca")


def test_a_crash_leaves_the_old_projection(store_of, three_groups, monkeypatch):
    path = store_of(three_groups)
    old = project.project(path, "pca").projections["X_pca"]

    def cancel(stage, done, total):
        if stage.startswith("UMAP"):
            raise Cancelled

    with pytest.raises(Cancelled):
        project.project(path, "umap", progress=cancel)
    found = open_store(path)
    assert list(found.projections) == ["X_pca"]
    np.testing.assert_array_equal(found.projections["X_pca"], old)


def test_rows_beside_the_landmarks_are_placed_among_their_like(store_of, three_groups, monkeypatch):
    monkeypatch.setattr(project, "_PLACED_AT_ONCE", 25)
    path = store_of(three_groups)
    seen = []
    found = project.project(path, "umap", seed=3, landmarks=50, progress=lambda *event: seen.append(event))
    assert found.steps["X_umap"]["landmarks"] == 50
    assert seen[-2:] == [("UMAP (other rows)", 25, 40), ("UMAP (other rows)", 40, 40)]
    umap = found.projections["X_umap"]
    distances = np.linalg.norm(umap[:, None] - umap[None], axis=-1) + np.diag(np.full(90, np.inf))
    others = np.setdiff1d(np.arange(90), project.landmark_rows(90, 50, 3))
    assert len(others) == 40
    far = np.linalg.norm(three_groups - three_groups[distances.argmin(axis=1)], axis=1)[others]
    assert (far < 12).all(), "the nearest neighbour on the plane is one of the same group"
    np.testing.assert_array_equal(project.project(path, "umap", seed=3, landmarks=50).projections["X_umap"], umap)
    with pytest.raises(UserError, match="--landmarks: 4 landmarks are too few. take 5 or more"):
        project.project(path, landmarks=4)
