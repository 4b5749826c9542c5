"""What is drawn of a training run: which quantities, how they are read, and where the verdict of the monitors was what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = Sequence[Mapping[str, object]]


@dataclass(frozen=True)
class Curve:
    """One quantity of a training run: its key in a row of metrics, and how to read it.

    ``monitored`` ones are drawn where they were measured, not where the last value is repeated; a ``share`` is between 0 and 1;
    ``guess`` is drawn as a grey line.
    """

    key: str
    title: str
    from_zero: bool = False
    monitored: bool = False
    share: bool = False
    guess: float | None = None


TRAINING_CURVES = (
    Curve("rankme", "Rank across clips", from_zero=True, monitored=True),
    Curve("rankme_tokens", "Rank within a clip", from_zero=True, monitored=True),
    Curve("clip_std", "Spread between clips", from_zero=True, monitored=True),
    Curve("place", "Same place at another time", monitored=True, share=True, guess=0.5),
    Curve("time_order", "Forward or reversed", monitored=True, share=True, guess=0.5),
    Curve("frame_gap", "Every frame or every second", monitored=True, share=True, guess=0.5),
    Curve("labelled", "Labelled behaviours", monitored=True, share=True),
    Curve("source", "Same movie or well", monitored=True, share=True),
    Curve("loss", "Loss"),
    Curve("loss_ratio", "Loss / answering the average"),
    Curve("nearest_ratio", "Loss / answering the nearest", monitored=True),
    Curve("target_std", "Spread of targets in a batch", from_zero=True),
)
LIGHTS = {"green": "#009e73", "yellow": "#e6b800", "red": "#d55e00"}


@dataclass(frozen=True)
class Light:
    """A verdict of the monitors and the steps over which it stood."""

    first_step: int
    last_step: int
    verdict: str


def curve_points(rows: Rows, curve: Curve) -> tuple[Floats, Floats]:
    """Return the steps and values of a curve, (N,) each, in lines of metrics.jsonl; what is missing, null or not finite is left out."""
    read = [row for row in rows if row.get("measured", row["step"]) == row["step"]] if curve.monitored else rows
    pairs = [(row["step"], row.get(curve.key)) for row in read]
    numbers = [(float(step), float(value)) for step, value in pairs if isinstance(step, int | float) and isinstance(value, int | float)]
    table = np.array(numbers, dtype=np.float64).reshape(-1, 2)
    table = table[np.isfinite(table).all(axis=1)]
    return table[:, 0], table[:, 1]


def lights_of(rows: Rows) -> tuple[Light, ...]:
    """Return the verdicts on a run: each from the line before to the last line that has it."""
    known = [(row["step"], str(row["health"])) for row in rows if isinstance(row["step"], int) and row.get("health") in LIGHTS]
    found = []
    for verdict, line in groupby(range(len(known)), key=lambda i: known[i][1]):
        here = list(line)
        first, last = known[max(0, here[0] - 1)][0], known[here[-1]][0]
        assert isinstance(first, int)
        assert isinstance(last, int)
        found.append(Light(first, last, verdict))
    return tuple(found)
