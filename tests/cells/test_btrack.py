from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cellvjepa.cells.table import read_cells
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Archive

MakeMovie = Callable[..., Movie]

#   objects 0 .. 5: t, x, y, z, type        tracks: 1 = 0, 2, dummy, 4   2 = 1, 3   3 = 5 (of 2)
COORDS = np.array([[0, 1, 2, 0, 0], [0, 9, 8, 0, 0], [1, 2, 2, 0, 0], [1, 9, 9, 0, 0], [3, 4, 2, 0, 0], [2, 10, 9, 0, 0]], np.float32)
REFS = np.array([0, 2, -1, 4, 1, 3, 5], np.int32)
SPANS = np.array([[0, 4], [4, 6], [6, 7]], np.uint32)
LBEPR = np.array([[1, 0, 3, 1, 1, 0], [2, 0, 1, 2, 2, 0], [3, 2, 2, 2, 2, 1]], np.int32)
EXPECTED = [[1, 0, 2, 1, -1], [1, 1, 2, 2, -1], [1, 3, 2, 4, -1], [2, 0, 8, 9, -1], [2, 1, 9, 9, -1], [3, 2, 9, 10, 2]]


@pytest.fixture
def archive(make_movie: MakeMovie) -> Archive:
    return Archive("/archive", (make_movie("pos4.tif"), make_movie("pos5.tif")), ())


def write(path: Path, name: str = "obj_type_1", **changes: Any) -> Path:
    with h5py.File(path, "a") as file:
        objects, tracks = file.require_group(f"objects/{name}"), file.require_group(f"tracks/{name}")
        arrays = {"tracks": REFS, "map": SPANS, "LBEPR": LBEPR, "fates": np.zeros(3, np.int32)} | changes
        objects.create_dataset("coords", data=arrays.pop("coords", COORDS))
        objects.create_dataset("properties/area", data=np.arange(len(COORDS), dtype=np.float32) + 10)
        if "filtered" in arrays:
            tracks.attrs["f_expr"] = arrays.pop("filtered")
        for key, array in arrays.items():
            tracks.create_dataset(key, data=array)
        tracks.create_dataset("dummies", data=np.array([[2, 3, 2, 0, 0]], np.float32))
    return path


def rows(path: Path, archive: Archive, **options: Any) -> list[list[float]]:
    return read_cells(path, archive, **options).table[["track_id", "t", "y_px", "x_px", "parent_track_id"]].to_numpy().tolist()


def test_tracks_are_read_with_their_mothers_and_without_guesses(tmp_path: Path, archive: Archive) -> None:
    path = write(tmp_path / "pos5_btrack.h5")
    assert rows(path, archive, strict=True) == EXPECTED
    table = read_cells(path, archive).table
    assert table["movie"].unique().tolist() == ["pos5.tif"]
    assert table["area_px"].tolist() == [10, 12, 14, 11, 13, 15]


def test_objects_that_were_filtered_before_tracking(tmp_path: Path, archive: Archive) -> None:
    coords = np.insert(COORDS, [0, 3], -99, axis=0)  # two that are too small

    def filtered(name: str, said: str) -> Path:
        path = write(tmp_path / name, coords=coords, filtered=said)
        with h5py.File(path, "a") as file:
            del file["objects/obj_type_1/properties/area"]
            file["objects/obj_type_1/properties/area"] = np.where(coords[:, 0] < 0, 3, 50).astype(np.float32)
        return path

    assert rows(filtered("pos4.h5", "area>10"), archive) == EXPECTED
    with pytest.raises(UserError, match="its objects were filtered in a way that is not understood"):
        rows(filtered("pos5.h5", "__import__('os').system('true')"), archive)


def test_tracks_of_two_types_keep_apart(tmp_path: Path, archive: Archive) -> None:
    path = write(write(tmp_path / "pos4.h5"), "obj_type_2")
    table = read_cells(path, archive).table
    assert sorted(table["track_id"].unique()) == [1, 2, 3, 5, 6, 7]
    assert table.groupby("object_type").size().tolist() == [6, 6]
    assert table.loc[table["track_id"] == 7, "parent_track_id"].tolist() == [6]


