"""Probes that need no labels: whether a place is known again at another time, whether the direction and the speed of time are seen.

They look at vectors of a few dozen fixed clips and take milliseconds. Each returns a number between 0 and 1 for which guessing is
known, or None where the movies cannot tell.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FOLDS = 4
_FEWEST = 8  # clips below which a score would be noise
_RIDGE = 1.0  # strength, relative to the mean squared length of the vectors

Floats = npt.NDArray[np.float64]


def place_score(vectors_BD: Floats, later_BD: Floats, overlap_BB: npt.NDArray[np.bool_], sources: npt.ArrayLike) -> float | None:
    """Return how surely a place is known again at another time among other places; guessing gives 0.5.

    For each clip: the share of other places of the same movie (or well) whose later clip is farther away (cosine, after the mean
    of all clips was taken off) than its own; the mean over clips. This is the area under the ROC curve of a search with one hit.
    Light and focus are the same within a movie, so knowing the movie does not help.

    Parameters
    ----------
    vectors_BD, later_BD
        Clips, and the same places at another time.
    overlap_BB
        Which clips show the same place; they are no competitors.
    sources
        The movie or well of each clip.
    """
    near_BB = _cosines(vectors_BD, later_BD)
    own_B = np.diag(near_BB)[:, None]
    others_BB = ~overlap_BB & _equal(sources)
    counted = others_BB.any(axis=1)
    if counted.sum() < _FEWEST:
        return None
    won_BB = (near_BB < own_B) + 0.5 * (near_BB == own_B)
    return float(((won_BB * others_BB).sum(axis=1)[counted] / others_BB.sum(axis=1)[counted]).mean())


def source_score(vectors_BD: Floats, later_BD: Floats, overlap_BB: npt.NDArray[np.bool_], sources: npt.ArrayLike) -> float | None:
    """Return how often the nearest clip of another place and time is of the same movie (or well), as a mean over these.

    No measure of quality: 1 says that features are dominated by what sets recordings apart (light, focus, staining). Guessing gives
    one over their number. None with a single movie.

    Parameters
    ----------
    vectors_BD, later_BD, overlap_BB, sources
        As for :func:`place_score`.
    """
    codes = np.unique(np.asarray(sources), return_inverse=True)[1]
    near_BB = np.where(overlap_BB, -np.inf, _cosines(vectors_BD, later_BD))
    counted = (~overlap_BB & _equal(sources)).any(axis=1)  # those that have a right answer
    present = np.unique(codes[counted])
    if len(present) < 2 or counted.sum() < _FEWEST:
        return None
    right = codes[near_BB.argmax(axis=1)] == codes
    return float(np.mean([right[counted & (codes == code)].mean() for code in present]))


def pair_score(first_BD: Floats, second_BD: Floats, folds_B: npt.NDArray[np.int64]) -> float | None:
    """Return how often a linear probe tells which of two versions of a clip is which; guessing gives 0.5.

    The versions differ in one thing, e.g. the direction of time. Ridge regression in closed form finds the direction that sets
    the two versions of clips apart, and is asked about the pairs of the fold that it has not seen.

    Parameters
    ----------
    first_BD, second_BD
        Both versions of each clip; both are always on the same side of the split.
    folds_B
        The fold of each clip (:func:`folds_of`).
    """
    if len(first_BD) < _FEWEST or len(np.unique(folds_B)) < 2:
        return None
    differences = first_BD - second_BD
    spread = differences.std(axis=0)
    differences = differences / np.where(spread > 1e-9 * (np.abs(first_BD).mean() + 1e-12), spread, np.inf)
    right = np.zeros(len(differences))
    for fold in np.unique(folds_B):
        known, asked = differences[folds_B != fold], differences[folds_B == fold]
        gram = known @ known.T
        strength = _RIDGE * max(float(np.trace(gram)) / len(known), 1e-12)
        # The dual form: as many unknowns as clips, however wide the vectors are.
        said = asked @ known.T @ np.linalg.solve(gram + strength * np.eye(len(known)), np.ones(len(known)))
        right[folds_B == fold] = (said > 0) + 0.5 * (said == 0)
    return float(right.mean())


def folds_of(overlap_BB: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the fold of each clip, 0 to ``FOLDS`` - 1: clips of one place stay together where there are enough places."""
    count = len(overlap_BB)
    place_B = np.arange(count)
    for row in range(count):  # chains of overlapping crops count as one place
        joined = np.isin(place_B, place_B[overlap_BB[row]])
        place_B[joined] = place_B[joined].min()
    places = np.unique(place_B)
    if len(places) < FOLDS:
        return np.arange(count) % FOLDS
    return np.asarray(np.searchsorted(places, place_B) % FOLDS, dtype=np.int64)


def _cosines(vectors_BD: Floats, later_BD: Floats) -> Floats:
    mean_D = (vectors_BD.mean(axis=0) + later_BD.mean(axis=0)) / 2
    unit, other = (_unit(vectors - mean_D) for vectors in (vectors_BD, later_BD))
    found: Floats = unit @ other.T
    return found


def _unit(vectors_BD: Floats) -> Floats:
    length = np.linalg.norm(vectors_BD, axis=1, keepdims=True)
    unit: Floats = vectors_BD / np.where(length > 0, length, 1.0)
    return unit


def _equal(sources: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    names = np.asarray(sources)
    same: npt.NDArray[np.bool_] = names[:, None] == names
    return same
