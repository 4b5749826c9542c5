"""Archives of several movies: where each of them goes, plates, damage, and memory that does not grow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

from cellvjepa.cli import run
from cellvjepa.errors import UserError
from cellvjepa.movies.convert import convert
from cellvjepa.movies.convert.places import targets
from cellvjepa.movies.movie import AXES, ArrayPixels, Key, Movie, Shape5, region_of
from cellvjepa.movies.readers import Archive, open_archive, open_movie

Array = np.ndarray[Any, Any]
UINT16 = np.dtype("uint16")


def named(*names: str, groups: dict[str, str] | None = None) -> Archive:
    pixels = np.ones((2, 1, 1, 8, 8), "uint8")
    plain = Movie("memory", "", ArrayPixels(pixels), ("ch0",), None, None, dict.fromkeys(AXES, "file"), "none", 64, groups=groups or {})
    return Archive("memory", tuple(replace(plain, name=name) for name in names), ())


@pytest.mark.parametrize(
    ("names", "destination", "wanted"),
    [
        (["movie.tif"], "out.zarr", [""]),
        (["movie.ome.tif"], "out", ["movie.zarr"]),
        (["day2/pos4.ome.tif", "day2/pos5"], "out", ["day2/pos4.zarr", "day2/pos5.zarr"]),
        (["pos4.tif", "pos4.nd2"], "out", ["pos4.tif.zarr", "pos4.nd2.zarr"]),
        (["p.zarr/B/3/0", "p.zarr/B/3/1"], "out", ["p.zarr/B/3/0", "p.zarr/B/3/1"]),
        (["B/3/0", "B/3/1"], "out.zarr", ["B/3/0", "B/3/1"]),
        (["a.tif", "b"], "out.zarr", ["a.zarr", "b"]),
    ],
)
def test_where_movies_go(names: list[str], destination: str, wanted: list[str]) -> None:
    assert targets(named(*names), Path("/out") / destination) == wanted


def test_the_only_field_of_a_plate_stays_in_its_plate() -> None:
    groups = {"plate": "p.zarr", "row": "B", "column": "3", "field": "0"}
    assert targets(named("B/3/0", groups=groups), Path("/out/out.zarr")) == ["B/3/0"]


@pytest.mark.parametrize("name", ["../movie.tif", "/movie.tif", "a/../../b"])
def test_no_movie_goes_elsewhere(name: str) -> None:
    with pytest.raises(UserError, match="is no place below a folder"):
        targets(named(name, "b.tif"), Path("/out/out"))


def test_no_movie_goes_into_another() -> None:
    with pytest.raises(UserError, match=r"a.zarr/labels would be written inside of a.zarr"):
        targets(named("a.tif", "a.zarr/labels"), Path("/out/out"))


def test_an_archive_becomes_a_folder_of_stores(toy_archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", str(toy_archive), str(tmp_path / "out")]) == 0
    assert "(2 movies, 0.2 MB of pixels in" in capsys.readouterr().out
    before, after = open_archive(toy_archive), open_archive(tmp_path / "out")
    assert [movie.name for movie in after.movies] == ["field1.zarr", "field2.zarr"]
    for one, other in zip(before.movies, after.movies, strict=True):
        assert np.array_equal(one.pixels[...], other.pixels[...])
        assert other.interval_s == 60.0
    assert not list((tmp_path / "out").glob(".*"))


def test_one_store_of_several_movies_is_a_group(toy_archive: Path, tmp_path: Path) -> None:
    convert(open_archive(toy_archive), tmp_path / "out.zarr")
    assert sorted(zarr.open_group(str(tmp_path / "out.zarr"), mode="r").group_keys()) == ["field1.zarr", "field2.zarr"]
    assert len(open_archive(tmp_path / "out.zarr").movies) == 2


def test_a_plate_stays_a_plate(write_zarr: Callable[..., Path], told: Callable[..., Array], tmp_path: Path) -> None:
    fields = ["B/3/0", "B/3/1", "C/12/0"]
    for number, field in enumerate(fields):
        write_zarr(told(3, 1, 1, 20, 30) + np.uint16(number), store="archive/day1.zarr", within=field)
    before = open_archive(tmp_path / "archive")
    assert [movie.name for movie in before.movies] == [f"day1.zarr/{field}" for field in fields]
    convert(before, tmp_path / "out")
    after = open_archive(tmp_path / "out")
    assert [(movie.name, movie.groups) for movie in after.movies] == [(movie.name, movie.groups) for movie in before.movies]
    assert after.movies[2].groups["well"] == "C12"
    for one, other in zip(before.movies, after.movies, strict=True):
        assert np.array_equal(one.pixels[...], other.pixels[...])
    yaozarrs.validate_zarr_store(str(tmp_path / "out" / "day1.zarr"))
    plate = json.loads((tmp_path / "out" / "day1.zarr" / "zarr.json").read_bytes())["attributes"]["ome"]["plate"]
    assert [well["path"] for well in plate["wells"]] == ["B/3", "C/12"]
    assert plate["field_count"] == 2
    # the plate itself, to a store of another name
    convert(open_archive(tmp_path / "archive" / "day1.zarr"), tmp_path / "fast.zarr")
    yaozarrs.validate_zarr_store(str(tmp_path / "fast.zarr"))
    assert len(open_archive(tmp_path / "fast.zarr").movies) == 3


def test_labels_are_found_beside_their_movie(toy_archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = tifffile.imread(toy_archive / "field1.tif")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "pos.tif", pixels, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "one" / "pos_labels.tif", pixels // 2, imagej=True, metadata={"axes": "TYX"})
    assert run(["convert", str(tmp_path / "one"), str(tmp_path / "a.zarr")]) == 0
    assert "skipped" not in capsys.readouterr().err
    assert np.array_equal(open_movie(tmp_path / "a.zarr" / "labels" / "labels").pixels[:, 0, 0], pixels // 2)
    assert run(["convert", str(tmp_path / "two" / "pos.tif"), str(tmp_path / "b.zarr"), "--labels", str(tmp_path / "one" / "pos_labels.tif")]) == 0
    assert np.array_equal(open_movie(tmp_path / "b.zarr" / "labels" / "labels").pixels[:, 0, 0], pixels // 2)
    assert run(["convert", str(tmp_path / "two" / "pos.tif"), str(tmp_path / "c.zarr"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.split("MB/s)\n")[-1])["movies"] == 1
    assert not (tmp_path / "c.zarr" / "labels").exists()


@pytest.mark.parametrize("inside", ["", "/deeper"])
def test_not_into_what_is_converted(inside: str, toy_archive: Path) -> None:
    with pytest.raises(UserError, match="this lies inside of what is to be converted"):
        convert(open_archive(toy_archive), f"{toy_archive}{inside}/out.zarr")


@dataclass(frozen=True, eq=False)
class Damaged:
    """Pixels of which one frame cannot be read."""

    shape: Shape5 = (40, 1, 1, 64, 64)
    dtype: np.dtype[Any] = UINT16
    chunks: Shape5 = (1, 1, 1, 64, 64)

    def __getitem__(self, key: Key, /) -> Array:
        part = region_of(key, self.shape)
        if part.slices[0].start <= 33 < part.slices[0].stop:
            raise UserError("frame 33 is cut off", "copy the file again", "damaged.tif")
        return np.zeros(part.shape, self.dtype)


def test_damage_stops_its_movie_and_no_other(tmp_path: Path) -> None:
    archive = named("good.tif", "damaged.tif", "fine.tif")
    good, damaged, fine = archive.movies
    damaged = replace(damaged, pixels=Damaged(), size_bytes=40 * 64 * 64 * 2, uri="damaged.tif")
    with pytest.raises(
        UserError, match=r"damaged.tif: frame 33 is cut off \(1 of 3 movies are damaged; the others are in .*out.partial/out\). copy the file"
    ):
        convert(replace(archive, movies=(good, damaged, fine)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [movie.name for movie in open_archive(tmp_path / "out.partial").movies] == ["out/fine.zarr", "out/good.zarr"]
    # without it, the rest is complete
    convert(replace(archive, movies=(good, fine)), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fine.zarr", "good.zarr"]


def test_damage_in_the_only_movie_is_one_line(tmp_path: Path) -> None:
    movie = replace(named("damaged.tif").movies[0], pixels=Damaged(), size_bytes=40 * 64 * 64 * 2)
    with pytest.raises(UserError, match=r"frame 33 is cut off. copy the file again"):
        convert(Archive("damaged.tif", (movie,), ()), tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


@dataclass(frozen=True, eq=False)
class Huge:
    """Pixels that are made when they are read, and the most that was asked for at once."""

    shape: Shape5
    asked: list[int]
    dtype: np.dtype[Any] = UINT16
    chunks: Shape5 = (1, 1, 1, 512, 512)

    def __getitem__(self, key: Key, /) -> Array:
        part = region_of(key, self.shape)
        self.asked.append(int(np.prod(part.shape)) * 2)
        return np.full(part.shape, part.slices[0].start, self.dtype).squeeze(part.dropped)


def test_memory_does_not_grow_with_the_movie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    from cellvjepa.movies.convert import layout, work

    monkeypatch.setattr(layout, "SHARD_BYTES", 2**23)
    monkeypatch.setattr(work, "_threads", lambda plans: 2)
    frames = 800
    pixels = Huge((frames, 1, 1, 512, 512), [])
    movie = replace(named("huge.tif").movies[0], pixels=pixels, size_bytes=frames * 2**19)
    tracemalloc.start()
    try:
        convert(Archive("huge.tif", (movie,), ()), tmp_path / "huge.zarr")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    slab_bytes = max(pixels.asked)
    assert slab_bytes <= 2**24
    # what each thread has in its hands, and not a quarter of the movie
    assert peak < 2 * 3 * slab_bytes < movie.size_bytes / 4
