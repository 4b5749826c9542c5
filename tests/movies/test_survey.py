from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie, PixelSize, Resolution
from cellvjepa.movies.readers import Archive, open_archive
from cellvjepa.movies.survey import survey

SHAPE = ClipShape(frames=8, interval_s=None, size_px=16, pixel_um=None, channels=None, z="max")


class Chunked(ArrayPixels):
    """Pixels that claim to be stored in chunks of :attr:`by`, and are not read."""

    by = (1, 1, 1, 1, 1)

    @property
    def chunks(self) -> tuple[int, int, int, int, int]:
        return self.by

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        raise AssertionError("a survey reads no pixels")


def movie_of(shape: tuple[int, ...], chunks: tuple[int, ...] = (1, 1, 1, 1, 1), **changed: Any) -> Movie:
    pixels = type("At", (Chunked,), {"by": chunks})(np.broadcast_to(np.uint16(0), shape))
    channels = tuple(f"ch{c}" for c in range(shape[1]))
    movie = Movie(
        "/archive/a.tif", "a.tif", pixels, channels, PixelSize(None, 0.5, 0.5), 60.0, dict.fromkeys(AXES, "file"), "zstd", 2 * int(np.prod(shape))
    )
    return replace(movie, **changed)


def described(movie: Movie, shape: ClipShape = SHAPE) -> dict[str, Any]:
    (one,) = survey(Archive("/archive", (movie,), ()), shape)["movies"]
    return dict(one)


def problems_of(movie: Movie, shape: ClipShape = SHAPE) -> list[str]:
    return [problem["what"] for problem in described(movie, shape)["problems"]]


def test_the_survey_of_an_archive_is_the_contract(write_zarr: Callable[..., Path], told: Callable[..., Any], tmp_path: Path) -> None:
    units = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
    write_zarr(told(9, 2, 3, 32, 32), store="a.zarr", scale=[30.0, 1.0, 2.0, 0.5, 0.5], units=units, chunks=(1, 1, 1, 32, 32))
    (tmp_path / "empty.tif").write_bytes(b"")
    found = survey(open_archive(tmp_path), SHAPE)
    shape, chunks = {"T": 9, "C": 2, "Z": 3, "Y": 32, "X": 32}, {"T": 1, "C": 1, "Z": 1, "Y": 32, "X": 32}
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "movies": [
            {
                "name": "a.zarr",
                "uri": str(tmp_path / "a.zarr"),
                "shape": shape,
                "axes": dict.fromkeys("TCZYX", "file"),
                "dtype": "uint16",
                "channels": ["ch0", "ch1"],
                "pixel_um": {"z": 2.0, "y": 0.5, "x": 0.5},
                "interval_s": 30.0,
                "chunks": chunks,
                "codec": "zstd",
                "bytes": 9 * 2 * 3 * 32 * 32 * 2,
                "groups": {},
                "levels": [{"factor": [1, 1, 1], "shape": shape, "chunks": chunks}],
                "level_read": 0,
                "read_amplification": 4.0,
                "mb_per_clip": 0.04915,
                "predicted": {
                    "random_clips_per_s": 6584.0,
                    "random_mb_per_s": 80.9,
                    "stream_amplification": 0.07031,
                    "stream_clips_per_s": 9653.0,
                    "stream_mb_per_s": 118.6,
                },
                "problems": [],
            }
        ],
        "skipped": [
            {"path": str(tmp_path / "empty.tif"), "what": "the file is empty (0 bytes)", "remedy": "copy the file again from where it was recorded"}
        ],
    }


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((1, 1, 1, 1, 1), 1.0),  # nothing to decode: mapped
        ((1, 1, 1, 64, 64), 16.0),  # whole planes of 64 x 64 for 16 x 16
        ((1, 2, 1, 64, 64), 32.0),  # both channels together
        ((32, 1, 1, 64, 64), 64.0),  # the whole movie for 8 frames
    ],
)
def test_read_amplification_is_what_is_decoded_per_what_is_used(chunks: tuple[int, ...], expected: float) -> None:
    one = described(movie_of((32, 2, 1, 64, 64), chunks))
    assert one["read_amplification"] == expected
    assert one["mb_per_clip"] == pytest.approx(expected * 8 * 16 * 16 * 2 / 1e6, rel=1e-3)


