from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellvjepa.cells.intensity import with_intensity
from cellvjepa.cells.table import COLUMNS, Cells
from cellvjepa.errors import Cancelled
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie

SHAPE = ClipShape(frames=2, interval_s=None, size_px=8, pixel_um=None, channels=None, z="max")


def movie_of(array_TCZYX: np.ndarray) -> Movie:
    channels = tuple("abc"[: array_TCZYX.shape[1]])
    return Movie("/m.tif", "m.tif", ArrayPixels(array_TCZYX), channels, None, None, dict.fromkeys(AXES, "given"), "none", array_TCZYX.nbytes)


def cells_of(rows: list[tuple[int, int, float, float]], labels: Movie | None = None, **columns: object) -> Cells:
    table = pd.DataFrame(rows, columns=["track_id", "t", "y_px", "x_px"]).assign(
        movie="m.tif", z_px=np.nan, area_px=np.nan, parent_track_id=-1, **columns
    )
    return Cells(table[[*COLUMNS, *columns]], {"m.tif": labels} if labels else {})


def test_it_is_the_mean_under_the_outline() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 1000, (3, 2, 1, 20, 24)).astype(np.uint16)
    labels = rng.integers(0, 4, (3, 1, 1, 20, 24)).astype(np.uint8)
    rows = [(k, t, 10.0, 10.0) for k in (1, 3) for t in range(3)]
    table = with_intensity(cells_of(rows, movie_of(labels)), [movie_of(pixels)], SHAPE).table
    for row in table.itertuples():
        for c, found in enumerate((row.intensity_a, row.intensity_b)):
            assert found == pytest.approx(pixels[row.t, c, 0][labels[row.t, 0, 0] == row.track_id].mean())
    # The value of its pixels need not be the track id; a value that is nowhere has no intensity.
    named = with_intensity(cells_of([(7, 0, 1.0, 1.0), (8, 0, 1.0, 1.0)], movie_of(labels), label=[3, 9]), [movie_of(pixels[:, :1])], SHAPE).table
    np.testing.assert_allclose(named["intensity"], [pixels[0, 0, 0][labels[0, 0, 0] == 3].mean(), np.nan])


def test_without_outlines_it_is_that_of_the_middle_of_the_crop() -> None:
    pixels = np.random.default_rng(0).random((2, 1, 2, 20, 24)).astype(np.float32)
    pixels[0, 0, :, 0, 0] = np.nan  # a pixel that is missing
    projected = np.fmax.reduce(pixels[:, 0], axis=1)
    table = with_intensity(cells_of([(1, 0, 10.0, 12.0), (1, 1, 19.0, 23.0), (2, 0, 0.0, 0.0)]), [movie_of(pixels)], SHAPE).table
    middle = projected[0, 8:12, 10:14].mean(), projected[1, 17:, 21:].mean(), np.nanmean(projected[0, :2, :2])
    np.testing.assert_allclose(table["intensity"], middle, rtol=1e-6)


def test_cells_of_movies_that_are_not_given_stay_unknown_and_it_can_be_cancelled() -> None:
    cells = cells_of([(1, t, 10.0, 12.0) for t in range(2)])
    assert "intensity" not in with_intensity(cells, [], SHAPE).table

    def stop(*_: object) -> None:
        raise Cancelled("measuring")

    with pytest.raises(Cancelled):
        with_intensity(cells, [movie_of(np.zeros((2, 1, 1, 20, 24), np.uint8))], SHAPE, progress=stop)
