from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellvjepa.cells.canvas import LabelCanvas, new_canvas
from cellvjepa.cells.relabel import link_labels, save_cells, save_labels
from cellvjepa.cells.segment import cell_finder, segment
from cellvjepa.cells.table import read_cells
from cellvjepa.config import LinkConfig, SegmentConfig
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.movie import ArrayPixels, Movie, PixelSize
from cellvjepa.movies.readers import open_archive, open_movie
from cellvjepa.shipped import sample_data_folder

MakeMovie = Callable[..., Movie]


@pytest.fixture(scope="module")
def nuclei() -> Movie:
    return open_movie(sample_data_folder() / "migration_nuclei" / "movie.ome.tif")


@pytest.fixture(scope="module")
def true_masks() -> np.ndarray:
    return tifffile.imread(sample_data_folder() / "migration_nuclei" / "labels" / "movie_labels.tif").astype(np.int64)


def first(movie: Movie, frames: int) -> Movie:
    """The first frames of a movie."""
    return replace(movie, pixels=ArrayPixels(movie.pixels[:frames]))


def hits(found: np.ndarray, truth: np.ndarray) -> tuple[int, int, int]:
    """How many pairs overlap by more than half of their union; how many cells there are, and how many were found."""
    shape = (truth.max() + 1, found.max() + 1)
    both = np.bincount(truth.reshape(-1) * shape[1] + found.reshape(-1), minlength=shape[0] * shape[1]).reshape(shape)[:, :].astype(float)
    union = both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both
    return int((both / np.maximum(union, 1) > 0.5)[1:, 1:].sum()), len(np.unique(truth)) - 1, len(np.unique(found)) - 1


def cancel_at(stage: str, count: int) -> Callable[[str, int, int], None]:
    def progress(now: str, done: int, total: int) -> None:
        if now == stage and done >= count:
            raise Cancelled

    return progress


@pytest.mark.parametrize("name", ["out_labels.tif", "out.zarr"])
def test_real_nuclei_are_found(nuclei: Movie, true_masks: np.ndarray, tmp_path: Path, name: str) -> None:
    movie = first(nuclei, 4)
    seen: list[tuple[str, int, int]] = []
    labels = segment(movie, tmp_path / name, progress=lambda *step: seen.append(step))
    assert labels.shape == movie.shape
    assert labels.pixels.dtype == np.uint16
    counts = np.array([hits(labels.pixels[t, 0, 0].astype(np.int64), true_masks[t]) for t in range(4)]).sum(axis=0)
    assert counts[0] >= 0.85 * counts[1]  # of the cells are found ...
    assert counts[0] >= 0.85 * counts[2]  # ... and most of what is found are cells
    assert [step for step in seen if step[0] == "outlining cells"] == [("outlining cells", t, 4) for t in range(5)]
    assert ("measuring cells", 4, 4) in seen
    assert open_movie(tmp_path / name).shape == movie.shape


def test_pixel_size_and_interval_go_along(make_movie: MakeMovie, tmp_path: Path) -> None:
    pixels = np.zeros((3, 1, 1, 40, 50), np.uint8)
    pixels[:, :, :, 10:22, 10:22] = 200
    movie = replace(make_movie(t=3, um=0.5, s=60.0), pixels=ArrayPixels(pixels))
    for name in ("a.tif", "a.zarr"):
        labels = segment(movie, tmp_path / name)
        assert labels.pixel_um == PixelSize(None, 0.5, 0.5)
        assert labels.interval_s == 60.0
        assert labels.pixels[1, 0, 0, 15, 15] == 1
    assert cell_finder(movie, SegmentConfig()).diameter_um == pytest.approx(6.0, rel=0.2)  # 12 px of half a micrometre


