"""A fitted head of any kind, with its temperature: what a probe asks for probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from cellvjepa.probing.linear import LinearHead, softmax
from cellvjepa.probing.neighbours import NeighbourHead

if TYPE_CHECKING:  # torch, only where it is needed
    from cellvjepa.probing.attentive import AttentiveHead

Kind = Literal["attentive", "linear", "knn"]
_KINDS: tuple[Kind, ...] = ("attentive", "linear", "knn")

_TOKEN_AXES = 6  # C, t, z, y, x, D
_ROWS_AT_ONCE = 4096

Array = npt.NDArray[np.float64]


class Head(Protocol):
    """What turns features into probabilities: a :class:`FittedHead`, or several of them for an order or for several classes at once."""

    @property
    def kind(self) -> Kind:
        """Which kind it is."""

    @property
    def expects(self) -> tuple[int, ...]:
        """Shape of one row of features: (D,), or (C, t, z, y, x, D) for tokens."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    @property
    def choice(self) -> Mapping[str, Any]:
        """How it was chosen, JSON values; empty where there was nothing to choose by."""

    def probabilities(self, features: npt.NDArray[Any], /) -> Array:
        """Return (N, K) probabilities of N rows of features."""

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what has to be saved."""


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head and what its logits are divided by, so that a probability of .8 is right in four of five cases (Guo et al. 2017).

    Parameters
    ----------
    kind, head
        The head itself.
    temperature
        Its logits are divided by this; 1 leaves them as they are.
    tokens
        (C, t, z, y, x, D) where a linear or kNN head reads tokens, pooled by :func:`cellvjepa.probing.attentive.pooled_dynamics`;
        () where it reads vectors.
    choice
        How it was chosen.
    """

    kind: Kind
    head: LinearHead | NeighbourHead | AttentiveHead
    temperature: float
    tokens: tuple[int, ...]
    choice: Mapping[str, Any]

    @property
    def expects(self) -> tuple[int, ...]:
        """Shape of one row of features."""
        return self.tokens or self.head.expects

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.head.classes

    def probabilities(self, features: npt.NDArray[Any]) -> Array:
        """Return (N, K) probabilities of N rows of features."""
        found = np.empty((len(features), self.classes))
        for start in range(0, len(features), _ROWS_AT_ONCE):
            part = features[start : start + _ROWS_AT_ONCE]
            if self.tokens:
                from cellvjepa.probing.attentive import pooled_dynamics

                part = pooled_dynamics(part)
            if isinstance(self.head, NeighbourHead) and self.temperature == 1:
                found[start : start + len(part)] = self.head.probabilities(part)
            else:
                found[start : start + len(part)] = softmax(self.head.logits(part) / self.temperature)
        return found

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what has to be saved."""
        own = {"temperature": np.array([self.temperature]), "tokens": np.array(self.tokens, np.int64)}
        return {**{f"head.{name}": array for name, array in self.head.arrays().items()}, **own}

    @classmethod
    def from_arrays(cls, kind: str, arrays: Mapping[str, npt.NDArray[Any]]) -> FittedHead:
        """Rebuild a head; ``KeyError``, ``ValueError`` or ``RuntimeError`` if something is missing or does not fit."""
        if "temperature" not in arrays and not any(name.startswith("head.") for name in arrays):  # as version 0.1 wrote them
            arrays = {**{f"head.{name}": array for name, array in arrays.items()}, "temperature": np.ones(1), "tokens": np.zeros(0, np.int64)}
        own = {name.removeprefix("head."): array for name, array in arrays.items() if name.startswith("head.")}
        temperature, tokens = float(arrays["temperature"].item()), tuple(int(n) for n in arrays["tokens"])
        if not 0 < temperature < np.inf or (tokens and (len(tokens) != _TOKEN_AXES or min(tokens) < 1)):
            raise ValueError(f"a temperature of {temperature}, tokens of {tokens}")
        head: LinearHead | NeighbourHead | AttentiveHead
        if kind == "linear":
            named: Kind = "linear"
            head = LinearHead.from_arrays(own)
        elif kind == "knn":
            named = "knn"
            head = NeighbourHead.from_arrays(own)
        elif kind == "attentive":
            from cellvjepa.probing.attentive import AttentiveHead

            named = "attentive"
            head = AttentiveHead.from_arrays(own)
        else:
            raise ValueError(f"unknown kind '{kind}'")
        if tokens and (kind == "attentive" or head.expects != (4 * tokens[0] * tokens[-1],)):
            raise ValueError(f"tokens of {tokens} for features of {head.expects}")
        return cls(named, head, temperature, tokens, {})


def arrays_of_heads(heads: Sequence[FittedHead], name: str) -> dict[str, npt.NDArray[Any]]:
    """Return what has to be saved of heads that ask one yes/no question each; ``name`` is that of a question."""
    own = {"kinds": np.array([_KINDS.index(head.kind) for head in heads])}
    return {**own, **{f"{name}{number}.{key}": array for number, head in enumerate(heads) for key, array in head.arrays().items()}}


def heads_from_arrays(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> tuple[FittedHead, ...]:
    """Rebuild them; ``KeyError``, ``ValueError`` or ``RuntimeError`` if something is missing or does not fit."""
    kinds = np.asarray(arrays["kinds"], np.int64)
    if kinds.ndim != 1 or not len(kinds) or not np.isin(kinds, range(len(_KINDS))).all():
        raise ValueError(f"kinds {kinds}")
    heads = []
    for number, kind in enumerate(kinds):
        prefix = f"{name}{number}."
        parts = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
        heads.append(FittedHead.from_arrays(_KINDS[int(kind)], parts))
    if len({(head.expects, head.classes) for head in heads}) != 1 or heads[0].classes != 2:
        raise ValueError("its heads do not fit together")
    return tuple(heads)
