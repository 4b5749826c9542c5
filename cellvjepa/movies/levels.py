"""Levels: the native values of each channel that become 0 and 1, measured once per movie and never per clip."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie

VERSION = 1  # of the way they are measured; to be raised with any change of it: levels are remembered

_SAMPLES = 20  # windows looked at, spread over time, depth and the image
_WINDOW_PX = 1024  # their height and width
_VALUES_PER_SAMPLE = 2**16
_GOLDEN_ZYX = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)  # steps of a sequence that covers a volume evenly, without a grid


def measure_levels(movie: Movie, low: float = 0.1, high: float = 99.9) -> npt.NDArray[np.float64]:
    """Measure low and high percentiles of every channel on windows spread over time, depth and the image.

    The windows are always the same ones, so levels are as well. A few planes are read, never a stack. Values that are not
    finite do not count, nor do windows that are damaged; a channel in which all values are equal gets levels 1 apart.

    Parameters
    ----------
    movie
        The movie.
    low, high
        Percentiles that map to 0 and 1. [%]

    Returns
    -------
    ndarray
        ``(C, 2)`` float64, the second larger than the first.

    Raises
    ------
    UserError
        If none of the windows can be read.
    """
    assert 0 <= low < high <= 100, (low, high)
    return np.array([_levels_of_channel(movie, channel, low, high) for channel in range(len(movie.channels))])


def with_levels(movie: Movie) -> Movie:
    """Return the movie with its levels, measuring them if it has none yet.

    Raises
    ------
    UserError
        If the pixels cannot be read.
    """
    return movie if movie.levels is not None else replace(movie, levels=measure_levels(movie))


def _levels_of_channel(movie: Movie, channel: int, low: float, high: float) -> tuple[float, float]:
    frames, _, planes, height, width = movie.pixels.shape
    samples = min(_SAMPLES, frames * planes)
    found: list[npt.NDArray[Any]] = []
    damage: UserError | None = None
    for sample in range(samples):
        t = sample * (frames - 1) // max(1, samples - 1)
        rooms = (planes, max(1, height - _WINDOW_PX + 1), max(1, width - _WINDOW_PX + 1))
        z, y, x = (int((0.5 + sample * step) % 1 * room) for step, room in zip(_GOLDEN_ZYX, rooms, strict=True))
        try:
            window = movie.pixels[t, channel, z, y : y + _WINDOW_PX, x : x + _WINDOW_PX]
        except UserError as error:
            damage = error
            continue
        stride = int(np.ceil(np.sqrt(window.size / _VALUES_PER_SAMPLE)))
        found.append(window[::stride, ::stride].ravel())
    if damage is not None and not found:
        raise damage
    values = np.concatenate(found).astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    bottom, top = (float(value) for value in np.percentile(values, [low, high]))
    if top <= bottom:  # so little is bright that percentiles miss it
        bottom, top = float(values.min()), float(values.max())
    return (bottom, top) if top > bottom else (bottom, bottom + 1.0)
