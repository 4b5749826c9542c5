"""The movies behind a store."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellvjepa
from napari_cellvjepa.layers.store_movies import Movies


@pytest.fixture
def found(toy_store: Path) -> cellvjepa.Embeddings:
    return cellvjepa.open_store(toy_store)


def quiet(stage: str, done: int, total: int) -> None:
    """Take note of nothing."""


def test_several_threads_open_an_archive_once(found: cellvjepa.Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, real = [], cellvjepa.open_archive

    def counted(path: str, given: Any, *, progress: Any) -> Any:
        opened.append(path)
        threading.Event().wait(0.2)
        return real(path, given, progress=progress)

    monkeypatch.setattr(cellvjepa, "open_archive", counted, raising=False)
    movies = Movies(found)
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(movies.movie("toy.ome.tif", quiet))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    assert len({id(movie) for movie in results}) == 1
    assert results[0] is movies.known("toy.ome.tif")


def test_who_waits_for_another_thread_can_give_up(found: cellvjepa.Embeddings) -> None:
    def give_up(stage: str, done: int, total: int) -> None:
        assert stage == "waiting for its archive"
        raise cellvjepa.Cancelled

    movies = Movies(found)
    with movies._opening, pytest.raises(cellvjepa.Cancelled):
        movies.movie("toy.ome.tif", give_up)
    assert movies.movie("toy.ome.tif", quiet).levels is not None


def test_movies_have_the_levels_of_the_store(found: cellvjepa.Embeddings) -> None:
    levels = found.provenance.levels
    levels[["low", "high"]] = [7.0, 700.0]
    np.testing.assert_array_equal(Movies(found).movie("toy.ome.tif", quiet).levels, [[7, 700]])
    levels["movie"] = "another one"
    measured = Movies(found).movie("toy.ome.tif", quiet).levels
    assert measured is not None
    assert measured[0, 0] < 7 < 700 < measured[0, 1]


def test_pixels_are_decoded_once_for_many_clips(found: cellvjepa.Embeddings) -> None:
    movies = Movies(found)
    movie = movies.movie("toy.ome.tif", quiet)
    assert movies.remembered(movie) is movies.remembered(movie)
    np.testing.assert_array_equal(movies.remembered(movie).pixels[3, 0, 0], movie.pixels[3, 0, 0])
