from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies import readers
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Given, open_archive
from cellvjepa.movies.readers.memory import recall
from cellvjepa.movies.readers.memory.database import Memory, Remembered, key_of, users_memory
from cellvjepa.movies.readers.memory.recall import remember_levels, remembered_levels
from cellvjepa.movies.readers.memory.remembered import RememberedPixels
from cellvjepa.movies.readers.memory.sources import Stamps

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteFrames = Callable[..., Path]
WriteZarr = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a memory that is empty."""
    monkeypatch.setenv("CELLVJEPA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "movies.sqlite"


@pytest.fixture
def archive(tmp_path: Path, told: Told, write_frames: WriteFrames, write_zarr: WriteZarr) -> Path:
    """A TIFF, a folder of frames, a field of a plate, and a file that cannot be used."""
    write_frames({"pos1.tif": told(5, 16, 20)}, "archive", metadata={"axes": "TYX"})
    write_frames({f"t{t}.tif": told(16, 20) + t for t in range(12)}, "archive/frames")
    write_zarr(told(5, 2, 16, 20), "tcyx", store="archive/plate.zarr", within="B/3/0", scale=[60.0, 1.0, 0.5, 0.5])
    (tmp_path / "archive" / "empty.tif").write_bytes(b"")
    aged(tmp_path / "archive")
    return tmp_path / "archive"


def aged(root: Path, seconds: float = 100.0) -> None:
    """Make files and folders older: what was written just now is not remembered."""
    for path in [*root.rglob("*"), root]:
        found = path.stat()
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - int(seconds * 1e9)))


def known(movie: Movie) -> dict[str, Any]:
    """Everything about a movie but its pixels."""
    return {key: value for key, value in vars(movie).items() if key not in ("pixels", "pyramid", "levels")} | {
        "axes": dict(movie.axes),
        "kind": (movie.pixels.shape, movie.pixels.dtype, movie.pixels.chunks),
        "pyramid": [(copy.factor, copy.pixels.shape, copy.pixels.dtype, copy.pixels.chunks) for copy in movie.pyramid],
    }


def are_remembered(root: Path, *, given: Given = readers.NOTHING) -> list[bool]:
    return [isinstance(movie.pixels, RememberedPixels) for movie in open_archive(root, given).movies]


def opened_from_now_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that the paths of movies are added to when they are opened."""
    opened: list[str] = []
    real = readers.open_movie

    def noting(path: str, *rest: Any) -> Movie:
        opened.append(path)
        return real(path, *rest)

    monkeypatch.setattr(readers, "open_movie", noting)
    return opened


def test_a_remembered_archive_equals_the_one_that_was_opened(cache: Path, archive: Path) -> None:
    first, second = open_archive(archive), open_archive(archive)
    assert [type(movie.pixels).__name__ for movie in second.movies] == ["RememberedPixels"] * 3
    assert not any(isinstance(movie.pixels, RememberedPixels) for movie in first.movies)
    assert list(map(known, second.movies)) == list(map(known, first.movies))
    assert [asdict(one) for one in second.skipped] == [asdict(one) for one in first.skipped]
    for before, after in zip(first.movies, second.movies, strict=True):
        np.testing.assert_array_equal(after.pixels[:], before.pixels[:])
        np.testing.assert_array_equal(after.pixels[-1, 0, :, 3:9:2], before.pixels[-1, 0, :, 3:9:2])


def test_remembered_movies_are_not_opened_before_their_pixels_are_read(cache: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_archive(archive)
    opened = opened_from_now_on(monkeypatch)
    movies = open_archive(archive).movies
    assert [movie.name for movie in movies] == ["frames", "plate.zarr/B/3/0", "pos1.tif"]
    assert opened == [str(archive / "empty.tif")]  # what could not be used is tried again


def test_without_memory_everything_is_opened_afresh_and_nothing_kept(cache: Path, archive: Path) -> None:
    open_archive(archive, remember=False)
    assert not cache.exists()
    open_archive(archive)
    assert not any(isinstance(movie.pixels, RememberedPixels) for movie in open_archive(archive, remember=False).movies)


def touch(path: Path) -> None:
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))


