"""Archives as they should not be: each mistake is one line with its remedy."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies import readers
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive, open_archives
from cellvjepa.movies.readers.zarr.folder import printable

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteFrames = Callable[..., Path]


@pytest.fixture
def archive(write_frames: WriteFrames, told: Told) -> Path:
    """Two movies, ``day1/a.tif`` and ``day2/b.tif``."""
    write_frames({"a.tif": told(5, 16, 20)}, "archive/day1", metadata={"axes": "TYX"})
    return write_frames({"b.tif": told(5, 16, 20)}, "archive/day2", metadata={"axes": "TYX"}).parent


def names(path: Path) -> list[str]:
    return [movie.name for movie in open_archive(path, remember=False).movies]


def reasons(path: Path) -> dict[str, str]:
    return {os.path.relpath(one.path, path): f"{one.what}. {one.remedy}" for one in open_archive(path, remember=False).skipped}


def test_links_that_lead_in_circles_are_followed_once(archive: Path) -> None:
    (archive / "day1" / "again").symlink_to(archive)
    (archive / "day2" / "self").symlink_to(archive / "day2" / "self")
    (archive / "day2" / "self.tif").symlink_to(archive / "day2" / "self.tif")
    assert names(archive) == ["day1/a.tif", "day2/b.tif"]
    assert "link" in reasons(archive)["day2/self.tif"]


def test_names_that_are_no_utf_8_are_named_so_that_they_can_be_printed(archive: Path) -> None:
    data = (archive / "day1" / "a.tif").read_bytes()
    bad, folder = (archive / os.fsdecode(name) for name in (b"day1/caf\xe9.tif", b"jour\xe9"))
    try:
        bad.write_bytes(data)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    folder.mkdir()
    (folder / "c.tif").write_bytes(data)
    found = open_archive(archive, remember=False)
    assert [movie.name for movie in found.movies] == ["day1/a.tif", "day2/b.tif"]
    assert all(one.what == "its name is no UTF-8" and one.remedy.startswith("rename the f") for one in found.skipped)
    assert [os.path.relpath(one.path, archive).split(".")[0] for one in found.skipped] == [r"day1/caf\xe9", r"jour\xe9/c"]
    with pytest.raises(UserError, match="its name is no UTF-8") as error:
        open_archive(bad)
    printable(str(error.value)).encode()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_what_may_not_be_read_is_named(archive: Path) -> None:
    (archive / "day1").chmod(0)
    (archive / "day2" / "b.tif").chmod(0)
    try:
        with pytest.raises(UserError, match=r"no movie that can be used: day1: the folder cannot be read"):
            open_archive(archive)
    finally:
        (archive / "day1").chmod(0o755)


def test_folders_that_cannot_be_read_cost_only_what_is_in_them(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden = str(archive / "day1")
    for name in ("scandir", "listdir"):
        real = getattr(os, name)

        def refuse(path: Any = ".", real: Any = real) -> Any:
            if os.fspath(path) == forbidden:
                raise PermissionError(13, "Permission denied", forbidden)
            return real(path)

        monkeypatch.setattr(os, name, refuse)
    assert names(archive) == ["day2/b.tif"]
    assert reasons(archive) == {"day1": "the folder cannot be read (Permission denied). ask for the right to read it"}


def test_no_path_a_wrong_path_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no path. give the path of a movie"):
        open_archives([])
    with pytest.raises(UserError, match="nowhere: there is no such file or folder. check the path"):
        open_archives([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="there are no movies in this folder"):
        open_archives([tmp_path])


def test_a_movie_given_twice_is_refused_before_or_after_opening(archive: Path) -> None:
    with pytest.raises(UserError, match=r"day1: this path is given twice\. give it once"):
        open_archives([archive / "day1", f"{archive}/day2/../day1/"])
    with pytest.raises(UserError, match=r"a\.tif: this movie is in two of the paths\. give each movie once"):
        open_archives([archive, archive / "day1"])


def test_a_reader_that_fails_in_an_unforeseen_way_costs_that_movie_only(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = readers.open_movie

    def failing(path: str, *rest: Any) -> Movie:
        if path.endswith("a.tif"):
            raise ZeroDivisionError("division by zero")
        return real(path, *rest)

    monkeypatch.setattr(readers, "open_movie", failing)
    assert names(archive) == ["day2/b.tif"]
    assert reasons(archive)["day1/a.tif"].startswith("it cannot be opened (ZeroDivisionError: division by zero). copy it again")


def test_a_movie_that_does_not_answer_costs_that_movie_only(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, answer, answered = readers.open_movie, threading.Event(), threading.Event()
    monkeypatch.setattr("cellvjepa.movies.readers.opening.open_each.__kwdefaults__", {**_quick()})

    def hanging(path: str, *rest: Any) -> Movie:
        if not path.endswith("a.tif"):
            return real(path, *rest)
        answer.wait(30)
        try:
            return real(path, *rest)
        finally:
            answered.set()

    monkeypatch.setattr(readers, "open_movie", hanging)
    try:
        assert names(archive) == ["day2/b.tif"]
        assert reasons(archive)["day1/a.tif"] == "it did not answer within 0 s. check the disk, or the connection to the file server"
    finally:
        answer.set()
        answered.wait(30)  # the thread that was given up still reads the file


def _quick() -> dict[str, Any]:
    from cellvjepa.movies.readers.opening import open_each

    return {**(open_each.__kwdefaults__ or {}), "named_after_s": 0.1, "given_up_after_s": 0.4}


def test_the_same_archive_is_found_in_the_same_order_again(archive: Path) -> None:
    first = open_archive(archive, remember=False)
    for _ in range(5):
        again = open_archive(archive, remember=False)
        assert [movie.name for movie in again.movies] == [movie.name for movie in first.movies]
        assert again.skipped == first.skipped
