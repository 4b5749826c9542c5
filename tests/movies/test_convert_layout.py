"""How a converted image is cut, and what its coarser copies are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cellvjepa.movies.convert.coarser import mean_of_four, one_of_four
from cellvjepa.movies.convert.layout import LARGEST_SLAB_BYTES, SHARD_BYTES, halved, layout_of

lengths = st.tuples(st.integers(1, 3000), st.integers(1, 4), st.integers(1, 120), st.integers(1, 9000), st.integers(1, 9000))
pieces = st.tuples(st.integers(1, 200), st.integers(1, 4), st.integers(1, 120), st.integers(1, 9000), st.integers(1, 9000))


@given(shape=lengths, source=pieces, itemsize=st.sampled_from([1, 2, 4, 8]))
def test_chunks_shards_and_slabs_fit_into_each_other(shape: tuple[int, ...], source: tuple[int, ...], itemsize: int) -> None:
    layout = layout_of(shape, itemsize, source)  # type: ignore[arg-type]
    assert layout.slab_bytes <= LARGEST_SLAB_BYTES * 1.01
    finest = layout.levels[0]
    assert all(s % p == 0 for s, p in zip(finest.shard[:3], layout.slab[:3], strict=True))
    assert finest.shard[3:] == layout.slab[3:]
    for k, level in enumerate(layout.levels):
        assert level.shape == halved(finest.shape, k)
        assert all(s % c == 0 for s, c in zip(level.shard, level.chunk, strict=True))
        assert level.chunk[0] <= 24
        assert level.chunk[1:3] == (1, 1)
        assert max(level.chunk[3:]) <= 256
        # shard i of every level shows the same part of the movie
        counts = [math.ceil(n / s) for n, s in zip(level.shape, level.shard, strict=True)]
        assert counts == [math.ceil(n / s) for n, s in zip(finest.shape, finest.shard, strict=True)]
        if k:
            assert min(level.shape[3:]) >= 256
        for axis in (3, 4):
            if counts[axis] > 1:
                assert level.shard[axis] << k == finest.shard[axis]
    assert min(halved(finest.shape, len(layout.levels))[3:]) < 256


@given(shape=st.tuples(*[st.integers(1, n) for n in (60, 3, 40, 3000, 3000)]), source=pieces)
def test_slabs_cover_a_movie_once(shape: tuple[int, ...], source: tuple[int, ...]) -> None:
    layout = layout_of(shape, 2, source)  # type: ignore[arg-type]
    covered = 0
    for shard in layout.shards():
        for slab in layout.slabs_of(shard):
            assert all(0 <= s.start < s.stop <= n for s, n in zip(slab, shape, strict=True))
            covered += math.prod(s.stop - s.start for s in slab)
    assert covered == math.prod(shape)


def test_an_ordinary_movie_is_cut_for_clips() -> None:
    layout = layout_of((200, 2, 1, 2048, 2048), 2, (1, 1, 1, 2048, 2048))
    assert [level.chunk for level in layout.levels] == [(16, 1, 1, 256, 256)] * 4
    assert [level.shape[3] for level in layout.levels] == [2048, 1024, 512, 256]
    assert layout.slab == (16, 1, 1, 2048, 2048)
    assert math.prod(layout.levels[0].shard) * 2 <= SHARD_BYTES


def test_what_lies_together_in_the_source_is_decoded_once() -> None:
    whole_stacks = layout_of((100, 1, 40, 512, 512), 2, (1, 1, 40, 512, 512))
    assert whole_stacks.slab[2:] == (40, 512, 512)
    colours_in_one_page = layout_of((100, 3, 1, 512, 512), 1, (1, 3, 1, 512, 512))
    assert colours_in_one_page.slab[1] == 3
    long_chunks = layout_of((300, 1, 1, 512, 512), 2, (50, 1, 1, 128, 128))
    assert long_chunks.slab[0] >= 64


def test_small_movies_are_one_shard() -> None:
    layout = layout_of((48, 1, 1, 130, 130), 2, (1, 1, 1, 130, 130))
    assert layout.levels[0].chunk == (16, 1, 1, 130, 130)
    assert len(list(layout.shards())) == len(layout.levels) == 1


pixels_uint = st.sampled_from(["uint8", "uint16", "int16", "uint32", "int8"]).flatmap(
    lambda dtype: arrays.arrays(dtype, st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6)))
)


@given(pixels_uint)
def test_the_mean_is_that_of_numpy(pixels: np.ndarray) -> None:
    even = np.pad(pixels, [(0, 0), (0, pixels.shape[1] % 2), (0, pixels.shape[2] % 2)], mode="edge").astype(np.float64)
    wanted = np.rint((even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4)
    found = mean_of_four(pixels)
    assert found.dtype == pixels.dtype
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_the_mean_of_large_numbers_does_not_overflow(dtype: str) -> None:
    largest = np.full((2, 2), np.iinfo(dtype).max, dtype)
    assert mean_of_four(largest)[0, 0] >= np.iinfo(dtype).max * 0.999


def test_the_mean_of_fractions() -> None:
    assert mean_of_four(np.float32([[0, 1], [1, 1]])).tolist() == [[0.75]]
    assert mean_of_four(np.float16([[0.5]])).dtype == np.float16
    assert np.isnan(mean_of_four(np.float32([[0, np.nan]]))).all()


def test_labels_stay_labels() -> None:
    labels = np.uint16([[7, 9, 3], [9, 9, 3], [5, 5, 1]])
    assert one_of_four(labels).tolist() == [[7, 3], [5, 1]]