def test_what_has_changed_is_opened_again_and_nothing_else(cache: Path, archive: Path, told: Told, write_frames: WriteFrames) -> None:
    open_archive(archive)
    for changed, expected in [
        ("pos1.tif", [True, True, False]),
        ("frames/t3.tif", [False, True, True]),
        ("plate.zarr/B/3/0/zarr.json", [True, False, True]),
        ("plate.zarr/B/3/0/0/zarr.json", [True, False, True]),
    ]:
        touch(archive / changed)
        assert are_remembered(archive) == expected, changed
        assert are_remembered(archive) == [True] * 3, changed
    write_frames({"t12.tif": told(16, 20)}, "archive/frames")
    frames = open_archive(archive).movies[0]
    assert frames.shape["T"] == 13
    (archive / "frames" / "t12.tif").unlink()
    assert open_archive(archive).movies[0].shape["T"] == 12


def test_what_was_written_just_now_is_not_remembered(cache: Path, archive: Path) -> None:
    os.utime(archive / "pos1.tif")
    open_archive(archive)
    assert are_remembered(archive) == [True, True, False]


def test_what_is_given_is_part_of_what_is_remembered(cache: Path, archive: Path) -> None:
    given = Given(axes="ZYX")
    open_archive(archive / "pos1.tif")
    assert open_archive(archive / "pos1.tif", given).movies[0].shape["Z"] == 5
    (again,) = open_archive(archive / "pos1.tif", given).movies
    assert isinstance(again.pixels, RememberedPixels)
    assert (again.shape["Z"], again.pixels[0, 0].shape) == (5, (5, 16, 20))
    assert open_archive(archive / "pos1.tif").movies[0].shape["T"] == 5


def test_pixels_that_are_not_as_remembered_are_refused(cache: Path, archive: Path, told: Told, write_frames: WriteFrames) -> None:
    open_archive(archive)
    movie = open_archive(archive).movies[2]
    write_frames({"pos1.tif": told(6, 16, 20)}, "archive", metadata={"axes": "TYX"})
    with pytest.raises(UserError, match=r"pos1\.tif: the movie has changed: it was \(5, 1, 1, 16, 20\) uint16 and is now \(6, 1, 1, 16, 20\)"):
        _ = movie.pixels[0]
    (archive / "pos1.tif").unlink()
    with pytest.raises(UserError, match="there is no such file"):
        _ = movie.pixels[0]


