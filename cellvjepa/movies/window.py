"""Windows: which pixels are read for a piece of an image, and what stands in for those it does not have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Window:
    """A clip in the pixels that are read for it, which may be a coarser copy of the movie's.

    Parameters
    ----------
    there
        The planes, rows and columns that exist.
    missing
        Rows above, rows below, columns left and columns right of them that the clip has and the image has not.
    """

    there: tuple[slice, slice, slice]
    missing: tuple[int, int, int, int]


def window_between(planes: slice, starts: Iterable[int], extents: Iterable[int], lengths: Iterable[int]) -> Window:
    """Return where a piece is read that begins at ``starts`` and may reach beyond an image of these ``lengths``: rows and columns each."""
    there, missing = [], []
    for start, extent, length in zip(map(int, starts), map(int, extents), lengths, strict=True):
        there.append(slice(max(0, start), min(length, start + extent)))
        missing += [max(0, -start), max(0, start + extent - length)]
    above, below, left, right = missing
    return Window((planes, there[0], there[1]), (above, below, left, right))


def padded(native_TZYX: npt.NDArray[Any], window: Window) -> npt.NDArray[Any]:
    """Return the whole clip where the image is smaller than it: by reflection."""
    above, below, left, right = window.missing
    if not any(window.missing):
        return native_TZYX
    return np.pad(native_TZYX, ((0, 0), (0, 0), (above, below), (left, right)), mode="reflect")


def inside(start: int, extent: int, length: int) -> int:
    """Shift a piece into ``0 .. length``; where it is longer, the two are concentric."""
    return -((extent - length) // 2) if extent > length else min(max(start, 0), length - extent)
