"""How long something takes: by the clock, and of all processors, which other work on the machine changes less."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

Times: TypeAlias = tuple[float, float]  # ms by the clock, ms of all processors


def took(do: Callable[[], object]) -> Times:
    """Return how long something took."""
    begin, busy = time.perf_counter(), time.process_time()
    do()
    return 1e3 * (time.perf_counter() - begin), 1e3 * (time.process_time() - busy)


def median(found: Sequence[Times]) -> Times:
    """Return the medians."""
    clock, busy = zip(*found, strict=True)
    return statistics.median(clock), statistics.median(busy)


def timed(do: Callable[[], object], times: int = 5) -> Times:
    """Return the median times."""
    return median([took(do) for _ in range(times)])
