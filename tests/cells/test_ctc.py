from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellvjepa.cells.table import read_cells
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Archive

MakeMovie = Callable[..., Movie]

#     t=0            t=1            t=2
#     1 1 . . . 4    . 1 1 . . 4    . . 2 . 3 4     1 divides into 2 and 3; 4 stays
MASKS = np.zeros((3, 2, 6), np.uint16)
MASKS[0, :, 0:2] = MASKS[1, :, 1:3] = 1
MASKS[2, :, 2], MASKS[2, :, 4], MASKS[:, :, 5] = 2, 3, 4
TRACKS = "1 0 1 0\n2 2 2 1\n3 2 2 1\n4 0 2 0\n"


def write(folder: Path, tracks: str = TRACKS, name: str = "man_track", masks: np.ndarray = MASKS) -> None:
    folder.mkdir(parents=True)
    for t, frame in enumerate(masks):
        tifffile.imwrite(folder / f"{'mask' if name == 'res_track' else name}{t:03d}.tif", frame)
    (folder / f"{name}.txt").write_text(tracks)


@pytest.fixture
def archive(make_movie: MakeMovie) -> Archive:
    return Archive("/archive", (make_movie("01", t=3, y=2, x=6), make_movie("02", t=3, y=2, x=6)), ())


ALL = [[1, 0, 0.5, -1], [1, 1, 1.5, -1], [2, 2, 2, 1], [3, 2, 4, 1], [4, 0, 5, -1], [4, 1, 5, -1], [4, 2, 5, -1]]


@pytest.mark.parametrize(("folder", "name"), [("01_GT/TRA", "man_track"), ("01_RES", "res_track")])
@pytest.mark.parametrize("given", ["", "folder", "file"])
def test_tracks_come_with_their_mothers_and_masks(folder: str, name: str, given: str, tmp_path: Path, archive: Archive) -> None:
    write(tmp_path / folder, name=name)
    path = {"": tmp_path, "folder": tmp_path / folder, "file": tmp_path / folder / f"{name}.txt"}[given]
    cells = read_cells(path, archive, strict=True)
    assert cells.table[["track_id", "t", "x_px", "parent_track_id"]].to_numpy().tolist() == ALL
    assert cells.table["movie"].unique().tolist() == ["01"]
    assert (cells.labels["01"].pixels[:, 0, 0] == MASKS).all()


def test_a_data_set_of_two_sequences(tmp_path: Path, archive: Archive) -> None:
    write(tmp_path / "01_GT" / "TRA")
    write(tmp_path / "02_GT" / "TRA", masks=MASKS[:, :, ::-1])
    cells = read_cells(tmp_path, archive)
    assert len(cells.of("01").table) == len(cells.of("02").table) == 7
    assert list(cells.of("02").labels) == ["02"]
    write(tmp_path / "02_RES", name="res_track")
    with pytest.raises(UserError, match="both TRA and 02_RES are of 02. give the path of one of them"):
        read_cells(tmp_path, archive)


def test_masks_that_the_text_file_does_not_have_are_left_out(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "01_RES", TRACKS.replace("3 2 2 1\n", "").replace("1 0 1 0", "1 0 0 0"), "res_track")
    table = read_cells(tmp_path, archive).table
    assert table["track_id"].tolist() == [1, 2, 4, 4, 4]
    assert "1 of 7 rows are left out; the first, mask 5, is label 3 in frame 2, which res_track.txt does not have" in caplog.text
    assert "1 of 7 rows are left out; the first, mask 2, is label 1 in frame 1, before the first or after the last frame of its track" in caplog.text
    with pytest.raises(UserError, match="1 of 7 rows cannot be used; the first, mask 5, is label 3 in frame 2, which res_track.txt does not have"):
        read_cells(tmp_path, archive, strict=True)


def test_tracks_without_masks_are_counted(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "01_GT" / "TRA", TRACKS + "9 0 2 0\n8 1 2 77\n")
    assert len(read_cells(tmp_path, archive).table) == 7
    assert "man_track.txt: 2 of 6 tracks have no mask in any frame; the first is 9" in caplog.text
    assert "man_track.txt: 1 of 6 tracks come from a track that is not there; the first is 8" in caplog.text
    with pytest.raises(UserError, match="2 of 6 tracks have no mask in any frame"):
        read_cells(tmp_path, archive, strict=True)


BAD = {
    "words": ("1 0 one 0\n", "line 1 cannot be read: '1 0 one 0'. each line says L B E P"),
    "three numbers": (TRACKS + "5 0 1\n", "line 5 cannot be read"),
    "negative": ("1 0 1 -1\n", "line 1 cannot be read"),
    "huge": (f"{10**30} 0 1 0\n", "line 1 cannot be read"),
    "twice": (TRACKS + "4 0 2 0\n", "the track in line 5 has its label once more"),
    "backwards": ("1 2 1 0\n", "the track in line 1 ends before it begins"),
    "own mother": ("1 0 1 1\n", "the track in line 1 cannot be"),
    "empty": ("\n", "the file has no tracks"),
}


@pytest.mark.parametrize("kind", BAD)
def test_text_files_that_make_no_sense_are_refused(kind: str, tmp_path: Path, archive: Archive) -> None:
    text, message = BAD[kind]
    write(tmp_path / "01_GT" / "TRA", text)
    with pytest.raises(UserError) as caught:
        read_cells(tmp_path, archive)
    assert f"man_track.txt: {message}" in str(caught.value)


def test_masks_of_another_movie_are_refused(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "01_RES", name="res_track", masks=MASKS[:, :, :5])
    with pytest.raises(UserError, match="the label image is T 3 x Y 2 x X 5, but its movie 01 is T 3 x Y 2 x X 6"):
        read_cells(tmp_path, archive)
    write(tmp_path / "02_RES", name="res_track")
    assert read_cells(tmp_path, archive).table["movie"].unique().tolist() == ["02"]
    assert "left out: " in caplog.text
    with pytest.raises(UserError, match="but its movie 01 is"):
        read_cells(tmp_path, archive, strict=True)
