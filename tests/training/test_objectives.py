"""The objective against a computation in float64, written once more from the formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellvjepa.config import Config, load_config
from cellvjepa.model.vjepa import Prediction
from cellvjepa.training.objectives import objective

B, K, M, D = 3, 5, 7, 4


def weighted(variance_covariance: float) -> Config:
    return load_config(None, [f"training.variance_covariance={variance_covariance}", "training.auxiliary=none"])


def prediction(seed: int = 0, spread: float = 0.5) -> Prediction:
    rng = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return spread * torch.randn(*shape, generator=rng)

    context = tuple(draw(B, K, D).requires_grad_() for _ in range(2))
    predicted = tuple(draw(B, M, D).requires_grad_() for _ in range(2))
    return Prediction(context, predicted, tuple(draw(B, M, D) for _ in range(2)), torch.ones(B, D))


def in_float64(context: list[np.ndarray], predicted: list[np.ndarray], targets: list[np.ndarray], weight: float) -> float:
    def term(features: np.ndarray) -> float:
        covariance = np.cov(features, rowvar=False)
        off_diagonal = covariance[~np.eye(D, dtype=bool)]
        return np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean() + 0.04 * (off_diagonal**2).sum() / D

    latent = np.mean([np.abs(z - h).mean() for z, h in zip(predicted, targets, strict=True)])
    return latent + weight * np.mean([term(c.mean(axis=1)) + term(c.reshape(-1, D)) for c in context])


@pytest.mark.parametrize("weight", [0.0, 0.2])
def test_value_and_gradient_equal_float64(weight: float) -> None:
    p = prediction()
    loss = objective(p, weighted(weight), 0)
    loss.total.backward()
    arrays = [[t.detach().numpy().astype(np.float64) for t in part] for part in (p.context, p.predicted, p.targets)]
    assert loss.total.item() == pytest.approx(in_float64(*arrays, weight), abs=1e-6)
    step = 1e-6
    for part, tensors in enumerate((p.context, p.predicted)):
        for which, tensor in enumerate(tensors):
            if tensor.grad is None:
                assert (part, weight) == (0, 0)
                continue
            for index in [(0, 0, 0), (1, 2, 3), (2, 4, 1)]:
                values = []
                for sign in (1, -1):
                    moved = [[a.copy() for a in group] for group in arrays]
                    moved[part][which][index] += sign * step
                    values.append(in_float64(*moved, weight))
                assert float(tensor.grad[index]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-5)


def test_the_perfect_prediction_costs_nothing_and_the_trivial_one_its_trivial_loss() -> None:
    p = prediction()
    assert objective(Prediction(p.context, p.targets, p.targets, p.target_means), weighted(0.0), 0).total.item() == 0
    means = tuple(t.mean(dim=(0, 1), keepdim=True).expand_as(t) for t in p.targets)
    loss = objective(Prediction(p.context, means, p.targets, p.target_means), weighted(0.0), 0)
    assert loss.error.item() == pytest.approx(loss.trivial.item(), rel=1e-6)


def test_collapsed_features_cost_the_most() -> None:
    """Constant features: both terms reach 1 - sqrt(epsilon); features that vary independently cost nearly nothing."""
    constant = Prediction((torch.ones(B, K, D),), (torch.ones(B, M, D),), (torch.ones(B, M, D),), torch.tensor(0.0))
    assert float(objective(constant, weighted(1.0), 0).variance_covariance) == pytest.approx(2 * (1 - 0.01), abs=1e-5)
    free = torch.randn(4000, 1, D, generator=torch.Generator().manual_seed(1)) * 1.2
    healthy = Prediction((free,), (torch.ones(B, M, D),), (torch.ones(B, M, D),), torch.tensor(0.0))
    assert float(objective(healthy, weighted(1.0), 0).variance_covariance) < 0.01


def test_a_single_clip_has_no_spread_between_clips() -> None:
    one = Prediction(
        (torch.randn(1, K, D, generator=torch.Generator().manual_seed(0)),), (torch.zeros(1, M, D),), (torch.zeros(1, M, D),), torch.tensor(0.0)
    )
    assert torch.isfinite(objective(one, weighted(1.0), 0).total)
