from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellvjepa.cells.outlines import NO_OUTLINES
from cellvjepa.movies.clips import Clip, ClipShape, clip_at
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie
from cellvjepa.movies.reference import UNKNOWN
from cellvjepa.probing.token_cache import TokenCache, as_halves, token_keys, users_token_cache

LONG_AGO_S = 1_600_000_000


def some(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, 2, 1, 3, 3, 8)).astype(np.float16)


@pytest.fixture
def cache(tmp_path: Path) -> TokenCache:
    return TokenCache(tmp_path / "tokens", 10**6)


def only_file(cache: TokenCache) -> Path:
    assert cache.folder is not None
    (path,) = cache.folder.rglob("*.tokens")
    return path


def test_what_is_kept_comes_back(cache: TokenCache) -> None:
    assert cache.recall("aa1") is None
    cache.keep({"aa1": some(1), "": some(2)})
    found = cache.recall("aa1")
    assert found is not None
    assert found.dtype == np.float16
    assert np.array_equal(found, some(1))
    assert cache.recall("") is None
    only_file(cache)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:10],
        lambda data: b"",
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: data[:8] + b"\x02" + data[9:],
        lambda data: b"XXXX" + data[4:],
    ],
)
def test_damaged_files_count_as_none_and_are_made_again(cache: TokenCache, damage: Callable[[bytes], bytes]) -> None:
    cache.keep({"aa1": some()})
    path = only_file(cache)
    path.write_bytes(damage(path.read_bytes()))
    assert cache.recall("aa1") is None
    cache.keep({"aa1": some()})
    assert cache.recall("aa1") is not None


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    size = some().nbytes + 32
    cache = TokenCache(tmp_path, 4 * size)
    for i in range(6):
        cache.keep({f"k{i}": some(i)})
        os.utime(tmp_path / f"k{i}"[:2] / f"k{i}.tokens", (LONG_AGO_S + i, LONG_AGO_S + i))
    cache.recall("k0")  # used just now
    replace(cache, read_only=True).clear()
    assert len(list(tmp_path.rglob("*.tokens"))) == 6
    cache.clear()
    assert {path.stem for path in tmp_path.rglob("*.tokens")} == {"k0", "k4", "k5"}


def test_reading_only_and_places_that_cannot_be_written_keep_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for cache in (TokenCache(tmp_path / "new", 10**6, read_only=True), TokenCache(tmp_path / "file", 10**6), TokenCache(None, 10**6)):
        cache.keep({"aa1": some()})
        cache.clear()
        assert cache.recall("aa1") is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_users_cache_is_where_other_memories_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLVJEPA_CACHE", str(tmp_path))
    assert users_token_cache(2) == TokenCache(tmp_path / "tokens", 2 * 10**9)
    assert users_token_cache(0).folder is None
    monkeypatch.setenv("CELLVJEPA_CACHE", "")
    assert users_token_cache(2).folder is None


def test_large_numbers_stay_finite() -> None:
    found = as_halves(np.array([1e6, -1e6, 0.5, np.nan], np.float32))
    assert found[:3].tolist() == [65504, -65504, 0.5]
    assert np.isnan(found[3])


@pytest.fixture
def movie(tmp_path: Path) -> Movie:
    path = tmp_path / "m.ome.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 1000, (8, 1, 24, 24)).astype(np.uint16), metadata={"axes": "TCYX"})
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return with_levels(open_movie(path))


def test_a_key_changes_with_all_that_tokens_depend_on(movie: Movie) -> None:
    shape = ClipShape(4, None, 16, None, None, "max")
    clips = [clip_at(movie, shape, t, 12, x) for t in (0, 1) for x in (10, 12)]

    def keys(sha: str = "a", movie: Movie = movie, clips: list[Clip] = clips, shape: ClipShape = shape, precision: str = "float32") -> list[str]:
        return token_keys(sha, {movie.name: movie}, clips, shape, UNKNOWN, NO_OUTLINES, precision)

    first = keys()
    assert len(set(first)) == 4
    assert keys() == first
    others = [
        keys(sha="b"),
        keys(precision="bfloat16"),
        keys(shape=replace(shape, z="middle")),
        keys(movie=replace(movie, levels=np.array([[0.0, 1.0]]))),
        keys(clips=[replace(clip, drift=(1, 0)) for clip in clips]),
    ]
    assert not set(first) & {key for each in others for key in each}
    os.utime(movie.uri, (LONG_AGO_S + 9, LONG_AGO_S + 9))  # written again meanwhile
    assert not set(first) & set(keys())
    os.utime(movie.uri)  # just now: it may go on changing within the same tick of the clock
    assert keys() == [""] * 4
