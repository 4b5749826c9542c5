"""Choosing what to fit, and how sure of itself it may be, from the training rows alone.

The training rows are split once more, by group. What each candidate says of rows that it has not seen is scored by the logarithm of
the probability that it gives to the truth, after its temperature was set. The first candidate is the one that earlier studies
favour, and stays unless another is better by more than one standard error over groups: with few labels the best of many is often
the luckiest. V-JEPA 2 reports the best of twenty heads on the test split itself; here the test rows are never asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.probing.head import Kind

_ATTEMPTS = 10
_TEMPERATURES = (0.05, 20.0)
_PRIOR_SD = 1.0  # of the logarithm of a temperature, before a row was seen
_IMPOSSIBLE = -30.0  # logit of a class that a head has never seen, where it must be scored

Ints = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]
Fold = tuple[Ints, Ints]


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate, and what it said of rows that it had not seen.

    Parameters
    ----------
    kind
        Kind of head.
    settings
        What distinguishes it, JSON values.
    logits_NK
        (N, K); NaN for rows that no inner fold tests.
    """

    kind: Kind
    settings: Mapping[str, Any]
    logits_NK: Array


@dataclass(frozen=True)
class Choice:
    """Which candidate was chosen, and how sure of itself it may be.

    Parameters
    ----------
    index
        Of the candidate.
    temperature
        Its logits are to be divided by this.
    account
        What was compared, JSON values.
    """

    index: int
    temperature: float
    account: Mapping[str, Any]


def inner_folds(codes_N: Ints, groups_N: Ints | None, folds: int, seed: int) -> tuple[Fold, ...]:
    """Split training rows into folds, by group; every class tested in a fold can be learnt in it.

    Parameters
    ----------
    codes_N
        int64 (N,): class of each row.
    groups_N
        int64 (N,): which rows stay together. None: neighbouring rows of a class do, which in a table ordered by movie, track and time
        are mostly those of the same cell.
    folds
        As many as wanted; there are fewer where there are fewer groups. Below 2: none.
    seed
        Of the split.

    Returns
    -------
    tuple of (int64, int64)
        Rows to train on and rows to test on. Empty where no class can be both learnt and tested.
    """
    blocks_N = _blocks(codes_N, folds) if groups_N is None or folds < 2 else np.unique(groups_N, return_inverse=True)[1]
    wanted = min(folds, len(np.unique(blocks_N)))
    if wanted < 2:
        return ()
    best: tuple[int, tuple[Fold, ...]] = (0, ())
    for attempt in range(_ATTEMPTS):
        fold_N = _spread_out(codes_N, blocks_N, wanted, np.random.default_rng([seed, attempt]))
        found = []
        for fold in range(wanted):
            train, test = np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)
            test = test[np.isin(codes_N[test], codes_N[train])]
            if len(test) and len(np.unique(codes_N[train])) > 1:
                found.append((train, test))
        tested = sum(len(test) for _, test in found)
        if tested > best[0]:
            best = tested, tuple(found)
        if tested == len(codes_N):
            break
    return best[1]


