"""Fitting a head: candidates of the wanted kind, the choice among them, and the chosen one on all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellvjepa.config import ProbeConfig
from cellvjepa.probing.choice import Fold, Trial, choose, inner_folds
from cellvjepa.probing.head import FittedHead, Head, Kind
from cellvjepa.probing.learnt import Watch, unwatched
from cellvjepa.probing.linear import LinearHead, fit_linear
from cellvjepa.probing.neighbours import NeighbourHead, fit_neighbours
from cellvjepa.probing.ordinal import OrdinalHead, ranks
from cellvjepa.progress import Progress, silent

if TYPE_CHECKING:
    from cellvjepa.probing.attentive import AttentiveHead, AttentiveInput

Ints = npt.NDArray[np.int64]
_TOKEN_NDIM = 7
_FEWEST_TO_CHOOSE_BY = 8  # rows; what fewer say of a temperature is chance


def fit_head(
    features: npt.NDArray[Any],
    codes_N: Ints,
    classes: int,
    config: ProbeConfig,
    progress: Progress = silent,
    groups_N: Ints | None = None,
    watch: Watch = unwatched,
) -> Head:
    """Fit a classifier of the configured kind; its settings and its temperature come from an inner split of these rows.

    Parameters
    ----------
    features
        (N, D) vectors, or (N, C, t, z, y, x, D) tokens for the attentive kind; ``auto`` chooses among what can read them. Tokens may be
        float16, or an array on the disk.
    codes_N
        Class of each row, 0 to ``classes`` - 1; a class without rows is never predicted.
    classes
        Number of classes.
    config
        Kind, ``inner_folds``, and what its kind needs.
    progress
        Told of each step; may cancel.
    groups_N
        int64 (N,): rows that must not stand on both sides of the inner split. None: neighbouring rows of a class.
    watch
        Told of the loss, where there are steps.

    Raises
    ------
    UserError
        If ``config.order`` does not name each class once.
    """
    assert len(features) == len(codes_N), (features.shape, codes_N.shape)
    if config.order:
        rank_K = ranks(config.order, classes)
        plain, rank_N = config.model_copy(update={"order": ()}), rank_K[codes_N]
        fitting = _Fitting.of(features, plain, progress, watch)
        steps = [fitting.head((rank_N > step).astype(np.int64), 2, groups_N) for step in range(classes - 1)]
        return OrdinalHead(tuple(steps), rank_K)
    return _Fitting.of(features, config, progress, watch).head(codes_N, classes, groups_N)


class _Fitting:
    """Features as each kind reads them, computed once."""

    def __init__(
        self,
        vectors_ND: npt.NDArray[Any],
        attentive: AttentiveInput | None,
        tokens: tuple[int, ...],
        config: ProbeConfig,
        progress: Progress,
        watch: Watch,
    ):
        self.vectors_ND, self.attentive, self.tokens = vectors_ND, attentive, tokens
        self.config, self.progress, self.watch = config, progress, watch

    @classmethod
    def of(cls, features: npt.NDArray[Any], config: ProbeConfig, progress: Progress, watch: Watch) -> _Fitting:
        if features.ndim == 2:
            assert config.kind != "attentive", features.shape
            return cls(features, None, (), config, progress, watch)
        assert features.ndim == _TOKEN_NDIM, features.shape
        from cellvjepa.probing.attentive import AttentiveInput  # torch, only where it is needed

        attentive = AttentiveInput.of(features, config)
        return cls(attentive.pooled_NF, attentive, features.shape[1:], config, progress, watch)

    def head(self, codes_N: Ints, classes: int, groups_N: Ints | None) -> FittedHead:
        """Choose and fit."""
        config = self.config
        folds = inner_folds(codes_N, groups_N, config.inner_folds, config.seed)
        if sum(len(test) for _, test in folds) < _FEWEST_TO_CHOOSE_BY:
            folds = ()
        candidates = self._candidates(codes_N, classes, folds)
        trials = [trial for trial, _ in candidates]
        choice = choose(trials, codes_N, groups_N, self._weights(codes_N, classes))
        trial, fit = candidates[choice.index]
        return FittedHead(trial.kind, fit(), choice.temperature, () if trial.kind == "attentive" else self.tokens, choice.account)

    def _candidates(
        self, codes_N: Ints, classes: int, folds: tuple[Fold, ...]
    ) -> list[tuple[Trial, Callable[[], LinearHead | NeighbourHead | AttentiveHead]]]:
        found: list[tuple[Trial, Callable[[], LinearHead | NeighbourHead | AttentiveHead]]] = []
        # The linear head comes first, and stays unless another is surely better: with few labels it is ahead (workflows/studies/few_labels.md).
        wanted = ("linear", "attentive", "knn") if self.config.kind == "auto" else (self.config.kind,)
        if "linear" in wanted:
            found.append(
                self._plain(
                    "linear", {}, lambda rows: fit_linear(self.vectors_ND[rows], codes_N[rows], classes, self.config.class_weights), folds, classes
                )
            )
        if "attentive" in wanted and self.attentive is not None:
            found += self._attentive(self.attentive, codes_N, classes, folds)
        if "knn" in wanted:
            count = self.config.neighbours
            found.append(
                self._plain(
                    "knn", {"neighbours": count}, lambda rows: fit_neighbours(self.vectors_ND[rows], codes_N[rows], classes, count), folds, classes
                )
            )
        return found

    def _plain(
        self, kind: Kind, settings: Mapping[str, Any], fit: Callable[[Ints], LinearHead | NeighbourHead], folds: tuple[Fold, ...], classes: int
    ) -> tuple[Trial, Callable[[], LinearHead | NeighbourHead]]:
        logits_NK = np.full((len(self.vectors_ND), classes), np.nan)
        for train, test in folds:
            logits_NK[test] = fit(train).logits(self.vectors_ND[test])
        return Trial(kind, settings, logits_NK), lambda: fit(np.arange(len(self.vectors_ND)))

    def _attentive(
        self, given: AttentiveInput, codes_N: Ints, classes: int, folds: tuple[Fold, ...]
    ) -> list[tuple[Trial, Callable[[], LinearHead | NeighbourHead | AttentiveHead]]]:
        from cellvjepa.probing.attentive import attentive_trials, fit_attentive

        found: list[tuple[Trial, Callable[[], LinearHead | NeighbourHead | AttentiveHead]]] = []
        for config, steps, logits_NK in attentive_trials(given, codes_N, classes, self.config, folds, self.progress, self.watch):
            settings = {"learning rate": config.attentive_learning_rate, "weight decay": config.attentive_weight_decay, "steps": steps}

            def fit(config: ProbeConfig = config, steps: int = steps) -> AttentiveHead:
                return fit_attentive(given, codes_N, classes, config, self.progress, steps, self.watch)

            found.append((Trial("attentive", settings, logits_NK), fit))
        return found

    def _weights(self, codes_N: Ints, classes: int) -> npt.NDArray[np.float64]:
        counts = np.bincount(codes_N, minlength=classes)
        return np.ones(classes) if self.config.class_weights == "none" else 1 / np.maximum(counts, 1)