@pytest.mark.parametrize("layout", ["btrack", "napari", "bare napari"])
def test_tables_of_btrack(layout: str, tmp_path: Path, archive: Archive) -> None:
    text = {
        "btrack": "ID t x y z parent root state generation dummy\n"
        "7 0.0 1.5 2.5 0.0 7 7 0 0 False\n7 1.0 1 2 0 7 7 0 0 True\n9 2 3 4 0 7 7 0 1 False\n",
        "napari": "ID,t,y,x,root,parent\n7,0,2.5,1.5,7,7\n9,2,4,3,7,7\n",
        "bare napari": "7,0,2.5,1.5\n9,2,4,3\n",
    }[layout]
    (tmp_path / "pos4.csv").write_text(text)
    mother = -1 if layout == "bare napari" else 7
    assert rows(tmp_path / "pos4.csv", archive) == [[7, 0, 2.5, 1.5, -1], [9, 2, 4, 3, mother]]


def test_a_table_of_ultrack(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / "pos4_ultrack.csv").write_text(
        "track_id,t,z,y,x,id,parent_track_id,parent_id\n1,0,0,2.5,1.5,1000001,-1,-1\n2,1,0,4,3,2000001,1,1000001\n"
    )
    assert rows(tmp_path / "pos4_ultrack.csv", archive) == [[1, 0, 2.5, 1.5, -1], [2, 1, 4, 3, 1]]


BAD = {
    "spans beyond the end": ({"map": SPANS + 5}, "its tables of tracks contradict each other"),
    "spans that go back": ({"map": SPANS[:, ::-1].copy()}, "its tables of tracks contradict each other"),
    "spans that overlap without end": ({"map": np.tile([[0, 7]], (3, 1)).astype("u4")}, "its tables of tracks contradict each other"),
    "references to nowhere": ({"tracks": REFS + 100}, "its tracks name objects that are not there"),
    "tables of other lengths": ({"LBEPR": LBEPR[:2]}, "its tables of tracks contradict each other"),
    "a flat table": ({"LBEPR": LBEPR.ravel()}, "LBEPR has the shape (18,), not that of btrack"),
    "words": ({"tracks": np.array([b"a"])}, "there are no numbers called tracks"),
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_contradict_themselves_are_refused(kind: str, tmp_path: Path, archive: Archive) -> None:
    changes, message = BAD[kind]
    with pytest.raises(UserError) as caught:
        read_cells(write(tmp_path / "pos4.h5", **changes), archive)
    assert f"pos4.h5: {message}" in str(caught.value)


def test_nothing_is_followed_out_of_the_file(tmp_path: Path, archive: Archive) -> None:
    write(tmp_path / "other.h5")
    np.arange(30, dtype=np.float32).tofile(tmp_path / "raw.bin")
    virtual = h5py.VirtualLayout((6, 5), np.float32)
    virtual[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "objects/obj_type_1/coords", (6, 5))
    makers: dict[str, Callable[[Any], object]] = {
        "coords is a link to somewhere else": lambda group: group.__setitem__("coords", h5py.ExternalLink("other.h5", "/objects/obj_type_1/coords")),
        "coords is stored in other files": lambda group: group.create_dataset(
            "coords", (6, 5), np.float32, external=[(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)]
        ),
        "coords is stored in other files.": lambda group: group.create_virtual_dataset("coords", virtual),
        "coords claims 20,000,000,000,000 bytes, more than the file can hold": lambda group: group.create_dataset(
            "coords", (10**12, 5), np.float32, chunks=(1000, 5)
        ),
        "coords claims 2,000,000,000 bytes": lambda group: group.create_dataset("coords", (6, 5), np.float32, maxshape=(None, 5), chunks=(10**8, 5)),
    }
    for number, (message, make) in enumerate(makers.items()):
        path = write(tmp_path / f"pos4_{number}.h5")
        with h5py.File(path, "a") as file:
            del file["objects/obj_type_1/coords"]
            make(file["objects/obj_type_1"])
        path.rename(tmp_path / "pos4.h5")
        with pytest.raises(UserError) as caught:
            read_cells(tmp_path / "pos4.h5", archive)
        assert message.rstrip(".") in str(caught.value)


def test_whatever_byte_is_changed_there_are_cells_or_a_readable_refusal(tmp_path: Path, archive: Archive) -> None:
    raw = write(tmp_path / "pos4.h5").read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(120):
        damaged = bytearray(raw[: rng.integers(1, len(raw))] if trial % 4 == 0 else raw)
        for at in rng.integers(0, min(len(damaged), 4096 if trial % 2 else 10**9), 4):
            damaged[at] = rng.integers(0, 256)
        (tmp_path / "pos4.h5").write_bytes(damaged)
        with contextlib.suppress(UserError):
            assert len(read_cells(tmp_path / "pos4.h5", archive).table)
