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
#     1 1 . . . 2    . 2 2 . . 1    . . 3 . 2 1     the numbers mean nothing: 1 -> 2 -> (3, 2); 2 -> 1 -> 1
MASKS = np.zeros((3, 2, 6), np.uint16)
MASKS[0, :, 0:2], MASKS[0, :, 5] = 1, 2
MASKS[1, :, 1:3], MASKS[1, :, 5] = 2, 1
MASKS[2, :, 2], MASKS[2, :, 4], MASKS[2, :, 5] = 3, 2, 1
EDGES = "source_frame,source_label,target_frame,target_label,weight\n0,1,1,2,0.9\n0,2,1,1,0.9\n1,2,2,3,0.6\n1,2,2,2,0.6\n1,1,2,1,0.9\n"


@pytest.fixture
def archive(make_movie: MakeMovie) -> Archive:
    return Archive("/archive", (make_movie("pos4.tif", t=3, y=2, x=6),), ())


def test_edges_join_the_masks_of_successive_frames(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "pos4_tracks.csv").write_text(EDGES)
    with pytest.raises(UserError, match="pos4_tracks.csv: there is no label image for this table of edges .* put the label image that was tracked"):
        read_cells(tmp_path / "pos4_tracks.csv", archive)
    tifffile.imwrite(tmp_path / "pos4_masks.tif", MASKS, metadata={"axes": "TYX"}, photometric="minisblack")
    cells = read_cells(tmp_path / "pos4_tracks.csv", archive, strict=True)
    columns = ["track_id", "t", "x_px", "parent_track_id", "label"]
    expected = [[0, 0, 0.5, -1, 1], [0, 1, 1.5, -1, 2], [1, 0, 5, -1, 2], [1, 1, 5, -1, 1], [1, 2, 5, -1, 1], [2, 2, 4, 0, 2], [3, 2, 2, 0, 3]]
    assert sorted(cells.table[columns].to_numpy().tolist()) == expected
    assert (cells.labels["pos4.tif"].pixels[:, 0, 0] == MASKS).all()


def test_edges_between_masks_that_are_not_there_are_counted(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "pos4_masks.tif", MASKS, metadata={"axes": "TYX"}, photometric="minisblack")
    (tmp_path / "pos4_tracks.csv").write_text(EDGES + "0,1,1,77,0.1\n")
    assert len(read_cells(tmp_path / "pos4_tracks.csv", archive).table) == 7
    assert "1 of 6 edges join masks that are not in pos4_masks.tif; the first is in line 7" in caplog.text
    with pytest.raises(UserError, match="1 of 6 edges join masks that are not in pos4_masks.tif"):
        read_cells(tmp_path / "pos4_tracks.csv", archive, strict=True)