@pytest.mark.parametrize(
    ("chunks", "codec", "expected"),
    [
        ((1, 1, 1, 16, 2048), "lzw", r"lzw strips of 16 rows: about \d+ clips/s per core \(predicted\)"),
        ((1, 1, 1, 2048, 2048), "jpeg2000", r"jpeg2000 whole images: about [\d.]+ clips/s per core \(predicted\)"),
        ((1, 1, 1, 512, 512), "deflate", r"deflate chunks of 512 x 512: about \d+ clips/s per core \(predicted\)"),
        ((1, 1, 1, 2048, 2048), "blosc/lz4", r"blosc/lz4 whole images: fast enough for training, but at single places, as embed reads, about \d+ "),
        ((16, 1, 1, 256, 256), "blosc/lz4", None),
        ((1, 1, 1, 1, 1), "none", None),
    ],
)
def test_slow_storage_is_a_problem_whose_remedy_says_what_it_gains(chunks: tuple[int, ...], codec: str, expected: str | None) -> None:
    large = replace(SHAPE, frames=16, size_px=224)
    problems = described(movie_of((200, 1, 1, 2048, 2048), chunks, codec=codec), large)["problems"]
    if expected is None:
        assert problems == []
        return
    (problem,) = problems
    assert re.match(expected, problem["what"])
    gain = re.fullmatch(r"'cellvjepa convert PATH DST\.zarr' gives about ([\d,]+)", problem["remedy"])
    now = re.search(r"about ([\d.,]+) clips/s", problem["what"])
    assert gain is not None
    assert now is not None
    assert float(gain[1].replace(",", "")) >= 1.9 * float(now[1].replace(",", ""))


def test_levels_and_the_one_that_clips_are_read_from() -> None:
    copies = tuple(Resolution(movie_of((9, 1, 1, 64 // f, 64 // f)).pixels, (1, f, f)) for f in (2, 4))
    one = movie_of((9, 1, 1, 64, 64), pyramid=copies, groups={"plate": "p.zarr", "well": "B3"})
    found = described(one, replace(SHAPE, pixel_um=1.0))
    assert [level["factor"] for level in found["levels"]] == [[1, 1, 1], [1, 2, 2], [1, 4, 4]]
    assert [level["shape"]["Y"] for level in found["levels"]] == [64, 32, 16]
    assert found["level_read"] == 1
    assert described(one)["level_read"] == 0
    assert found["groups"] == {"plate": "p.zarr", "well": "B3"}


def test_thousands_of_movies_that_are_alike_are_surveyed_in_a_moment() -> None:
    movies = tuple(replace(movie_of((200, 1, 1, 2048, 2048), (1, 1, 1, 16, 2048)), name=str(n)) for n in range(3000))
    began = time.monotonic()
    found = survey(Archive("/archive", movies, ()), SHAPE)["movies"]
    assert time.monotonic() - began < 3
    assert len(found) == 3000


def test_too_few_frames_are_a_problem_and_give_no_clip() -> None:
    one = described(movie_of((5, 1, 1, 64, 64)))
    assert (one["read_amplification"], one["mb_per_clip"], one["predicted"], one["level_read"]) == (None,) * 4
    assert "the movie has 5 frames, but a clip of 8 frames needs 8" in one["problems"][0]["what"]
    assert "clip.frames" in one["problems"][0]["remedy"]


def test_an_image_smaller_than_a_clip_is_a_problem() -> None:
    assert problems_of(movie_of((9, 1, 1, 12, 64))) == ["the image (12 x 64) is smaller than a clip (16 x 16 native px); clips are padded"]
    coarse = ClipShape(8, None, 16, 2.0, None, "max")  # four native pixels to one
    assert problems_of(movie_of((9, 1, 1, 64, 64)), coarse) == []
    assert "is smaller than a clip (64 x 64 native px)" in problems_of(movie_of((9, 1, 1, 60, 64)), coarse)[0]
