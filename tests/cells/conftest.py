"""Movies for the tests on cells: pixels are never read, only their sizes and units count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cellvjepa.movies.movie import AXES, ArrayPixels, Movie, PixelSize

MakeMovie = Callable[..., Movie]


@pytest.fixture(scope="session")
def make_movie() -> MakeMovie:
    """Return a maker of movies: ``make_movie("day1/pos4.tif", t=30, y=40, x=50)``."""

    def make(
        name: str = "pos4.tif", t: int = 30, c: int = 1, z: int = 1, y: int = 40, x: int = 50, um: float | None = None, s: float | None = None
    ) -> Movie:
        pixels = ArrayPixels(np.broadcast_to(np.uint8(0), (t, c, z, y, x)))
        size = None if um is None else PixelSize(None, um, um)
        channels = tuple("abc"[:c])
        return Movie(f"/archive/{name}", name, pixels, channels, size, s, dict.fromkeys(AXES, "file"), "none", t * c * z * y * x)

    return make
