from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies import levels
from cellvjepa.movies.levelled import levelled
from cellvjepa.movies.levels import measure_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive
from tests.movies.toy_movies import Chunked, movie_of, noise


@pytest.fixture
def movies(tmp_path: Path, told: Callable[..., np.ndarray[Any, Any]]) -> tuple[Movie, ...]:
    for index in range(3):
        tifffile.imwrite(tmp_path / f"{index}.tif", told(6, 20, 20) + 10 * index, imagej=True, metadata={"axes": "TYX"})
    return open_archive(tmp_path).movies


def test_levels_are_those_that_are_measured(movies: tuple[Movie, ...]) -> None:
    found = levelled(movies, workers=2)
    assert [movie.name for movie in found] == ["0.tif", "1.tif", "2.tif"]
    for movie in found:
        np.testing.assert_array_equal(movie.levels, measure_levels(movie))


def broken(movie_index: int) -> Movie:
    pixels = Chunked(noise(0, 9, 1, 1, 12, 12))
    movie = movie_of(f"broken{movie_index}.tif", noise(0, 9, 1, 1, 12, 12), pixels=pixels)
    pixels.broken = UserError("it is garbage", "copy it again", movie.uri)
    return replace(movie, levels=None)


def test_what_cannot_be_read_is_left_out_and_named(movies: tuple[Movie, ...], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cellvjepa"):
        found = levelled((movies[0], broken(1), movies[1]))
    assert [movie.name for movie in found] == ["0.tif", "1.tif"]
    assert [record.getMessage() for record in caplog.records] == ["left out: /archive/broken1.tif: it is garbage. copy it again."]
    with pytest.raises(UserError, match="broken2.tif: it is garbage"):
        levelled((broken(1), broken(2)))


def test_it_can_be_cancelled(movies: tuple[Movie, ...]) -> None:
    def cancel(stage: str, done: int, total: int) -> None:
        raise Cancelled(stage)

    with pytest.raises(Cancelled):
        levelled(movies, progress=cancel)


def test_levels_are_remembered_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Callable[..., np.ndarray[Any, Any]]
) -> None:
    path = tmp_path / "movie.tif"

    def write(offset: int, age_s: float) -> None:
        tifffile.imwrite(path, told(6, 20, 20) + offset, imagej=True, metadata={"axes": "TYX"})
        os.utime(path, (time.time() - age_s,) * 2)  # what has just been written is not remembered: it may still change

    measured = []

    def counting(movie: Movie, low: float = 0.1, high: float = 99.9) -> np.ndarray[Any, Any]:
        measured.append(movie.name)
        return measure_levels(movie, low, high)

    monkeypatch.setattr(levels, "measure_levels", counting)
    write(0, age_s=100)
    first = levelled(open_archive(tmp_path).movies)
    again = levelled(open_archive(tmp_path).movies)
    assert len(measured) == 1
    np.testing.assert_array_equal(first[0].levels, again[0].levels)
    write(500, age_s=50)
    changed = levelled(open_archive(tmp_path).movies)
    assert len(measured) == 2
    assert changed[0].levels is not None
    assert first[0].levels is not None
    assert changed[0].levels[0, 0] > first[0].levels[0, 0]
