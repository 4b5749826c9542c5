from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellvjepa.cells import label_frames
from cellvjepa.cells.label_frames import cells_of_labels
from cellvjepa.cells.table import Cells, read_cells
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import ArrayPixels, Movie
from cellvjepa.movies.readers import Archive, open_archive

MakeMovie = Callable[..., Movie]

#     t=0            t=1
#     0 0 0 0 0 0    0 0 0 0 0 0
#     0 7 7 0 0 0    0 0 7 7 0 0
#     0 7 7 0 0 3    0 0 7 7 0 0     7 walks, 3 leaves, 300 comes
#     0 0 0 0 0 3    0 300 0 0 0 0
LABELS = np.zeros((2, 4, 6), np.uint16)
LABELS[0, 1:3, 1:3] = LABELS[1, 1:3, 2:4] = 7
LABELS[0, 2:4, 5] = 3
LABELS[1, 3, 1] = 300
# track_id, t, y_px, x_px, area_px
EXPECTED = [[3, 0, 2.5, 5.0, 2], [7, 0, 1.5, 1.5, 4], [7, 1, 1.5, 2.5, 4], [300, 1, 3.0, 1.0, 1]]


def write(path: Path, array: np.ndarray[Any, Any], axes: str = "TYX") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, metadata={"axes": axes}, photometric="minisblack")
    return path


def found(cells: Cells) -> list[list[float]]:
    return cells.table[["track_id", "t", "y_px", "x_px", "area_px"]].to_numpy().tolist()


@pytest.fixture
def archive(make_movie: MakeMovie) -> Archive:
    return Archive("/archive", (make_movie("pos4.tif", t=2, y=4, x=6),), ())


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u4", "f4"])
def test_the_pixels_of_a_track_become_its_position_and_area(dtype: str, tmp_path: Path, archive: Archive) -> None:
    labels = np.where(LABELS == 300, 200, LABELS).astype(dtype)
    cells = read_cells(write(tmp_path / "any_name.tif", labels), archive)
    assert found(cells) == [[200 if row[0] == 300 else row[0], *row[1:]] for row in EXPECTED]
    assert cells.table["movie"].unique().tolist() == ["pos4.tif"]
    assert cells.table["z_px"].isna().all()


def test_labels_in_depth(tmp_path: Path, make_movie: MakeMovie) -> None:
    deep = np.stack([LABELS, np.where(LABELS == 7, 7, 0), np.zeros_like(LABELS)], axis=1).astype(np.uint16)
    archive = Archive("/archive", (make_movie("pos4.tif", t=2, z=3, y=4, x=6),), ())
    table = read_cells(write(tmp_path / "labels.ome.tif", deep, "TZYX"), archive).table
    assert table[["track_id", "t", "z_px", "area_px"]].to_numpy().tolist() == [[3, 0, 0, 2], [7, 0, 0.5, 8], [7, 1, 0.5, 8], [300, 1, 0, 1]]
    flat = read_cells(write(tmp_path / "projected_labels.tif", LABELS), archive).table  # labels of the projection
    assert flat["z_px"].isna().all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32), st.integers(1, 2), st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.booleans())