def test_the_channel_that_is_asked_for(make_movie: MakeMovie, tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 1, 40, 50), np.uint8)
    pixels[:, 1, :, 10:22, 10:22] = 200
    movie = replace(make_movie(t=2, c=2), pixels=ArrayPixels(pixels))
    assert segment(movie, tmp_path / "b.tif", channel="b").pixels[0].max() == 1
    with pytest.raises(UserError, match=r"no bright cells stand out in the frames 0, 1\. say how large they are"):
        segment(movie, tmp_path / "a.tif", channel="a")
    with pytest.raises(UserError, match=r"there is no channel 'green'\. its channels are a, b"):
        segment(movie, tmp_path / "a.tif", channel="green")
    assert [path.name for path in tmp_path.iterdir()] == ["b.tif"]


def test_a_movie_of_stacks(make_movie: MakeMovie, tmp_path: Path) -> None:
    pixels = np.zeros((2, 1, 6, 40, 50), np.uint8)
    pixels[:, :, 1:5, 10:22, 10:22] = 200
    movie = replace(make_movie(t=2, z=6), pixels=ArrayPixels(pixels))
    for name in ("a.tif", "a.zarr"):
        labels = segment(movie, tmp_path / name, SegmentConfig(diameter_um=8))
        assert labels.shape == movie.shape
        assert labels.pixels[1, 0, 3, 15, 15] == 1
    with pytest.raises(UserError, match="cellpose is used for single planes here, and this movie has 6"):
        segment(movie, tmp_path / "b.tif", SegmentConfig(method="cellpose"))


@pytest.mark.parametrize("name", ["out.tif", "out.zarr"])
def test_cancelling_leaves_what_was_there(nuclei: Movie, tmp_path: Path, name: str) -> None:
    movie, out = first(nuclei, 3), tmp_path / name
    segment(movie, out)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for stage in ("measuring cells", "outlining cells"):
        with pytest.raises(Cancelled):
            segment(movie, out, SegmentConfig(neck=0.5), progress=cancel_at(stage, 1))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_names_that_cannot_be(nuclei: Movie, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"label images are written as TIFF or OME-Zarr\. call it out\.tif or out\.zarr"):
        segment(nuclei, tmp_path / "out.png")
    with pytest.raises(UserError, match="this is the movie itself"):
        segment(nuclei, nuclei.uri)


def test_models_are_never_fetched(nuclei: Movie, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"segment\.model: no model of cellpose is chosen.*download it once: cpsam_v2 \(1\.2 GB\) from https://"):
        cell_finder(nuclei, SegmentConfig(method="cellpose"))
    with pytest.raises(UserError, match="this model of stardist does not exist"):
        cell_finder(nuclei, SegmentConfig(method="stardist", model=str(tmp_path / "2D_versatile_fluo")))
    with pytest.raises(UserError, match="this folder holds no model of stardist"):
        cell_finder(nuclei, SegmentConfig(method="stardist", model=str(tmp_path)))
    for library in ("cellpose", "stardist"):
        monkeypatch.setitem(__import__("sys").modules, library, None)
        monkeypatch.setitem(__import__("sys").modules, f"{library}.models", None)
    (tmp_path / "config.json").write_text("{}")
    for library, model in (("cellpose", tmp_path / "config.json"), ("stardist", tmp_path)):
        with pytest.raises(UserError, match=rf'{library} is not installed\. install it with: pip install "cellvjepa\[{library}\]"'):
            cell_finder(nuclei, SegmentConfig(method=library, model=str(model)))


# Linking


@pytest.fixture
def renumbered(nuclei: Movie, true_masks: np.ndarray, tmp_path: Path) -> Path:
    """The masks of the sample, numbered anew in each frame."""
    anew = np.stack([np.unique(frame, return_inverse=True)[1].reshape(frame.shape) for frame in true_masks]).astype(np.uint16)
    tifffile.imwrite(tmp_path / "anew_labels.tif", anew, metadata={"axes": "TYX"})
    return tmp_path / "anew_labels.tif"


