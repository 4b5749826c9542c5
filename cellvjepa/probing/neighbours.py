"""The kNN probe: a window is what its most similar labelled windows are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.probing.linear import standardisation

_CHUNK = 4096  # rows compared with all labelled rows at once

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NeighbourHead:
    """The ``neighbours`` most similar labelled rows vote, by cosine of standardised features, each with weight 1 + cosine.

    Parameters
    ----------
    mean_D, scale_D
        float64: standardisation.
    vectors_MD
        float64: labelled rows, standardised and of length 1.
    codes_M
        int64: their classes.
    classes, neighbours
        How many there are.
    """

    mean_D: Array
    scale_D: Array
    vectors_MD: Array
    codes_M: npt.NDArray[np.int64]
    classes: int
    neighbours: int

    @property
    def expects(self) -> tuple[int, ...]:
        """Shape of one row of features: (D,)."""
        return self.mean_D.shape

    def logits(self, features_ND: npt.NDArray[Any]) -> Array:
        """Return (N, K) logarithms of the shares; as if each class known had got a small part of a vote more, so that none is impossible."""
        present = np.bincount(self.codes_M, minlength=self.classes) > 0
        nearest = min(self.neighbours, len(self.codes_M))
        shares = (self.probabilities(features_ND) * nearest + 1 / self.classes) / (nearest + present.sum() / self.classes)
        logits: Array = np.where(present, np.log(shares), -np.inf)
        return logits

    def probabilities(self, features_ND: npt.NDArray[Any]) -> Array:
        """Return (N, K) shares of the votes for (N, D) features."""
        votes_NK = np.zeros((len(features_ND), self.classes))
        nearest = min(self.neighbours, len(self.codes_M))
        for start in range(0, len(features_ND), _CHUNK):
            cosine = _unit((features_ND[start : start + _CHUNK] - self.mean_D) / self.scale_D) @ self.vectors_MD.T
            # Among the nearest, the order plays no part.
            chosen = np.argpartition(-cosine, nearest - 1, axis=1)[:, :nearest]
            rows = start + np.arange(len(cosine))[:, None]
            np.add.at(votes_NK, (rows, self.codes_M[chosen]), 1 + np.take_along_axis(cosine, chosen, axis=1))
        shares: Array = votes_NK / np.maximum(votes_NK.sum(axis=1, keepdims=True), 1e-12)
        return shares

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what has to be saved."""
        counts = {"classes": np.array([self.classes]), "neighbours": np.array([self.neighbours])}
        return {"mean": self.mean_D, "scale": self.scale_D, "vectors": self.vectors_MD, "codes": self.codes_M, **counts}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> NeighbourHead:
        """Rebuild a head; ``KeyError`` or ``ValueError`` if something is missing or does not fit."""
        mean, scale, vectors = (np.asarray(arrays[name], np.float64) for name in ("mean", "scale", "vectors"))
        codes = np.asarray(arrays["codes"], np.int64)
        classes, neighbours = (int(arrays[name].item()) for name in ("classes", "neighbours"))
        if mean.ndim != 1 or scale.shape != mean.shape or vectors.shape != (len(codes), len(mean)) or not len(codes):
            raise ValueError(f"mean {mean.shape}, scale {scale.shape}, vectors {vectors.shape}, codes {codes.shape}")
        if codes.min() < 0 or codes.max() >= classes or neighbours < 1:
            raise ValueError(f"classes {codes.min()} to {codes.max()} of {classes}, {neighbours} neighbours")
        return cls(mean, scale, vectors, codes, classes, neighbours)


def fit_neighbours(features_ND: npt.NDArray[Any], codes_N: npt.NDArray[np.int64], classes: int, neighbours: int) -> NeighbourHead:
    """Keep the labelled rows."""
    features = np.asarray(features_ND, np.float64)
    mean_D, scale_D = standardisation(features)
    return NeighbourHead(mean_D, scale_D, _unit((features - mean_D) / scale_D), codes_N.astype(np.int64), classes, neighbours)


def _unit(vectors_ND: Array) -> Array:
    found: Array = vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12)
    return found
