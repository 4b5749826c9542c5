from __future__ import annotations

import numpy as np
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.probing.fitting import fit_head
from cellvjepa.probing.head import FittedHead
from cellvjepa.probing.ordinal import OrdinalHead

QUICK = {"attentive_steps": 4, "attentive_search": False}


def crossed(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Class 0 left and right, class 1 above and below: neighbours tell, no plane does."""
    rng = np.random.default_rng(seed)
    codes = np.arange(rows) % 2
    angle = np.pi * (codes / 2 + rng.integers(0, 2, rows)) + rng.normal(0, 0.2, rows)
    return 3 * np.stack([np.cos(angle), np.sin(angle)], axis=1), codes


def tokens_of(features: np.ndarray) -> np.ndarray:
    """The same numbers at each place and time."""
    return np.broadcast_to(features[:, None, None, None, None, None], (len(features), 1, 2, 1, 2, 2, features.shape[1])).astype(np.float16)


def test_auto_takes_what_predicts_unseen_groups() -> None:
    features, codes = crossed(120, 0)
    head = fit_head(features, codes, 2, ProbeConfig(kind="auto"), groups_N=np.arange(120) // 4)
    assert head.kind == "knn"
    assert head.choice["chosen"] == {"kind": "knn", "neighbours": 5}
    unseen, truth = crossed(200, 1)
    assert (head.probabilities(unseen).argmax(axis=1) == truth).mean() > 0.9
    linear = np.stack([codes, 1 - codes], axis=1) + np.random.default_rng(0).normal(0, 0.4, (120, 2))
    assert fit_head(linear, codes, 2, ProbeConfig(kind="auto"), groups_N=np.arange(120) // 4).kind == "linear"


def test_auto_reads_tokens_too_and_pools_them_for_the_others() -> None:
    features, codes = crossed(60, 0)
    tokens = tokens_of(features)
    head = fit_head(tokens, codes, 2, ProbeConfig(kind="auto", **QUICK))
    assert {line["kind"] for line in head.choice["candidates"]} == {"attentive", "linear", "knn"}
    assert head.kind == "knn"
    assert head.expects == tokens.shape[1:]
    again = FittedHead.from_arrays("knn", head.arrays())
    assert np.array_equal(again.probabilities(tokens), head.probabilities(tokens))


def test_a_few_rows_choose_nothing_and_get_the_linear_head() -> None:
    features, codes = crossed(4, 0)
    head = fit_head(tokens_of(features), codes, 2, ProbeConfig(kind="auto", **QUICK))
    assert head.kind == "linear"
    assert head.choice == {}


def test_several_recipes_are_tried_and_the_chosen_one_is_fitted_on_all_rows() -> None:
    features, codes = crossed(40, 0)
    tokens = tokens_of(features)
    head = fit_head(tokens, codes, 2, ProbeConfig(kind="attentive", attentive_steps=8))
    tried = {(line["learning rate"], line["weight decay"], line["steps"]) for line in head.choice["candidates"]}
    assert len(tried) == 16
    assert {steps for _, _, steps in tried} == {2, 4, 6, 8}
    assert (1e-3, 0.1, 8) in tried
    chosen = head.choice["chosen"]
    alone = ProbeConfig(
        kind="attentive",
        attentive_steps=8,
        attentive_search=False,
        inner_folds=0,
        attentive_learning_rate=chosen["learning rate"],
        attentive_weight_decay=chosen["weight decay"],
    )
    if chosen["steps"] == 8:
        softened = np.log(fit_head(tokens, codes, 2, alone).probabilities(tokens)) / head.choice["temperature"]
        expected = np.exp(softened) / np.exp(softened).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(head.probabilities(tokens), expected, rtol=1e-3)


@pytest.mark.parametrize(("depth", "reads", "dropout"), [(4, "tokens", 0.1), (1, "tokens", 0.0), (2, "places", 0.2)])
def test_depth_input_and_dropout_are_kept_when_saved(depth: int, reads: str, dropout: float) -> None:
    features, codes = crossed(16, 0)
    tokens = tokens_of(features)
    config = ProbeConfig(kind="attentive", attentive_depth=depth, attentive_reads=reads, attentive_dropout=dropout, **QUICK)
    head = fit_head(tokens, codes, 2, config)
    arrays = head.arrays()
    assert sum(name.endswith("attn.qkv.weight") for name in arrays) == depth - 1
    assert arrays["head.mean"].shape == (1, 2 if reads == "tokens" else 4)
    found = head.probabilities(tokens)
    assert np.array_equal(FittedHead.from_arrays("attentive", arrays).probabilities(tokens), found)
    assert np.array_equal(fit_head(tokens, codes, 2, config).probabilities(tokens), found)


def test_the_temperature_makes_an_overfitted_head_modest() -> None:
    rng = np.random.default_rng(0)
    features, codes = rng.normal(size=(60, 200)), np.arange(60) % 2
    sure, modest = (fit_head(features, codes, 2, ProbeConfig(inner_folds=n)).probabilities(rng.normal(size=(300, 200))).max(axis=1) for n in (0, 3))
    assert np.mean(modest) < np.mean(sure) - 0.03


def test_class_weights_can_be_left_to_the_rows() -> None:
    features, codes = np.zeros((10, 3)), np.array([0] * 9 + [1])
    found = [
        fit_head(features, codes, 2, ProbeConfig(class_weights=w, inner_folds=0)).probabilities(features[:1])[0, 0] for w in ("balanced", "none")
    ]
    assert found == pytest.approx([0.5, 0.9], abs=1e-3)


@pytest.mark.parametrize("kind", ["linear", "knn", "attentive"])
def test_one_class_and_one_row_each(kind: str) -> None:
    features = np.array([[0.0, 1.0], [1.0, 0.0]])
    given = tokens_of(features) if kind == "attentive" else features
    for codes in (np.array([0, 1]), np.array([1, 1])):
        found = fit_head(given, codes, 3, ProbeConfig(kind=kind, **QUICK)).probabilities(given)
        assert (found.argmax(axis=1) == codes).all()
        np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize(("kind", "rows"), [("knn", 3), ("linear", 3), ("linear", 1)])
def test_two_hundred_classes(kind: str, rows: int) -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(200), rows)
    features = rng.normal(size=(200, 16))[codes] * 3 + rng.normal(0, 0.3, (len(codes), 16))
    head = fit_head(features, codes, 200, ProbeConfig(kind=kind))
    assert (head.probabilities(features).argmax(axis=1) == codes).mean() > 0.9


def on_a_line(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Low (1), mid (2), high (0): classes are numbered by name, places in the order are not."""
    place = np.arange(rows) % 3
    features = place[:, None] * np.array([2.0, 1.0]) + np.random.default_rng(seed).normal(0, 0.4, (rows, 2))
    return features, np.array([1, 2, 0])[place]


@pytest.mark.parametrize("kind", ["linear", "auto"])
def test_ordered_classes(kind: str) -> None:
    features, codes = on_a_line(90, 0)
    head = fit_head(features, codes, 3, ProbeConfig(kind=kind, order=("low", "mid", "high")))
    assert isinstance(head, OrdinalHead)
    unseen, truth = on_a_line(300, 1)
    found = head.probabilities(unseen)
    assert (found.argmax(axis=1) == truth).mean() > 0.9
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    # Who is surely low is rather mid than high.
    assert (found[truth == 1][:, 2] >= found[truth == 1][:, 0]).mean() > 0.95
    again = OrdinalHead.from_arrays(head.arrays())
    assert np.array_equal(again.probabilities(unseen), found)
    for wrong in ({"rank": np.array([0, 1, 1])}, {"kinds": np.array([1, 7])}, {"step1.temperature": np.array([0.0])}):
        with pytest.raises(ValueError, match=r"ranks|kinds|temperature"):
            OrdinalHead.from_arrays(head.arrays() | wrong)


@pytest.mark.parametrize("order", [("low", "high"), ("low", "low", "high")])
def test_an_order_names_each_class_once(order: tuple[str, ...]) -> None:
    features, codes = on_a_line(30, 0)
    with pytest.raises(UserError, match=r"the order names low, .* but there are 3 classes. name every class"):
        fit_head(features, codes, 3, ProbeConfig(order=order))
