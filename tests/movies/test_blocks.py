from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.movies.block_size import _FREE_PX, Budget
from cellvjepa.movies.blocks import BlockAddress, Source, _draw_aligned, draw_block, source_of
from cellvjepa.movies.clips import ClipShape
from cellvjepa.movies.movie import AXES, Movie, PixelSize


class Claimed:
    """Pixels of any size that are never read."""

    dtype = np.dtype("u2")

    def __init__(self, shape: tuple[int, int, int, int, int], chunks: tuple[int, int, int, int, int]) -> None:
        self.shape, self.chunks = shape, chunks

    def __getitem__(self, key: Any) -> np.ndarray[Any, Any]:
        raise AssertionError("not to be read")


def movie_of(shape: tuple[int, int, int, int, int], chunks: tuple[int, int, int, int, int]) -> Movie:
    channels = tuple("abc"[: shape[1]])
    axes: dict[str, Literal["file", "assumed", "given"]] = dict.fromkeys(AXES, "file")
    return Movie("/archive/huge.zarr", "huge.zarr", Claimed(shape, chunks), channels, PixelSize(1, 1, 1), 1.0, axes, "zstd", 0)


def drawn(source: Source, rng: np.random.Generator) -> BlockAddress:
    return draw_block([source], np.array([source.weight]), 0.0, rng)


lengths = st.integers(1, 5000)


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.integers(50, 3000), st.integers(1, 3), st.integers(1, 60), lengths, lengths),
    st.tuples(
        st.sampled_from([1, 16, 64]), st.just(1), st.sampled_from([1, 8]), st.sampled_from([1, 256, 426, 2048]), st.sampled_from([1, 256, 2048])
    ),
    st.integers(1, 16),
    st.sampled_from([16, 64, 224, 900]),
    st.sampled_from([1.0, 2.0, 2.5]),
    st.sampled_from(["max", "middle", "stack"]),
    st.sampled_from([0, 10**6, 30 * 10**6, 200 * 10**6]),
    st.sampled_from([1, 64]),
    st.integers(0, 1000),
)
def test_a_block_lies_in_its_movie_holds_a_clip_and_is_bounded(
    shape: tuple[int, int, int, int, int],
    chunks: tuple[int, int, int, int, int],
    frames: int,
    size_px: int,
    interval_s: float,
    z: Literal["max", "middle", "stack"],
    block_bytes: int,
    clips_per_block: int,
    seed: int,
) -> None:
    clip = ClipShape(frames, interval_s, size_px, 1.0, None, z)
    budget = Budget(block_bytes, clips_per_block)
    source = source_of(movie_of(shape, chunks), clip, budget)
    at = drawn(source, np.random.default_rng(seed))
    count, rows, columns = len(at.frames), at.rows.stop - at.rows.start, at.columns.stop - at.columns.start
    assert at.frames.start >= 0
    assert at.frames[-1] < shape[0]
    assert at.frames.step == source.found.t_step
    assert 0 <= at.rows.start < at.rows.stop <= shape[3]
    assert 0 <= at.columns.start < at.columns.stop <= shape[4]
    assert count >= frames
    assert rows >= min(size_px, shape[3])
    assert columns >= min(size_px, shape[4])
    planes = source.found.planes
    one_clip = frames * planes * min(size_px, shape[3]) * min(size_px, shape[4])
    # Only a single clip (widened to a square within the budget) may need more memory than there is.
    held_bytes = 2 * count * planes * rows * columns
    if held_bytes > block_bytes:
        assert count == frames
        assert rows == min(size_px, shape[3]) or columns == min(size_px, shape[4])
    # Nothing is decoded that no clip will use, but what lies in the same chunks anyway.
    worth = max(clips_per_block * one_clip / 3, _FREE_PX * planes)
    whole = [min(n, -(-(c + k - 1) // k) * k) for n, c, k in ((shape[3], size_px, chunks[3]), (shape[4], size_px, chunks[4]))]
    if count * planes * rows * columns > worth:
        assert rows <= max(whole[0], min(size_px, shape[3]))
        assert columns <= max(whole[1], min(size_px, shape[4]))
    assert at == drawn(source, np.random.default_rng(seed))


def test_blocks_of_chunked_movies_hold_every_place_of_a_clip() -> None:
    """So that every chunk is decoded as a whole and once: a clip and a chunk less one along each axis."""
    clip, budget = ClipShape(16, None, 224, None, None, "max"), Budget(200 * 10**6, 64)
    sizes = {}
    for chunks in ((16, 1, 1, 256, 256), (1, 1, 1, 512, 512), (1, 1, 1, 2048, 2048), (1, 1, 1, 16, 2048), (1, 1, 1, 1, 1)):
        size = source_of(movie_of((200, 1, 1, 2048, 2048), chunks), clip, budget).size
        sizes[chunks[0], chunks[3:]] = (size.frames, size.rows, size.columns)
        for length, extent, chunk, there in zip(
            sizes[chunks[0], chunks[3:]], (16, 224, 224), (chunks[0], *chunks[3:]), (200, 2048, 2048), strict=True
        ):
            assert length == there or length >= extent + chunk - 1
    assert sizes == {
        (16, (256, 256)): (64, 512, 512),
        (1, (512, 512)): (16, 1024, 1024),
        (1, (2048, 2048)): (16, 2048, 2048),
        (1, (16, 2048)): (16, 512, 2048),
        (1, (1, 1)): (64, 512, 512),
    }


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30), st.integers(1, 12))
def test_blocks_laid_on_chunks_leave_no_place_of_a_clip_out(length: int, size: int, extent: int, chunk: int) -> None:
    size, extent = min(size, length), min(extent, size, length)
    rng = np.random.default_rng(0)
    begins = Counter(_draw_aligned(rng, length, size, extent, chunk) for _ in range(40 * length))
    assert min(begins) >= 0
    assert max(begins) <= length - size
    places = {begin + inside for begin in begins for inside in range(size - extent + 1)}
    assert places == set(range(length - extent + 1))
    if size - extent >= chunk - 1:
        assert all(begin % chunk == 0 or begin == length - size for begin in begins)


def test_every_frame_is_seen_though_blocks_are_laid_on_chunks_and_skip_frames() -> None:
    clip = ClipShape(4, 2.0, 64, 1.0, None, "max")
    source = source_of(movie_of((400, 1, 1, 600, 600), (16, 1, 1, 256, 256)), clip, Budget(30 * 10**6, 16))
    rng = np.random.default_rng(0)
    seen = {frame for _ in range(200) for frame in drawn(source, rng).frames}
    assert seen == set(range(400))
