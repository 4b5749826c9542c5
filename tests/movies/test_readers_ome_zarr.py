from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, PixelSize
from cellvjepa.movies.readers import open_archive, open_movie

pytestmark = pytest.mark.usefixtures("nothing_left_open")

Told = Callable[..., np.ndarray[Any, Any]]
WriteZarr = Callable[..., Path]
ThroughPickle = Callable[[Movie], Movie]

UNITS = {"t": "minute", "z": "micrometer", "y": "nanometer", "x": "micrometer"}
SCALE = [5.0, 1.0, 2.0, 325.0, 0.325]


def metadata_of(image: Path) -> tuple[Path, dict[str, Any]]:
    path = image / "zarr.json" if (image / "zarr.json").exists() else image / ".zattrs"
    return path, json.loads(path.read_text())


def edited(image: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    path, metadata = metadata_of(image)
    attributes = metadata["attributes"]["ome"] if path.name == "zarr.json" else metadata
    edit(attributes)
    path.write_text(json.dumps(metadata))
    return image


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_says_what_everything_is(write_zarr: WriteZarr, told: Told, version: str) -> None:
    array = told(3, 2, 4, 20, 24)
    omero = {"omero": {"channels": [{"label": "phase", "color": "FFFFFF", "window": {"min": 0, "max": 9, "start": 0, "end": 9}}, {"label": "GFP"}]}}
    image = write_zarr(array, version=version, scale=SCALE, units=UNITS, chunks=(1, 1, 2, 16, 16), ome=omero)
    movie = open_movie(image)
    np.testing.assert_array_equal(movie.pixels[:], array)
    assert movie.shape == {"T": 3, "C": 2, "Z": 4, "Y": 20, "X": 24}
    assert (movie.channels, movie.interval_s, movie.pixel_um) == (("phase", "GFP"), 300.0, PixelSize(2.0, 0.325, 0.325))
    assert set(movie.axes.values()) == {"file"}
    assert (movie.pixels.chunks, movie.size_bytes, movie.problems) == ((1, 1, 2, 16, 16), array.nbytes, ())
    assert movie.codec == ("blosc/lz4" if version == "0.4" else "zstd")


def test_the_stores_of_these_tests_are_valid(write_zarr: WriteZarr, told: Told) -> None:
    image = write_zarr(told(3, 2, 4, 20, 24), scale=SCALE, units=UNITS)
    assert yaozarrs.validate_zarr_store(str(image)) is not None
    attributes = metadata_of(write_zarr(told(3, 2, 4, 20, 24), version="0.4", store="old.zarr", scale=SCALE, units=UNITS))[1]
    assert isinstance(yaozarrs.validate_ome_object(attributes), yaozarrs.v04.Image)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "tyx", "cyx", "zyx", "czyx", "tczyx", "xyt", "yxc", "ztcxy"])
def test_axes_come_in_any_order_and_number(write_zarr: WriteZarr, told: Told, axes: str, version: str) -> None:
    lengths = {"t": 3, "c": 2, "z": 4, "y": 20, "x": 24}
    array = told(*(lengths[axis] for axis in axes))
    pixels = open_movie(write_zarr(array, axes, version, chunks=tuple(min(n, 7) for n in array.shape))).pixels
    assert pixels.shape == tuple(lengths[axis] if axis in axes else 1 for axis in "tczyx")
    assert pixels.chunks == tuple(min(lengths[axis], 7) if axis in axes else 1 for axis in "tczyx")
    expected = array.transpose([axes.index(axis) for axis in "tczyx" if axis in axes])
    np.testing.assert_array_equal(np.squeeze(pixels[:]), expected)


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("axes", ["tczyx", "xtzy"])
def test_a_part_is_what_numpy_gives_of_the_whole(write_zarr: WriteZarr, told: Told, axes: str, tmp_path: Path, data: st.DataObject) -> None:
    lengths = {"t": 3, "c": 2, "z": 4, "y": 9, "x": 7}
    array = told(*(lengths[axis] for axis in axes))
    image = tmp_path / "movie.zarr"
    if not image.exists():
        write_zarr(array, axes, chunks=(2,) * len(axes))
    pixels = open_movie(image).pixels
    whole = pixels[:]
    bounds = [st.integers(-n, n - 1) | st.builds(slice, *[st.none() | st.integers(-n, n)] * 2, st.none() | st.integers(1, 4)) for n in whole.shape]
    key = data.draw(st.tuples(*bounds))
    np.testing.assert_array_equal(pixels[key], whole[key])


