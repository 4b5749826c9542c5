from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cellvjepa.embedding.recent import RecentChunks
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie

SHAPE = (7, 2, 3, 10, 11)
CHUNKS = (3, 1, 2, 4, 11)


@dataclass(frozen=True, eq=False)
class Chunked(ArrayPixels):
    """An array that says it has chunks and notes what is read."""

    reads: list[object] = field(default_factory=list)

    @property
    def chunks(self):
        return CHUNKS

    def __getitem__(self, key):
        self.reads.append(key)
        return super().__getitem__(key)


def make(codec: str = "zstd") -> Movie:
    pixels = Chunked(np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE))
    return Movie("/m", "m", pixels, ("a", "b"), None, None, dict.fromkeys(AXES, "file"), codec, 0)


def slices(length: int) -> st.SearchStrategy[slice | int]:
    bounds = st.tuples(st.integers(0, length), st.integers(0, length)).map(sorted)
    return st.one_of(st.integers(-length, length - 1), st.builds(lambda b, step: slice(b[0], b[1], step), bounds, st.integers(1, 4)))


@given(st.tuples(*map(slices, SHAPE)))
def test_reads_are_those_of_the_array(key):
    movie = make()
    remembered = RecentChunks().of(movie)
    np.testing.assert_array_equal(remembered.pixels[key], movie.pixels.array[key])
    assert remembered.pixels[key].dtype == np.uint16
    assert (remembered.pixels.shape, remembered.pixels.chunks) == (SHAPE, CHUNKS)


def test_a_chunk_is_decoded_once():
    movie = make()
    remembered = RecentChunks().of(movie)
    for x in range(6):
        remembered.pixels[0:6, 0, 0, 4:8, x : x + 5]
    assert len(movie.pixels.reads) == 2


def test_memory_is_bounded_and_movies_are_told_apart():
    chunk_bytes = 3 * 2 * 4 * 11 * 2
    memory = RecentChunks(budget_bytes=2 * chunk_bytes)
    movie, other = make(), make()
    other = replace(other, pixels=Chunked(other.pixels.array + 1))
    first, second = memory.of(movie), memory.of(other)
    for pixels in (first.pixels, second.pixels, first.pixels, second.pixels):
        pixels[0, 0, 0, 0, :]
    assert len(movie.pixels.reads) == len(other.pixels.reads) == 1
    first.pixels[6, 1, 2, 9, :]
    first.pixels[3, 1, 2, 9, :]
    assert first.pixels[0, 0, 0, 0, 1] == 1
    assert second.pixels[0, 0, 0, 0, 1] == 2
    assert len(movie.pixels.reads) == 4


def test_what_needs_no_decoding_is_read_as_it_is():
    movie = make("none")
    assert RecentChunks().of(movie) is movie
    array = replace(make(), pixels=ArrayPixels(movie.pixels.array))
    assert RecentChunks().of(array) is array


def test_a_chunk_cannot_be_changed_by_who_read_it():
    remembered = RecentChunks().of(make())
    read = remembered.pixels[0]
    read[:] = 0
    assert remembered.pixels[0, 0, 0, 0, 1] == 1
