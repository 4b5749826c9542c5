from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from cellvjepa.cells.table import read_cells
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Archive

MakeMovie = Callable[..., Movie]

#   100 - 101 - 102      divides
#           \ - 103
#   7 - - - - - 8        is missed once
IDS = np.array([100, 7, 101, 102, 103, 8], np.uint64)
EDGES = np.array([[100, 101], [101, 102], [101, 103], [7, 8]], np.uint64)
T, Y, X = np.array([0, 0, 1, 2, 2, 2]), np.array([1.0, 9, 1, 1, 5, 9]), np.array([2.0, 3, 2.5, 3, 3, 3])
AXES = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
EXPECTED = [[0, 0, 1, 2, -1], [0, 1, 1, 2.5, -1], [1, 0, 9, 3, -1], [1, 2, 9, 3, -1], [2, 2, 1, 3, 0], [3, 2, 5, 3, 0]]


@pytest.fixture
def archive(make_movie: MakeMovie) -> Archive:
    return Archive("/archive", (make_movie("pos4.tif"), make_movie("pos5.tif", um=0.5, s=60.0)), ())


def write(path: Path, zarr_format: Any = 2, edges: Any = EDGES, ids: Any = IDS, said: dict[str, Any] | None = None, **props: Any) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.attrs["geff"] = {"geff_version": "1.1.0", "directed": True, "axes": AXES} | (said or {})
    arrays = {"nodes/ids": ids, "edges/ids": edges} | {f"nodes/props/{name}/values": v for name, v in ({"t": T, "y": Y, "x": X} | props).items()}
    for name, array in arrays.items():
        if array is not None:
            group.create_array(name, data=array)
    return path


def rows(path: Path, archive: Archive, **options: Any) -> list[list[float]]:
    return read_cells(path, archive, **options).table[["track_id", "t", "y_px", "x_px", "parent_track_id"]].to_numpy().tolist()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("place", ["pos4.geff", "pos4_tracks.geff", "pos4.zarr/tracks", "pos4.zarr"])
def test_a_graph_becomes_tracks_with_mothers(zarr_format: int, place: str, tmp_path: Path, archive: Archive) -> None:
    if place.startswith("pos4.zarr"):
        zarr.open_group(tmp_path / "pos4.zarr", mode="w", zarr_format=zarr_format)  # type: ignore[arg-type]
    write(tmp_path / ("pos4.zarr/tracks" if place == "pos4.zarr" else place), zarr_format, area=np.arange(6.0))
    assert rows(tmp_path / place, archive, strict=True) == EXPECTED
    assert read_cells(tmp_path / place, archive).table["area_px"].tolist() == [0, 2, 1, 5, 3, 4]


def test_micrometres_and_seconds_become_pixels_and_frames(tmp_path: Path, archive: Archive) -> None:
    units = {"axes": [AXES[0] | {"unit": "second"}, AXES[1] | {"unit": "micrometer"}, AXES[2] | {"unit": "micrometer"}]}
    path = write(tmp_path / "pos5.geff", said=units, t=T * 60.0, y=Y / 2, x=X / 2)
    assert rows(path, archive) == EXPECTED
    with pytest.raises(UserError, match="times are in second, but the interval of pos4.tif is not known. write times in frames"):
        rows(path.rename(tmp_path / "pos4.geff"), archive)


