from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cellvjepa.cells.intensity import with_grid_intensity, with_intensity
from cellvjepa.cells.table import COLUMNS, Cells
from cellvjepa.cells.windows import grid_windows
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


@pytest.mark.parametrize("stride_frames", [None, 1])
def test_places_of_a_grid_are_measured_over_all_that_their_clips_show(stride_frames: int | None) -> None:
    pixels = np.random.default_rng(0).random((5, 2, 1, 20, 24)).astype(np.float32)
    pixels[0, 0, 0, 3, 3] = np.nan  # a pixel that is missing
    pixels[2, 1] = np.nan  # a frame of a channel that is missing
    movie = movie_of(pixels)
    bare = grid_windows([movie], SHAPE, stride_frames)
    found = with_grid_intensity(bare, [movie], SHAPE)
    assert found.clips == bare.clips
    assert len(found.clips) == 9 * (2 if stride_frames is None else 4) + (9 if stride_frames is None else 0)
    for clip, row in zip(found.clips, found.table.itertuples(), strict=True):
        for c, value in enumerate((row.intensity_a, row.intensity_b)):
            shown = pixels[clip.t0 : clip.t0 + 2, c, 0, clip.y0 : clip.y0 + 8, clip.x0 : clip.x0 + 8].astype(float)
            frames = shown.reshape(2, -1)
            seen = [np.nanmean(frame) for frame in frames if np.isfinite(frame).any()]
            assert value == pytest.approx(np.mean(seen))


def test_crops_beyond_the_image_and_grids_of_no_movie() -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (2, 1, 1, 6, 8)).astype(np.uint8)  # smaller than a crop
    movie = movie_of(pixels)
    windows = grid_windows([movie], SHAPE)
    assert with_grid_intensity(windows, [movie], SHAPE).table["intensity"].tolist() == [pytest.approx(pixels.mean())]
    assert "intensity" not in with_grid_intensity(windows, [], SHAPE).table

    def stop(*_: object) -> None:
        raise Cancelled("measuring")

    with pytest.raises(Cancelled):
        with_grid_intensity(windows, [movie], SHAPE, progress=stop)


class CountedPixels:
    """Pixels that remember which frames were read."""

    def __init__(self, array_TCZYX: np.ndarray) -> None:
        self.array, self.read = array_TCZYX, list[int]()
        self.shape, self.dtype, self.chunks = array_TCZYX.shape, array_TCZYX.dtype, (1, *array_TCZYX.shape[1:])

    def __getitem__(self, key: tuple[object, ...]) -> np.ndarray:
        self.read.append(key[0])  # type: ignore[arg-type]
        return self.array[key]


def test_every_frame_of_a_grid_is_read_once() -> None:
    pixels = CountedPixels(np.zeros((9, 1, 1, 20, 24), np.uint8))
    movie = replace(movie_of(pixels.array), pixels=pixels)
    with_grid_intensity(grid_windows([movie], SHAPE, 1), [movie], SHAPE)
    assert sorted(pixels.read) == list(range(9))
