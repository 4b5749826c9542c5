"""A converted movie is the same movie: pixels, names, units, labels; and other programs read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.movies.convert import convert, layout
from cellvjepa.movies.convert.coarser import mean_of_four
from cellvjepa.movies.movie import AXES, ArrayPixels, Movie, PixelSize, Problem
from cellvjepa.movies.readers import Archive, open_archive, open_movie

Array = np.ndarray[Any, Any]


def movie_of(pixels: Array, **known: Any) -> Movie:
    """Return an array T C Z Y X as a movie."""
    channels = tuple(f"ch{c}" for c in range(pixels.shape[1]))
    plain = Movie(
        "memory.tif",
        "memory.tif",
        ArrayPixels(pixels),
        channels,
        PixelSize(None, 0.5, 0.25),
        60.0,
        dict.fromkeys(AXES, "file"),
        "none",
        pixels.nbytes,
    )
    return replace(plain, **known)


def archive_of(*movies: Movie) -> Archive:
    return Archive("memory.tif", movies, ())


def noise(*shape: int, dtype: str = "uint16") -> Array:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


def test_the_same_movie_comes_out(tmp_path: Path) -> None:
    pixels = noise(20, 2, 3, 530, 600)
    movie = movie_of(
        pixels,
        pixel_um=PixelSize(2.0, 0.5, 0.25),
        channels=("GFP", "phase"),
        problems=(Problem("something was assumed", "say it"),),
        groups={"plate": "p", "well": "B3"},
    )
    done = convert(archive_of(movie), tmp_path / "out.zarr")
    found = open_movie(done.destination)
    assert np.array_equal(found.pixels[...], pixels)
    assert found.pixels.dtype == pixels.dtype
    assert (found.pixel_um, found.interval_s, found.channels) == (movie.pixel_um, 60.0, ("GFP", "phase"))
    assert found.problems == ()
    assert set(found.axes.values()) == {"file"}
    assert [copy.factor for copy in found.pyramid] == [(1, 2, 2)]
    assert np.array_equal(found.pyramid[0].pixels[...], mean_of_four(pixels))
    ours = json.loads((done.destination / "zarr.json").read_bytes())["attributes"]["cellvjepa"]
    assert ours["source"] == "memory.tif"
    assert ours["groups"] == {"plate": "p", "well": "B3"}
    assert ours["problems"] == ["something was assumed"]
    assert done.decoded_bytes == pixels.nbytes
    assert done.written_bytes == sum(f.stat().st_size for f in done.destination.rglob("c/**/*") if f.is_file())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.zarr"]
    assert not list(done.destination.rglob(".*"))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_every_type_of_pixel_is_kept(dtype: str, tmp_path: Path) -> None:
    pixels = noise(3, 1, 1, 40, 50, dtype=dtype)
    convert(archive_of(movie_of(pixels)), tmp_path / "out.zarr")
    found = open_movie(tmp_path / "out.zarr").pixels
    assert found.dtype == dtype
    assert np.array_equal(found[...], pixels)


def test_not_a_number_is_a_value_like_any_other(tmp_path: Path) -> None:
    pixels = noise(3, 1, 1, 40, 50, dtype="float32")
    pixels[1] = np.nan
    convert(archive_of(movie_of(pixels)), tmp_path / "out.zarr")
    assert np.array_equal(open_movie(tmp_path / "out.zarr").pixels[...], pixels, equal_nan=True)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shape=st.tuples(*[st.integers(1, n) for n in (40, 2, 3, 70, 70)]),
    shard_bytes=st.sampled_from([2**12, 2**16, 2**27]),
    slab_bytes=st.sampled_from([2**13, 2**15, 2**29]),
    source=st.tuples(*[st.integers(1, n) for n in (40, 2, 3, 70, 70)]),
)
def test_any_shape_cut_in_any_way(
    shape: tuple[int, ...], shard_bytes: int, slab_bytes: int, source: tuple[int, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pixels = noise(*shape)

    class InPieces(ArrayPixels):
        chunks = source  # type: ignore[assignment]

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "SHARD_BYTES": shard_bytes,
            "LARGEST_SLAB_BYTES": slab_bytes,
            "_LEAST_SLAB_BYTES": 2**10,
            "CHUNK_PX": 32,
            "SMALLEST_COARSE_PX": 16,
        }.items():
            patch.setattr(layout, name, value)
        out = tmp_path_factory.mktemp("any") / "out.zarr"
        convert(archive_of(replace(movie_of(pixels), pixels=InPieces(pixels))), out)
    for level in range(3):
        if level and min(pixels.shape[3:]) < 32:
            break
        pixels = mean_of_four(pixels) if level else pixels
        assert np.array_equal(zarr.open_array(str(out / str(level)), mode="r")[...], pixels)
    assert yaozarrs.validate_zarr_store(str(out))


def test_it_is_valid_and_says_where_each_level_lies(tmp_path: Path) -> None:
    labels = movie_of(noise(2, 1, 1, 600, 1030, dtype="uint32"), channels=("labels",))
    movie = movie_of(noise(2, 1, 1, 600, 1030))
    convert(archive_of(movie), tmp_path / "out.zarr", {"memory.tif": {"nuclei": labels}})
    yaozarrs.validate_zarr_store(str(tmp_path / "out.zarr"))
    for group in ("out.zarr", "out.zarr/labels/nuclei"):
        scale = json.loads((tmp_path / group / "zarr.json").read_bytes())["attributes"]["ome"]["multiscales"][0]
        found = [[list(t.values())[1] for t in level["coordinateTransformations"]] for level in scale["datasets"]]
        # The first pixel of the coarser copy is centred between the first two of the finer one.
        assert found == [[[60.0, 1.0, 1.0, 0.5, 0.25]], [[60.0, 1.0, 1.0, 1.0, 0.5], [0.0, 0.0, 0.0, 0.25, 0.125]]]
        assert [axis.get("unit") for axis in scale["axes"]] == ["second", None, None, "micrometer", "micrometer"]


def test_what_is_unknown_stays_unknown(tmp_path: Path) -> None:
    convert(archive_of(movie_of(noise(3, 1, 1, 40, 50), pixel_um=None, interval_s=None)), tmp_path / "out.zarr")
    found = open_movie(tmp_path / "out.zarr")
    assert found.pixel_um is None
    assert found.interval_s is None


def test_channels_get_a_window_and_a_colour(tmp_path: Path) -> None:
    pixels = np.concatenate([np.full((3, 1, 1, 40, 50), 7, "uint16"), noise(3, 1, 1, 40, 50)], axis=1)
    pixels[0, 0, 0, 0, 0] = 90
    convert(archive_of(movie_of(pixels, channels=("DAPI", "something"))), tmp_path / "out.zarr")
    first, second = json.loads((tmp_path / "out.zarr" / "zarr.json").read_bytes())["attributes"]["ome"]["omero"]["channels"]
    assert (first["label"], first["color"]) == ("DAPI", "0000FF")
    assert second["color"] == "00FF00"
    assert 0 <= second["window"]["start"] < second["window"]["end"] <= 200
    assert second["window"]["max"] == 65535


def test_labels_come_along(tmp_path: Path) -> None:
    pixels, labels = noise(4, 1, 3, 520, 530), noise(4, 1, 1, 520, 530, dtype="int32")
    convert(archive_of(movie_of(pixels)), tmp_path / "out.zarr", {"memory.tif": {"cells": movie_of(labels)}})
    found = open_movie(tmp_path / "out.zarr" / "labels" / "cells")
    assert found.pixels.dtype == "int32"
    assert np.array_equal(found.pixels[...], labels)
    assert np.array_equal(found.pyramid[0].pixels[...], labels[..., ::2, ::2])
    # and once more, from the store to another one, unasked
    convert(open_archive(tmp_path / "out.zarr"), tmp_path / "again.zarr")
    assert np.array_equal(open_movie(tmp_path / "again.zarr" / "labels" / "cells").pixels[...], labels)


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (noise(4, 1, 1, 40, 50, dtype="float32"), "label images hold whole numbers, but this one is float32. save it as uint16"),
        (noise(4, 1, 1, 40, 51), "the label image is T 4 x C 1 x Z 1 x Y 40 x X 51, but its movie memory.tif is T 4 x C 1 x Z 1 x Y 40 x X 50"),
        (noise(4, 2, 1, 40, 50), "the label image is T 4 x C 2"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Array, what: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=what):
        convert(archive_of(movie_of(noise(4, 1, 1, 40, 50))), tmp_path / "out.zarr", {"memory.tif": {"cells": movie_of(labels)}})
    assert not list(tmp_path.iterdir())


def test_a_label_image_may_not_leave_the_store(tmp_path: Path) -> None:
    labels = {"memory.tif": {"../cells": movie_of(noise(4, 1, 1, 40, 50))}}
    with pytest.raises(UserError, match="a label image cannot be called '../cells'"):
        convert(archive_of(movie_of(noise(4, 1, 1, 40, 50))), tmp_path / "out.zarr", labels)


def test_few_files_and_every_chunk_carries_its_checksum(tmp_path: Path) -> None:
    pixels = noise(40, 1, 1, 520, 520)
    convert(archive_of(movie_of(pixels)), tmp_path / "out.zarr")
    files = sorted(path for path in (tmp_path / "out.zarr").rglob("c/**/*") if path.is_file())
    assert len(files) == 2
    damaged = bytearray(files[0].read_bytes())
    damaged[100] ^= 1
    files[0].write_bytes(damaged)
    with pytest.raises(UserError, match="cannot be read"):
        open_movie(tmp_path / "out.zarr").pixels[...]


@pytest.mark.usefixtures("nothing_left_open")
def test_it_is_the_movie_that_was_read_from_files(write_frames: Callable[..., Path], told: Callable[..., Array], tmp_path: Path) -> None:
    frames = told(5, 30, 40)
    folder = write_frames({f"pos_t{t}.tif": frames[t] for t in range(5)})
    convert(open_archive(folder), tmp_path / "out.zarr")
    assert np.array_equal(open_movie(tmp_path / "out.zarr").pixels[:, 0, 0], frames)
