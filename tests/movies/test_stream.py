from __future__ import annotations

import _thread
import gc
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.blocks import Block, read_block
from cellvjepa.movies.clips import Clip, ClipShape, clip_at, read_clip, sampling
from cellvjepa.movies.levels import measure_levels
from cellvjepa.movies.movie import ArrayPixels, Movie, Resolution
from cellvjepa.movies.schedule import Part
from tests.movies.toy_movies import MIXED, SHAPE, Chunked, assert_same, kept, movie_of, noise, pixels_of, stream_of


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(1, 3), st.integers(0, 3), st.integers(1, 7), st.integers(1, 12))
def test_a_batch_depends_on_seed_and_step_alone(steps: list[int], workers: int, seed: int, live_blocks: int, batch_size: int) -> None:
    kind: dict[str, Any] = {"seed": seed, "live_blocks": live_blocks, "batch_size": batch_size}
    with stream_of(workers=workers, **kind) as stream:
        asked = [kept(stream.batch(step)) for step in steps]  # any order, some twice
    with stream_of(**kind) as stream:
        in_order = {step: kept(stream.batch(step)) for step in sorted(set(steps))}
    for step, batch in zip(steps, asked, strict=True):
        assert_same(batch, in_order[step])
    with stream_of(workers=workers, **kind) as restarted:
        assert_same(restarted.batch(steps[-1]), asked[-1])


@pytest.mark.parametrize("shape", [SHAPE, replace(SHAPE, z="middle", size_px=11), replace(SHAPE, frames=1, pixel_um=None, interval_s=None)])
def test_clips_are_bit_for_bit_what_read_clip_gives(shape: ClipShape) -> None:
    by_name = {movie.name: movie for movie in MIXED}
    drawn = set()
    with stream_of(shape=shape, foreground_share=0.3, clips_per_block=2) as stream:
        for step in range(30):
            batch = stream.batch(step)
            finished = pixels_of(batch)
            assert finished.shape == (6, 1, shape.frames, 1, shape.size_px, shape.size_px)
            assert finished.dtype == np.float32
            for clip, channel, pixels in zip(batch.clips, batch.channels, finished, strict=True):
                movie = by_name[clip.movie]
                np.testing.assert_array_equal(pixels[0], read_clip(movie, clip, shape)[movie.channels.index(channel)])
                drawn.add((clip.movie, channel))
    assert drawn == {(movie.name, channel) for movie in MIXED for channel in movie.channels}


def test_whole_stacks_stay_whole() -> None:
    deep = movie_of("deep.zarr", noise(0, 12, 1, 5, 20, 20))
    shape = replace(SHAPE, z="stack")
    with stream_of((deep,), shape) as stream:
        batch = stream.batch(0)
        assert pixels_of(batch).shape == (6, 1, 4, 5, 8, 8)
        np.testing.assert_array_equal(pixels_of(batch)[0], read_clip(deep, batch.clips[0], shape))


@pytest.mark.parametrize(
    ("types", "shipped"),
    [(("u1", "u1"), "u1"), (("u1", "u2"), "u2"), (("u2", "i2"), "f4"), (("u2", "f4"), "f4"), (("u1", "i4"), "f4"), (("f8",), "f4")],
)
def test_batches_are_shipped_in_the_smallest_type_that_holds_all_movies(types: tuple[str, ...], shipped: str) -> None:
    movies = tuple(movie_of(f"{i}.tif", noise(i, 12, 1, 1, 20, 20).astype(dtype)) for i, dtype in enumerate(types))
    with stream_of(movies) as stream:
        assert stream.batch(0).native.dtype == np.dtype(shipped)


def test_memory_is_used_again_but_not_before_the_next_batch_is_asked_for() -> None:
    with stream_of() as stream:
        places = set()
        for step in range(20):
            batch = stream.batch(step)
            before = batch.native.copy()
            time.sleep(0.002)  # the threads make the next ones meanwhile
            np.testing.assert_array_equal(batch.native, before)
            places.add(batch.native.__array_interface__["data"][0])
    assert len(places) <= 8  # samples differ in size, so buffers may grow once or twice


