from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cellvjepa.probing.linear import LinearHead, fit_linear, softmax


def blobs(classes: int, rows: int = 60, dim: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    codes = np.arange(rows) % classes
    return rng.normal(0, 1, (rows, dim)) * np.arange(1, dim + 1) + 3.0 * codes[:, None] + 7.0, codes


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_logistic_regression_on_standardised_features(classes: int) -> None:
    features, codes = blobs(classes)
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    reference = LogisticRegression(C=3.0 / features.shape[1], class_weight="balanced", max_iter=2000).fit(standardised, codes)
    head = fit_linear(features, codes, classes)
    assert (head.expects, head.classes) == ((5,), classes)
    np.testing.assert_allclose(head.probabilities(features), reference.predict_proba(standardised), atol=1e-9)


def test_shifted_scaled_and_constant_features_change_nothing() -> None:
    features, codes = blobs(2)
    constant = np.full((len(features), 1), 0.1)
    plain = fit_linear(np.hstack([features, constant]), codes, 2).probabilities(np.hstack([features, constant]))
    changed = np.hstack([features * 1e4 - 5e6, constant])
    np.testing.assert_allclose(fit_linear(changed, codes, 2).probabilities(changed), plain, atol=1e-6)


def test_classes_weigh_the_same() -> None:
    """Without any information the prior of an unbalanced set is even."""
    head = fit_linear(np.zeros((10, 3)), np.array([0] * 9 + [1]), 2)
    np.testing.assert_allclose(head.probabilities(np.zeros((1, 3))), [[0.5, 0.5]], atol=1e-6)


def test_a_class_without_rows_is_never_predicted() -> None:
    features, codes = blobs(2)
    found = fit_linear(features, codes * 2, 4).probabilities(features)
    assert found.shape == (60, 4)
    assert (found[:, [1, 3]] == 0).all()
    np.testing.assert_allclose(found[:, [0, 2]], fit_linear(features, codes, 2).probabilities(features))
    assert fit_linear(features, np.full(60, 2), 3).probabilities(features).tolist() == [[0, 0, 1]] * 60


def test_arrays_rebuild_it_and_wrong_ones_are_noticed() -> None:
    features, codes = blobs(3)
    head = fit_linear(features, codes, 3)
    assert np.array_equal(LinearHead.from_arrays(head.arrays()).probabilities(features), head.probabilities(features))
    with pytest.raises(ValueError, match=r"scale \(4,\)"):
        LinearHead.from_arrays(head.arrays() | {"scale": np.ones(4)})
    with pytest.raises(KeyError, match="bias"):
        LinearHead.from_arrays({name: array for name, array in head.arrays().items() if name != "bias"})


def test_softmax_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4, -np.inf]])), [[0.5, 0.5, 0]])
