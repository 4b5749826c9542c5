"""Which blocks a step of the stream needs, as a function of the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


class Turn(NamedTuple):
    """One of the blocks that a slot holds one after another."""

    slot: int
    number: int


@dataclass(frozen=True)
class Schedule:
    """Slots that hold blocks, refilled one after another and never all at once.

    At step ``s`` slot ``j`` holds its block number ``(s + j * life // slots) // life``.

    Parameters
    ----------
    batch_size
        Clips of a step; consecutive ones come from different slots.
    slots
        How many there are.
    life_steps
        Steps that a block lasts.
    """

    batch_size: int
    slots: int
    life_steps: int

    def turn(self, step: int, index: int) -> Turn:
        """Return the block of the ``index``-th clip of a step."""
        slot = (step * self.batch_size + index) % self.slots
        return Turn(slot, (step + self._shift(slot)) // self.life_steps)

    def needed(self, step: int) -> list[Turn]:
        """Return the blocks that a step needs, each once."""
        return list(dict.fromkeys(self.turn(step, index) for index in range(min(self.batch_size, self.slots))))

    def upcoming(self, step: int, count: int) -> dict[Turn, int]:
        """Return the first blocks that are needed after a step and not yet at it, each with the step that needs it first."""
        first_steps = {}
        for slot in range(self.slots):
            number = (step + self._shift(slot)) // self.life_steps + 1
            first_steps[Turn(slot, number)] = number * self.life_steps - self._shift(slot)
        return dict(sorted(first_steps.items(), key=lambda item: item[1])[:count])

    def renewed_within(self, steps: int) -> int:
        """Return how many blocks at the most are renewed within so many steps."""
        return math.ceil(self.slots * steps / self.life_steps)

    def _shift(self, slot: int) -> int:
        return slot * self.life_steps // self.slots
