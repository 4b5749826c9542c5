from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie, PixelSize
from cellvjepa.movies.readers import Archive, open_archive
from cellvjepa.movies.readers.finding import Skipped
from cellvjepa.movies.survey import COLUMNS, survey, table_rows

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
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "movies": [
            {
                "uri": str(tmp_path / "a.zarr"),
                "shape": {"T": 9, "C": 2, "Z": 3, "Y": 32, "X": 32},
                "axes": dict.fromkeys("TCZYX", "file"),
                "dtype": "uint16",
                "channels": ["ch0", "ch1"],
                "pixel_um": {"z": 2.0, "y": 0.5, "x": 0.5},
                "interval_s": 30.0,
                "chunks": {"T": 1, "C": 1, "Z": 1, "Y": 32, "X": 32},
                "codec": "zstd",
                "bytes": 9 * 2 * 3 * 32 * 32 * 2,
                "read_amplification": 4.0,
                "mb_per_clip": 0.04915,
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


@given(
    st.tuples(st.integers(8, 20), st.integers(16, 40), st.integers(16, 40)),
    st.tuples(st.integers(1, 9), st.integers(1, 50), st.integers(1, 50)),
    st.integers(1, 2),
)
@settings(max_examples=40, deadline=None)
def test_read_amplification_is_the_mean_over_all_clips(lengths: tuple[int, int, int], chunks: tuple[int, int, int], step: int) -> None:
    frames = 4
    shape = ClipShape(frames, 60.0 * step, 16, None, None, "max")
    t, y, x = lengths
    movie = movie_of((t, 1, 1, y, x), (chunks[0], 1, 1, *chunks[1:]))
    decoded = 1.0
    for length, chunk, count, stride in zip(lengths, chunks, (frames, 16, 16), (step, 1, 1), strict=True):
        reads = []
        for first in range(length - (count - 1) * stride):
            touched = {index // chunk for index in range(first, first + (count - 1) * stride + 1, stride)}
            reads.append(sum(min((c + 1) * chunk, length) - c * chunk for c in touched))
        decoded *= np.mean(reads)
    assert described(movie, shape)["read_amplification"] == pytest.approx(decoded / (frames * 16 * 16), rel=1e-3)


def test_wasteful_pieces_are_a_problem_with_a_remedy() -> None:
    (problem,) = described(movie_of((64, 1, 1, 512, 512), (1, 1, 1, 512, 512)))["problems"]
    assert problem["what"] == "reading is slow: a random clip decodes 1024 times what it uses (pieces of 512 x 512)"
    assert "16 frames x 256 x 256" in problem["remedy"]
    assert problems_of(movie_of((64, 1, 1, 512, 512), (1, 1, 1, 32, 32))) == []


def test_too_few_frames_are_a_problem_and_give_no_clip() -> None:
    one = described(movie_of((5, 1, 1, 64, 64)))
    assert (one["read_amplification"], one["mb_per_clip"]) == (None, None)
    assert "the movie has 5 frames, but a clip of 8 frames needs 8" in one["problems"][0]["what"]
    assert "clip.frames" in one["problems"][0]["remedy"]


def test_an_image_smaller_than_a_clip_is_a_problem() -> None:
    assert problems_of(movie_of((9, 1, 1, 12, 64))) == ["the image (12 x 64) is smaller than a clip (16 x 16 native px); clips are padded"]
    coarse = ClipShape(8, None, 16, 2.0, None, "max")  # four native pixels to one
    assert problems_of(movie_of((9, 1, 1, 64, 64)), coarse) == []
    assert "is smaller than a clip (64 x 64 native px)" in problems_of(movie_of((9, 1, 1, 60, 64)), coarse)[0]


def test_rows_for_people_fit_their_columns() -> None:
    movie = movie_of((9, 2, 1, 64, 64), axes=dict.fromkeys(AXES, "file") | {"T": "assumed"})
    unknown = replace(movie, name="b.tif", pixel_um=None, interval_s=None)
    short = movie_of((5, 1, 3, 64, 64), pixel_um=PixelSize(2.0, 0.5, 0.25))
    archive = Archive("/archive", (movie, unknown, short), (Skipped("/archive/c.tif", "what", "remedy"),))
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in table_rows(archive, survey(archive, SHAPE))]
    assert rows[0] == {
        "movie": "a.tif",
        "T": "9 (assumed)",
        "C": "2",
        "Z": "1",
        "Y x X": "64 x 64",
        "type": "uint16",
        "pixel [um]": "0.5",
        "interval [s]": "60",
        "compression": "zstd",
        "MB": "0.1",
        "MB per clip": "0.0041 (1x)",
        "problems": "",
    }
    assert (rows[1]["movie"], rows[1]["pixel [um]"], rows[1]["interval [s]"]) == ("b.tif", "unknown", "unknown")
    assert (rows[2]["pixel [um]"], rows[2]["MB per clip"]) == ("0.5 x 0.25, z 2", "no clip")
