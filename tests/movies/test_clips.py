from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.config import ClipConfig
from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import check_movie
from cellvjepa.movies.clips import Clip, ClipShape, clip_at, frame_starts, grid_clips, random_clip, read_clip, sampling
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie, PixelSize

# Every pixel of the toy movie says where it is: 4 digits t and c, then z, y and x.
#
#     t=1, c=0, z=0:   y=0   1000000  1000001  1000002 ...
#                      y=1   1000100  1000101  1000102 ...


def told_TCZYX(t: int, c: int, z: int, y: int, x: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    at = np.indices((t, c, z, y, x)).astype(np.float64)
    return at[0] * 1e6 + at[1] * 1e5 + at[2] * 1e4 + at[3] * 1e2 + at[4]


def movie_of(array: np.ndarray[Any, Any], *, pixel_um: float | None = None, interval_s: float | None = None, levels: bool = True) -> Movie:
    channels = tuple("abcdef"[: array.shape[1]])
    return Movie(
        uri="/archive/day1/toy.tif",
        name="day1/toy.tif",
        pixels=ArrayPixels(array),
        channels=channels,
        pixel_um=None if pixel_um is None else PixelSize(2.0, pixel_um, pixel_um),
        interval_s=interval_s,
        axes=dict.fromkeys(AXES, "file"),
        codec="none",
        size_bytes=array.nbytes,
        levels=np.tile([0.0, 1e7], (len(channels), 1)) if levels else None,
    )


def shape_of(
    frames: int = 4,
    size_px: int = 8,
    *,
    interval_s: float | None = None,
    pixel_um: float | None = None,
    channels: tuple[str, ...] | None = None,
    z: Literal["max", "middle", "stack"] | int = "max",
) -> ClipShape:
    return ClipShape(frames, interval_s, size_px, pixel_um, channels, z)


@st.composite
def movies_and_shapes(draw: st.DrawFn) -> tuple[Movie, ClipShape]:
    small = st.integers(1, 30)
    interval, step = 5.0, draw(st.integers(1, 3))
    frames = draw(st.integers(1, 5))
    length = draw(st.integers((frames - 1) * step + 1, 20))
    movie = movie_of(told_TCZYX(length, 2, draw(st.integers(1, 3)), draw(small), draw(small)), pixel_um=0.5, interval_s=interval)
    z = draw(st.sampled_from(["max", "middle", "stack", 0]))
    return movie, shape_of(frames, draw(st.integers(1, 12)), interval_s=step * interval, pixel_um=draw(st.sampled_from([None, 0.5, 0.3, 1.1])), z=z)


def assert_lies_inside(clip: Clip, movie: Movie, shape: ClipShape) -> None:
    found = sampling(movie, shape)
    assert clip.extent == found.extent_px
    assert clip.t0 >= 0
    assert clip.t0 + (shape.frames - 1) * clip.t_step < movie.shape["T"]
    for start, extent, length in ((clip.y0, clip.extent[1], movie.shape["Y"]), (clip.x0, clip.extent[2], movie.shape["X"])):
        if extent <= length:
            assert 0 <= start <= length - extent
        else:  # the image stands in the middle
            assert abs((-start) - (start + extent - length)) <= 1


@settings(max_examples=60, deadline=None)
@given(movies_and_shapes(), st.integers(0, 2**32))
def test_random_clips_lie_inside_and_are_drawn_again_by_the_same_seed(pair: tuple[Movie, ClipShape], seed: int) -> None:
    movie, shape = pair
    clip = random_clip(movie, shape, np.random.default_rng(seed))
    assert_lies_inside(clip, movie, shape)
    assert clip == random_clip(movie, shape, np.random.default_rng(seed))
    pixels = read_clip(movie, clip, shape)
    planes = movie.shape["Z"] if shape.z == "stack" else 1
    assert pixels.shape == (2, shape.frames, planes, shape.size_px, shape.size_px)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, read_clip(movie, clip, shape))


@settings(max_examples=60, deadline=None)
@given(movies_and_shapes(), st.floats(-5, 40), st.floats(-5, 40))
def test_a_clip_around_a_point_is_centred_on_it_or_touches_the_border(pair: tuple[Movie, ClipShape], y: float, x: float) -> None:
    movie, shape = pair
    clip = clip_at(movie, shape, 0, y, x)
    assert_lies_inside(clip, movie, shape)
    for centre, start, extent, length in ((y, clip.y0, clip.extent[1], movie.shape["Y"]), (x, clip.x0, clip.extent[2], movie.shape["X"])):
        if extent < length:
            assert start in (0, length - extent) or abs(start + (extent - 1) / 2 - centre) <= 0.5