def test_a_big_endian_store_is_read_in_the_order_of_this_machine(write_zarr: WriteZarr, told: Told) -> None:
    movie = open_movie(write_zarr(told(3, 20, 24).astype(">u2"), "tyx", "0.4"))
    assert movie.pixels.dtype == np.dtype("uint16")
    assert movie.pixels[0].dtype.isnative
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], told(3, 20, 24))


def test_the_chunks_of_a_sharded_array_are_those_within_a_shard(write_zarr: WriteZarr, told: Told) -> None:
    movie = open_movie(write_zarr(told(4, 32, 32), "tyx", chunks=(1, 16, 16), shards=(4, 32, 32)))
    assert (movie.pixels.chunks, movie.codec) == ((1, 1, 1, 16, 16), "zstd")
    np.testing.assert_array_equal(movie.pixels[:, 0, 0], told(4, 32, 32))


def test_a_scale_without_unit_is_unknown(write_zarr: WriteZarr, told: Told) -> None:
    movie = open_movie(write_zarr(told(3, 20, 24), "tyx", scale=[5.0, 0.5, 0.5]))
    assert (movie.pixel_um, movie.interval_s) == (None, None)
    assert [problem.what for problem in movie.problems] == ["the pixel size is unknown", "the time between frames is unknown"]


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), 1e12, "five", None])
def test_a_scale_that_cannot_be_is_unknown(write_zarr: WriteZarr, told: Told, bad: Any) -> None:
    image = write_zarr(told(3, 20, 24), "tyx", scale=[bad, 0.5, bad], units={"t": "second", "y": "micrometer", "x": "micrometer"})
    movie = open_movie(image)
    assert (movie.pixel_um, movie.interval_s) == (None, None)
    assert len(movie.problems) == 2


def test_the_scale_of_all_levels_multiplies_that_of_one(write_zarr: WriteZarr, told: Told) -> None:
    image = write_zarr(told(3, 20, 24), "tyx", scale=[1.0, 0.5, 0.5], units={"t": "second", "y": "micrometer", "x": "micrometer"})
    edited(image, lambda ome: ome["multiscales"][0].update(coordinateTransformations=[{"type": "scale", "scale": [30.0, 1.0, 1.0]}]))
    assert open_movie(image).interval_s == 30.0


def test_axes_with_names_of_their_own_are_known_by_their_types(write_zarr: WriteZarr, told: Told) -> None:
    image = write_zarr(told(3, 2, 20, 24), "tcyx")

    def rename(ome: dict[str, Any]) -> None:
        for axis, name in zip(ome["multiscales"][0]["axes"], ["frame", "stain", "row", "column"], strict=True):
            axis["name"] = name

    assert open_movie(edited(image, rename)).shape == {"T": 3, "C": 2, "Z": 1, "Y": 20, "X": 24}


def test_a_store_without_names_of_axes_is_assumed_to_be_tczyx(write_zarr: WriteZarr, told: Told) -> None:
    image = edited(write_zarr(told(3, 2, 1, 20, 24), version="0.4"), lambda ome: ome["multiscales"][0].pop("axes"))
    movie = open_movie(image)
    assert set(movie.axes.values()) == {"assumed"}
    assert movie.problems[0].what == "the store does not name its axes; they are taken as T C Z Y X"


