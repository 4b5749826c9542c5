"""Probes without labels: perfect features score 1, features that know nothing score as guessing, and nothing leaks."""

from __future__ import annotations

import numpy as np
import pytest

from cellvjepa.training.online_probe import FOLDS, folds_of, pair_score, place_score, source_score

RNG = np.random.default_rng(0)
APART = np.eye(32, dtype=bool)
ONE_MOVIE = ["a"] * 32


def test_a_place_known_again_scores_one_and_noise_scores_half() -> None:
    places = RNG.normal(size=(32, 20))
    again = places + 0.01 * RNG.normal(size=places.shape)
    assert place_score(places, again, APART, ONE_MOVIE) == pytest.approx(1.0)
    scores = [place_score(places, RNG.normal(size=places.shape), APART, ONE_MOVIE) for _ in range(50)]
    assert np.mean(scores) == pytest.approx(0.5, abs=0.03)  # type: ignore[arg-type]


def test_knowing_the_movie_is_not_knowing_the_place() -> None:
    movie = np.repeat(np.eye(2), 16, axis=0)
    names = ["a"] * 16 + ["b"] * 16
    now, later = (movie + 1e-3 * RNG.normal(size=(32, 2)) for _ in range(2))
    found = place_score(now, later, APART, names)
    assert found == pytest.approx(0.5, abs=0.2)
    assert source_score(now, later, APART, names) == 1.0


def test_the_same_place_twice_is_no_competitor() -> None:
    """Two clips of one place cannot be told apart, and need not be."""
    places = np.repeat(RNG.normal(size=(16, 20)), 2, axis=0)
    same = np.kron(np.eye(16), np.ones((2, 2))).astype(bool)
    assert place_score(places, places, same, ONE_MOVIE) == 1.0
    assert place_score(places, places, APART, ONE_MOVIE) < 1.0  # type: ignore[operator]


def test_collapsed_features_score_as_guessing() -> None:
    same = np.ones((32, 5))
    assert place_score(same, same, APART, ONE_MOVIE) == 0.5
    assert pair_score(same, same, np.arange(32) % 4) == 0.5


def test_what_cannot_be_asked_is_none() -> None:
    features = RNG.normal(size=(32, 5))
    assert place_score(features, features, np.ones((32, 32), bool), ONE_MOVIE) is None
    assert source_score(features, features, APART, ONE_MOVIE) is None
    assert pair_score(features[:4], features[:4], np.arange(4)) is None


@pytest.mark.parametrize("dims", [4, 200])
def test_pairs_that_differ_in_one_direction_are_told_apart(dims: int) -> None:
    first, direction = RNG.normal(size=(64, dims)), RNG.normal(size=dims)
    second = first + direction + 0.1 * RNG.normal(size=(64, dims))
    assert pair_score(first, second, np.arange(64) % 4) == 1.0


def test_pairs_that_differ_by_noise_score_as_guessing() -> None:
    scores = [pair_score(RNG.normal(size=(64, 100)), RNG.normal(size=(64, 100)), np.arange(64) % 4) for _ in range(50)]
    assert np.mean(scores) == pytest.approx(0.5, abs=0.03)  # type: ignore[arg-type]


def test_which_version_is_called_first_does_not_matter() -> None:
    first, second = RNG.normal(size=(64, 30)), RNG.normal(size=(64, 30)) + 0.2
    folds = np.arange(64) % 4
    assert pair_score(first, second, folds) == pair_score(second, first, folds)


def test_overlapping_clips_are_on_one_side() -> None:
    overlap = np.eye(20, dtype=bool)
    for a, b in ((0, 7), (7, 13), (2, 3)):  # 0 and 13 overlap through 7
        overlap[a, b] = overlap[b, a] = True
    folds = folds_of(overlap)
    assert folds[0] == folds[7] == folds[13]
    assert folds[2] == folds[3]
    assert set(folds) == set(range(FOLDS))


def test_where_all_clips_overlap_they_are_split_all_the_same() -> None:
    assert set(folds_of(np.ones((20, 20), dtype=bool))) == set(range(FOLDS))