@settings(max_examples=60, deadline=None)
@given(movies_and_shapes(), st.one_of(st.none(), st.integers(1, 7)))
def test_grid_clips_cover_every_pixel_once_at_least_and_no_address_twice(pair: tuple[Movie, ClipShape], stride: int | None) -> None:
    movie, shape = pair
    clips = grid_clips(movie, shape, stride)
    seen = np.zeros((movie.shape["Y"], movie.shape["X"]), bool)
    for clip in clips:
        assert_lies_inside(clip, movie, shape)
        seen[max(0, clip.y0) : clip.y0 + clip.extent[1], max(0, clip.x0) : clip.x0 + clip.extent[2]] = True
    assert seen.all()
    assert len({clip.clip_id for clip in clips}) == len(set(clips)) == len(clips)
    starts = sorted({clip.t0 for clip in clips})
    assert starts[0] == 0
    assert starts[-1] == movie.shape["T"] - sampling(movie, shape).span_frames
    assert max(np.diff(starts), default=0) <= (stride or shape.frames * clips[0].t_step)


def test_the_numbers_of_a_clip_are_those_of_its_address() -> None:
    movie = movie_of(told_TCZYX(20, 2, 1, 40, 50))
    clip = clip_at(movie, shape_of(4, 8), t0=7, y=20.5, x=11.5)
    assert (clip.t0, clip.t_step, clip.y0, clip.x0, clip.extent) == (7, 1, 17, 8, (1, 8, 8))
    assert clip.clip_id == "day1/toy.tif#t7_z0_y17_x8"
    expected = movie.pixels[7:11, :, :, 17:25, 8:16].swapaxes(0, 1) / 1e7
    np.testing.assert_allclose(read_clip(movie, clip, shape_of(4, 8)), expected, rtol=1e-6)


def test_a_larger_interval_leaves_out_whole_frames_and_makes_none_up() -> None:
    movie = movie_of(told_TCZYX(20, 1, 1, 8, 8), interval_s=60)
    shape = shape_of(4, 8, interval_s=170)
    found = sampling(movie, shape)
    assert (found.t_step, found.span_frames, found.interval_s) == (3, 10, 180)
    frames = read_clip(movie, clip_at(movie, shape, 2, 4, 4), shape)[0, :, 0, 0, 0] * 1e7
    np.testing.assert_allclose(frames, [2e6, 5e6, 8e6, 11e6], rtol=1e-6)


@pytest.mark.parametrize(("interval_s", "wanted_s"), [(None, 60.0), (60.0, None), (60.0, 20.0), (60.0, 60.0)])
def test_every_frame_is_used_where_the_interval_is_unknown_not_wanted_or_long_enough(interval_s: float | None, wanted_s: float | None) -> None:
    found = sampling(movie_of(told_TCZYX(9, 1, 1, 8, 8), interval_s=interval_s), shape_of(4, 8, interval_s=wanted_s))
    assert (found.t_step, found.interval_s) == (1, interval_s)


def test_space_is_resampled_to_the_wanted_pixel_size() -> None:
    movie = movie_of(told_TCZYX(4, 1, 1, 64, 64), pixel_um=0.5)
    found = sampling(movie, shape_of(4, 8, pixel_um=1.1))
    assert found.extent_px == (1, 18, 18)
    assert found.pixel_um == PixelSize(2.0, 0.5 * 18 / 8, 0.5 * 18 / 8)
    assert sampling(movie, shape_of(4, 8)).extent_px == (1, 8, 8)
    assert sampling(movie_of(told_TCZYX(4, 1, 1, 64, 64)), shape_of(4, 8, pixel_um=1.1)).extent_px == (1, 8, 8)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 20), st.floats(-0.9, 2.9))
def test_resampling_keeps_a_constant_and_the_middle_of_a_ramp(extent: int, size: int, value: float) -> None:
    movie = movie_of(np.full((1, 1, 1, extent, extent), value * 1e7), pixel_um=1.0)
    shape = shape_of(1, size, pixel_um=extent / size)
    np.testing.assert_allclose(read_clip(movie, clip_at(movie, shape, 0, 0, 0), shape), value, rtol=1e-5, atol=1e-6)
    ramp = np.broadcast_to(np.linspace(0, 1e7, extent), (1, 1, 1, extent, extent))
    seen = read_clip(movie_of(ramp, pixel_um=1.0), clip_at(movie, shape, 0, 0, 0), shape)[0, 0, 0]
    np.testing.assert_allclose((seen + seen[:, ::-1]) / 2, 0.5, atol=1e-5)  # left and right mirror each other
    assert (np.diff(seen, axis=1) >= -1e-6).all()
    assert (np.ptp(seen, axis=0) <= 1e-6).all()