def test_a_coarser_copy_is_read_where_it_suffices() -> None:
    """Pixels of 0.25 um with copies of 0.5 and 1 um; clips of 0.6 um come from the first copy, and ``read_clip`` agrees."""
    fine = movie_of("fine.zarr", noise(0, 12, 1, 1, 64, 96), pixel_um=0.25)
    copies = []
    for factor in (2, 4):
        array = np.asarray(fine.pixels[:]).reshape(12, 1, 1, 64 // factor, factor, 96 // factor, factor).mean(axis=(4, 6))
        copies.append(Resolution(ArrayPixels(array), (1, factor, factor)))
    movie = replace(fine, pyramid=tuple(copies))
    shape = replace(SHAPE, pixel_um=0.6)
    found = sampling(movie, shape)
    assert (found.pixels, found.factor, found.extent_px, found.read_px) == (copies[0].pixels, (2, 2), (1, 20, 20), (10, 10))
    assert sampling(fine, shape).extent_px == (1, 19, 19)
    assert sampling(movie, replace(shape, pixel_um=1.0)).pixels is copies[1].pixels
    assert sampling(movie, replace(shape, pixel_um=0.3)).pixels is movie.pixels
    assert sampling(movie, replace(shape, pixel_um=None)).pixels is movie.pixels
    with stream_of((movie,), shape) as stream:
        for step in range(10):
            batch = stream.batch(step)
            assert all(clip.y0 % 2 == clip.x0 % 2 == 0 for clip in batch.clips)
            for clip, pixels in zip(batch.clips, pixels_of(batch), strict=True):
                np.testing.assert_array_equal(pixels, read_clip(movie, clip, shape))
    centred, plain = clip_at(movie, shape, 0, 30, 40), clip_at(fine, shape, 0, 30, 40)
    assert abs(centred.y0 - plain.y0) <= 1
    assert abs(centred.x0 - plain.x0) <= 1
    assert np.abs(read_clip(movie, centred, shape) - read_clip(fine, plain, shape)).mean() < 0.1  # shifted by half a pixel at most


def test_seeds_and_steps_differ() -> None:
    with stream_of(seed=0) as one, stream_of(seed=1) as other:
        assert len({one.batch(0).clips, one.batch(1).clips, other.batch(0).clips, other.batch(1).clips}) == 4


def test_a_block_is_read_once_and_no_more_than_one_is_renewed_at_a_time() -> None:
    movie = movie_of("one.zarr", noise(0, 100, 1, 1, 40, 40), chunk=2)
    reads = []
    with stream_of((movie,), batch_size=8, live_blocks=4, clips_per_block=16) as stream:  # a block lasts 8 steps; one is renewed every 2
        assert isinstance(movie.pixels, Chunked)
        before = movie.pixels.reads
        for step in range(33):
            stream.batch(step)
            reads.append(movie.pixels.reads - before)
    # 4 at once, then one every second step; what is read ahead is at most one more.
    for step, count in enumerate(reads):
        assert 4 + step // 2 <= count <= 4 + step // 2 + 1


def test_clips_of_a_batch_come_from_all_live_blocks() -> None:
    movies = tuple(movie_of(f"{i}.tif", noise(i, 8, 1, 1, 16, 16)) for i in range(40))
    with stream_of(movies, batch_size=8, live_blocks=8, clips_per_block=64) as stream:
        # Forty equal movies, eight blocks: some pairs coincide, but a batch is never of one movie.
        assert all(len({clip.movie for clip in stream.batch(step).clips}) >= 4 for step in range(0, 200, 20))


def test_large_movies_are_drawn_by_the_square_root_of_the_clips_in_them() -> None:
    small, large = movie_of("small.tif", noise(0, 4, 1, 1, 8, 8)), movie_of("large.tif", noise(1, 36, 1, 1, 8, 8))  # 1 and 9 clips: weights 1 and 3
    with stream_of((small, large), batch_size=4, live_blocks=4, clips_per_block=1) as stream:
        names = [clip.movie for step in range(200) for clip in stream.batch(step).clips]
    assert 0.70 < names.count("large.tif") / len(names) < 0.80


def spots(clips: tuple[Clip, ...]) -> float:
    """Return the share of clips that show the spot at (100, 100)."""
    return float(np.mean([abs(clip.y0 + 4 - 100) < 5 and abs(clip.x0 + 4 - 100) < 5 for clip in clips]))


def test_foreground_clips_look_for_what_varies() -> None:
    native = np.random.default_rng(0).normal(100, 1, (8, 1, 1, 128, 128))
    native[:, :, :, 97:104, 97:104] += 100
    movie = replace(movie_of("spot.tif", native), levels=np.array([[90.0, 200.0]]))
    shares = {}
    for share in (0.0, 0.5, 1.0):
        with stream_of((movie,), batch_size=16, foreground_share=share) as stream:
            shares[share] = float(np.mean([spots(stream.batch(step).clips) for step in range(100)]))
    assert 0.001 < shares[0.0] < 0.02
    assert shares[1.0] > 4 * shares[0.0]
    assert shares[0.0] < shares[0.5] < shares[1.0]


def test_missing_levels_are_measured_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = tuple(replace(movie, levels=None) for movie in MIXED)
    measured: list[str] = []

    def counting(movie: Movie) -> np.ndarray[Any, np.dtype[np.float64]]:
        measured.append(movie.name)
        return measure_levels(movie)

    monkeypatch.setattr("cellvjepa.movies.stream.measure_levels", counting)
    with stream_of(clips_per_block=2) as known, stream_of(bare, clips_per_block=2) as unknown:
        for step in range(30):
            assert_same(known.batch(step), unknown.batch(step))
    assert sorted(measured) == sorted(movie.name for movie in bare)


def broken_movie() -> tuple[Movie, Chunked]:
    movie = movie_of("fragile.zarr", noise(0, 30, 1, 1, 40, 40), chunk=2)
    assert isinstance(movie.pixels, Chunked)
    return movie, movie.pixels


def stream_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("cellvjepa-stream")]


