from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellvjepa.embedding.tiles import blended, tile_movie, triangle
from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape
from tests.embedding.conftest import SHAPE, make_movie

TUBELET = (2, 1, 8, 8)


def movie_of(frames, height, width):
    return make_movie("m.tif", np.zeros((frames, 1, 1, height, width), np.uint16), ("dna",))


def ends(tiling):
    grid = tiling.clip_grid
    return [[start + extent for start, extent in zip(tile.corner, (grid.t, grid.y, grid.x), strict=True)] for tile in tiling.tiles]


@pytest.mark.parametrize("size", [(12, 40, 48), (5, 16, 16), (13, 17, 31), (4, 9, 40)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_every_token_is_covered_and_blends_to_what_all_say(size, overlap):
    """Clips that agree on each place give exactly that, whatever they overlap; what they say beyond the map plays no part."""
    tiling = tile_movie(movie_of(*size), SHAPE, TUBELET, overlap)
    grid, clip = tiling.grid, tiling.clip_grid
    assert (grid.t, grid.y, grid.x) == (size[0] // 2, -(-size[1] // 8), -(-size[2] // 8))
    truth = np.random.default_rng(0).normal(size=(grid.t, 1, grid.y, grid.x, 3)).astype(np.float32)
    beyond = np.pad(truth, ((0, 0), (0, 0), (0, clip.y), (0, clip.x), (0, 0)), constant_values=1e9)
    said = []
    for tile in tiling.tiles:
        t, y, x = tile.corner
        said.append((tile, beyond[t : t + clip.t, :, y : y + clip.y, x : x + clip.x]))
    found = dict(blended(tiling, said, 3))
    assert list(found) == list(range(grid.t))
    np.testing.assert_allclose(np.stack(list(found.values())), truth, atol=1e-5)


def test_clips_lie_where_their_tokens_are():
    tiling = tile_movie(movie_of(12, 40, 48), SHAPE, TUBELET)
    assert tiling.pitch_px == (8, 8)
    assert tiling.frames_per_token == 2
    for tile in tiling.tiles:
        assert (tile.clip.t0, tile.clip.y0, tile.clip.x0) == (2 * tile.corner[0], 8 * tile.corner[1], 8 * tile.corner[2])


def test_resampled_clips_begin_at_the_nearest_pixel():
    """At 0.5 um a clip of 16 px of 0.36 um is 12 px: a token is 6, and every other frame is left out."""
    tiling = tile_movie(movie_of(13, 40, 48), replace(SHAPE, pixel_um=0.36, interval_s=120.0), TUBELET)
    assert tiling.pitch_px == (6, 6)
    assert tiling.frames_per_token == 4
    assert (tiling.grid.t, tiling.grid.y, tiling.grid.x) == (3, 7, 8)
    tiling = tile_movie(movie_of(12, 41, 48), replace(SHAPE, pixel_um=0.34), TUBELET)  # 11 px, 5.5 a token
    assert tiling.pitch_px == (5.5, 5.5)
    assert all(abs(tile.clip.y0 - 5.5 * tile.corner[1]) <= 0.5 for tile in tiling.tiles)


def test_tokens_never_lack_a_whole_token_of_image():
    for height in range(8, 60):
        tiling = tile_movie(movie_of(4, height, 16), SHAPE, TUBELET)
        assert 0 <= tiling.grid.y * 8 - height < 8
        assert max(end[1] for end in ends(tiling)) == max(tiling.grid.y, tiling.clip_grid.y)


def test_what_no_clip_says_is_not_a_number():
    tiling = tile_movie(movie_of(12, 16, 16), SHAPE, TUBELET)
    said = [(tile, np.full((2, 1, 2, 2, 1), 7, np.float32)) for tile in tiling.tiles]
    found = np.stack([values for _, values in blended(tiling, said, 1, np.array([0, 1], np.float32))])
    assert np.isnan(found[0]).all()
    assert (found[1:] == 7).all()


def test_an_unsaid_step_that_is_not_a_number_spoils_nothing():
    tiling = tile_movie(movie_of(8, 16, 16), SHAPE, TUBELET)
    said = [(tile, np.stack([np.full((1, 2, 2, 1), np.nan), np.ones((1, 2, 2, 1))]).astype(np.float32)) for tile in tiling.tiles]
    found = np.stack([values for _, values in blended(tiling, said, 1, np.array([0, 1], np.float32))])
    assert (found[1:] == 1).all()


def test_the_middle_of_a_clip_counts_most():
    np.testing.assert_allclose(triangle(4), [0.5, 1, 1, 0.5])
    np.testing.assert_allclose(triangle(3), [0.5, 1, 0.5])
    np.testing.assert_allclose(triangle(1), [1])


def test_a_movie_shorter_than_a_clip_is_refused():
    with pytest.raises(UserError, match="the movie has 3 frames, but a clip of 4 frames needs 4"):
        tile_movie(movie_of(3, 16, 16), SHAPE, TUBELET)
    with pytest.raises(UserError, match="cannot be cut into tubelets"):
        tile_movie(movie_of(9, 16, 16), ClipShape(4, None, 12, None, None, "max"), TUBELET)