def test_fine_stripes_do_not_alias() -> None:
    stripes = np.broadcast_to(np.arange(64) % 2 * 1e7, (1, 1, 1, 64, 64))
    movie, shape = movie_of(stripes, pixel_um=1.0), shape_of(1, 16, pixel_um=4.0)
    assert np.abs(read_clip(movie, clip_at(movie, shape, 0, 32, 32), shape) - 0.5).max() < 0.1


@pytest.mark.parametrize("dtype", ["bool", "u1", "u2", ">u2", "i2", "u4", "i8", "f2", "f4", "f8"])
def test_every_dtype_is_scaled_alike_and_cut_off(dtype: str) -> None:
    native = np.array([0, 1, 10, 30, 90]).astype(dtype)
    movie = movie_of(np.broadcast_to(native, (1, 1, 1, 5, 5)), levels=False)
    levels = np.array([[10.0, 30.0]])
    movie = Movie(**{**vars(movie), "levels": levels})
    shape = shape_of(1, 5)
    expected = np.clip((native.astype(np.float64) - 10) / 20, -1, 3)
    np.testing.assert_allclose(read_clip(movie, clip_at(movie, shape, 0, 2, 2), shape)[0, 0, 0, 0], expected, atol=1e-6)


def test_missing_values_are_dark_and_hot_pixels_stay_what_they_are() -> None:
    native = np.full((1, 1, 1, 32, 32), 5e6)
    native[0, 0, 0, 4, 4], native[0, 0, 0, 4, 20], native[0, 0, 0, 20, 4] = np.nan, np.inf, 1e12
    movie = movie_of(native, pixel_um=1.0)
    seen = read_clip(movie, clip_at(movie, shape_of(1, 32), 0, 16, 16), shape_of(1, 32))[0, 0, 0]
    assert (seen[4, 4], seen[4, 20], seen[20, 4], seen[0, 0]) == (0, 3, 3, 0.5)
    coarse = read_clip(movie, clip_at(movie, shape_of(1, 8, pixel_um=4.0), 0, 16, 16), shape_of(1, 8, pixel_um=4.0))
    assert coarse.max() < 0.75  # cut off before it is spread over its neighbours


def test_equal_levels_give_zeros() -> None:
    movie = movie_of(np.full((1, 1, 1, 8, 8), 7.0), levels=False)
    movie = Movie(**{**vars(movie), "levels": np.array([[7.0, 7.0]])})
    assert not read_clip(movie, clip_at(movie, shape_of(1, 8), 0, 4, 4), shape_of(1, 8)).any()


def test_channels_come_in_the_order_wanted() -> None:
    movie, shape = movie_of(told_TCZYX(4, 3, 1, 8, 8)), shape_of(1, 8, channels=("c", "a"))
    np.testing.assert_allclose(read_clip(movie, clip_at(movie, shape, 0, 4, 4), shape)[:, 0, 0, 0, 0] * 1e7, [2e5, 0], rtol=1e-6)


@pytest.mark.parametrize(("z", "planes"), [("max", [4]), ("middle", [2]), (3, [3]), ("stack", [0, 1, 2, 3, 4])])
def test_depth(z: Literal["max", "middle", "stack"] | int, planes: list[int]) -> None:
    movie, shape = movie_of(told_TCZYX(6, 2, 5, 8, 8)), shape_of(2, 8, z=z)
    expected = movie.pixels[3:5][:, :, planes].swapaxes(0, 1) / 1e7
    np.testing.assert_allclose(read_clip(movie, clip_at(movie, shape, 3, 4, 4), shape), expected, rtol=1e-6)


