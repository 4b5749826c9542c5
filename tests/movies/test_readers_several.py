"""Files that hold several movies: addresses with a number, their names in an archive, and files whose own name has a # in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive, open_movie
from cellvjepa.movies.readers.several import chosen, each_of, named, parted

Array = np.ndarray[Any, Any]

DATA = Path(__file__).parent / "data"

pytestmark = pytest.mark.usefixtures("nothing_left_open")


@pytest.fixture
def archive(tmp_path: Path, told: Callable[..., Array]) -> Path:
    """Write an archive of mixed formats.

    day1/exp.czi (two scenes), day1/exp#1.czi (two scenes), day2/set/ (two positions), plain#3.tif
    """
    (tmp_path / "day1").mkdir()
    shutil.copy(DATA / "scenes.czi", tmp_path / "day1" / "exp.czi")
    shutil.copy(DATA / "scenes.czi", tmp_path / "day1" / "exp#1.czi")
    shutil.copytree(DATA / "positions_1", tmp_path / "day2" / "set")
    tifffile.imwrite(tmp_path / "plain#3.tif", told(3, 6, 8), metadata={"axes": "TYX"}, ome=True)
    return tmp_path


def test_an_archive_lists_every_movie_of_every_file(archive: Path) -> None:
    found = open_archive(archive, remember=False)
    names = ["day1/exp#1.czi/0", "day1/exp#1.czi/1", "day1/exp.czi/0", "day1/exp.czi/1", "day2/set/0", "day2/set/1", "plain#3.tif"]
    assert sorted(movie.name for movie in found.movies) == names
    assert found.skipped == ()


def test_every_uri_opens_its_movie_again(archive: Path) -> None:
    for movie in open_archive(archive, remember=False).movies:
        again = open_movie(movie.uri)
        assert (again.uri, again.name) == (movie.uri, movie.name.removeprefix("day1/").removeprefix("day2/"))
        assert np.array_equal(again.pixels[...], movie.pixels[...])


def test_one_movie_of_a_file_is_an_archive_of_one(archive: Path) -> None:
    uri = f"{archive / 'day1' / 'exp.czi'}#1"
    (movie,) = open_archive(uri, remember=False).movies
    assert (movie.uri, movie.name) == (uri, "exp.czi/1")


def test_movies_are_remembered_and_a_changed_file_is_opened_again(archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CELLVJEPA_CACHE", str(tmp_path / "cache"))
    first = {movie.uri: movie.pixels[...] for movie in open_archive(archive / "day1").movies}
    again = {movie.uri: movie.pixels[...] for movie in open_archive(archive / "day1").movies}
    assert list(first) == list(again)
    for uri, pixels in first.items():
        assert np.array_equal(again[uri], pixels)
    shutil.copy(DATA / "mosaic.czi", archive / "day1" / "exp.czi")
    assert [movie.name for movie in open_archive(archive / "day1").movies] == ["exp#1.czi/0", "exp#1.czi/1", "exp.czi"]


def test_a_path_is_parted_only_where_no_file_is_called_so(tmp_path: Path) -> None:
    for name in ("a.nd2", "b#2.nd2", "c.nd2", "c.nd2#1"):
        (tmp_path / name).touch()
    assert parted(tmp_path / "a.nd2#2") == (tmp_path / "a.nd2", 2)
    assert parted(tmp_path / "b#2.nd2") == (tmp_path / "b#2.nd2", None)
    assert parted(tmp_path / "b#2.nd2#0") == (tmp_path / "b#2.nd2", 0)
    assert parted(tmp_path / "c.nd2#1") == (tmp_path / "c.nd2#1", None)
    assert parted(tmp_path / "a.nd2#02") == (tmp_path / "a.nd2#02", None)
    assert parted(tmp_path / "missing.nd2#2") == (tmp_path / "missing.nd2#2", None)
    assert parted(tmp_path / "a.nd2#two") == (tmp_path / "a.nd2#two", None)
    with pytest.raises(UserError, match="there is no such file or folder"):
        open_movie(tmp_path / "missing.nd2#2")


@pytest.mark.parametrize("number", [1, 2, 11])
def test_uris_and_names_of_the_movies_of_a_file(tmp_path: Path, number: int) -> None:
    path = tmp_path / "exp.nd2"
    path.touch()
    uris = each_of(path, number)
    assert len(set(uris)) == number
    if number == 1:
        assert (uris, named(path, tmp_path), named(path, path)) == ([path], "exp.nd2", "exp.nd2")
        assert chosen(path, None, 1) == 0
    for index, uri in enumerate(uris if number > 1 else []):
        assert (named(uri, tmp_path), named(uri, path), named(uri, uri)) == (f"exp.nd2/{index}",) * 3
        assert chosen(uri, parted(uri)[1], number) == index


def test_a_movie_of_a_file_survives_a_pickle(archive: Path, through_pickle: Callable[[Movie], Movie]) -> None:
    movie = open_movie(f"{archive / 'day2' / 'set'}#1")
    assert np.array_equal(through_pickle(movie).pixels[...], movie.pixels[...])