def test_a_store_that_forgot_ome_is_read(write_zarr: WriteZarr, told: Told) -> None:
    image = write_zarr(told(3, 20, 24), "tyx")
    path, metadata = metadata_of(image)
    metadata["attributes"] = metadata["attributes"]["ome"]
    path.write_text(json.dumps(metadata))
    assert open_movie(image).shape["T"] == 3


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_is_an_archive_of_its_fields(write_zarr: WriteZarr, told: Told, tmp_path: Path, version: str) -> None:
    for number, field in enumerate(["B/10/0", "B/3/0", "B/3/1"]):
        write_zarr(told(3, 8, 8) + number, "tyx", version, store="plate1.zarr", within=field)
    within = open_archive(tmp_path / "plate1.zarr")
    assert [movie.name for movie in within.movies] == ["B/3/0", "B/3/1", "B/10/0"]
    archive = open_archive(tmp_path)
    assert [movie.name for movie in archive.movies] == ["plate1.zarr/B/3/0", "plate1.zarr/B/3/1", "plate1.zarr/B/10/0"]
    np.testing.assert_array_equal(archive.movies[1].pixels[:, 0, 0], told(3, 8, 8) + 2)
    assert archive.movies[1].uri == str(tmp_path / "plate1.zarr" / "B" / "3" / "1")
    with pytest.raises(UserError, match=r"this group is no image, but has 3 inside \(B/3/0, B/3/1, B/10/0\)\. give it as an archive"):
        open_movie(tmp_path / "plate1.zarr")


def test_images_lie_below_any_group(write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    for within in ("0", "1", "acquisitions/monday/positions/pos7"):
        write_zarr(told(3, 8, 8), "tyx", store="set.zarr", within=within)
    assert [movie.name for movie in open_archive(tmp_path / "set.zarr").movies] == ["0", "1", "acquisitions/monday/positions/pos7"]


def test_labels_inside_an_image_are_skipped_but_can_be_opened(write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    write_zarr(told(3, 8, 8), "tyx", store="m.zarr")
    write_zarr(told(3, 8, 8), "tyx", store="m.zarr", within="labels/nuclei", ome={"image-label": {}})
    archive = open_archive(tmp_path)
    assert [movie.name for movie in archive.movies] == ["m.zarr"]
    (skipped,) = archive.skipped
    assert (skipped.path, skipped.what) == (str(tmp_path / "m.zarr/labels/nuclei"), "looks like a label image")
    assert "--cells" in skipped.remedy
    assert open_movie(skipped.path).shape["T"] == 3


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda ome: ome.pop("multiscales"), r"this Zarr group has no OME-Zarr image in it \('multiscales' is missing\)"),
        (lambda ome: ome.update(multiscales=[]), "the metadata has no usable 'multiscales'"),
        (lambda ome: ome["multiscales"][0].update(datasets="0"), "the metadata has no usable 'datasets'"),
        (lambda ome: ome["multiscales"][0]["datasets"][0].update(path=7), "does not say where the pixels are"),
        (lambda ome: ome["multiscales"][0]["datasets"][0].update(path="5"), "the array 5 that the metadata names is not there"),
        (lambda ome: ome["multiscales"][0]["datasets"][0].update(path="../../other.zarr/0"), r"points out of the image, to \.\./\.\./other\.zarr/0"),
        (lambda ome: ome["multiscales"][0]["datasets"][0].update(path="/etc"), "points out of the image, to /etc"),
        (lambda ome: ome["multiscales"][0]["axes"].pop(), "the metadata names 2 axes, but the array has 3"),
        (lambda ome: ome["multiscales"][0]["axes"][0].update(name="y"), "the axis Y is there twice"),
    ],
)
def test_metadata_that_cannot_be_used_is_refused(write_zarr: WriteZarr, told: Told, edit: Callable[[dict[str, Any]], None], message: str) -> None:
    image = edited(write_zarr(told(3, 8, 8), "tyx"), edit)
    with pytest.raises(UserError, match=message):
        open_movie(image)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "[" * 100_000])
def test_damaged_metadata_is_refused_and_named(write_zarr: WriteZarr, told: Told, text: str) -> None:
    image = write_zarr(told(3, 8, 8), "tyx")
    (image / "zarr.json").write_text(text)
    with pytest.raises(UserError, match=r"zarr\.json: the metadata (cannot be read|is no JSON object)"):
        open_movie(image)