@pytest.mark.parametrize("step", [1, 2])
def test_a_projection_made_in_pieces_is_the_projection(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    native = np.random.default_rng(0).normal(3e6, 1e6, (11, 1, 7, 9, 9))
    native[:, :, 2, 3] = np.nan  # missing in one plane, there in the others
    movie, shape = movie_of(native, interval_s=1), shape_of(5, 8, interval_s=step)
    whole = read_clip(movie, clip_at(movie, shape, 1, 3.5, 3.5), shape)
    np.testing.assert_allclose(whole[0, :, 0], np.nanmax(native, 2)[1 : 1 + 5 * step : step, 0, :8, :8] / 1e7, rtol=1e-6)
    monkeypatch.setattr("cellvjepa.movies.resampling._PIECE_PX", 2 * 7 * 8 * 8)
    np.testing.assert_array_equal(read_clip(movie, clip_at(movie, shape, 1, 3.5, 3.5), shape), whole)


@pytest.mark.parametrize(("height", "width"), [(5, 5), (5, 12), (1, 3), (2, 8)])
def test_an_image_smaller_than_the_clip_stands_in_its_middle_and_is_reflected(height: int, width: int) -> None:
    movie, shape = movie_of(told_TCZYX(1, 1, 1, height, width)), shape_of(1, 8)
    clip = clip_at(movie, shape, 0, 0, 0)
    rows, columns = ((-min(0, start), max(0, 8 - length + min(0, start))) for start, length in ((clip.y0, height), (clip.x0, width)))
    expected = np.pad(movie.pixels[0, 0, 0, :, :8], (rows, columns), mode="reflect") / 1e7
    np.testing.assert_allclose(read_clip(movie, clip, shape)[0, 0, 0], expected, rtol=1e-6)


def test_the_shape_is_what_the_configuration_says() -> None:
    config = ClipConfig(frames=8, interval_s=120.0, size_px=32, pixel_um=0.65, channels=("phase",), z="middle")
    assert ClipShape.of(config) == ClipShape(8, 120.0, 32, 0.65, ("phase",), "middle")


def test_a_movie_that_is_too_short_is_refused_with_the_longest_clip_it_can_give() -> None:
    movie = movie_of(told_TCZYX(9, 1, 1, 8, 8), interval_s=60)
    message = r"day1/toy.tif: the movie has 9 frames, but a clip of 4 frames \(every 3 frames\) needs 10\. .*--set clip.frames=3,"
    with pytest.raises(UserError, match=message):
        check_movie(movie, shape_of(4, 8, interval_s=180))
    for choose in (lambda s: clip_at(movie, s, 0, 4, 4), lambda s: random_clip(movie, s, np.random.default_rng(0)), lambda s: grid_clips(movie, s)):
        with pytest.raises(UserError, match=r"the movie has 9 frames, but a clip of 16 frames needs 16\. .*--set clip.frames=9"):
            choose(shape_of(16, 8))


def test_unknown_channels_are_refused_with_those_that_exist() -> None:
    with pytest.raises(UserError, match=r"there is no channel 'gfp'; the movie has 'a', 'b'\. .*clip.channels"):
        check_movie(movie_of(told_TCZYX(4, 2, 1, 8, 8)), shape_of(channels=("a", "gfp")))
    with pytest.raises(UserError, match=r"there is no channel chosen; the movie has 'a'\."):
        check_movie(movie_of(told_TCZYX(4, 1, 1, 8, 8)), shape_of(channels=()))


@pytest.mark.parametrize("z", [3, -1])
def test_a_plane_that_does_not_exist_is_refused(z: int) -> None:
    with pytest.raises(UserError, match=rf"there is no plane {z}: the movie has 3 planes, counted from 0\. set clip.z"):
        sampling(movie_of(told_TCZYX(4, 1, 3, 8, 8)), shape_of(z=z))


@pytest.mark.parametrize("t0", [-1, 6])
def test_a_clip_that_would_reach_beyond_the_movie_is_refused(t0: int) -> None:
    with pytest.raises(UserError, match=rf"a clip of 4 frames cannot start at frame {t0} of 9\. start it between 0 and 5"):
        clip_at(movie_of(told_TCZYX(9, 1, 1, 8, 8)), shape_of(4), t0, 4, 4)


def test_a_movie_without_levels_is_refused() -> None:
    movie = movie_of(told_TCZYX(4, 1, 1, 8, 8), levels=False)
    with pytest.raises(UserError, match=r"levels have not been measured\. call with_levels\(movie\)"):
        read_clip(movie, clip_at(movie, shape_of(), 0, 4, 4), shape_of())


@settings(max_examples=60, deadline=None)
@given(movies_and_shapes(), st.floats(-5, 40), st.floats(-5, 40), st.floats(-30, 30), st.floats(-30, 30))
def test_a_clip_that_moves_stays_inside_and_shows_each_frame_where_it_is_then(
    pair: tuple[Movie, ClipShape], y: float, x: float, down: float, right: float
) -> None:
    movie, shape = pair
    clip = clip_at(movie, shape, 0, y, x, (down, right))
    pixels = read_clip(movie, clip, shape)
    starts = frame_starts(clip, shape.frames)
    assert starts[0].tolist() == [clip.y0, clip.x0]
    for i, (y0, x0) in enumerate(starts):
        still = replace(clip, y0=int(y0), x0=int(x0), drift=(0, 0))
        assert_lies_inside(still, movie, shape)
        np.testing.assert_array_equal(pixels[:, i], read_clip(movie, still, shape)[:, i])
    if down == right == 0:
        assert clip == clip_at(movie, shape, 0, y, x)
