"""The linear probe: standardised features and multinomial logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

# Strength of the prior: before it sees a label, a logit has a variance of this, whatever the number D of features (C = 3 / D in
# scikit-learn's terms). On windows16 (random and trained encoders, 128-256 features, 20 labels per class) C = 1, which ignores D,
# lost .04-.07 ROC AUC on motility and won .01 on state; choosing C on inner splits was no better and wavers with few labels.
_PRIOR_VARIANCE = 3.0
_ITERATIONS = 2000

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Logistic regression on ``(x - mean_D) / scale_D``: logits are ``weight_KD @ x + bias_K``; all float64."""

    mean_D: Array
    scale_D: Array
    weight_KD: Array
    bias_K: Array

    @property
    def expects(self) -> tuple[int, ...]:
        """Shape of one row of features: (D,)."""
        return self.mean_D.shape

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.bias_K)

    def logits(self, features_ND: npt.NDArray[Any]) -> Array:
        """Return (N, K) logits of (N, D) features."""
        found: Array = ((features_ND - self.mean_D) / self.scale_D) @ self.weight_KD.T + self.bias_K
        return found

    def probabilities(self, features_ND: npt.NDArray[Any]) -> Array:
        """Return (N, K) probabilities of (N, D) features."""
        return softmax(self.logits(features_ND))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what has to be saved."""
        return {"mean": self.mean_D, "scale": self.scale_D, "weight": self.weight_KD, "bias": self.bias_K}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> LinearHead:
        """Rebuild a head; ``KeyError`` or ``ValueError`` if something is missing or of the wrong shape."""
        mean, scale, weight, bias = (np.asarray(arrays[name], np.float64) for name in ("mean", "scale", "weight", "bias"))
        if not (mean.ndim == bias.ndim == 1 and scale.shape == mean.shape and weight.shape == (len(bias), len(mean))):
            raise ValueError(f"mean {mean.shape}, scale {scale.shape}, weight {weight.shape}, bias {bias.shape}")
        return cls(mean, scale, weight, bias)


def fit_linear(
    features_ND: npt.NDArray[Any], codes_N: npt.NDArray[np.int64], classes: int, class_weights: Literal["balanced", "none"] = "balanced"
) -> LinearHead:
    """Fit logistic regression; ``balanced``: classes weigh the same however many rows they have.

    A class without rows gets probability 0. Features that do not vary are ignored.
    """
    from sklearn.linear_model import LogisticRegression

    features = np.asarray(features_ND, np.float64)
    mean_D, scale_D = standardisation(features)
    present = np.unique(codes_N)
    weight_KD, bias_K = np.zeros((classes, features.shape[1])), np.full(classes, -np.inf)
    if len(present) == 1:
        bias_K[present] = 0.0
        return LinearHead(mean_D, scale_D, weight_KD, bias_K)
    model = LogisticRegression(
        C=_PRIOR_VARIANCE / features.shape[1], class_weight=None if class_weights == "none" else class_weights, max_iter=_ITERATIONS
    )
    with warnings.catch_warnings():
        # Of 200 classes with one row each it says that this looks like a regression. It is none.
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%", UserWarning)
        model.fit((features - mean_D) / scale_D, codes_N)
    # For two classes scikit-learn keeps one logit; half of it against minus half of it is the same.
    two = len(present) == 2
    weight_KD[present] = np.concatenate([-model.coef_, model.coef_]) / 2 if two else model.coef_
    bias_K[present] = np.concatenate([-model.intercept_, model.intercept_]) / 2 if two else model.intercept_
    return LinearHead(mean_D, scale_D, weight_KD, bias_K)


def standardisation(features_ND: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of each feature; 1 for the deviation of those that do not vary."""
    mean_D, scale_D = features_ND.mean(axis=0), features_ND.std(axis=0)
    # Relative to their size: the mean of equal numbers is off by a rounding error, which must not be blown up to 1.
    return mean_D, np.where(scale_D > 1e-7 * np.abs(mean_D) + 1e-12, scale_D, 1.0)


def softmax(logits_NK: npt.NDArray[Any]) -> Array:
    """Return probabilities along the last axis."""
    raised: Array = np.exp(logits_NK - logits_NK.max(axis=-1, keepdims=True))
    raised /= raised.sum(axis=-1, keepdims=True)
    return raised
