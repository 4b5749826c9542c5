from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellvjepa.embedding.tiles import tile_movie
from cellvjepa.embedding.token_places import TokenPlaces, on_pixels, places_in_clip, places_in_movie
from cellvjepa.model.grid import Grid
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import clip_at, read_clip
from cellvjepa.movies.movie import ArrayPixels, PixelSize
from tests.embedding.conftest import make_movie

# A movie whose pixels say where they are: 1000 frame + row, or + column in the second channel.
FRAMES, PLANES, HEIGHT, WIDTH = 20, 2, 60, 50


def telling(z: int = 1):
    t, _, y, x = np.mgrid[:FRAMES, :z, :HEIGHT, :WIDTH].astype(np.float32)
    movie = make_movie("tells.tif", np.stack([t, y, x], axis=1), ("frame", "row", "column"))
    return replace(movie, levels=np.tile([0.0, 100.0], (3, 1)), pixels=ArrayPixels(np.stack([t, y, x], axis=1)))


CASES = [
    (ClipShape(8, None, 16, None, None, "max"), (2, 1, 8, 8)),
    (ClipShape(4, 120.0, 16, None, None, "max"), (1, 1, 16, 4)),  # every other frame, tokens higher than wide
    (ClipShape(6, 180.0, 16, 0.75, None, "max"), (3, 1, 4, 8)),  # every third frame; 24 native pixels become 16
    (ClipShape(4, 120.0, 16, 0.25, None, "max"), (2, 1, 8, 4)),  # 8 native pixels become 16
]


@pytest.mark.parametrize(("shape", "tubelet"), CASES)
def test_the_pixels_of_a_token_are_those_at_its_place(shape, tubelet):
    """The mean of what the pixels of each tubelet say of themselves is the middle of its place."""
    movie = telling()
    clip = clip_at(movie, shape, 1, 31.0, 22.0)
    places = places_in_clip(movie, clip, shape, tubelet)
    pixels_CTYX = 100 * read_clip(movie, clip, shape)[:, :, 0]
    t, _, y, x = tubelet
    for token in np.ndindex(places.shape):
        part = pixels_CTYX[:, token[0] * t : (token[0] + 1) * t, token[2] * y : (token[2] + 1) * y, token[3] * x : (token[3] + 1) * x]
        frame, row, column = part.mean(axis=(1, 2, 3))
        middle = places.middle_of(token)
        assert row == pytest.approx(middle[2], abs=0.3)  # antialiasing mixes in a little of what is beside
        assert column == pytest.approx(middle[3], abs=0.3)
        # Frames that are left out belong to the token before them.
        assert frame == pytest.approx(middle[0] - (clip.t_step - 1) / 2, abs=1e-3)
        assert places.token_at((round(float(frame)), 0, row, column)) == token


def test_each_native_pixel_and_frame_of_a_clip_has_one_token_and_those_beside_it_none():
    shape, tubelet = CASES[2]
    movie = telling()
    clip = clip_at(movie, shape, 1, 31.0, 22.0)
    places = places_in_clip(movie, clip, shape, tubelet)
    assert (places.pitch, places.start) == ((9, 1, 6, 12), (1, 0, clip.y0, clip.x0))
    counts = np.zeros(places.shape, int)
    for frame in range(FRAMES):
        for row in range(HEIGHT):
            for column in range(WIDTH):
                inside = 1 <= frame < 19 and 0 <= row - clip.y0 < 24 and 0 <= column - clip.x0 < 24
                token = places.token_at((frame, 0, row, column))
                assert (token is not None) == inside
                if token is not None:
                    counts[token] += 1
    assert (counts == 9 * 6 * 12).all()


def test_a_stack_has_tokens_in_depth_and_a_projection_stands_for_all_planes():
    movie = replace(telling(4), pixel_um=PixelSize(1.0, 0.5, 0.5))
    stack, flat = (ClipShape(4, None, 16, None, None, z) for z in ("stack", "max"))
    places = places_in_clip(movie, clip_at(movie, stack, 0, 20, 20), stack, (2, 2, 8, 8))
    assert (places.shape, places.pitch) == ((2, 2, 2, 2), (2, 2, 8, 8))
    places = places_in_clip(movie, clip_at(movie, flat, 0, 20, 20), flat, (2, 1, 8, 8))
    assert (places.shape, places.pitch, places.centre[1]) == ((2, 1, 2, 2), (2, 4, 8, 8), 1.5)


def test_the_tokens_of_a_movie_lie_where_those_of_its_clips_do():
    shape, tubelet = CASES[2]
    movie = telling()
    tiling = tile_movie(movie, shape, tubelet)
    whole = places_in_movie(movie, shape, tiling)
    for tile in tiling.tiles:
        own = places_in_clip(movie, tile.clip, shape, tubelet)
        np.testing.assert_allclose(whole.middle_of((tile.corner[0], 0, *tile.corner[1:])), own.centre, atol=0.51)  # clips begin at whole pixels


def test_one_step_for_all_times():
    places = TokenPlaces(Grid(4, 1, 2, 2), (3, 0, 5, 6), (2, 1, 8, 8)).without_time()
    assert (places.grid.t, places.start[0], places.pitch[0], places.centre[0]) == (1, 3, 8, 6.5)
    assert places.token_at((10, 0, 5, 6)) == (0, 0, 0, 0)
    assert places.token_at((11, 0, 5, 6)) is None


def test_the_tokens_of_a_clip_that_moves_are_laid_upon_what_it_shows():
    """Each pixel that a token of the clip shows in a frame gets the token's number there."""
    shape, tubelet = ClipShape(8, 120.0, 16, None, None, "max"), (2, 1, 8, 8)
    movie = telling()
    clip = clip_at(movie, shape, 2, 30.0, 22.0, (9.0, -6.0))
    numbers = np.arange(16).reshape(4, 1, 2, 2)
    laid, places = on_pixels(numbers, movie, clip, shape, tubelet, -1)
    pixels = np.rint(100 * read_clip(movie, clip, shape)[:, :, 0]).astype(int)
    shown = 0
    for frame, row, column in np.ndindex(8, 16, 16):
        native = pixels[:, frame, row, column]
        at = places.token_at((native[0], 0, native[1], native[2]))
        assert at is not None
        assert laid[at] == numbers[frame // 2, 0, row // 8, column // 8]
        shown += 1
    assert (laid >= 0).sum() == shown
    assert places.pitch == (2, 1, 1, 1)
