from __future__ import annotations

import numpy as np
import pytest
import torch

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import Cancelled
from cellvjepa.probing.attentive import AttentiveHead, fit_attentive, pooled_dynamics
from cellvjepa.probing.attentive_network import position_codes
from cellvjepa.probing.linear import fit_linear
from cellvjepa.probing.scores import roc_auc

GRID = (1, 2, 1, 4, 4)


def where_it_matters(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Half of the tokens show a pattern, half its negative: above and below in class 1, below and above in class 0. Pooling hides where."""
    rng = np.random.default_rng(seed)
    codes = np.arange(rows) % 2
    tokens = rng.normal(0, 1, (rows, *GRID, 16)).astype(np.float32)
    pattern = np.where(np.arange(16) % 2, 1, -1).astype(np.float32)
    above = np.where(np.arange(4) < 2, 1, -1)[:, None, None]
    tokens += np.where(codes, 1, -1).reshape(-1, 1, 1, 1, 1, 1, 1) * above * pattern
    return tokens, codes


def test_it_sees_what_pooling_hides() -> None:
    tokens, codes = where_it_matters(120, 0)
    unseen, truth = where_it_matters(200, 1)
    head = fit_attentive(tokens, codes, 2, ProbeConfig(kind="attentive", attentive_steps=300, attentive_learning_rate=3e-3))
    linear = fit_linear(pooled_dynamics(tokens), codes, 2)
    assert roc_auc(truth, linear.probabilities(pooled_dynamics(unseen))) < 0.65
    assert roc_auc(truth, head.probabilities(unseen)) > 0.8


def test_untrained_attention_leaves_the_linear_ranking_alone() -> None:
    tokens, codes = where_it_matters(40, 0)
    tokens += codes.reshape(-1, *[1] * 6)
    head = fit_attentive(tokens, codes, 2, ProbeConfig(attentive_steps=1, attentive_learning_rate=1e-9))
    linear = fit_linear(pooled_dynamics(tokens), codes, 2)
    odds = [np.log(p[:, 1] / p[:, 0]) for p in (head.probabilities(tokens), linear.probabilities(pooled_dynamics(tokens)))]
    # The logits are the sum of both experts', and one of them says next to nothing.
    assert head.weight == 1
    np.testing.assert_allclose(odds[0], odds[1], atol=2e-2)


def test_it_is_repeatable_and_leaves_the_global_generator_alone() -> None:
    tokens, codes = where_it_matters(12, 0)
    config = ProbeConfig(attentive_steps=3)
    before = torch.random.get_rng_state()
    one, other = (fit_attentive(tokens, codes, 2, config).probabilities(tokens) for _ in range(2))
    assert np.array_equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not np.array_equal(one, fit_attentive(tokens, codes, 2, config.model_copy(update={"seed": 1})).probabilities(tokens))


def test_batches_and_precision_do_not_matter() -> None:
    tokens, codes = where_it_matters(70, 0)
    head = fit_attentive(tokens, codes, 2, ProbeConfig(attentive_steps=3))
    whole = head.probabilities(tokens)
    np.testing.assert_allclose(head.probabilities(tokens[65:]), whole[65:], rtol=1e-5)
    np.testing.assert_allclose(head.probabilities(tokens.astype(np.float16)), whole, atol=1e-2)


def test_each_channel_has_its_own_scale() -> None:
    tokens, codes = where_it_matters(30, 0)
    two = np.concatenate([tokens, tokens * 1000 + 500], axis=1)
    head = fit_attentive(two, codes, 2, ProbeConfig(attentive_steps=2))
    assert head.expects == (2, 2, 1, 4, 4, 16)
    assert head.mean_CE.shape == (2, 32)
    np.testing.assert_allclose(head.scale_CE[1], head.scale_CE[0] * 1000, rtol=1e-2)
    assert pooled_dynamics(two).shape == (30, 128)


def test_a_class_without_rows_is_never_predicted() -> None:
    tokens, codes = where_it_matters(20, 0)
    found = fit_attentive(tokens, codes * 2, 3, ProbeConfig(attentive_steps=2)).probabilities(tokens)
    assert (found[:, 1] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize(("grid", "axes"), [((1, 1, 1, 1, 1), 0), ((1, 4, 1, 8, 8), 3), ((2, 1, 1, 2, 1), 2), ((3, 2, 4, 3, 5), 5)])
def test_position_codes_tell_places_apart(grid: tuple[int, ...], axes: int) -> None:
    codes = position_codes(grid)
    assert codes.shape == (np.prod(grid), max(4 * axes, 1))
    assert torch.isfinite(codes).all()
    assert len(torch.unique(codes, dim=0)) == len(codes)


def test_arrays_rebuild_it_and_wrong_ones_are_noticed() -> None:
    tokens, codes = where_it_matters(20, 0)
    head = fit_attentive(tokens, codes, 2, ProbeConfig(attentive_steps=2))
    again = AttentiveHead.from_arrays(head.arrays())
    assert np.array_equal(again.probabilities(tokens), head.probabilities(tokens))
    for weight in (-1, 2, np.nan):
        with pytest.raises(ValueError, match="a weight of"):
            AttentiveHead.from_arrays(head.arrays() | {"weight": np.array([weight])})
    for grid in ((2, 2, 1, 4, 4), (), (1, 0, 1, 4, 4), (1, 2, 4, 4), (1, 1, 1, 2**11, 2**11)):
        with pytest.raises(ValueError, match=r"a grid of|mean \(1, 32\)"):
            AttentiveHead.from_arrays(head.arrays() | {"grid": np.array(grid, np.int64)})


def test_it_can_be_cancelled() -> None:
    def stop(stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("training the attentive probe", 50)
        if done == 2:
            raise Cancelled

    tokens, codes = where_it_matters(8, 0)
    with pytest.raises(Cancelled):
        fit_attentive(tokens, codes, 2, ProbeConfig(attentive_steps=50), stop)