def choose(trials: Sequence[Trial], codes_N: Ints, groups_N: Ints | None, weights_K: Array) -> Choice:
    """Choose among candidates (see the top of this file).

    Parameters
    ----------
    trials
        Candidates; all have predicted the same rows. The first one is the default.
    codes_N
        int64 (N,): class of each row.
    groups_N
        int64 (N,): whose rows count as one when the standard error is taken; None: each row counts.
    weights_K
        float64 (K,): of a row of each class.
    """
    seen = ~np.isnan(trials[0].logits_NK).any(axis=1)
    if not seen.any():
        return Choice(0, 1.0, {})
    codes, weights = codes_N[seen], weights_K[codes_N[seen]]
    units = np.arange(len(codes)) if groups_N is None else np.unique(groups_N[seen], return_inverse=True)[1]
    logits = [np.maximum(trial.logits_NK[seen], _IMPOSSIBLE) for trial in trials]
    temperatures = [temperature_of(each, codes, weights) for each in logits]
    losses = [weights * surprise(each / t, codes) for each, t in zip(logits, temperatures, strict=True)]
    means = [float(loss.sum() / weights.sum()) for loss in losses]
    index = 0
    for candidate in np.argsort(means, kind="stable"):
        if means[candidate] >= means[0]:
            break
        if _surely_better(losses[candidate] - losses[0], units):
            index = int(candidate)
            break
    account = {
        "rows": len(codes),
        "chosen": {"kind": trials[index].kind, **trials[index].settings},
        "temperature": round(temperatures[index], 4),
        "candidates": [
            {"kind": trial.kind, **trial.settings, "log loss": round(mean, 4)}
            for trial, mean in sorted(zip(trials, means, strict=True), key=lambda pair: pair[1])
        ],
    }
    return Choice(index, temperatures[index], account)


def temperature_of(logits_NK: Array, codes_N: Ints, weights_N: Array) -> float:
    """Return what to divide logits by so that the truth is least surprising; near 1 where few rows say otherwise.

    The logarithm of the temperature is normal with a standard deviation of 1 before a row was seen.
    """
    from scipy.optimize import minimize_scalar

    weights = weights_N * (len(weights_N) / weights_N.sum())

    def cost(log_temperature: float) -> float:
        return float((weights * surprise(logits_NK / np.exp(log_temperature), codes_N)).sum() + 0.5 * (log_temperature / _PRIOR_SD) ** 2)

    found = minimize_scalar(cost, bounds=tuple(np.log(_TEMPERATURES)), method="bounded")
    return float(np.exp(found.x))


def surprise(logits_NK: Array, codes_N: Ints) -> Array:
    """Return minus the logarithm of the probability of the truth, (N,)."""
    highest = logits_NK.max(axis=1)
    total = np.log(np.exp(logits_NK - highest[:, None]).sum(axis=1)) + highest
    found: Array = total - logits_NK[np.arange(len(codes_N)), codes_N]
    return found


def _surely_better(difference_N: Array, units_N: Ints) -> bool:
    """Tell whether losses are lower by more than one standard error, where the losses of a unit rise and fall together."""
    sums = np.bincount(units_N, difference_N)
    count = len(sums)
    if count < 2:
        return False
    error = np.sqrt(count / (count - 1) * ((sums - sums.mean()) ** 2).sum())
    return bool(sums.sum() < -error)


def _blocks(codes_N: Ints, folds: int) -> Ints:
    """Return for each row the block it belongs to: of each class ``folds`` blocks of successive rows."""
    blocks = np.empty(len(codes_N), np.int64)
    for k in np.unique(codes_N):
        rows = np.flatnonzero(codes_N == k)
        blocks[rows] = np.arange(len(rows)) * max(folds, 1) // len(rows) + k * max(folds, 1)
    return blocks


def _spread_out(codes_N: Ints, blocks_N: Ints, folds: int, rng: np.random.Generator) -> Ints:
    """Return the fold of each row: largest blocks first, each where its classes are rarest so far."""
    counts = np.zeros((int(blocks_N.max()) + 1, int(codes_N.max()) + 1))
    np.add.at(counts, (blocks_N, codes_N), 1)
    share = counts / np.maximum(counts.sum(axis=0), 1)  # of all rows of a class
    fold_of, filled = np.zeros(len(counts), np.int64), np.zeros((folds, counts.shape[1]))
    order = rng.permutation(len(counts))
    for block in order[np.argsort(-share[order].max(axis=1), kind="stable")]:
        # What the worst class would come to, and among equals the emptiest fold.
        crowded = (filled * (share[block] > 0)).sum(axis=1) + 1e-6 * filled.sum(axis=1)
        fold_of[block] = crowded.argmin()
        filled[fold_of[block]] += share[block]
    return fold_of[blocks_N]