def edges(tracks: np.ndarray) -> set[tuple[int, int, int, int]]:
    """Pairs of true cells (frame, true id) that follow each other in one track; (N, 3): t, track, true id."""
    found = set()
    for track in np.unique(tracks[:, 1]):
        own = sorted(map(tuple, tracks[tracks[:, 1] == track][:, [0, 2]].tolist()))
        found |= {(*a, *b) for a, b in pairwise(own)}
    return found


@pytest.mark.parametrize("name", ["linked.tif", "linked.zarr"])
def test_linked_labels_hold_track_ids_and_fit_the_table(nuclei: Movie, true_masks: np.ndarray, renumbered: Path, tmp_path: Path, name: str) -> None:
    found = link_labels(open_movie(renumbered), nuclei, tmp_path / name)
    table = found.cells.table
    pairs = []
    for row in table.itertuples():
        own = found.labels.pixels[int(row.t), 0, 0] == row.track_id
        assert own.sum() == row.area_px
        pairs.append((row.t, row.track_id, np.bincount(true_masks[row.t][own]).argmax()))
    t, y, x = np.nonzero(true_masks)
    cells = np.unique(np.stack([t, true_masks[t, y, x], true_masks[t, y, x]], axis=1), axis=0)
    true, got = edges(cells), edges(np.array(pairs))
    assert len(true & got) == len(true) == 617
    assert len(got - true) <= 5
    # What is written is read again, as tracks, by the rest of the program.
    again = read_cells(tmp_path / name, open_archive(nuclei.uri))
    assert again.table["track_id"].tolist() == table["track_id"].tolist()
    saved = save_cells(found.cells, tmp_path / "cells.csv")
    pd.testing.assert_series_equal(read_cells(saved, open_archive(nuclei.uri)).table["y_px"], table["y_px"], atol=1e-3)


def test_links_are_as_far_as_is_said(nuclei: Movie, renumbered: Path, tmp_path: Path) -> None:
    labels = open_movie(renumbered)
    tracks = {
        reach: link_labels(labels, nuclei, tmp_path / "a.tif", LinkConfig(reach_diameters=reach)).cells.table["track_id"].nunique()
        for reach in (0.05, 1.0)
    }
    assert tracks[0.05] > 2 * tracks[1.0]


def test_cancelling_links_leaves_nothing(nuclei: Movie, renumbered: Path, tmp_path: Path) -> None:
    stages = ("reading cells of movie.ome.tif", "linking cells", "writing labels")
    for stage in stages:
        with pytest.raises(Cancelled):
            link_labels(open_movie(renumbered), nuclei, tmp_path / "linked.zarr", progress=cancel_at(stage, 0))
    assert {path.name for path in tmp_path.iterdir()} == {renumbered.name}