def test_the_label_image_that_the_graph_names_comes_along(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.zeros((30, 40, 50), np.uint16)
    for value, t, y, x in zip([5, 6, 5, 5, 9, 6], T, Y, X, strict=True):
        labels[t, int(y), int(x)] = value
    tifffile.imwrite(tmp_path / "segmentation.tif", labels, metadata={"axes": "TYX"})
    said = {"related_objects": [{"type": "labels", "path": "../segmentation.tif", "label_prop": "seg_id"}]}
    cells = read_cells(write(tmp_path / "pos4.geff", said=said, seg_id=np.array([5, 6, 5, 5, 9, 6])), archive)
    for row in cells.table.itertuples():
        assert cells.labels["pos4.tif"].pixels[int(row.t), 0, 0, int(row.y_px), int(row.x_px)] == row.label
    assert not caplog.messages
    for where in ("../../segmentation.tif", str(tmp_path / "segmentation.tif"), "../link.tif"):
        (tmp_path / "inner").mkdir(exist_ok=True)
        (tmp_path / "inner" / "link.tif").unlink(missing_ok=True)
        (tmp_path / "inner" / "link.tif").symlink_to(tmp_path / "segmentation.tif")
        outside = {"related_objects": [{"type": "labels", "path": where, "label_prop": "seg_id"}]}
        cells = read_cells(write(tmp_path / "inner" / "pos4.geff", said=outside, seg_id=np.ones(6, np.int64)), archive)
        assert not cells.labels
        assert "label" not in cells.table.columns
        assert "the label image of the graph is not used: " in caplog.messages[-1]
        assert "it points out of the folder that it lies in" in caplog.messages[-1]


def test_edges_that_cannot_be_are_left_out_and_counted(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "pos4.geff", edges=np.concatenate([EDGES, [[100, 7], [100, 999]]]).astype(np.uint64))
    assert rows(path, archive) == EXPECTED
    assert "2 of 6 edges are left out: they join nodes that are not there, or of the same frame" in caplog.text


def test_a_graph_without_edges_is_of_lone_cells(tmp_path: Path, archive: Archive) -> None:
    assert len({row[0] for row in rows(write(tmp_path / "pos4.geff", edges=np.zeros((0, 2), np.uint64)), archive)}) == 6


def test_nodes_outside_the_movie_are_left_out(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "pos4.geff", x=np.where(IDS == 8, 99.0, X))
    assert len(rows(path, archive)) == 5
    assert "1 of 6 rows are left out; the first, node 8, is at x_px = 99 in pos4.tif" in caplog.text
    with pytest.raises(UserError, match="1 of 6 rows cannot be used; the first, node 8"):
        rows(path, archive, strict=True)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no nodes": ({"ids": None}, "the graph has no nodes"),
    "no place": ({"y": None}, "the graph does not say where its nodes are along y"),
    "no time": ({"t": None}, "the graph does not say when its nodes are"),
    "an id twice": ({"ids": np.array([7, 7, 101, 102, 103, 8], np.uint64)}, "several nodes have the same id"),
    "other lengths": ({"x": X[:3]}, "nodes/props/x/values has 3 values for 6 nodes"),
    "edges of three": ({"edges": np.ones((2, 3), np.uint64)}, "its edges have the shape (2, 3)"),
    "times between frames": ({"t": T + 0.5}, "some nodes are between two frames"),
    "an axis that leads out": ({"said": {"axes": [{"name": "../../t", "type": "time"}, *AXES[1:]]}}, "the metadata points out of the image"),
    "lengths of no kind": ({"said": {"axes": [AXES[0], AXES[1] | {"unit": "furlong"}, AXES[2]]}}, "positions are in 'furlong'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_graphs_that_make_no_sense_are_refused(kind: str, tmp_path: Path, archive: Archive) -> None:
    changes, message = BAD[kind]
    with pytest.raises(UserError) as caught:
        read_cells(write(tmp_path / "pos4.geff", **changes), archive)
    assert message in str(caught.value)


def test_no_size_is_believed_that_the_files_contradict(tmp_path: Path, archive: Archive) -> None:
    path = write(tmp_path / "pos4.geff")
    place = path / "nodes" / "ids" / ".zarray"
    said = json.loads(place.read_text())
    for shape, chunks, message in (
        ([10**12], [6], "claims"),
        ([10**6], [60], "claims 16,667 files, but 1 are there"),
        ([6], [10**12], "one chunk claims"),
        ([-1], [6], "cannot be"),
    ):
        place.write_text(json.dumps(said | {"shape": shape, "chunks": chunks}))
        with pytest.raises(UserError, match=message):
            read_cells(path, archive)


def test_whatever_byte_is_changed_there_are_cells_or_a_readable_refusal(tmp_path: Path, archive: Archive) -> None:
    rng = np.random.default_rng(0)
    write(tmp_path / "sound.geff", area=np.arange(6.0))
    for _ in range(60):
        shutil.rmtree(tmp_path / "pos4.geff", ignore_errors=True)
        shutil.copytree(tmp_path / "sound.geff", tmp_path / "pos4.geff")
        files = sorted(path for path in (tmp_path / "pos4.geff").rglob("*") if path.is_file())
        for file in rng.choice(np.array(files, dtype=object), 3):
            raw = bytearray(file.read_bytes())
            for at in rng.integers(0, len(raw), 2):
                raw[at] = rng.integers(0, 256)
            file.write_bytes(raw)
        with contextlib.suppress(UserError):
            assert len(read_cells(tmp_path / "pos4.geff", archive).table)
