"""Tracks and label images that are found beside movies.

::

    archive/
      cells.csv            names day1/a.tif and c.tif
      c.tif
      day1/a.tif  b.tif    b_tracks.csv, labels/a_labels.tif
      day2/a.tif           cells.csv, which calls it a.tif
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from cellvjepa.cells.movie_cells import cells_of_movie, movie_cells
from cellvjepa.cells.movie_labels import movie_labels, nearby_labels
from cellvjepa.errors import UserError
from cellvjepa.movies.readers import Archive, open_archive


def table(track_id: int, **more: object) -> pd.DataFrame:
    return pd.DataFrame({"track_id": track_id, "t": [0, 1], "y_px": 2.0, "x_px": 3.0, **more})


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    for name in ("c.tif", "day1/a.tif", "day1/b.tif", "day2/a.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / name, np.arange(3 * 8 * 8, dtype=np.uint16).reshape(3, 8, 8), imagej=True, metadata={"axes": "TYX"})
    pd.concat([table(1, movie="day1/a.tif"), table(2, movie="c.tif")]).to_csv(tmp_path / "cells.csv", index=False)
    table(3).to_csv(tmp_path / "day1" / "b_tracks.csv", index=False)
    table(4, movie="a.tif").to_csv(tmp_path / "day2" / "cells.csv", index=False)
    return open_archive(tmp_path)


def found(archive: Archive, name: str) -> tuple[str, list[int]] | None:
    (movie,) = (movie for movie in archive.movies if movie.name == name)
    cells = movie_cells(movie, archive)
    if cells is None:
        return None
    assert set(cells[0].table["movie"]) == {name}
    return cells[1].relative_to(archive.root).as_posix(), sorted(set(cells[0].table["track_id"]))


def test_each_movie_has_the_tracks_that_name_it(archive: Archive) -> None:
    assert found(archive, "day1/a.tif") == ("cells.csv", [1])
    assert found(archive, "c.tif") == ("cells.csv", [2])
    assert found(archive, "day1/b.tif") == ("day1/b_tracks.csv", [3])
    assert found(archive, "day2/a.tif") == ("day2/cells.csv", [4])


def test_a_table_that_names_no_movie_is_of_the_only_one(archive: Archive) -> None:
    root = Path(archive.root)
    (root / "day2" / "cells.csv").unlink()
    assert found(archive, "day2/a.tif") is None
    table(5).to_csv(root / "day2" / "tracks.csv", index=False)
    assert found(archive, "day2/a.tif") == ("day2/tracks.csv", [5])  # the only movie of its folder
    assert found(open_archive(root / "day2"), "a.tif") == ("tracks.csv", [5])
    assert found(open_archive(root / "day1" / "a.tif"), "a.tif") is None  # there may be others beside it
    table(6).to_csv(root / "tracks.csv", index=False)
    (root / "cells.csv").unlink()
    assert found(archive, "day1/a.tif") is None  # it could be of any


def test_a_table_that_cannot_be_read_is_named(archive: Archive) -> None:
    (Path(archive.root) / "day1" / "b_tracks.csv").write_text("track_id,t\n1,2\n")
    with pytest.raises(UserError, match=r"b_tracks\.csv: there is no column y_px, x_px"):
        found(archive, "day1/b.tif")


def test_labels_in_a_folder_beside_are_found_to_be_looked_at(archive: Archive) -> None:
    (movie,) = (movie for movie in archive.movies if movie.name == "day1/a.tif")
    folder = Path(movie.uri).parent / "labels"
    folder.mkdir()
    for name in ("a_labels.tif", "b_labels.tif"):
        tifffile.imwrite(folder / name, np.zeros((3, 8, 8), np.uint16), imagej=True, metadata={"axes": "TYX"})
    assert movie_labels([movie])[movie.name] == {}
    assert {name: Path(image.uri).name for name, image in nearby_labels(movie).items()} == {"labels": "a_labels.tif"}


def test_rows_of_other_movies_are_passed_over_in_silence(archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    (movie,) = (movie for movie in archive.movies if movie.name == "c.tif")
    table_file = Path(archive.root) / "cells.csv"
    assert cells_of_movie(table_file, movie).table["track_id"].tolist() == [2, 2]
    (other,) = (movie for movie in archive.movies if movie.name == "day1/b.tif")
    assert cells_of_movie(table_file, other).table.empty
    assert caplog.text == ""
    pd.concat([pd.read_csv(table_file), table(9, movie="c.tif").assign(t=77).head(1)]).to_csv(table_file, index=False)
    assert len(cells_of_movie(table_file, movie).table) == 2
    assert "1 of 3 rows" in caplog.text  # its own rows that cannot be used are named
