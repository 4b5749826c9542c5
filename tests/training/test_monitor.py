from __future__ import annotations

import pytest
import torch

from cellvjepa.training.monitor import rankme


def test_equal_directions_give_their_number() -> None:
    """Features spread equally over r directions have rank r, whatever their offset and scale."""
    for r in (1, 3, 8):
        features = torch.zeros(16, 32)
        features[:r, :r] = torch.eye(r)
        features[r : 2 * r, :r] = -torch.eye(r)
        rank = rankme(7.0 * features[: 2 * r] + 100)
        assert float(rank) == pytest.approx(r, rel=1e-3)


def test_identical_features_have_the_smallest_rank() -> None:
    assert float(rankme(torch.ones(10, 5))) == pytest.approx(1.0)


def test_the_rank_is_bounded_by_samples_and_dimensions() -> None:
    rng = torch.Generator().manual_seed(0)
    assert float(rankme(torch.randn(6, 100, generator=rng))) <= 5 + 1e-4  # centring takes one
    assert 9 < float(rankme(torch.randn(1000, 10, generator=rng))) <= 10


def test_leading_dimensions_are_a_batch() -> None:
    features = torch.randn(3, 20, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rankme(features), torch.stack([rankme(f) for f in features]))
