"""Projections of embeddings: principal components, and UMAP on these."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cellvjepa.embedding.store import Embeddings, open_store, revise_store
from cellvjepa.errors import UserError
from cellvjepa.progress import Progress, silent

_COMPONENTS = 50
_NEIGHBOURS = 15
_MIN_DIST = 0.1
LANDMARKS = 100_000
_PLACED_AT_ONCE = 20_000  # rows beside the landmarks; UMAP takes fewer rounds for more than 10,000
_FEWEST_ROWS = {"pca": 2, "umap": 5}


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """The directions in which vectors vary most.

    Parameters
    ----------
    mean_D
        float64 (D,), subtracted first.
    axes_DK
        float64 (D, K), orthonormal, the most important first; the largest entry of each is positive.
    variance_share_K
        float64 (K,): share of the whole variance along each.
    """

    mean_D: npt.NDArray[np.float64]
    axes_DK: npt.NDArray[np.float64]
    variance_share_K: npt.NDArray[np.float64]

    def scores(self, vectors_ND: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the vectors in terms of the components, (N, K)."""
        return np.asarray((vectors_ND - self.mean_D) @ self.axes_DK, np.float32)


def project(
    store: str | os.PathLike[str],
    method: Literal["umap", "pca"] = "umap",
    seed: int = 0,
    *,
    landmarks: int | None = None,
    progress: Progress = silent,
) -> Embeddings:
    """Compute projections and write them into the store: ``X_pca`` (at most 50 components), and ``X_umap`` on these.

    Parameters
    ----------
    store
        A finished store; a crash leaves it as it was.
    method
        ``"pca"``, or ``"umap"`` for both (McInnes et al., arXiv 1802.03426; 15 neighbours, or all there are; started from the first
        two components).
    seed
        Of UMAP and its landmarks; the same seed gives the same picture.
    landmarks
        Rows that UMAP is fitted on, drawn at random; where there are more, the others are placed among them afterwards. None: 100,000.
    progress
        Told of each stage; may cancel.

    Returns
    -------
    Embeddings
        The store, opened again.

    Raises
    ------
    UserError
        If the method is unknown, there are too few rows, all vectors are the same, or the store cannot be read or written.
    """
    if method not in _FEWEST_ROWS:
        raise UserError(f"there is no projection named '{method}'", "choose umap or pca", "--projection")
    landmarks = LANDMARKS if landmarks is None else landmarks
    if landmarks < _FEWEST_ROWS["umap"]:
        raise UserError(f"{landmarks} landmarks are too few", f"take {_FEWEST_ROWS['umap']} or more", "--landmarks")
    embeddings = open_store(store)
    if len(embeddings) < _FEWEST_ROWS[method]:
        raise UserError(
            f"{len(embeddings)} rows are too few for {method}, which needs {_FEWEST_ROWS[method]}", "embed more cells or movies", embeddings.path
        )
    components = principal_components(embeddings, _COMPONENTS, progress)
    pca = np.empty((len(embeddings), components.axes_DK.shape[1]), np.float32)
    for rows, vectors in embeddings.blocks():
        pca[rows] = components.scores(vectors)
    projections = {"X_pca": pca}
    steps: dict[str, dict[str, Any]] = {
        "X_pca": {"method": "pca", "components": pca.shape[1], "variance_share": [round(float(s), 6) for s in components.variance_share_K]}
    }
    if method == "umap":
        chosen = landmark_rows(len(pca), landmarks, seed)
        neighbours = min(_NEIGHBOURS, len(chosen) - 1)
        projections["X_umap"] = _umap(pca, chosen, neighbours, seed, progress)
        steps["X_umap"] = {"method": "umap", "of": "X_pca", "neighbours": neighbours, "min_dist": _MIN_DIST, "seed": seed, "landmarks": len(chosen)}
    revise_store(store, projections=projections, steps=steps)
    return open_store(store)


def principal_components(embeddings: Embeddings, count: int, progress: Progress = silent) -> PrincipalComponents:
    """Compute principal components exactly, from the covariance in float64, holding one chunk of vectors at a time.

    Parameters
    ----------
    count
        How many at most; there are no more than rows - 1 or dimensions.

    Raises
    ------
    UserError
        If all vectors are the same.
    """
    rows, dim = len(embeddings), embeddings.vectors_ND.shape[1]
    stages, mean, scatter = 2 * rows, np.zeros(dim), np.zeros((dim, dim))
    for chunk, vectors in embeddings.blocks():
        mean += vectors.sum(axis=0, dtype=np.float64) / rows
        progress("principal components", chunk.stop, stages)
    for chunk, vectors in embeddings.blocks():
        centred = vectors - mean
        scatter += centred.T @ centred
        progress("principal components", rows + chunk.stop, stages)
    variances, axes = np.linalg.eigh(scatter / (rows - 1))
    total = float(np.trace(scatter)) / (rows - 1)
    if not total > 1e-12 * float(mean @ mean):
        raise UserError("all vectors are the same", "the encoder has collapsed: look at rankme in the run's report and train again", embeddings.path)
    kept = min(count, rows - 1, dim)
    axes = axes[:, ::-1][:, :kept]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(kept)] < 0, -1.0, 1.0)
    return PrincipalComponents(mean, axes, variances[::-1][:kept].clip(min=0) / total)


def landmark_rows(rows: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return all rows where there are no more than ``count``, else so many drawn at random; sorted, int64."""
    return np.sort(np.random.default_rng(seed).choice(rows, count, replace=False)) if count < rows else np.arange(rows)


def _umap(pca_NK: npt.NDArray[np.float32], chosen: npt.NDArray[np.int64], neighbours: int, seed: int, progress: Progress) -> npt.NDArray[np.float32]:
    points = np.empty((len(pca_NK), 2), np.float32)
    others = np.setdiff1d(np.arange(len(pca_NK)), chosen)
    with warnings.catch_warnings():
        # numba and umap warn about their own affairs (deprecations, TensorFlow, sparse graphs): nothing a user could act on.
        warnings.simplefilter("ignore")
        import umap

        progress("UMAP (one step)", 0, 1)
        model = umap.UMAP(n_neighbors=neighbours, min_dist=_MIN_DIST, init="pca", random_state=seed, transform_seed=seed, n_jobs=1)
        points[chosen] = model.fit_transform(pca_NK[chosen])
        progress("UMAP (one step)", 1, 1)
        for start in range(0, len(others), _PLACED_AT_ONCE):
            rows = others[start : start + _PLACED_AT_ONCE]
            points[rows] = model.transform(pca_NK[rows])
            progress("UMAP (other rows)", start + len(rows), len(others))
    return points
