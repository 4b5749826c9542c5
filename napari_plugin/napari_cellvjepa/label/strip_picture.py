"""The picture of labels over time: a lane for each track, intervals in the colours of their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
GROUND = (38, 41, 48)  # where there is no cell
THERE = (92, 97, 106)  # a cell without a label
_UNKNOWN = (140, 140, 140)  # a label that has no colour


@dataclass(frozen=True, eq=False)
class Lanes:
    """What is shown.

    Parameters
    ----------
    keys
        What each lane is: a track (a number), or an annotator (a text).
    start_L, stop_L
        From when to when the cell of each lane is there [frames, half open].
    lane_P, from_P, to_P
        The intervals: in which lane, from when to when.
    label_P
        Their classes.
    frames
        How many frames there are.
    """

    keys: Sequence[int | str]
    start_L: Ints
    stop_L: Ints
    lane_P: Ints
    from_P: Ints
    to_P: Ints
    label_P: Sequence[str]
    frames: int


def title_of(lanes: Lanes, lane: int) -> str:
    """Return what a lane is, for people."""
    key = lanes.keys[lane]
    return f"track {key}" if isinstance(key, int) else key


def picture(lanes: Lanes, colours: Mapping[str, str], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw lanes, (height, width, 3). Where there are more lanes than lines, several share a line, and labels are seen first."""
    count = len(lanes.keys)
    lines = max(1, min(count, height))
    drawn = np.empty((lines, width, 3), np.uint8)
    drawn[:] = GROUND
    if count:
        line_L = np.arange(count) * lines // count
        drawn[_covered(line_L, lanes.start_L, lanes.stop_L, lines, width, lanes.frames)] = THERE
        labels = np.asarray(lanes.label_P, dtype=object)
        for name in dict.fromkeys(labels.tolist()):
            mine = np.flatnonzero(labels == name)
            colour = colours.get(name)
            rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) if colour else _UNKNOWN
            drawn[_covered(line_L[lanes.lane_P[mine]], lanes.from_P[mine], lanes.to_P[mine], lines, width, lanes.frames)] = rgb
    return np.ascontiguousarray(drawn[np.arange(height) * lines // height])


def _covered(line_P: Ints, from_P: Ints, to_P: Ints, lines: int, width: int, frames: int) -> npt.NDArray[np.bool_]:
    """Tell which pixels some intervals cover, bool (lines, width); each covers one at the least."""
    begin = np.clip(from_P * width // frames, 0, width - 1)
    end = np.clip(-(-np.minimum(to_P, frames) * width // frames), begin + 1, width)
    steps = np.zeros((lines, width + 1), np.int32)
    np.add.at(steps, (line_P, begin), 1)
    np.add.at(steps, (line_P, end), -1)
    found: npt.NDArray[np.bool_] = np.cumsum(steps, axis=1)[:, :width] > 0
    return found
