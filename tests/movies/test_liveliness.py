from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.movies.liveliness import Liveliness, cheap_look
from cellvjepa.movies.movie import ArrayPixels, Resolution
from tests.movies.toy_movies import SHAPE, movie_of, noise, stream_of

LEVEL = np.array([10.0, 200.0])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40), st.data())
def test_it_is_the_standard_deviation_of_the_clip_where_every_pixel_is_looked_at(frames: int, height: int, width: int, data: st.DataObject) -> None:
    block = noise(0, frames + 3, 1, height + 9, width + 5)
    t, y, x = (data.draw(st.integers(0, extra)) for extra in (3, 9, 5))
    clip = (min(frames, 15), min(height, 31), min(width, 31))  # so small that the view leaves nothing out
    found = Liveliness.of(block, LEVEL, clip).at(np.array([t]), np.array([y]), np.array([x]))
    values = (block[t : t + clip[0], 0, y : y + clip[1], x : x + clip[2]] - 10) / 190
    np.testing.assert_allclose(found, [np.clip(values, -1, 3).std()], rtol=1e-4, atol=1e-6)


def test_places_at_the_border_and_outside_are_judged_by_what_is_there() -> None:
    lively = Liveliness.of(noise(0, 4, 1, 20, 20), LEVEL, (4, 32, 32))
    assert np.isfinite(lively.at(np.array([0, 0]), np.array([-6, 0]), np.array([-6, 0]))).all()


def test_blocks_go_where_something_is_to_be_seen_if_a_glance_is_cheap() -> None:
    """One corner of a large image holds cells; blocks are much smaller than it."""
    array = np.random.default_rng(0).normal(100, 1, (8, 1, 1, 1600, 1600)).astype("f4")
    array[..., :400, :400] += np.random.default_rng(1).normal(0, 200, (400, 400))
    shape = replace(SHAPE, size_px=64, frames=8)
    movie = replace(movie_of("corner.tif", array, chunk=4), levels=np.array([[90.0, 400.0]]))
    coarse = replace(movie, pyramid=(Resolution(ArrayPixels(array[..., ::8, ::8].copy()), (1, 8, 8)),))
    shares = {}
    for name, one in (("blind", movie), ("looks", coarse)):
        with stream_of((one,), shape, live_blocks=4, clips_per_block=3, foreground_share=1.0, memory_mb=40) as stream:
            clips = [clip for step in range(25) for clip in stream.batch(step).clips]
        shares[name] = np.mean([clip.y0 < 400 and clip.x0 < 400 for clip in clips])
    assert cheap_look(movie) is None
    assert shares["looks"] > 1.5 * shares["blind"]
