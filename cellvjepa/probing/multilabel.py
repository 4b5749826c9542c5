"""Several classes at once: one yes/no question for each class, on the same rows and in the same splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.probing.head import FittedHead, Head, Kind, arrays_of_heads, heads_from_arrays
from cellvjepa.probing.label_sets import NONE, SEPARATOR, members
from cellvjepa.probing.labels import Labels

THRESHOLD = 0.5
"""From this probability on, a class is among the predicted ones: what balanced accuracy asks for where both answers weigh the same."""
NO, YES = "no", "yes"  # sorted like this, so that yes is answer 1
_QUESTION = "class"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MultilabelHead:
    """One head for each class, which tells whether it fits; probabilities do not sum to one.

    Parameters
    ----------
    heads
        K heads of two answers: no, yes.
    """

    heads: tuple[FittedHead, ...]

    @property
    def kind(self) -> Kind:
        """Kind of the first class's head; ``auto`` may have chosen another one for other classes."""
        return self.heads[0].kind

    @property
    def expects(self) -> tuple[int, ...]:
        """Shape of one row of features."""
        return self.heads[0].expects

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.heads)

    @property
    def choice(self) -> Mapping[str, Any]:
        """How the head of each class was chosen."""
        return {f"class {number + 1}": dict(head.choice) for number, head in enumerate(self.heads)}

    def probabilities(self, features: npt.NDArray[Any]) -> Array:
        """Return (N, K): for N rows of features, how likely each class fits."""
        return np.stack([head.probabilities(features)[:, 1] for head in self.heads], axis=1)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what has to be saved."""
        return {"multilabel": np.array([len(self.heads)]), **arrays_of_heads(self.heads, _QUESTION)}

    @classmethod
    def of(cls, heads: Sequence[Head]) -> MultilabelHead:
        """Make one of heads that answer a yes/no question each."""
        assert all(isinstance(head, FittedHead) and head.classes == 2 for head in heads)
        return cls(tuple(head for head in heads if isinstance(head, FittedHead)))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> MultilabelHead:
        """Rebuild a head; ``KeyError``, ``ValueError`` or ``RuntimeError`` if something is missing or does not fit."""
        heads = heads_from_arrays(arrays, _QUESTION)
        if int(arrays["multilabel"].item()) != len(heads):
            raise ValueError(f"{len(heads)} heads of {arrays['multilabel']}")
        return cls(heads)


def classes_of(labels: Labels) -> tuple[str, ...]:
    """Return the names of all classes, sorted."""
    return tuple(sorted({name for label in np.unique(labels.names_N) for name in members(str(label))}))


def question(labels: Labels, name: str) -> Labels:
    """Return the same rows, labelled with whether this class fits: ``"yes"`` or ``"no"``."""
    spellings, codes_N = np.unique(labels.names_N, return_inverse=True)
    answers = np.array([YES if name in members(str(label)) else NO for label in spellings])
    return replace(labels, names_N=answers[codes_N], multilabel=False)


def answers_table(probabilities_NK: Array, classes: Sequence[str]) -> pd.DataFrame:
    """Return answers as a table.

    Parameters
    ----------
    probabilities_NK
        float64 (N, K): how likely each class fits.
    classes
        Their names, sorted.

    Returns
    -------
    DataFrame
        ``predicted``: the classes with a probability of .5 or more, as labels.csv would have them, or ``none``; ``probability``: of the
        answer (yes or no) that the probe is least sure of; ``p_CLASS`` for each class.
    """
    fits_NK = probabilities_NK >= THRESHOLD
    predicted = [SEPARATOR.join(name for name, fits in zip(classes, row, strict=True) if fits) or NONE for row in fits_NK.tolist()]
    least_sure = np.maximum(probabilities_NK, 1 - probabilities_NK).min(axis=1)
    columns = {f"p_{name}": probabilities_NK[:, k] for k, name in enumerate(classes)}
    return pd.DataFrame({"predicted": np.array(predicted, dtype=object), "probability": least_sure, **columns})