def test_many_threads_that_read_open_the_pixels_once(cache: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_archive(archive)
    opened = opened_from_now_on(monkeypatch)
    movie = open_archive(archive).movies[2]
    opened.clear()
    with ThreadPoolExecutor(16) as pool:
        parts = list(pool.map(lambda t: movie.pixels[t % 5], range(64)))
    assert opened == [str(archive / "pos1.tif")]
    assert all((parts[t] == parts[t % 5]).all() for t in range(64))


def test_pickles_of_remembered_movies_are_addresses(cache: Path, archive: Path, through_pickle: Callable[[Movie], Movie]) -> None:
    first = open_archive(archive).movies
    for movie, before in zip(open_archive(archive).movies, first, strict=True):
        again = through_pickle(movie)
        assert known(again) == known(movie)
        np.testing.assert_array_equal(again.pixels[:], before.pixels[:])


def test_what_was_learnt_before_a_cancel_is_kept(cache: Path, archive: Path) -> None:
    def cancel_at_the_end(stage: str, done: int, total: int) -> None:
        if done == total:
            raise Cancelled(stage)

    with pytest.raises(Cancelled):
        open_archive(archive, progress=cancel_at_the_end)
    assert are_remembered(archive) == [True] * 3


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100, None])
def test_a_damaged_memory_is_made_again(damage: bytes | None, cache: Path, archive: Path) -> None:
    open_archive(archive)
    data = cache.read_bytes()
    cache.write_bytes(data[: len(data) // 2] if damage is None else damage)
    assert len(open_archive(archive).movies) == 3
    open_archive(archive)
    assert are_remembered(archive) == [True] * 3


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": 3, "folders": []}', '{"files": [], "folders": [], "uri": "x"}', "[" * 5000])
def test_texts_that_are_no_movies_are_ignored(text: str, cache: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "to_text", lambda movie, sources: text)
    monkeypatch.setattr(Stamps, "of", lambda self, sources: "always")
    open_archive(archive)
    assert are_remembered(archive) == [False] * 3


def test_a_locked_memory_is_done_without(cache: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellvjepa.movies.readers.memory.database._WAIT_S", 0.05)
    open_archive(archive)
    with contextlib.closing(sqlite3.connect(cache)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert are_remembered(archive) == [False] * 3
    assert are_remembered(archive) == [True] * 3


def test_a_cache_folder_that_cannot_be_made_is_done_without(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    for folder in (str(tmp_path / "file" / "cache"), "", "/proc/nothing"):
        monkeypatch.setenv("CELLVJEPA_CACHE", folder)
        open_archive(archive)
        assert are_remembered(archive) == [False] * 3


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/cellvjepa"),
        ("linux", {}, "/home/someone/.cache/cellvjepa"),
        ("darwin", {}, "/home/someone/Library/Caches/cellvjepa"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/cellvjepa"),
    ],
)
def test_the_cache_is_where_the_platform_has_it(platform: str, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CELLVJEPA_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/someone", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert users_memory().file == Path(expected) / "movies.sqlite"


def test_several_processes_use_a_memory_at_once(tmp_path: Path) -> None:
    file = tmp_path / "movies.sqlite"
    code = """
import sys
from pathlib import Path
from cellvjepa.movies.readers.memory.database import Memory, Remembered
memory = Memory(Path(sys.argv[1]))
for number in range(40):
    memory.keep({f"{sys.argv[2]} {number}".encode(): Remembered("stamp", f"{sys.argv[2]} {number}")})
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, str(file), name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    keys = {f"{name} {number}".encode(): f"{name} {number}" for name in "abc" for number in range(40)}
    assert {key: one.text for key, one in Memory(file).recall(list(keys)).items()} == keys


def test_the_longest_unused_is_forgotten_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1e9
    monkeypatch.setattr("cellvjepa.movies.readers.memory.database._LARGEST_BYTES", 30_000)
    monkeypatch.setattr("cellvjepa.movies.readers.memory.database.time.time", lambda: now_s)
    memory = Memory(tmp_path / "movies.sqlite")
    rng = np.random.default_rng(0)
    texts = [rng.bytes(1000).hex() for _ in range(100)]
    keys = [key_of(number) for number in range(100)]
    for number, text in enumerate(texts):
        now_s += 100_000.0
        memory.recall(keys[:1])  # the first is in use
        memory.keep({keys[number]: Remembered("stamp", text)})
    left = memory.recall(keys)
    assert keys[0] in left
    assert keys[-1] in left
    numbers = [number for number in range(1, 100) if keys[number] in left]
    assert numbers == list(range(numbers[0], 100))
    assert sum(len(one.text) for one in left.values()) / 2 < 31_000


def test_levels_are_remembered_until_the_pixels_change(cache: Path, archive: Path) -> None:
    levels = [np.array([[0.1, 1 / 3]]), np.array([[1.0, 2.0], [0.0, 65535.0]]), np.array([[-1e-300, 3.0]])]
    memory = users_memory()
    movies = [replace(movie, levels=found) for movie, found in zip(open_archive(archive).movies, levels, strict=True)]
    assert remembered_levels(movies, memory, 1) == [None] * 3
    remember_levels(movies, memory, 1, Stamps())
    for again in (open_archive(archive).movies, open_archive(archive, remember=False).movies):
        for found, expected in zip(remembered_levels(again, memory, 1), levels, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert remembered_levels(again, memory, 2) == [None] * 3
    touch(archive / "pos1.tif")
    touch(archive / "plate.zarr/B/3/0/0/c")  # as a new frame would
    now = remembered_levels(open_archive(archive).movies, memory, 1)
    assert [one is None for one in now] == [False, True, True]
