"""Movies as dask arrays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cellvjepa.movies.lazy_array import lazy_array
from cellvjepa.movies.movie import ArrayPixels, Movie, Shape5


class Counted(ArrayPixels):
    """Pixels that say how they are chunked, and remember what was read."""

    def __init__(self, array: np.ndarray, chunks: Shape5) -> None:
        super().__init__(array)
        object.__setattr__(self, "_chunks", chunks)
        object.__setattr__(self, "read", [])

    @property
    def chunks(self) -> Shape5:
        return self._chunks

    def __getitem__(self, key: Any, /) -> np.ndarray:
        self.read.append(key)
        return super().__getitem__(key)


def movie_of(shape: Shape5, chunks: Shape5) -> Movie:
    pixels = Counted(np.arange(np.prod(shape), dtype=np.uint16).reshape(shape), chunks)
    channels = tuple(f"c{i}" for i in range(shape[1]))
    return Movie("made", "made", pixels, channels, None, None, dict.fromkeys("TCZYX", "given"), "none", pixels.array.nbytes)


@pytest.mark.parametrize("chunks", [(1, 1, 1, 6, 5), (4, 1, 2, 3, 3), (1, 1, 1, 1, 1), (100, 100, 100, 100, 100)])
def test_it_holds_the_pixels(chunks: Shape5) -> None:
    movie = movie_of((7, 2, 3, 6, 5), chunks)
    array = lazy_array(movie)
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array.compute(), movie.pixels[...])
    np.testing.assert_array_equal(array[::2, 1, :, 1:3, -1].compute(), movie.pixels[...][::2, 1, :, 1:3, -1])


def test_nothing_is_read_before_it_is_wanted_and_then_one_frame_of_one_channel() -> None:
    movie = movie_of((7, 2, 3, 6, 5), (1, 1, 3, 6, 5))
    array = lazy_array(movie)
    assert movie.pixels.read == []
    array[4, 1].compute()
    assert len(movie.pixels.read) == 1
    t, c, *_ = movie.pixels.read[0]
    assert (range(7)[t], range(2)[c]) == (range(4, 5), range(1, 2))


def test_frames_that_are_decoded_together_are_read_together() -> None:
    assert lazy_array(movie_of((7, 2, 3, 6, 5), (4, 1, 1, 6, 5))).chunks == ((4, 3), (1, 1), (1, 1, 1), (6,), (5,))


def test_a_chunk_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellvjepa.movies.lazy_array._LARGEST_CHUNK_BYTES", 130)  # 60 bytes an image
    assert lazy_array(movie_of((7, 1, 3, 6, 5), (7, 1, 3, 6, 5))).chunksize == (1, 1, 2, 6, 5)


def test_two_movies_are_never_taken_for_one() -> None:
    movie = movie_of((2, 1, 1, 6, 5), (1, 1, 1, 6, 5))
    other = replace(movie, pixels=ArrayPixels(np.zeros((2, 1, 1, 6, 5), np.uint16)))
    assert lazy_array(movie).name != lazy_array(other).name


def test_an_image_that_is_too_large_is_read_in_tiles_of_whole_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellvjepa.movies.lazy_array._LARGEST_CHUNK_BYTES", 2 * 20)
    movie = movie_of((2, 1, 1, 9, 11), (1, 1, 1, 2, 2))
    array = lazy_array(movie)
    assert array.chunks[3:] == ((4, 4, 1), (4, 4, 3))
    np.testing.assert_array_equal(array.compute(), movie.pixels[...])
    strips = lazy_array(movie_of((2, 1, 1, 9, 11), (1, 1, 1, 1, 11)))
    assert strips.chunks[3:] == ((1,) * 9, (11,))
