from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.levels import measure_levels, with_levels
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie
from cellvjepa.movies.readers import open_movie


def movie_of(array: np.ndarray[Any, Any], pixels: Any = None) -> Movie:
    channels = tuple(f"ch{c}" for c in range(array.shape[1]))
    return Movie("/a.tif", "a.tif", pixels or ArrayPixels(array), channels, None, None, dict.fromkeys(AXES, "file"), "none", array.nbytes)


class Counting(ArrayPixels):
    """Pixels that note how many are read at once."""

    largest = 0
    total = 0

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        found = super().__getitem__(key)
        Counting.largest, Counting.total = max(Counting.largest, found.size), Counting.total + found.size
        return found


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_levels_are_the_percentiles_of_each_channel(dtype: str) -> None:
    rng = np.random.default_rng(0)
    array = np.stack([rng.normal(100, 10, (30, 1, 64, 64)), rng.normal(150, 20, (30, 1, 64, 64))], axis=1).clip(0, 255).astype(dtype)
    levels = measure_levels(movie_of(array))
    assert levels.shape == (2, 2)
    assert levels.dtype == np.float64
    for channel in range(2):
        expected = np.percentile(array[:, channel].astype(float), [0.1, 99.9])
        np.testing.assert_allclose(levels[channel], expected, atol=4)  # of 20 frames out of 30


def test_a_movie_of_few_small_planes_is_measured_exactly() -> None:
    array = np.random.default_rng(1).integers(0, 60_000, (7, 1, 1, 50, 60), dtype="uint16")
    np.testing.assert_array_equal(measure_levels(movie_of(array))[0], np.percentile(array.astype(float), [0.1, 99.9]))


def test_levels_are_the_same_every_time() -> None:
    movie = movie_of(np.random.default_rng(2).integers(0, 60_000, (40, 1, 3, 64, 64), dtype="uint16"))
    np.testing.assert_array_equal(measure_levels(movie), measure_levels(movie))


def test_every_depth_and_the_whole_of_time_have_a_say() -> None:
    array = np.zeros((60, 1, 5, 16, 16), dtype="uint16")
    array[:] = np.arange(60)[:, None, None, None, None] + 1000 * np.arange(5)[None, None, :, None, None]
    seen: list[int] = []

    class Noting(ArrayPixels):
        def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
            seen.append(int(array[key].flat[0]))
            return super().__getitem__(key)

    measure_levels(movie_of(array, Noting(array)))
    assert {value // 1000 for value in seen} == set(range(5))
    assert {value % 1000 for value in seen} >= {0, 59}
    assert abs(np.corrcoef([v // 1000 for v in seen], [v % 1000 for v in seen])[0, 1]) < 0.3, "depth must not go with time"


def test_never_more_than_a_window_is_read_at_once() -> None:
    Counting.largest = Counting.total = 0
    array = np.broadcast_to(np.uint8(3), (200, 1, 1, 3000, 3000))
    measure_levels(movie_of(array, Counting(array)))
    assert Counting.largest <= 1024 * 1024
    assert Counting.total <= 20 * 1024 * 1024


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.full((2, 1, 1, 8, 8), 7, dtype="uint8"), (7.0, 8.0)),
        (np.full((2, 1, 1, 8, 8), np.nan, dtype="float32"), (0.0, 1.0)),
        (np.where(np.arange(128).reshape(2, 1, 1, 8, 8) % 2, np.inf, 5.0), (5.0, 6.0)),
        (np.where(np.arange(200_000).reshape(2, 1, 1, 1000, 100) == 0, 900, 4).astype("uint16"), (4.0, 900.0)),
    ],
)
def test_what_is_flat_not_finite_or_almost_empty_gets_levels_apart(values: np.ndarray[Any, Any], expected: tuple[float, float]) -> None:
    np.testing.assert_array_equal(measure_levels(movie_of(values))[0], expected)


def test_levels_are_measured_once_and_kept() -> None:
    movie = with_levels(movie_of(np.arange(64, dtype="uint8").reshape(1, 1, 1, 8, 8)))
    assert movie.levels is not None
    assert with_levels(movie) is movie


def test_levels_of_a_store_are_those_of_its_pixels(write_zarr: Callable[..., Path], told: Callable[..., np.ndarray[Any, Any]]) -> None:
    array = told(9, 2, 20, 24)
    movie = with_levels(open_movie(write_zarr(array, "tcyx", chunks=(3, 1, 16, 16))))
    assert movie.levels is not None
    np.testing.assert_array_equal(movie.levels[1], np.percentile(array[:, 1].astype(float), [0.1, 99.9]))


class Damaged(ArrayPixels):
    """Pixels of which only the frames before ``good`` can be read."""

    good = 0

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        if key[0] >= self.good:
            raise UserError(f"frame {key[0]} cannot be read", "copy it again", "/a.tif")
        return super().__getitem__(key)


def test_damaged_frames_do_not_count() -> None:
    array = np.random.default_rng(0).normal(100, 10, (40, 1, 1, 32, 32))
    array[20:] = 1e9
    pixels = Damaged(array)
    Damaged.good = 20
    assert measure_levels(movie_of(array, pixels))[0, 1] < 200
    Damaged.good = 0
    with pytest.raises(UserError, match="frame 39 cannot be read"):
        measure_levels(movie_of(array, pixels))
