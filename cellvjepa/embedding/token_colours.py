"""Tokens as colours: their first three principal components as red, green and blue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_SAMPLE = 20_000  # tokens that the principal components are fitted on
_SHOWN = (1, 99)  # percentiles of a component that become black and full colour

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TokenColours:
    """Principal components, and which of their values become black and full colour.

    Parameters
    ----------
    mean_D
        float64: what is subtracted from a token.
    components_PD
        float64: directions of unit length, the one in which tokens vary most first; at most 3.
    low_P, high_P
        float64: values of the components.
    """

    mean_D: Array
    components_PD: Array
    low_P: Array
    high_P: Array

    def components(self, tokens: npt.NDArray[Any]) -> Array:
        """Return the principal components of tokens, (..., P) float64 of (..., D)."""
        found: Array = (np.asarray(tokens, np.float64) - self.mean_D) @ self.components_PD.T
        return found

    def rgb(self, tokens: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the colours of tokens, (..., 3) uint8 of (..., D)."""
        shares = (self.components(tokens) - self.low_P) / np.maximum(self.high_P - self.low_P, 1e-12)
        coloured = np.zeros((*shares.shape[:-1], 3), np.uint8)
        coloured[..., : shares.shape[-1]] = np.rint(255 * np.clip(shares, 0, 1))
        return coloured


def token_pca(steps: Iterable[npt.NDArray[Any]], count: int) -> TokenColours:
    """Fit the principal components of tokens: of all of them, or of about 20,000 that are drawn at random with a fixed seed.

    Parameters
    ----------
    steps
        The tokens, (S, D) each time, e.g. those of one time step; they are gone through once.
    count
        How many tokens there are.
    """
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    share = min(1.0, _SAMPLE / count)
    sample = []
    for tokens_SD in steps:
        sample.append(tokens_SD[rng.random(len(tokens_SD)) < share] if share < 1 else tokens_SD)
    sample_SD = np.concatenate(sample).astype(np.float64)
    pca = PCA(min(3, *sample_SD.shape), svd_solver="full").fit(sample_SD)
    low_P, high_P = np.percentile(pca.transform(sample_SD), _SHOWN, axis=0)
    return TokenColours(pca.mean_, pca.components_, low_P, high_P)
