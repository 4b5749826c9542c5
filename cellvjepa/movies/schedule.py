"""Which blocks a step of the stream needs, as a function of the step alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Part:
    """What one of several processes makes of each batch: clips ``index``, ``index + count``, ``index + 2 * count``, ...

    Parameters
    ----------
    index
        Which process it is, from 0.
    count
        How many there are.
    """

    index: int = 0
    count: int = 1

    @property
    def rows(self) -> slice:
        """The rows of a whole batch that are its own."""
        return slice(self.index, None, self.count)


WHOLE = Part()


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
    part
        Whose blocks are asked for. Where the number of processes divides both batch and slots, no two need the same slot.
    """

    batch_size: int
    slots: int
    life_steps: int
    part: Part = WHOLE

    @property
    def indices(self) -> range:
        """The clips of a step that are made here, by their places in the whole batch."""
        return range(self.batch_size)[self.part.rows]

    def turn(self, step: int, index: int) -> Turn:
        """Return the block of the ``index``-th clip of a step."""
        slot = (step * self.batch_size + index) % self.slots
        return Turn(slot, (step + self._shift(slot)) // self.life_steps)

    def needed(self, step: int) -> list[Turn]:
        """Return the blocks that a step needs, each once."""
        return list(dict.fromkeys(self.turn(step, index) for index in self.indices[: self.slots]))

    def upcoming(self, step: int, count: int) -> dict[Turn, int]:
        """Return the first blocks that are needed after a step and not yet at it, each with the step that needs it first."""
        first_steps = {}
        for slot in self._own_slots():
            number = (step + self._shift(slot)) // self.life_steps + 1
            first_steps[Turn(slot, number)] = number * self.life_steps - self._shift(slot)
        return dict(sorted(first_steps.items(), key=lambda item: item[1])[:count])

    def renewed_within(self, steps: int) -> int:
        """Return how many blocks at the most are renewed within so many steps."""
        return math.ceil(self.slots * steps / self.life_steps)

    def _own_slots(self) -> range:
        # Clips index, index + count, ... of every batch, whose size the count divides: slots that differ by multiples of what divides both.
        between = math.gcd(self.part.count, self.slots)
        return range(self.part.index % between, self.slots, between)

    def _shift(self, slot: int) -> int:
        return slot * self.life_steps // self.slots
