"""Calibration: whether a probability of 0.8 means right in 8 of 10 cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellvjepa.probing.scores import Interval, interval

_BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of similar probability: their mean ``confidence``, the share of them that is right, and how many they are."""

    confidence: float
    accuracy: float
    rows: int


@dataclass(frozen=True)
class Calibration:
    """How far probabilities may be taken at their word.

    Parameters
    ----------
    bins
        Predictions by the probability of the predicted class, ten bins of equal width; those without predictions are left out.
    error
        Expected calibration error (Guo et al. 2017, arXiv 1706.04599, eq. 3): sum over bins of share of rows x |accuracy - confidence|.
        Its interval is from resampling groups.
    """

    bins: tuple[ReliabilityBin, ...]
    error: Interval


def calibration_of(
    codes_N: npt.NDArray[np.int64],
    probabilities_NK: npt.NDArray[np.float64],
    groups_N: npt.NDArray[np.int64],
    draws: int,
    rng: np.random.Generator,
) -> Calibration:
    """Compare how sure predictions were with how often they were right.

    Parameters
    ----------
    codes_N, groups_N
        int64 (N,): class and group of each row.
    probabilities_NK
        (N, K) predicted by a probe that had seen nothing of the row's group.
    draws, rng
        Resamples of groups behind the interval, and their source.
    """
    sure_N, right_N = probabilities_NK.max(axis=1), probabilities_NK.argmax(axis=1) == codes_N
    bin_N = np.minimum((sure_N * _BINS).astype(np.int64), _BINS - 1)
    group_N = np.unique(groups_N, return_inverse=True)[1]
    groups = int(group_N.max()) + 1
    sums_3GB = np.zeros((3, groups, _BINS))  # rows, of these right, summed probability
    for of, value_N in enumerate((np.ones(len(codes_N)), right_N.astype(np.float64), sure_N)):
        np.add.at(sums_3GB[of], (group_N, bin_N), value_N)
    rows_B, right_B, sure_B = sums_3GB.sum(axis=1)
    times_DG = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws if groups > 1 else 0)
    drawn_3DB = np.stack([times_DG @ sums_GB for sums_GB in sums_3GB])
    bins = tuple(ReliabilityBin(float(s / n), float(r / n), int(n)) for n, r, s in zip(rows_B, right_B, sure_B, strict=True) if n)
    return Calibration(bins, interval(float(_error(np.stack([rows_B, right_B, sure_B])[:, None])[0]), _error(drawn_3DB)))


def _error(sums_3DB: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rows_DB, right_DB, sure_DB = sums_3DB
    # |right - sure| of a bin is rows x |accuracy - confidence|.
    found: npt.NDArray[np.float64] = np.abs(right_DB - sure_DB).sum(axis=1) / rows_DB.sum(axis=1)
    return found
