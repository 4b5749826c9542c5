"""Outlines of cells: what is theirs, what is their neighbours', and how much of a token they cover.

1 1 . .        a label image of one frame, 4 x 4 px: cell 1 in the corner, cell 2 beside it
1 1 2 .
. . 2 .
. . . .
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellvjepa.cells.outlines import Outline, Outlines, read_outline, with_outlines
from cellvjepa.cells.table import COLUMNS, Cells
from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import Clip, clip_at, read_clip
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie, PixelSize, Resolution

LABELS_YX = np.array([[1, 1, 0, 0], [1, 1, 2, 0], [0, 0, 2, 0], [0, 0, 0, 0]], np.uint16)
SHAPE = ClipShape(frames=2, interval_s=None, size_px=4, pixel_um=None, channels=None, z="max")


def movie_of(array_TZYX: np.ndarray, um: float | None = None, pyramid: tuple[Resolution, ...] = ()) -> Movie:
    pixels = ArrayPixels(array_TZYX[:, None])
    size = None if um is None else PixelSize(None, um, um)
    levels = np.array([[0.0, 100.0]])
    return Movie("/a.tif", "a.tif", pixels, ("c",), size, None, dict.fromkeys(AXES, "given"), "none", array_TZYX.nbytes, (), levels, {}, pyramid)


def stack(*frames_YX: np.ndarray) -> np.ndarray:
    return np.stack(frames_YX)[:, None]


def of_cell(clip: Clip, *values: int) -> Clip:
    return Clip(**{**clip.__dict__, "cell_values": values})


def test_own_pixels_and_those_of_others() -> None:
    movie = movie_of(stack(LABELS_YX, LABELS_YX))
    clip = clip_at(movie, SHAPE, 0, 1.5, 1.5)
    found = read_outline(movie, movie, of_cell(clip, 1), SHAPE)
    np.testing.assert_array_equal(found.own_TZYX[0, 0], LABELS_YX == 1)
    np.testing.assert_array_equal(found.others_TZYX[1, 0], LABELS_YX == 2)
    changing = read_outline(movie, movie, of_cell(clip, 2, 0), SHAPE)  # one value per frame; not there in the second
    np.testing.assert_array_equal(changing.own_TZYX[:, 0], [LABELS_YX == 2, np.zeros((4, 4), bool)])
    assert changing.others_TZYX[1, 0].sum() == 6


def test_an_outline_moves_with_its_clip() -> None:
    later = np.roll(LABELS_YX, 2, axis=1)
    movie = movie_of(stack(np.pad(LABELS_YX, ((0, 0), (0, 4))), np.pad(later, ((0, 0), (0, 4)))))
    clip = of_cell(clip_at(movie, SHAPE, 0, 1.5, 2.5, (0.0, 2.0)), 1)
    found = read_outline(movie, movie, clip, SHAPE)
    np.testing.assert_array_equal(found.own_TZYX[1, 0], LABELS_YX == 1)


def test_planes_are_projected_as_the_pixels_are() -> None:
    deep = np.zeros((2, 3, 4, 4), np.uint8)
    deep[:, 0, 0, 0], deep[:, 2, 0, 0], deep[:, 2, 3, 3] = 1, 2, 2
    movie = movie_of(deep)
    clip = of_cell(clip_at(movie, SHAPE, 0, 1.5, 1.5), 1)
    found = read_outline(movie, movie, clip, SHAPE)
    assert found.own_TZYX.shape == (2, 1, 4, 4)
    assert found.own_TZYX[0, 0, 0, 0]  # in front of the other
    assert not found.others_TZYX[0, 0, 0, 0]
    assert found.others_TZYX[0, 0, 3, 3]
    flat = movie_of(stack(LABELS_YX, LABELS_YX))  # labels of the projection
    assert read_outline(flat, movie, clip, SHAPE).own_TZYX.sum() == 8


def test_an_outline_is_as_coarse_as_the_pixels_that_are_read() -> None:
    labels = movie_of(stack(LABELS_YX, LABELS_YX))
    coarse = Resolution(ArrayPixels(np.zeros((2, 1, 1, 2, 2), np.uint8)), (1, 2, 2))
    movie = movie_of(np.zeros((2, 1, 4, 4), np.uint8), um=0.5, pyramid=(coarse,))
    shape = ClipShape(frames=2, interval_s=None, size_px=2, pixel_um=1.0, channels=None, z="max")
    found = read_outline(labels, movie, of_cell(clip_at(movie, shape, 0, 1.5, 1.5), 1), shape)
    np.testing.assert_array_equal(found.own_TZYX[0, 0], [[True, False], [False, False]])
    np.testing.assert_array_equal(found.others_TZYX[0, 0], [[False, True], [False, True]])


def test_cover_is_the_share_of_each_token() -> None:
    own = (np.stack([LABELS_YX == 1, LABELS_YX == 9]))[:, None]
    outline = Outline(own, np.zeros_like(own))
    np.testing.assert_allclose(outline.cover((1, 1, 2, 2)), [0.5, 0, 0, 0])
    np.testing.assert_allclose(outline.cover((2, 1, 2, 1)), [0.5, 0, 0, 0])
    assert outline.cover((2, 1, 4, 4)).sum() == 4
    # Parts that cut pixels: three parts of four pixels are 4/3 px each.
    np.testing.assert_allclose(outline.cover((1, 1, 1, 3)), [0.25, 0.125, 0], atol=1e-6)
    assert outline.cover((1, 1, 3, 3)).mean() == pytest.approx(own.mean())


def test_neighbours_are_replaced_by_the_background_of_each_channel() -> None:
    values = np.where(LABELS_YX == 2, 90, np.where(LABELS_YX == 1, 60, 10)).astype(np.uint8)
    movie, labels = movie_of(stack(values, values)), movie_of(stack(LABELS_YX, LABELS_YX))
    clip = of_cell(clip_at(movie, SHAPE, 0, 1.5, 1.5), 1)
    seen = read_clip(movie, clip, SHAPE, read_outline(labels, movie, clip, SHAPE).hidden())
    np.testing.assert_allclose(seen[0, 0, 0], np.where(LABELS_YX == 1, 0.6, 0.1), atol=1e-6)
    full = movie_of(stack(*[np.where(LABELS_YX == 1, 1, 2).astype(np.uint8)] * 2))  # nothing is background
    dark = read_clip(movie, clip, SHAPE, read_outline(full, movie, clip, SHAPE).hidden())
    np.testing.assert_allclose(dark[0, 0, 0], np.where(LABELS_YX == 1, 0.6, 0.0), atol=1e-6)


def test_what_is_needed_and_missing_is_said() -> None:
    movie = movie_of(stack(LABELS_YX, LABELS_YX))
    clip = clip_at(movie, SHAPE, 0, 1.5, 1.5)
    Outlines().check({"a.tif": movie}, [clip])
    with pytest.raises(UserError, match="1 of 1 movies have no label image, the first is a.tif, and embed.mask_weight needs them. give"):
        Outlines(mask_weight=0.5).check({"a.tif": movie}, [clip])
    with pytest.raises(UserError, match="there are clips of no cell, and embed.hide_neighbours needs one"):
        Outlines({"a.tif": movie}, hide_neighbours=True).check({"a.tif": movie}, [clip])


def test_label_images_beside_a_table_must_be_of_its_tracks() -> None:
    movie = movie_of(stack(LABELS_YX, LABELS_YX))
    table = pd.DataFrame({"track_id": [1, 1, 2, 2], "t": [0, 1, 0, 1]}).assign(
        movie="a.tif", y_px=1.0, x_px=1.0, z_px=np.nan, area_px=np.nan, parent_track_id=-1
    )
    cells = Cells(table[list(COLUMNS)])
    assert with_outlines(cells, {"a.tif": movie}, [movie]).labels == {"a.tif": movie}
    strange = Cells(cells.table.assign(track_id=cells.table["track_id"] + 10))
    with pytest.raises(UserError, match="not the track ids of a.tif: in 2 frames, 0 of 4 cells have pixels of their value. give label images"):
        with_outlines(strange, {"a.tif": movie}, [movie])
    small = movie_of(stack(LABELS_YX[:2], LABELS_YX[:2]))
    with pytest.raises(UserError, match="the label image is T 2 x Y 2 x X 4, but its movie a.tif is T 2 x Y 4 x X 4. give the labels of this movie"):
        with_outlines(cells, {"a.tif": small}, [movie])
