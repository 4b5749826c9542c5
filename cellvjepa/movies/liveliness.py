"""Liveliness: where in a movie something is to be seen, told from few of its pixels.

Much of a recording is empty glass. The measure is the standard deviation over frames, rows and columns, in units of the levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.movie import LazyPixels, Movie
from cellvjepa.movies.resampling import scale

_VIEW = (8, 16, 16)  # about so many frames, rows and columns of a clip are looked at
_LOOK_PX = 64  # about so many rows and columns are looked at in a glance


@dataclass(frozen=True)
class Liveliness:
    """Sums over all boxes of a coarse view of a block.

    Parameters
    ----------
    steps
        Frames, rows and columns from one pixel of the view to the next.
    view
        Frames, rows and columns of a clip, in pixels of the view.
    sums
        ``(2, t, y, x)`` float64: of values and of squares, from the beginning up to each place.
    """

    steps: tuple[int, int, int]
    view: tuple[int, int, int]
    sums: npt.NDArray[np.float64]

    @classmethod
    def of(cls, native_TZYX: npt.NDArray[Any], level: npt.NDArray[np.float64], clip: tuple[int, int, int]) -> Self:
        """Take the coarse view of a block for clips of so many frames, rows and columns."""
        t, y, x = (max(1, length // wanted) for length, wanted in zip(clip, _VIEW, strict=True))
        values = scale(native_TZYX[::t, :, ::y, ::x], level).astype(np.float64).mean(axis=1)
        values -= values.mean()  # squares of small numbers lose no digits
        sums = np.zeros((2, *(length + 1 for length in values.shape)))
        sums[:, 1:, 1:, 1:] = np.stack([values, values * values]).cumsum(1).cumsum(2).cumsum(3)
        view = [max(1, length // step) for length, step in zip(clip, (t, y, x), strict=True)]
        return cls((t, y, x), (view[0], view[1], view[2]), sums)

    def at(self, t: npt.NDArray[np.int64], y: npt.NDArray[np.int64], x: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the liveliness of clips that begin at these frames, rows and columns of the block, which may lie outside."""
        ends = []
        for start, step, length, last in zip((t, y, x), self.steps, self.view, (n - 1 for n in self.sums.shape[1:]), strict=True):
            first = np.clip(-(-np.maximum(start, 0) // step), 0, max(0, last - length))
            ends.append((first, np.minimum(first + length, last)))
        (t0, t1), (y0, y1), (x0, x1) = ends
        s = self.sums
        box = s[:, t1, y1, x1] - s[:, t0, y1, x1] - s[:, t1, y0, x1] - s[:, t1, y1, x0]
        box += s[:, t0, y0, x1] + s[:, t0, y1, x0] + s[:, t1, y0, x0] - s[:, t0, y0, x0]
        mean, square = box / ((t1 - t0) * (y1 - y0) * (x1 - x0))
        variance: npt.NDArray[np.float64] = square - mean * mean
        return np.sqrt(np.maximum(variance, 0))


@dataclass(frozen=True)
class Look:
    """A glance at a movie: its coarsest pixels, or every n-th where nothing has to be decoded."""

    pixels: LazyPixels
    factor: tuple[int, int]

    def spread(self, t: int, channel: int, z: int, rows: slice, columns: slice, factor: tuple[int, int]) -> float:
        """Return the standard deviation of a part of one frame [native values].

        Parameters
        ----------
        rows, columns
            In pixels of which each stands for ``factor`` native rows and columns.
        """
        parts = []
        for part, there, mine, length in zip((rows, columns), factor, self.factor, self.pixels.shape[3:], strict=True):
            start, stop = part.start * there // mine, math.ceil(part.stop * there / mine)
            start = min(start, length - 1)
            stop = min(max(stop, start + 1), length)
            parts.append(slice(start, stop, max(1, (stop - start) // _LOOK_PX)))
        values = self.pixels[t, channel, min(z, self.pixels.shape[2] - 1), parts[0], parts[1]].astype(np.float64)
        values = values[np.isfinite(values)]
        return float(values.std()) if values.size else 0.0


def cheap_look(movie: Movie) -> Look | None:
    """Return the way to glance at a movie without decoding much of it, or None where there is none."""
    if movie.pyramid:
        coarsest = movie.pyramid[-1]
        return Look(coarsest.pixels, coarsest.factor[1:])
    return Look(movie.pixels, (1, 1)) if max(movie.pixels.chunks) == 1 else None
