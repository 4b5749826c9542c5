from __future__ import annotations

import math

import pytest
import torch

from cellvjepa.model.pooler import AttentiveClassifier, AttentivePooler, CrossAttention, initialise_classifier


def test_the_attentive_classifier_is_that_of_vjepa_2(golden_classifier: dict[str, torch.Tensor]):
    classifier = AttentiveClassifier(dim=32, heads=2, classes=5, depth=4)
    classifier.load_state_dict({name.removeprefix("sd."): value for name, value in golden_classifier.items() if name.startswith("sd.")})
    torch.testing.assert_close(classifier(golden_classifier["tokens"]), golden_classifier["out"], atol=1e-5, rtol=0)


def test_pooling_does_not_depend_on_the_order_of_tokens():
    torch.manual_seed(0)
    pooler, tokens = AttentivePooler(dim=16, heads=2, depth=2), torch.randn(2, 9, 16)
    torch.testing.assert_close(pooler(tokens.flip(1)), pooler(tokens), atol=1e-5, rtol=0)
    assert pooler(tokens).shape == (2, 16)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    classifier, tokens = AttentiveClassifier(dim=16, heads=2, classes=3, mlp_ratio=2.0, dropout=0.5), torch.randn(2, 9, 16)
    assert not torch.equal(classifier(tokens), classifier(tokens))
    classifier.eval()
    assert torch.equal(classifier(tokens), classifier(tokens))


def test_initial_weights_come_from_the_given_generator_alone():
    before = torch.random.get_rng_state()
    first, second = (AttentiveClassifier(dim=64, heads=4, classes=3, depth=2) for _ in range(2))
    after = torch.random.get_rng_state()
    for classifier in (first, second):
        initialise_classifier(classifier, torch.Generator().manual_seed(3))
    assert torch.equal(after, torch.random.get_rng_state())
    assert not torch.equal(before, after)  # building a network draws its default weights, as always in PyTorch
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])
    assert first.pooler.query_tokens.std().item() == pytest.approx(0.02, rel=0.5)
    last = first.get_parameter("pooler.cross_attention_block.mlp.fc2.weight")
    assert last.std().item() == pytest.approx(0.02 / math.sqrt(2 * 2), rel=0.05)


def test_attention_is_what_the_answer_is_mixed_with():
    """Written out: softmax of the scaled products of query and keys, each head for itself; with it the values give the answer."""
    torch.manual_seed(0)
    attention, queries, tokens = CrossAttention(dim=16, heads=4), torch.randn(3, 2, 16), torch.randn(3, 9, 16)
    key, value = (part.view(3, 9, 4, 4).transpose(1, 2) for part in attention.kv(tokens).chunk(2, dim=-1))
    query = attention.q(queries).view(3, 2, 4, 4).transpose(1, 2)
    expected_BHQN = torch.softmax(query @ key.transpose(-1, -2) / 2, dim=-1)
    torch.testing.assert_close(attention.weights(queries, tokens).view(3, 2, 4, 9), expected_BHQN.transpose(1, 2))
    torch.testing.assert_close(attention(queries, tokens), (expected_BHQN @ value).transpose(1, 2).flatten(2))


def test_the_attention_of_a_pooler_sums_to_one_and_follows_its_tokens():
    torch.manual_seed(0)
    pooler, tokens = AttentivePooler(dim=16, heads=2, depth=2).eval(), torch.randn(2, 9, 16)
    torch.nn.init.normal_(pooler.query_tokens)
    weights = pooler.attention(tokens)
    assert weights.shape == (2, 2, 9)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 2))
    torch.testing.assert_close(pooler.attention(tokens.flip(1)), weights.flip(-1), atol=1e-5, rtol=0)
