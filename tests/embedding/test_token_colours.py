from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from cellvjepa.embedding.token_colours import token_pca


def test_components_are_those_of_scikit_learn():
    """Up to their signs, which mean nothing."""
    tokens = np.random.default_rng(0).normal(size=(60, 5)) @ np.diag([5.0, 3.0, 2.0, 1.0, 0.5])
    colours = token_pca([tokens[:25], tokens[25:]], 60)
    expected = PCA(3).fit(tokens).transform(tokens)
    found = colours.components(tokens)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-9)


def test_colours_use_their_range_and_are_monotonic():
    tokens = np.random.default_rng(0).normal(size=(2, 3, 50, 4))
    colours = token_pca(tokens.reshape(6, 50, 4), 300)
    rgb, values = colours.rgb(tokens), colours.components(tokens)
    assert rgb.shape == (2, 3, 50, 3)
    assert (rgb.min(), rgb.max()) == (0, 255)
    for number in range(3):
        order = values[..., number].ravel().argsort()
        assert (np.diff(rgb[..., number].ravel()[order].astype(int)) >= 0).all()


def test_a_large_number_is_fitted_on_a_sample_that_is_always_the_same():
    steps = np.random.default_rng(0).normal(size=(50, 1000, 4))
    first, second = token_pca(steps, 50_000), token_pca(list(steps), 50_000)
    np.testing.assert_array_equal(first.components_PD, second.components_PD)
    assert np.abs(first.mean_D - steps.mean(axis=(0, 1))).max() > 1e-6  # not on all of them


def test_tokens_of_two_numbers_have_two_colours():
    tokens = np.random.default_rng(0).normal(size=(30, 2))
    assert token_pca([tokens], 30).rgb(tokens)[:, 2].max() == 0