def test_cells_are_described_as_looking_at_one_label_after_another_does(
    make_movie: MakeMovie, seed: int, t: int, z: int, y: int, x: int, labels: int, large: bool
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.choice(np.array([0, *rng.choice(2**31 if large else 40, labels, replace=False)], np.uint32), (t, 1, z, y, x))
    image = replace(make_movie(t=t, z=z, y=y, x=x), pixels=InBlocks(pixels, (t, 1, 1, 5, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_frames, "_BLOCK_BYTES", int(rng.choice([1, 200, 10**6])))
        table = cells_of_labels(image, image)
    assert {(row.t, row.track_id) for row in table.itertuples()} == {(i, v) for i in range(t) for v in np.unique(pixels[i]) if v}
    for row in table.itertuples():
        at = np.argwhere(pixels[row.t, 0] == row.track_id)
        expected = at.mean(axis=0)[0 if z > 1 else 1 :]
        np.testing.assert_allclose([getattr(row, name) for name in ("z_px", "y_px", "x_px") if hasattr(row, name)], expected)
        assert row.area_px == len(at)


class InBlocks(ArrayPixels):
    """Pixels in memory that have chunks, and count the bytes that are asked for at once."""

    def __init__(self, array: np.ndarray[Any, Any], chunks: tuple[int, int, int, int, int]) -> None:
        super().__init__(array)
        object.__setattr__(self, "_chunks", chunks)
        object.__setattr__(self, "asked", [])

    @property
    def chunks(self) -> tuple[int, int, int, int, int]:
        return self._chunks

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        found = super().__getitem__(key)
        self.asked.append(found.nbytes)
        return found


def test_no_more_than_a_block_is_read_at_once(make_movie: MakeMovie) -> None:
    frames = np.broadcast_to(np.eye(512, dtype=np.uint16) * 7, (40, 1, 1, 512, 512))
    image = replace(make_movie(t=40, y=512, x=512), pixels=InBlocks(frames, (40, 1, 1, 64, 64)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_frames, "_BLOCK_BYTES", 2**20)
        table = cells_of_labels(image, image)
    assert max(image.pixels.asked) <= 2**20
    assert sum(image.pixels.asked) == frames.size * 2  # and nothing twice
    assert table["area_px"].tolist() == [512.0] * 40
    assert table["y_px"].tolist() == [255.5] * 40


class Generated(ArrayPixels):
    """2,000 frames of 256 x 256 px with 40 cells that are made when they are asked for: 262 MB in all."""

    def __getitem__(self, key: Any, /) -> np.ndarray[Any, Any]:
        frames = range(*key[0].indices(2000))
        made = np.zeros((len(frames), 1, 256, 256), np.uint16)
        for row, t in enumerate(frames):
            for cell in range(40):
                y, x = 6 * cell, (5 * cell + t) % 240
                made[row, 0, y : y + 5, x : x + 5] = cell + 1
        return made


def test_the_memory_does_not_grow_with_the_frames(make_movie: MakeMovie) -> None:
    image = replace(make_movie(t=2000, y=256, x=256), pixels=Generated(np.broadcast_to(np.uint16(0), (2000, 1, 1, 256, 256))))
    tracemalloc.start()
    table = cells_of_labels(image, image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table) == 80_000
    assert peak < 40e6  # of which the table takes 6 MB


def test_a_folder_of_label_images_named_after_their_movies(tmp_path: Path, make_movie: MakeMovie) -> None:
    names = ("day1/pos4.tif", "day1/pos5.ome.tif", "day2/pos4.zarr", "day2/alone.tif", "day3/frames")
    archive = Archive("/archive", tuple(make_movie(name, t=2, y=4, x=6) for name in names), ())
    for number, name in enumerate(("day1/pos4_labels.tif", "day1/pos5_cp_masks.tif", "day2/pos4.tif", "alone_track_labels.tif", "frames.tif")):
        write(tmp_path / "labels" / name, np.where(LABELS == 7, 10 + number, 0).astype("u2"))
    (tmp_path / "labels" / "notes.txt").write_text("made by hand")
    cells = read_cells(tmp_path / "labels", archive)
    assert {name: cells.of(name).table["track_id"].unique().tolist() for name in names} == {name: [10 + i] for i, name in enumerate(names)}


def write_zarr(path: Path, array: np.ndarray[Any, Any], *, is_labels: bool = False) -> None:
    group = zarr.open_group(path, mode="a")
    group.create_array("0", data=array, chunks=(2, 4, 4))
    axes = [{"name": "t", "type": "time"}, *({"name": name, "type": "space"} for name in "yx")]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]} | (
        {"image-label": {}} if is_labels else {}
    )


def test_labels_inside_ome_zarr_belong_to_the_image_they_lie_in(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_zarr(tmp_path / "archive" / f"{name}.zarr", LABELS)
        zarr.open_group(tmp_path / "archive" / f"{name}.zarr" / "labels", mode="a").attrs["ome"] = {"version": "0.5", "labels": ["nuclei"]}
        write_zarr(tmp_path / "archive" / f"{name}.zarr" / "labels" / "nuclei", np.where(LABELS == 7, ord(name), 0).astype("u2"), is_labels=True)
    one = open_archive(tmp_path / "archive" / "a.zarr")
    for path in ("archive/a.zarr", "archive/a.zarr/labels", "archive/a.zarr/labels/nuclei"):
        assert found(read_cells(tmp_path / path, one)) == [[ord("a"), 0, 1.5, 1.5, 4], [ord("a"), 1, 1.5, 2.5, 4]]
    both = read_cells(tmp_path / "archive", open_archive(tmp_path / "archive"))
    assert {name: both.of(name).table["track_id"].unique().tolist() for name in ("a.zarr", "b.zarr")} == {"a.zarr": [97], "b.zarr": [98]}


def test_frames_are_streamed(tmp_path: Path, archive: Archive) -> None:
    told: list[tuple[str, int, int]] = []
    read_cells(write(tmp_path / "labels.tif", LABELS), archive, progress=lambda *note: told.append(note))
    assert told[0] == ("reading cells of pos4.tif", 0, 2)
    assert told[-1] == ("reading cells of pos4.tif", 2, 2)


BAD = {
    "another size": (LABELS[:, :, :5], "TYX", "the label image is T 2 x Y 4 x X 5, but its movie pos4.tif is T 2 x Y 4 x X 6"),
    "another length": (np.concatenate([LABELS, LABELS]), "TYX", "the label image is T 4 x Y 4 x X 6, but its movie"),
    "another depth": (np.stack([LABELS] * 3, 1), "TZYX", "the label image is T 2 x Z 3 x Y 4 x X 6, but its movie pos4.tif is T 2 x Y 4 x X 6"),
    "two channels": (np.stack([LABELS] * 2, 1), "TCYX", "the label image has 2 channels. give an image with one channel"),
    "fractions": (LABELS / np.float32(2), "TYX", "the pixel values are not track ids: some are negative or fractions"),
    "negative": (-LABELS.astype("i4"), "TYX", "the pixel values are not track ids: some are negative or fractions"),
    "nothing": (np.zeros_like(LABELS), "TYX", "the label image holds no cell: all its pixels are 0. give the image whose pixel values are track ids"),
}


@pytest.mark.parametrize("kind", BAD)
def test_images_that_are_no_labels_of_this_movie_are_refused(kind: str, tmp_path: Path, archive: Archive) -> None:
    array, axes, message = BAD[kind]
    with pytest.raises(UserError) as caught:
        read_cells(write(tmp_path / "bad.ome.tif", array, axes), archive)
    assert f"bad.ome.tif: {message}" in str(caught.value)


def test_a_label_image_that_cannot_be_read_is_refused(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / "labels.tif").touch()
    with pytest.raises(UserError, match="labels.tif: .*0 bytes"):
        read_cells(tmp_path / "labels.tif", archive)


def test_label_images_without_a_movie_or_with_two_for_one_are_refused(
    tmp_path: Path, make_movie: MakeMovie, caplog: pytest.LogCaptureFixture
) -> None:
    archive = Archive("/archive", (make_movie("pos4.tif", t=2, y=4, x=6), make_movie("pos5.tif", t=2, y=4, x=6)), ())
    with pytest.raises(UserError, match=r"labels: there are no label images here. give a TIFF or OME-Zarr labels"):
        (tmp_path / "labels").mkdir()
        read_cells(tmp_path / "labels", archive)
    write(tmp_path / "labels" / "pos4_labels.tif", LABELS)
    write(tmp_path / "labels" / "pos9_labels.tif", LABELS)
    with pytest.raises(
        UserError, match=r"pos9_labels.tif: the label image belongs to no movie. name it after its movie, as pos4_labels.tif for pos4.tif"
    ):
        read_cells(tmp_path / "labels", archive, strict=True)
    assert read_cells(tmp_path / "labels", archive).table["movie"].unique().tolist() == ["pos4.tif"]
    assert "left out: " in caplog.text
    assert "pos9_labels.tif: the label image belongs to no movie" in caplog.text
    (tmp_path / "labels" / "pos9_labels.tif").rename(tmp_path / "labels" / "pos4_masks.tif")
    with pytest.raises(UserError, match=r"labels: pos4_labels.tif and pos4_masks.tif both belong to pos4.tif. give a path with one of them"):
        read_cells(tmp_path / "labels", archive)


def test_movies_are_not_taken_for_their_own_labels(tmp_path: Path) -> None:
    write_zarr(tmp_path / "a.zarr", LABELS)
    write(tmp_path / "b.tif", LABELS)
    for name in ("a.zarr", "b.tif"):
        with pytest.raises(UserError, match=f"{name}: there are no label images here. give a TIFF or OME-Zarr labels"):
            read_cells(tmp_path / name, open_archive(tmp_path / name))


def write_masks(folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(LABELS):
        tifffile.imwrite(folder / name.format(t), frame)


@pytest.mark.parametrize(("folder", "name"), [("masks", "mask{:03d}.tif"), ("01_GT/SEG", "man_seg{:03d}.tif"), ("01_GT/TRA", "man_track{:03d}.tif")])
def test_one_label_image_per_frame_is_one_movie_of_labels(folder: str, name: str, tmp_path: Path, archive: Archive) -> None:
    write_masks(tmp_path / folder, name)
    assert found(read_cells(tmp_path / folder, archive)) == EXPECTED


def test_label_images_beside_the_frames_of_their_movie(tmp_path: Path) -> None:
    write_masks(tmp_path / "pos4", "mask_t{}.tif")
    write_masks(tmp_path / "pos4", "image_t{}.tif")
    opened = open_archive(tmp_path, remember=False)
    assert [movie.name for movie in opened.movies] == ["pos4"]
    assert [Path(one.path).name for one in opened.skipped] == ["mask_t0.tif", "mask_t1.tif"]
    assert found(read_cells(tmp_path / "pos4", opened)) == EXPECTED


def test_label_images_of_several_movies_in_one_folder(tmp_path: Path, make_movie: MakeMovie) -> None:
    movies = tuple(make_movie(f"pos{p}", t=2, y=4, x=6) for p in (1, 2))
    for p in (1, 2):
        write_masks(tmp_path / "labels", f"pos{p}_mask_t{{}}.tif")
    cells = read_cells(tmp_path / "labels", Archive("/archive", movies, ()))
    assert sorted(cells.table["movie"].unique()) == ["pos1", "pos2"]
    assert found(cells) == [*EXPECTED, *EXPECTED]
