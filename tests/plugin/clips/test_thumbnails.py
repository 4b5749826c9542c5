"""Small moving pictures, read in other threads."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import cellvjepa
from napari_cellvjepa.clips import reading
from napari_cellvjepa.clips.thumbnails import Thumbnails
from napari_cellvjepa.layers.store_movies import Movies

PATIENCE_MS = 120_000


@pytest.fixture
def found(toy_store: Path) -> cellvjepa.Embeddings:
    return cellvjepa.open_store(toy_store)


@pytest.fixture
def shown(found: cellvjepa.Embeddings, qapp: Any) -> Thumbnails:
    thumbnails = Thumbnails()
    thumbnails.follow(found, Movies(found))
    return thumbnails


def wait(thumbnails: Thumbnails, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not thumbnails.outstanding, timeout=PATIENCE_MS)


def gone(found: cellvjepa.Embeddings, place: Path) -> cellvjepa.Embeddings:
    """The same store, whose movies have been moved."""
    source = replace(found.provenance.source, archives=(str(place),))
    return replace(found, provenance=replace(found.provenance, source=source))


def test_rows_come_as_the_clips_they_are(shown: Thumbnails, found: cellvjepa.Embeddings, qtbot: Any) -> None:
    shown.want([7, 0])
    wait(shown, qtbot)
    moving = shown.get(7)
    assert moving is not None
    assert shown.get(0) is not None
    assert shown.get(3) is None
    assert moving.frames.dtype == np.uint8
    assert len(moving.frames) == found.provenance.clip_shape.frames
    # Cell 4, which moves to the right, is the bright thing in the middle.
    bright = moving.frames[[0, -1]] > 128
    first, last = (np.flatnonzero(frame.any(axis=0)).mean() for frame in bright)
    assert last - first > 0.1 * moving.frames.shape[2]
    assert moving.interval_s == 60
    assert moving.cell == pytest.approx((0.5, 0.5), abs=0.2)


def test_pictures_are_taken_from_the_levels_of_the_store(shown: Thumbnails, found: cellvjepa.Embeddings, qtbot: Any, monkeypatch: Any) -> None:
    def never(movie: cellvjepa.Movie) -> cellvjepa.Movie:
        assert movie.levels is not None
        np.testing.assert_array_equal(movie.levels, found.provenance.levels[["low", "high"]].to_numpy())
        return movie

    monkeypatch.setattr(cellvjepa, "with_levels", never, raising=False)
    shown.want([1])
    wait(shown, qtbot)
    assert shown.get(1) is not None


def test_what_is_wanted_no_more_is_not_read(shown: Thumbnails, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, read = threading.Semaphore(0), threading.Event(), list[int]()
    real = reading.Reader.read

    def slowly(self: reading.Reader, row: int, *where: Any) -> Any:
        read.append(row)
        begun.release()
        go_on.wait(20)
        return real(self, row, *where)

    monkeypatch.setattr(reading.Reader, "read", slowly)
    shown.want([0, 1, 2, 3, 4, 5])
    for _ in range(3):
        assert begun.acquire(timeout=20)
    shown.want([6, 0])
    go_on.set()
    wait(shown, qtbot)
    assert sorted(read) == [0, 1, 2, 6]


def test_memory_is_bounded_and_what_was_seen_last_is_kept(found: cellvjepa.Embeddings, qtbot: Any) -> None:
    thumbnails = Thumbnails(budget_bytes=3 * 8 * 96 * 96)
    thumbnails.follow(found, Movies(found))
    for row in range(4):
        thumbnails.want([row])
        wait(thumbnails, qtbot)
        thumbnails.get(0)
    kept = [row for row in range(8) if thumbnails.get(row) is not None]
    assert kept == [0, 2, 3]
    assert 0 < thumbnails.kept_bytes <= 3 * 8 * 96 * 96


def test_a_movie_that_is_gone_is_looked_for_once_and_said_without_notices(
    found: cellvjepa.Embeddings, toy: Path, tmp_path: Path, notices: list[str], qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []
    real = Movies._open
    monkeypatch.setattr(Movies, "_open", lambda self, name, *rest: (tries.append(name), real(self, name, *rest))[1])
    moved = gone(found, tmp_path / "nowhere")
    where: list[Path | None] = [None]
    thumbnails = Thumbnails()
    thumbnails.follow(moved, Movies(moved), lambda: where[0])
    thumbnails.want(range(8))
    wait(thumbnails, qtbot)
    assert len(tries) <= 3  # as many as there are threads
    assert len(thumbnails.problems(range(8))) == 8
    assert "the movie 'toy.ome.tif' is not there (looked in" in thumbnails.problem(5)
    assert notices == []
    where[0] = Path(shutil.copytree(toy, tmp_path / "new"))
    thumbnails.want([5])
    wait(thumbnails, qtbot)
    assert thumbnails.problem(5) == ""
    assert thumbnails.get(5) is not None


def test_a_fault_of_the_program_is_told_in_its_place(shown: Thumbnails, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr(cellvjepa, "read_pictures", wrong, raising=False)
    shown.want([0])
    wait(shown, qtbot)
    assert "a fault in the program (RuntimeError: oh)" in shown.problem(0)


def test_an_archive_that_opens_slowly_is_told_and_given_up(shown: Thumbnails, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = []

    def endless(path: str, given: Any, *, progress: Any) -> None:
        try:
            while True:
                progress("looking for movies", 1, 9)
                threading.Event().wait(0.01)
        finally:
            ended.append(path)

    real = cellvjepa.open_archive
    monkeypatch.setattr(cellvjepa, "open_archive", endless, raising=False)
    shown.want([0, 1])
    qtbot.waitUntil(lambda: "(1 of 9)" in shown.stage or "waiting" in shown.stage, timeout=PATIENCE_MS)
    shown.cancel()
    qtbot.waitUntil(lambda: bool(ended), timeout=PATIENCE_MS)
    assert shown.stage == ""
    assert shown.get(0) is None
    monkeypatch.setattr(cellvjepa, "open_archive", real, raising=False)
    shown.want([0])
    wait(shown, qtbot)
    assert shown.get(0) is not None


def test_another_store_begins_anew(shown: Thumbnails, found: cellvjepa.Embeddings, qtbot: Any) -> None:
    shown.want([0])
    wait(shown, qtbot)
    shown.follow(found, Movies(found))
    assert shown.get(0) is None
    assert shown.kept_bytes == 0
    shown.follow(None, None)
    shown.want([0])
    assert shown.outstanding == 0


def test_nothing_is_left_of_it(found: cellvjepa.Embeddings, qtbot: Any) -> None:
    thumbnails = Thumbnails()
    thumbnails.follow(found, Movies(found))
    thumbnails.want(range(8))
    refs = weakref.ref(thumbnails), weakref.ref(thumbnails._pool)
    thumbnails.cancel()
    del thumbnails
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


@pytest.fixture
def stacks(run_folder: Path, tmp_path: Path) -> cellvjepa.Embeddings:
    """A store of one movie of two channels and three planes: phase, and in the last plane gfp in the left half."""
    pixels = np.random.default_rng(0).integers(0, 20, (8, 3, 2, 32, 32)).astype(np.uint16)
    pixels[:, :, 0, :, 16:] += 500
    pixels[:, 2, 1, :, :16] += 900
    (tmp_path / "archive").mkdir()
    tifffile.imwrite(tmp_path / "archive" / "z.ome.tif", pixels, metadata={"axes": "TZCYX", "Channel": {"Name": ["phase", "gfp"]}})
    archive = cellvjepa.open_archive(tmp_path / "archive")
    movies = [cellvjepa.with_levels(movie) for movie in archive.movies]
    encoder, card = cellvjepa.load_encoder(run_folder)
    config = cellvjepa.Config.model_validate(card.provenance["config"])
    shape = cellvjepa.ClipShape.of(config.clip)
    windows = cellvjepa.grid_windows(movies, shape)
    source = cellvjepa.Source.of(card, run_folder, [tmp_path / "archive"])
    return cellvjepa.open_store(cellvjepa.embed_windows(encoder, movies, windows, shape, config.embed, tmp_path / "z.zarr", source))


def test_channels_lie_over_each_other_in_colour_and_stacks_are_flat(stacks: cellvjepa.Embeddings, qtbot: Any) -> None:
    thumbnails = Thumbnails()
    thumbnails.follow(stacks, Movies(stacks))
    thumbnails.want([0])
    wait(thumbnails, qtbot)
    moving = thumbnails.get(0)
    assert moving is not None, thumbnails.problem(0)
    assert moving.frames.shape[1:] == (96, 96, 3)
    clip = cellvjepa.clip_of_row(stacks, 0, Movies(stacks).movie("z.ome.tif", lambda *_: None))
    border = (16 - clip.x0) * 96 // clip.extent[2]
    left, right = moving.frames[0, :, : border - 8].mean((0, 1)), moving.frames[0, :, border + 8 :].mean((0, 1))
    assert left[1] > 200 > 60 > left[0]  # green
    np.testing.assert_allclose(right, right[0], atol=12)  # grey
    assert right[0] > 120
