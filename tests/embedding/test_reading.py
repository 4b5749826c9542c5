from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
import pytest

from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.reading import clips_of, common_channels, read_batches, reading_order
from cellvjepa.embedding.store import open_store
from cellvjepa.errors import UserError
from cellvjepa.movies.clips import read_clip
from cellvjepa.movies.movie import ArrayPixels


@dataclass(frozen=True, eq=False)
class Chunked(ArrayPixels):
    """An array in chunks that nothing else is aligned with."""

    @property
    def chunks(self):
        return 5, 1, 1, 7, 30


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_batches_are_what_read_clip_gives(toy, codec):
    named = {movie.name: replace(movie, codec=codec, pixels=Chunked(movie.pixels.array)) for movie in toy.movies}
    batches = list(read_batches(named, toy.windows.clips, toy.shape, 10))
    assert [len(batch) for batch, _ in batches] == [10] * 7 + [2]
    assert [clip for batch, _ in batches for clip in batch] == list(toy.windows.clips)
    for batch, pixels in batches:
        assert pixels.shape == (len(batch), 2, 4, 1, 16, 16)
        for clip, found in zip(batch, pixels, strict=True):
            np.testing.assert_array_equal(found, read_clip(named[clip.movie], clip, toy.shape))


def test_no_thread_outlives_the_reading(toy):
    named = {movie.name: movie for movie in toy.movies}
    batches = read_batches(named, toy.windows.clips, toy.shape, 10)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cellvjepa-clips")]


def test_an_error_while_reading_reaches_the_caller(toy):
    named = {movie.name: replace(movie, levels=None) for movie in toy.movies}
    with pytest.raises(UserError, match="levels have not been measured"):
        list(read_batches(named, toy.windows.clips, toy.shape, 10))


def test_neighbours_in_time_and_place_are_read_together(toy):
    order = reading_order(toy.windows.clips)
    assert sorted(order) == list(range(72))
    keys = [(clip.movie, clip.t0, clip.y0) for clip in (toy.windows.clips[i] for i in order)]
    assert keys == sorted(keys)


def test_movies_of_unlike_depth_cannot_be_compared_as_stacks(toy):
    deep = replace(toy.movies[0], pixels=ArrayPixels(np.zeros((12, 2, 3, 40, 48), np.uint16)))
    flat = toy.movies[1]
    assert common_channels((deep, flat), toy.shape) == ("dna", "actin")
    with pytest.raises(UserError, match=r"b.tif: it has 1 planes and a.tif has 3. set clip.z=max"):
        common_channels((deep, flat), replace(toy.shape, z="stack"))


def test_the_clips_behind_a_store_are_found_again(toy, tmp_path):
    found = open_store(embed_windows(toy.encoder, toy.movies, toy.windows, toy.shape, toy.config, tmp_path / "s.zarr", toy.source))
    assert clips_of(found, toy.movies) == toy.windows.clips
    with pytest.raises(UserError, match=r"the movie 'b.tif' of this store is not among those given \(a.tif\). give the archive"):
        clips_of(found, toy.movies[:1])
    grid = replace(found, table=found.table.assign(clip_id="other"))
    with pytest.raises(UserError, match=r"the movie 'a.tif' has changed since this store was made"):
        clips_of(grid, toy.movies)