def test_an_array_or_an_empty_group_is_no_movie(write_zarr: WriteZarr, told: Told, tmp_path: Path) -> None:
    image = write_zarr(told(3, 8, 8), "tyx")
    with pytest.raises(UserError, match="this is an array inside a Zarr store. give the group above it"):
        open_movie(image / "0")
    zarr.open_group(str(tmp_path / "empty.zarr"), mode="w")
    with pytest.raises(UserError, match="has no OME-Zarr image in it"):
        open_movie(tmp_path / "empty.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_sizes_that_the_files_contradict_are_not_believed(write_zarr: WriteZarr, told: Told, version: str) -> None:
    image = write_zarr(told(3, 8, 8), "tyx", version, chunks=(1, 8, 8))
    path = image / "0" / (".zarray" if version == "0.4" else "zarr.json")
    metadata = json.loads(path.read_text())
    path.write_text(json.dumps(metadata | {"shape": [10**9, 8, 8]}))
    with pytest.raises(UserError, match=r"the array claims 1,000,000,000 chunks, but 3 are there"):
        open_movie(image)
    huge = [2**20, 2**20, 8]
    grid = {"chunks": huge} if version == "0.4" else {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": huge}}}
    path.write_text(json.dumps(metadata | {"shape": huge} | grid))
    with pytest.raises(UserError, match=r"one chunk claims 1048576 x 1048576 x 8 pixels. write it again with smaller chunks"):
        open_movie(image)


def test_a_type_of_pixel_that_is_no_intensity_is_refused(write_zarr: WriteZarr) -> None:
    with pytest.raises(UserError, match="its pixels are of a type that is not read"):
        open_movie(write_zarr(np.zeros((3, 8, 8), dtype="complex64"), "tyx"))


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_damaged_chunk_is_named_when_it_is_read(write_zarr: WriteZarr, told: Told, content: bytes) -> None:
    image = write_zarr(told(3, 8, 8), "tyx", chunks=(1, 8, 8))
    movie = open_movie(image)
    (image / "0/c/1/0/0").write_bytes(content)
    np.testing.assert_array_equal(movie.pixels[2, 0, 0], told(3, 8, 8)[2])
    with pytest.raises(UserError, match=r"movie\.zarr: the pixels from T=1, C=0, Z=0, Y=0, X=0 on cannot be read"):
        movie.pixels[1]


def test_a_movie_pickles_by_opening_its_store_again(write_zarr: WriteZarr, told: Told, tmp_path: Path, through_pickle: ThroughPickle) -> None:
    write_zarr(told(3, 8, 8), "tyx", within="day1/pos3")
    (movie,) = open_archive(tmp_path).movies
    again = through_pickle(movie)
    assert again.name == "movie.zarr/day1/pos3"
    np.testing.assert_array_equal(again.pixels[:], movie.pixels[:])


def test_many_threads_may_read_one_movie(write_zarr: WriteZarr, told: Told) -> None:
    array = told(16, 20, 20)
    pixels = open_movie(write_zarr(array, "tyx", chunks=(2, 8, 8))).pixels
    start = threading.Barrier(8)

    def read(worker: int) -> bool:
        start.wait(timeout=30)
        return all(np.array_equal(pixels[t, 0, 0, 3:15, 5:20], array[t, 3:15, 5:20]) for t in np.random.default_rng(worker).permutation(16))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


@given(data=st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_random_damage_to_metadata_gives_pixels_or_a_clear_error(
    write_zarr: WriteZarr, told: Told, tmp_path: Path, version: str, data: st.DataObject
) -> None:
    image = tmp_path / f"{version}.zarr"
    if not image.exists():
        write_zarr(told(3, 8, 8), "tyx", version, store=image.name, chunks=(1, 8, 8))
    files = [path for name in ("zarr.json", ".zgroup", ".zattrs", ".zarray") for path in sorted(image.rglob(name))]
    path = data.draw(st.sampled_from(files))
    intact = path.read_bytes()
    raw = bytearray(intact)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.sampled_from(list(b'0159,:[]{}"-eux \x00\xff')))
    path.write_bytes(bytes(raw[: data.draw(st.just(len(raw)) | st.integers(0, len(raw)))]))
    refusal = None
    try:
        open_movie(image).pixels[0, 0, 0, :4, :4]
    except UserError as error:
        refusal = str(error)
    finally:
        path.write_bytes(intact)
    assert refusal is None or str(image) in refusal
