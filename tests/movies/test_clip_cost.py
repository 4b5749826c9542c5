from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.movies.block_size import Budget
from cellvjepa.movies.clip_cost import Stored, random_cost, stream_cost
from cellvjepa.movies.clip_shape import ClipShape, sampling
from cellvjepa.movies.codec_speed import COPIED_MB_PER_S, decoded_mb_per_s
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie, PixelSize, Resolution

SHAPE = ClipShape(frames=16, interval_s=None, size_px=224, pixel_um=None, channels=None, z="max")
BUDGET = Budget(2**27, 16)


class Chunked(ArrayPixels):
    """Pixels that claim to be stored in chunks of :attr:`by`, and are not read."""

    by = (1, 1, 1, 1, 1)

    @property
    def chunks(self) -> tuple[int, int, int, int, int]:
        return self.by

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        raise AssertionError("predicting reads no pixels")


def stored(shape: tuple[int, ...], chunks: tuple[int, ...], codec: str = "zstd", clip: ClipShape = SHAPE) -> Stored:
    pixels = type("At", (Chunked,), {"by": chunks})(np.broadcast_to(np.uint16(0), shape))
    channels = tuple(f"ch{c}" for c in range(shape[1]))
    movie = Movie("/a.tif", "a.tif", pixels, channels, PixelSize(None, 0.5, 0.5), 60.0, dict.fromkeys(AXES, "file"), codec, 2 * int(np.prod(shape)))
    return Stored(sampling(movie, clip), codec)


@given(
    st.tuples(st.integers(8, 20), st.integers(16, 40), st.integers(16, 40)),
    st.tuples(st.integers(1, 9), st.integers(1, 50), st.integers(1, 50)),
    st.integers(1, 2),
)
@settings(max_examples=40, deadline=None)
def test_a_random_clip_decodes_the_mean_over_all_clips(lengths: tuple[int, int, int], chunks: tuple[int, int, int], step: int) -> None:
    clip = ClipShape(4, 60.0 * step, 16, None, None, "max")
    t, y, x = lengths
    expected = 1.0
    for length, chunk, count, stride in zip(lengths, chunks, (4, 16, 16), (step, 1, 1), strict=True):
        reads = []
        for first in range(length - (count - 1) * stride):
            touched = {index // chunk for index in range(first, first + (count - 1) * stride + 1, stride)}
            reads.append(sum(min((c + 1) * chunk, length) - c * chunk for c in touched))
        expected *= np.mean(reads)
    cost = random_cost(stored((t, 1, 1, y, x), (chunks[0], 1, 1, *chunks[1:]), clip=clip), clip)
    assert cost.decoded_mb == pytest.approx(expected * 2 / 1e6)
    assert cost.amplification == pytest.approx(expected / (4 * 16 * 16))


@pytest.mark.parametrize(("chunks", "expected"), [((16, 256, 256), 9.1), ((1, 512, 512), 9.9), ((1, 2048, 2048), 84.0)])
def test_the_amplification_of_usual_layouts_is_what_was_measured(chunks: tuple[int, int, int], expected: float) -> None:
    cost = random_cost(stored((200, 1, 1, 2048, 2048), (chunks[0], 1, 1, *chunks[1:])), SHAPE)
    assert cost.amplification == pytest.approx(expected, rel=0.06)


def test_the_stream_decodes_whole_pieces_once_for_all_clips_of_a_block() -> None:
    cubes = stored((200, 1, 1, 2048, 2048), (16, 1, 1, 256, 256))
    one, many = (stream_cost(cubes, SHAPE, replace(BUDGET, clips_per_block=clips)) for clips in (16, 64))
    assert one.amplification <= 2
    assert one.amplification < random_cost(cubes, SHAPE).amplification / 4
    assert many.clips_per_s > one.clips_per_s
    # A block is made of whole chunks: what is decoded for it is a whole number of them.
    assert one.decoded_mb * 16 / (16 * 256 * 256 * 2 / 1e6) == pytest.approx(round(one.decoded_mb * 16 / (16 * 256 * 256 * 2 / 1e6)))


def test_clips_use_what_they_show_and_speed_is_that_of_codec_and_copy() -> None:
    cost = random_cost(stored((200, 1, 1, 2048, 2048), (1, 1, 1, 16, 2048), "lzw"), SHAPE)
    assert cost.used_mb == pytest.approx(16 * 224 * 224 * 2 / 1e6)
    seconds = cost.decoded_mb / decoded_mb_per_s("lzw") + cost.used_mb / COPIED_MB_PER_S + 1e-4
    assert cost.clips_per_s == pytest.approx(1 / seconds)
    assert cost.mb_per_s == pytest.approx(cost.used_mb / seconds)


def test_what_is_mapped_is_as_fast_at_any_place_as_in_a_stream() -> None:
    bare = stored((200, 2, 1, 2048, 2048), (1, 1, 1, 1, 1), "none")
    assert random_cost(bare, SHAPE).clips_per_s == stream_cost(bare, SHAPE, BUDGET).clips_per_s > 1500


def test_channels_that_are_stored_together_are_decoded_together() -> None:
    apart, together = (random_cost(stored((200, 3, 1, 512, 512), (1, c, 1, 512, 512)), SHAPE) for c in (1, 3))
    assert together.decoded_mb == pytest.approx(3 * apart.decoded_mb)
    assert together.used_mb == apart.used_mb


def test_converting_helps_what_is_stored_badly_and_not_what_is_stored_well() -> None:
    strips = stored((200, 1, 1, 2048, 2048), (1, 1, 1, 16, 2048), "lzw")
    assert stream_cost(strips.converted(), SHAPE, BUDGET).clips_per_s > 3 * stream_cost(strips, SHAPE, BUDGET).clips_per_s
    bare = stored((200, 1, 1, 2048, 2048), (1, 1, 1, 1, 1), "none")
    assert stream_cost(bare.converted(), SHAPE, BUDGET).clips_per_s < stream_cost(bare, SHAPE, BUDGET).clips_per_s


def test_clips_that_are_read_from_a_coarser_copy_cost_what_that_costs() -> None:
    coarse = ClipShape(16, None, 224, 2.0, None, "max")  # 4 native pixels of 0.5 um to one
    full = ArrayPixels(np.broadcast_to(np.uint16(0), (32, 1, 1, 2048, 2048)))
    movie = Movie("/a", "a", full, ("ch0",), PixelSize(None, 0.5, 0.5), None, dict.fromkeys(AXES, "file"), "none", 1)
    copy = Resolution(ArrayPixels(np.broadcast_to(np.uint16(0), (32, 1, 1, 512, 512))), (1, 4, 4))
    there, without = (random_cost(Stored(sampling(one, coarse), "none"), coarse) for one in (replace(movie, pyramid=(copy,)), movie))
    assert without.used_mb == pytest.approx(16 * there.used_mb)


@pytest.mark.parametrize(
    ("codec", "like"),
    [("BLOSC/LZ4", "blosc/lz4"), ("aperio_jp2000_rgb", "jpeg2000"), ("jpegxr_ndpi", "jpegxr"), ("zstd1", "zstd"), ("numcodecs.zstd", "zstd")],
)
def test_codecs_are_known_by_their_many_names(codec: str, like: str) -> None:
    assert decoded_mb_per_s(codec) == decoded_mb_per_s(like) != decoded_mb_per_s("nobody/knows")


def test_a_codec_that_nobody_measured_is_neither_free_nor_endless() -> None:
    assert 10 < decoded_mb_per_s("nobody/knows") < 1000
    assert decoded_mb_per_s("none") == float("inf")