def test_what_cannot_be_linked(nuclei: Movie, make_movie: MakeMovie, renumbered: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this is what is to be linked"):
        link_labels(open_movie(renumbered), nuclei, renumbered)
    with pytest.raises(UserError, match="the label image is T 48 x Y 130 x X 130, but its movie pos4.tif is T 30"):
        link_labels(open_movie(renumbered), make_movie(), tmp_path / "a.tif")
    empty = new_canvas(tmp_path / "empty.zarr", nuclei)
    with pytest.raises(UserError, match="holds no cell"):
        link_labels(open_movie(empty.path), nuclei, tmp_path / "a.tif")


# Painting and saving


def test_a_canvas_is_painted_like_an_array(make_movie: MakeMovie, tmp_path: Path) -> None:
    movie = make_movie(t=5, y=40, x=50, um=0.5, s=60.0)
    canvas, array = new_canvas(tmp_path / "paint.zarr", movie), np.zeros((5, 40, 50), np.uint16)
    assert (canvas.shape, canvas.ndim, canvas.dtype, len(canvas)) == ((5, 40, 50), 3, np.uint16, 5)
    rng = np.random.default_rng(0)
    t, y, x = (rng.integers(0, length, 200) for length in array.shape)
    for one in (canvas, array):
        one[2, 10:20, 5:9] = 7
        one[1:3, :4] = 3
        one[-1, ..., -1] = 9
        one[t, y, x] = 5
        one[t[:50], y[:50], x[:50]] = np.arange(50) % 7
    for key in (0, slice(None), (2, slice(5, 12)), (slice(1, 4), slice(None, None, 3), 4), ..., (-1, ..., 3), (t, y, x)):
        np.testing.assert_array_equal(canvas[key], array[key])
    np.testing.assert_array_equal(np.asarray(canvas), array)
    # Every stroke is on the disk, as labels that the rest of the program reads.
    image = open_movie(tmp_path / "paint.zarr")
    np.testing.assert_array_equal(image.pixels[:, 0, 0], array)
    assert image.pixel_um == PixelSize(None, 0.5, 0.5)
    np.testing.assert_array_equal(LabelCanvas(tmp_path / "paint.zarr")[...], array)
    with pytest.raises(IndexError, match="too many indices"):
        canvas[0, 0, 0, 0]


def test_a_canvas_of_stacks(make_movie: MakeMovie, tmp_path: Path) -> None:
    canvas = new_canvas(tmp_path / "paint.zarr", make_movie(t=2, z=3, y=8, x=9))
    canvas[1, 2, 3:5, 4] = 6
    assert canvas.shape == (2, 3, 8, 9)
    assert np.asarray(canvas).sum() == 12
    assert open_movie(canvas.path).pixels[1, 0, 2, 3, 4] == 6


def test_a_large_canvas_takes_no_space_until_it_is_painted(make_movie: MakeMovie, tmp_path: Path) -> None:
    canvas = new_canvas(tmp_path / "paint.zarr", make_movie(t=1000, y=2048, x=2048))
    canvas[500, 1000:1010, 1000:1010] = 1
    assert canvas.nbytes > 8e9
    assert sum(path.stat().st_size for path in canvas.path.rglob("*") if path.is_file()) < 1e5
    assert open_movie(canvas.path).pixels[500, 0, 0, 1005, 1005] == 1
    assert LabelCanvas(canvas.path).largest() == canvas.largest() == 1
    canvas[3, :2, :2] = [[4, 9], [0, 2]]
    assert canvas.largest() == LabelCanvas(canvas.path).largest() == 9


def test_what_is_no_canvas(make_movie: MakeMovie, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"labels that are painted are OME-Zarr\. call it paint\.zarr"):
        new_canvas(tmp_path / "paint.tif", make_movie())
    new_canvas(tmp_path / "paint.zarr", make_movie())
    with pytest.raises(UserError, match="something is here already"):
        new_canvas(tmp_path / "paint.zarr", make_movie())
    with pytest.raises(UserError, match="this is no label image that was made here"):
        LabelCanvas(tmp_path)


def test_labels_are_saved_in_the_other_format(nuclei: Movie, renumbered: Path, tmp_path: Path) -> None:
    labels = open_movie(renumbered)
    saved = save_labels(save_labels(labels, nuclei, tmp_path / "a.zarr"), nuclei, tmp_path / "b.tif")
    np.testing.assert_array_equal(saved.pixels[:, 0, 0], labels.pixels[:, 0, 0])
    with pytest.raises(UserError, match="this is the place that it is read from"):
        save_labels(saved, nuclei, tmp_path / "b.tif")
    odd = replace(labels, pixels=ArrayPixels(np.full(nuclei.pixels.shape, 0.5, np.float32)))
    with pytest.raises(UserError, match="frame 0 has pixel values that are no labels"):
        save_labels(odd, nuclei, tmp_path / "c.tif")
    with pytest.raises(Cancelled):
        save_labels(labels, nuclei, tmp_path / "c.tif", progress=cancel_at("writing labels", 2))
    assert not (tmp_path / "c.tif").exists()
