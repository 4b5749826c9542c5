"""Classes with an order: low, mid, high."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.probing.head import FittedHead, Kind, arrays_of_heads, heads_from_arrays

_STEP = "step"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OrdinalHead:
    """One head for each step of the order, which tells whether a row is above it (Frank and Hall 2001): K - 1 questions for K classes.

    P(class r) is P(above step r - 1) - P(above step r). A step that is likelier than the one below it is brought down to that one.

    Parameters
    ----------
    heads
        K - 1 heads of two classes: not above, above.
    rank_K
        int64 (K,): place of each class in the order.
    """

    heads: tuple[FittedHead, ...]
    rank_K: npt.NDArray[np.int64]

    @property
    def kind(self) -> Kind:
        """Kind of the first step's head; ``auto`` may have chosen another one for other steps."""
        return self.heads[0].kind

    @property
    def expects(self) -> tuple[int, ...]:
        """Shape of one row of features."""
        return self.heads[0].expects

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.rank_K)

    @property
    def choice(self) -> Mapping[str, Any]:
        """How the head of each step was chosen."""
        return {f"step {step + 1} of the order": dict(head.choice) for step, head in enumerate(self.heads)}

    def probabilities(self, features: npt.NDArray[Any]) -> Array:
        """Return (N, K) probabilities of N rows of features."""
        above = np.stack([head.probabilities(features)[:, 1] for head in self.heads], axis=1)
        falling = np.minimum.accumulate(above, axis=1)
        edges = np.concatenate([np.ones((len(above), 1)), falling, np.zeros((len(above), 1))], axis=1)
        found: Array = -np.diff(edges, axis=1)[:, self.rank_K]
        return found

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what has to be saved."""
        return {"rank": self.rank_K, **arrays_of_heads(self.heads, _STEP)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> OrdinalHead:
        """Rebuild a head; ``KeyError``, ``ValueError`` or ``RuntimeError`` if something is missing or does not fit."""
        heads, rank_K = heads_from_arrays(arrays, _STEP), np.asarray(arrays["rank"], np.int64)
        if rank_K.ndim != 1 or sorted(rank_K.tolist()) != list(range(len(heads) + 1)):
            raise ValueError(f"ranks {rank_K} of {len(heads)} steps")
        return cls(heads, rank_K)


def ranks(order: Sequence[str], classes: int) -> npt.NDArray[np.int64]:
    """Return the place in the order of each class, where classes are numbered by name.

    Raises
    ------
    UserError
        If the order names a class twice, or another number of classes than there are.
    """
    if len(set(order)) != len(order) or len(order) != classes:
        raise UserError(
            f"the order names {', '.join(order)}, but there are {classes} classes",
            "name every class of the labels once, from low to high",
            "probe.order",
        )
    return np.array([order.index(name) for name in sorted(order)], np.int64)
