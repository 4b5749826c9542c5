"""A linear layer fitted to one movie without labels, that never judges what it was fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import torch

FOLDS = 4  # stretches of a movie's time; each is judged by a layer fitted to the others
RIDGE = 0.1  # added to variances, as a share of their mean
_LEAST = 1e-6  # that mean, where nothing varies


@dataclass(frozen=True, eq=False)
class Readout:
    """One linear layer for each stretch of time, known ``matrices_KFD`` + ``biases_KD``, and how wrong it usually is, float32.

    ``scales_KDD`` turn what it is wrong by into uncorrelated numbers of unit variance, or less in directions in which it is seldom wrong.
    """

    matrices_KFD: torch.Tensor
    biases_KD: torch.Tensor
    scales_KDD: torch.Tensor

    def said(self, known_BMF: torch.Tensor, folds_B: torch.Tensor) -> torch.Tensor:
        """Return what follows from what is known, (B, M, D), of clips whose hidden step lies in these stretches, (B,) int64."""
        said_BMD = known_BMF.new_empty(*known_BMF.shape[:2], self.biases_KD.shape[1])
        for fold in torch.unique(folds_B).tolist():
            here = folds_B == fold
            said_BMD[here] = known_BMF[here] @ self.matrices_KFD[fold] + self.biases_KD[fold]
        return said_BMD

    def errors(self, said_BMD: torch.Tensor, target_BMD: torch.Tensor, folds_B: torch.Tensor) -> torch.Tensor:
        """Return how wrong this is, (B, M), in units of how wrong the layer usually is: its Mahalanobis distance, over the root of D.

        Some directions are never foretold well and mean little: empty ground says, all over a clip, what else there is in it.
        """
        errors_BM = target_BMD.new_empty(target_BMD.shape[:2])
        for fold in torch.unique(folds_B).tolist():
            here = folds_B == fold
            errors_BM[here] = ((said_BMD[here] - target_BMD[here]) @ self.scales_KDD[fold]).square().mean(dim=-1).sqrt()
        return errors_BM


def fold_of(steps: torch.Tensor, length: int) -> torch.Tensor:
    """Return in which stretch of a movie of ``length`` time steps these steps lie, int64."""
    # Clips of a movie that is shorter than they are end after it.
    return torch.div(steps * FOLDS, length, rounding_mode="floor").clamp(max=FOLDS - 1)


class Sums:
    """What ridge regressions need to know of the stretches of a movie, gathered batch by batch.

    A layer that had seen an event would explain it: with hundreds of numbers known of each of a few thousand places, the fit bends towards
    the few at which something happens. Sums can be subtracted, so that one pass serves the fits without each stretch.
    """

    def __init__(self) -> None:
        self._products: list[torch.Tensor] = []  # of (1, known, target) with itself, for each stretch
        self._known = 0
        self._device = torch.device("cpu")

    def add(self, known_BMF: torch.Tensor, target_BMD: torch.Tensor, folds_B: torch.Tensor) -> None:
        """Take in what is known and what is true at M places of clips, whose hidden step lies in these stretches, (B,) int64."""
        both = torch.cat([torch.ones_like(known_BMF[..., :1]), known_BMF, target_BMD], dim=-1).cpu().double()
        self._device, self._known = known_BMF.device, known_BMF.shape[-1]
        if not self._products:
            self._products = [torch.zeros(both.shape[-1], both.shape[-1], dtype=torch.float64) for _ in range(FOLDS)]
        for fold in torch.unique(folds_B).tolist():
            rows = both[(folds_B == fold).cpu()].flatten(0, 1)
            self._products[fold] += rows.T @ rows

    def readout(self) -> Readout:
        """Return for each stretch the ridge regression on all the others."""
        assert self._products, "no clip to fit to"
        total = torch.stack(self._products).sum(dim=0)
        # Where one stretch is all there is, it judges itself: of a movie of two steps, from the past, the second one alone is foretold.
        fitted = [_ridge(total - own if total[0, 0] > own[0, 0] else total, self._known) for own in self._products]
        return Readout(*(torch.stack(parts).float().to(self._device) for parts in zip(*fitted, strict=True)))


def _ridge(products: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the matrix (F, D) and the bias (D,) of a regression on ``count`` numbers, and the scale (D, D) of what is left, float64."""
    mean = products[0, 1:] / products[0, 0]
    covariance = products[1:, 1:] / products[0, 0] - torch.outer(mean, mean)
    across, of_target = covariance[:count, count:], covariance[count:, count:]
    matrix = torch.linalg.solve(_raised(covariance[:count, :count]), across)
    explained = matrix.T @ across
    left = of_target - explained - explained.T + matrix.T @ covariance[:count, :count] @ matrix
    variances, directions = torch.linalg.eigh(_raised(left))
    return matrix, mean[count:] - mean[:count] @ matrix, directions / variances.sqrt()


def _raised(covariance: torch.Tensor) -> torch.Tensor:
    mean = covariance.diagonal().mean().clamp_min(_LEAST)
    return covariance + RIDGE * mean * torch.eye(len(covariance), dtype=torch.float64)