def test_closing_joins_the_threads_and_a_closed_stream_says_so() -> None:
    stream = stream_of(workers=3)
    stream.batch(0)
    assert stream_threads()
    stream.close()
    assert not stream_threads()
    stream.close()
    with pytest.raises(Cancelled, match="the stream was closed"):
        stream.batch(1)


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Have Ctrl-C heard, also where a shell has started the tests in the background, with it switched off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_heard_while_waiting_and_leaves_no_thread(hears_ctrl_c: None) -> None:
    movie, pixels = broken_movie()
    stream = stream_of((movie,), workers=2)
    pixels.works.clear()  # reading hangs, as on a lost network drive
    interrupt = threading.Timer(0.2, _thread.interrupt_main)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt), stream:
        try:
            stream.batch(0)
        finally:
            pixels.works.set()
    interrupt.join()
    assert not stream_threads()


def test_closing_from_elsewhere_ends_the_wait() -> None:
    movie, pixels = broken_movie()
    stream = stream_of((movie,))
    pixels.works.clear()

    def close() -> None:
        time.sleep(0.1)
        closing.start()
        time.sleep(0.1)
        pixels.works.set()

    closing = threading.Thread(target=stream.close)
    helper = threading.Thread(target=close)
    helper.start()
    with pytest.raises(Cancelled):
        stream.batch(0)
    helper.join()
    closing.join()
    assert not stream_threads()


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.integers(0, 30))
def test_the_parts_of_a_batch_are_the_batch(count: int, per_process: int, live_blocks: int, step: int) -> None:
    """Process r of n makes clips r, r + n, ... of the batch that one process makes: row by row the same bits."""
    kind: dict[str, Any] = {"batch_size": count * per_process, "live_blocks": live_blocks}
    with stream_of(**kind) as stream:
        whole = stream.batch(step)
        for index in range(count):
            with stream_of(**kind, part=Part(index, count)) as own:
                part = own.batch(step)
                assert len(part) == per_process
                assert (part.clips, part.channels, part.shapes) == tuple(rows[index::count] for rows in (whole.clips, whole.channels, whole.shapes))
                np.testing.assert_array_equal(part.levels_B2, whole.levels_B2[index::count])
                for sample, same in zip(part.samples, whole.samples[index::count], strict=True):
                    np.testing.assert_array_equal(sample, same)


def test_no_block_is_decoded_by_two_processes() -> None:
    """Slots 0 and 2 are of one process, 1 and 3 of the other: together they read what one process reads, and no more."""

    def reads(*parts: Part) -> list[int]:
        counts = []
        for part in parts:
            movie = movie_of("one.zarr", noise(0, 100, 1, 1, 40, 40), chunk=2)
            assert isinstance(movie.pixels, Chunked)
            before = movie.pixels.reads
            with stream_of((movie,), batch_size=8, live_blocks=4, clips_per_block=16, foreground_share=0.0, part=part) as stream:
                for step in range(0, 400, 8):  # a block lasts 8 steps, so none is read ahead that is not needed
                    stream.batch(step)
            counts.append(movie.pixels.reads - before)
        return counts

    (alone,), shared = reads(Part()), reads(Part(0, 2), Part(1, 2))
    assert abs(sum(shared) - alone) <= 2 * 4  # read ahead at the end: four blocks each
    assert max(shared) <= alone / 2 + 4


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(UserError, match="a batch of 6 clips cannot be shared evenly by 4 processes. make it a multiple of their number"):
        stream_of(part=Part(0, 4))


def test_no_movie_is_refused() -> None:
    with pytest.raises(UserError, match="there is no movie to take clips from"):
        stream_of(())


def test_a_movie_that_is_too_short_is_refused_at_once() -> None:
    with pytest.raises(UserError, match="short.tif: the movie has 3 frames, but a clip of 4 frames needs 4"):
        stream_of((*MIXED, movie_of("short.tif", noise(0, 3, 1, 1, 9, 9))))


def test_stacks_of_different_depth_are_refused_where_they_stay_whole() -> None:
    with pytest.raises(UserError, match=r"two_channels.zarr: the movie has 3 planes, but plain.tif has 1, .*set clip.z to max"):
        stream_of(shape=replace(SHAPE, z="stack"))


def test_blocks_that_nobody_needs_any_more_are_gone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the help of the garbage collector: a circle of references would keep gigabytes."""
    movie = movie_of("one.zarr", noise(0, 100, 1, 1, 40, 40), chunk=2)
    made: list[weakref.ref[Block]] = []

    def reading(*arguments: Any) -> Block:
        block = read_block(*arguments)
        made.append(weakref.ref(block))
        return block

    monkeypatch.setattr("cellvjepa.movies.stream.read_block", reading)
    gc.collect()
    gc.disable()
    try:
        with stream_of((movie,), live_blocks=4, clips_per_block=3, workers=2) as stream:
            alive = []
            for step in range(60):
                stream.batch(step)
                alive.append(sum(one() is not None for one in made))
    finally:
        gc.enable()
    assert len(made) > 60
    assert max(alive) <= 4 + 2 * 4 + 4  # live, those of the batches made ahead, those read ahead
