from __future__ import annotations

import numpy as np
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.errors import UserError
from cellvjepa.probing.attention import query_attention, why_no_view
from cellvjepa.probing.attentive import fit_attentive
from cellvjepa.probing.head import FittedHead
from cellvjepa.probing.linear import fit_linear
from cellvjepa.probing.multilabel import MultilabelHead
from cellvjepa.probing.ordinal import OrdinalHead
from cellvjepa.probing.probe import FeatureSpec, Probe

GRID = (2, 3, 1, 4, 4)  # channels, t, z, y, x
DIM = 5


def tokens_of(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, *GRID, DIM)).astype(np.float32)


def attentive(config: ProbeConfig, seed: int = 0, rows: int = 20) -> FittedHead:
    tokens = tokens_of(rows, seed)
    codes = np.arange(rows) % 2
    tokens[codes == 1, 1, :, 0, 1, 2] += 3  # what tells them apart is at one place of the second channel
    return FittedHead("attentive", fit_attentive(tokens, codes, 2, config), 1.0, (), {})


def probe_of(head, classes: tuple[str, ...], statistic: str = "tokens") -> Probe:
    made = FeatureSpec("0" * 64, {}, ("dna", "actin"), statistic, head.expects)
    return Probe(head.kind, head, classes, made, {})


@pytest.mark.parametrize(("reads", "steps"), [("places", 1), ("tokens", 3)])
@pytest.mark.parametrize("depth", [1, 2])
def test_attention_sums_to_one_and_is_that_of_the_network(reads: str, steps: int, depth: int) -> None:
    head = attentive(ProbeConfig(attentive_reads=reads, attentive_depth=depth, attentive_steps=30))
    tokens = tokens_of(1, seed=3)[0]
    view = query_attention(probe_of(head, ("a", "b")), tokens)
    assert (view.kind, view.names) == ("attention", ("all classes",))
    assert view.values_QCtzyx.shape == (1, 2, steps, 1, 4, 4)
    assert view.values_QCtzyx.min() > 0
    assert view.values_QCtzyx.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(view.probabilities_K, head.probabilities(tokens[None])[0])


def test_it_looks_where_the_difference_is() -> None:
    probe = probe_of(attentive(ProbeConfig(attentive_steps=200), rows=200), ("a", "b"))
    tokens = tokens_of(20, seed=5)
    tokens[:, 1, :, 0, 1, 2] += 3
    values = np.mean([query_attention(probe, one).values_QCtzyx[0] for one in tokens], axis=0)
    assert np.unravel_index(values.argmax(), values.shape) == (1, 0, 0, 1, 2)


def test_each_question_has_a_query_of_its_own() -> None:
    config = ProbeConfig(attentive_steps=20)
    heads = (attentive(config, 0), attentive(config, 1))
    tokens = tokens_of(1, seed=3)[0]
    several = query_attention(probe_of(MultilabelHead(heads), ("dead", "dividing")), tokens)
    assert several.names == ("dead", "dividing")
    ordered = query_attention(probe_of(OrdinalHead(heads, np.array([2, 0, 1])), ("high", "low", "mid")), tokens)
    assert ordered.names == ("above low", "above mid")
    for view in (several, ordered):
        for values, head in zip(view.values_QCtzyx, heads, strict=True):
            np.testing.assert_array_equal(values, query_attention(probe_of(head, ("a", "b")), tokens).values_QCtzyx[0])
            assert values.sum() == pytest.approx(1, abs=1e-5)


def test_what_tokens_add_to_a_linear_probe_sums_to_its_logits() -> None:
    """Exact: each map sums to the logit less the class's bias."""
    tokens = tokens_of(30)
    pooled = tokens.mean(axis=(2, 3, 4, 5)).reshape(30, -1)
    head = fit_linear(pooled, np.arange(30) % 3, 3)
    probe = probe_of(FittedHead("linear", head, 1.7, (), {}), ("a", "b", "c"), "mean")
    view = query_attention(probe, tokens[4])
    assert (view.kind, view.names) == ("contribution", ("a", "b", "c"))
    assert view.values_QCtzyx.shape == (3, *GRID)
    np.testing.assert_allclose(view.values_QCtzyx.sum(axis=(1, 2, 3, 4, 5)), head.logits(pooled[4:5])[0] - head.bias_K, atol=1e-5)
    np.testing.assert_allclose(view.probabilities_K, probe.head.probabilities(pooled[4:5])[0], atol=1e-6)
    # One token alone: changing it changes the logits by as much as its share does.
    changed = tokens[4].copy()
    changed[1, 2, 0, 3, 1] += 1
    before, after = (query_attention(probe, one).values_QCtzyx for one in (tokens[4], changed))
    difference = (after - before).reshape(3, -1)
    assert (np.flatnonzero(np.abs(difference).max(axis=0) > 1e-7) == [np.ravel_multi_index((1, 2, 0, 3, 1), GRID)]).all()


@pytest.mark.parametrize(("statistic", "reason"), [("moments", "reads more than their mean"), ("dynamics", "reads more than their mean")])
def test_other_linear_probes_have_nothing_to_show(statistic: str, reason: str) -> None:
    head = fit_linear(np.random.default_rng(0).normal(size=(20, 8)), np.arange(20) % 2, 2)
    probe = probe_of(FittedHead("linear", head, 1.0, (), {}), ("a", "b"), statistic)
    assert reason in why_no_view(probe)
    with pytest.raises(UserError, match=r"a linear probe has no attention, .*\. choose an attentive probe"):
        query_attention(probe, tokens_of(1)[0])


def test_tokens_of_other_clips_are_refused() -> None:
    probe = probe_of(attentive(ProbeConfig(attentive_steps=5)), ("a", "b"))
    assert why_no_view(probe) == ""
    with pytest.raises(
        UserError, match=r"the probe reads tokens of shape \(2, 3, 1, 4, 4, 5\) and these are \(2, 2, 1, 4, 4, 5\)\. use its own encoder"
    ):
        query_attention(probe, tokens_of(1)[0][:, :2])
