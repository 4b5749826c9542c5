"""A watch: what measures an encoder on something that training knows nothing of, such as labelled cells."""

from __future__ import annotations

from typing import Protocol

from cellvjepa.model.encoder import Encoder


class Watch(Protocol):
    """Scores an encoder in training on labelled windows."""

    @property
    def windows(self) -> int:
        """How many labelled windows there are: the fewer, the more of a score is luck."""

    def __call__(self, encoder: Encoder, /) -> float | None:
        """Return the balanced accuracy on groups that the probe has not seen, 0 to 1; None if it cannot be computed."""
