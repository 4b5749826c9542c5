"""The most surprising places and times of a movie, as a list."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.embedding.token_places import TokenPlaces

COLUMNS = ("t_start", "t_stop", "z_px", "y_px", "x_px", "surprise")


def surprise_events(values_tzyx: npt.NDArray[Any], places: TokenPlaces, count: int = 20, apart: tuple[int, int] = (1, 2)) -> pd.DataFrame:
    """Return the highest values of a map of surprise that are not beside a higher one already in the list.

    Parameters
    ----------
    values_tzyx
        The map; NaN where nothing was foretold.
    places
        Where its tokens lie in the movie.
    count
        At most how many.
    apart
        Two events differ by more than so many steps in time, or by more than so many tokens along y or x.

    Returns
    -------
    DataFrame
        The highest first: ``t_start``, ``t_stop`` (the native frames that the token covers, half open), ``z_px``, ``y_px``, ``x_px`` (its middle
        [native px]), ``surprise``.
    """
    left = np.where(np.isfinite(values_tzyx), values_tzyx, -np.inf).astype(np.float64)
    rows = []
    for _ in range(min(count, left.size)):
        t, z, y, x = (int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
        if left[t, z, y, x] == -np.inf:
            break
        _, z_px, y_px, x_px = places.middle_of((t, z, y, x))
        t_start = places.start[0] + t * places.pitch[0]
        rows.append((round(t_start), round(t_start + places.pitch[0]), z_px, y_px, x_px, float(left[t, z, y, x])))
        steps, tokens = apart
        near = [slice(max(0, at - reach), at + reach + 1) for at, reach in ((t, steps), (y, tokens), (x, tokens))]
        left[near[0], :, near[1], near[2]] = -np.inf
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"t_start": np.int64, "t_stop": np.int64})
