from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from cellvjepa.probing.neighbours import NeighbourHead, fit_neighbours


def test_it_votes_as_scikit_learn_does_with_cosine_weights() -> None:
    rng = np.random.default_rng(0)
    train, test, codes = rng.normal(size=(50, 6)) + 5, rng.normal(size=(20, 6)) + 5, rng.integers(3, size=50)
    scaler = StandardScaler().fit(train)
    # Weight 1 + cosine is 2 - (cosine distance).
    reference = KNeighborsClassifier(7, metric="cosine", weights=lambda distance: 2 - distance).fit(scaler.transform(train), codes)
    head = fit_neighbours(train, codes, 3, 7)
    np.testing.assert_allclose(head.probabilities(test), reference.predict_proba(scaler.transform(test)), atol=1e-9)


def test_few_rows_and_missing_classes() -> None:
    head = fit_neighbours(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 2]), classes=4, neighbours=5)
    found = head.probabilities(np.array([[2.0, -1.0], [0.5, 0.5]]))
    assert found.shape == (2, 4)
    assert found[0].argmax() == 0
    assert (found[:, [1, 3]] == 0).all()


def test_arrays_rebuild_it_and_wrong_ones_are_noticed() -> None:
    rng = np.random.default_rng(0)
    features, codes = rng.normal(size=(10, 3)), np.arange(10) % 2
    head = fit_neighbours(features, codes, 2, 3)
    again = NeighbourHead.from_arrays(head.arrays())
    assert np.array_equal(again.probabilities(features), head.probabilities(features))
    assert (again.expects, again.classes) == ((3,), 2)
    for wrong in ({"codes": np.full(10, 2)}, {"codes": np.full(10, -1)}, {"neighbours": np.array([0])}, {"vectors": np.zeros((9, 3))}):
        with pytest.raises(ValueError, match=r"classes|vectors"):
            NeighbourHead.from_arrays(head.arrays() | wrong)
