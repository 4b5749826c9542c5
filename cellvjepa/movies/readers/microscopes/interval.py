"""The time between frames where a file gives both what was asked for and what was measured."""

from __future__ import annotations

_AS_ASKED = 0.2  # a clock and a camera differ by less; what differs by more could not keep up


def kept_interval_s(asked_s: float | None, measured_s: float | None) -> float | None:
    """Return the interval that was asked for, or the measured one where the microscope did not keep it.

    An interval of 0 means "as fast as possible".
    """
    if asked_s is None or not asked_s > 0:
        return measured_s if measured_s is not None and measured_s > 0 else asked_s
    if measured_s is None or not measured_s > 0 or abs(measured_s - asked_s) <= _AS_ASKED * asked_s:
        return asked_s
    return measured_s
