from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.cells.table import COLUMNS, Cells, read_cells
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import Archive

MakeMovie = Callable[..., Movie]

TABLE = """\
movie,track_id,t,y_px,x_px,area_px,parent_track_id,phase
day1/pos4.tif,2,1,11.5,20,80,1,M
day1/pos4.tif,1,0,10,20,100,,G1
day1/pos4.tif,2,0,12,21,90,1,M
"""


@pytest.fixture
def archive(make_movie: MakeMovie) -> Archive:
    return Archive("/archive", (make_movie("day1/pos4.tif"), make_movie("day2/pos5.ome.tif", t=10, z=3)), ())


def read(text: str, tmp_path: Path, archive: Archive, name: str = "cells.csv", *, strict: bool = False) -> Cells:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_cells(path, archive, strict=strict)


def test_a_table_is_read_sorted_and_complete(tmp_path: Path, archive: Archive) -> None:
    table = read(TABLE, tmp_path, archive).table
    assert tuple(table.columns) == (*COLUMNS, "phase")
    assert table["track_id"].tolist() == [1, 2, 2]
    assert table["t"].tolist() == [0, 0, 1]
    assert table["y_px"].tolist() == [10, 12, 11.5]
    assert table["area_px"].tolist() == [100, 90, 80]
    assert table["parent_track_id"].tolist() == [-1, 1, 1]
    assert table["phase"].tolist() == ["G1", "M", "M"]
    assert table["z_px"].isna().all()
    kinds = {column: str(table[column].dtype) for column in COLUMNS[1:]}
    floats, ints = ("z_px", "y_px", "x_px", "area_px"), ("track_id", "t", "parent_track_id")
    assert kinds == dict.fromkeys(floats, "float64") | dict.fromkeys(ints, "int64")


def test_one_movie_of_many(tmp_path: Path, archive: Archive) -> None:
    cells = read(TABLE + "day2/pos5.ome.tif,7,3,1,2,,,\n", tmp_path, archive)
    assert cells.of("day2/pos5.ome.tif").table["track_id"].tolist() == [7]
    assert len(cells.of("day1/pos4.tif").table) == 3
    assert cells.of("elsewhere").table.empty


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["movie,track_id,t,y_px,x_px,area_px", "movie,track_id,frame,y,x,area", "\ufeffmovie, track_id, t, y, x, area"])
def test_other_separators_and_names_of_columns_are_understood(header: str, separator: str, tmp_path: Path, archive: Archive) -> None:
    text = f"{header}\nday1/pos4.tif,3,5,1.5,2.5,40\n".replace(",", separator)
    assert read(text, tmp_path, archive).table[["track_id", "t", "y_px", "x_px", "area_px"]].to_numpy().tolist() == [[3, 5, 1.5, 2.5, 40]]


def test_the_name_in_the_format_wins_over_its_alias(tmp_path: Path, archive: Archive) -> None:
    table = read("movie,track_id,t,frame,y_px,x_px,y\nday1/pos4.tif,3,5,99,1,2,0.65\n", tmp_path, archive).table
    assert (table.loc[0, "t"], table.loc[0, "y_px"], table.loc[0, "frame"], table.loc[0, "y"]) == (5, 1, 99, 0.65)


@pytest.mark.parametrize("name", ["day2/pos5.ome.tif", "day2/pos5", "pos5.ome.tif", "pos5", "day2\\pos5.ome.tif", "./day2/pos5.ome.tif", " pos5 "])
def test_a_movie_is_found_by_its_name_with_or_without_folder_and_suffix(name: str, tmp_path: Path, archive: Archive) -> None:
    assert read(f"movie,track_id,t,y,x\n{name},3,5,1,2\n", tmp_path, archive).table["movie"].tolist() == ["day2/pos5.ome.tif"]


def test_numbers_that_name_movies_stay_names(tmp_path: Path, make_movie: MakeMovie) -> None:
    archive = Archive("/archive", (make_movie("007.tif"), make_movie("7.tif")), ())
    assert read("movie,track_id,t,y,x\n007,3,5,1,2\n", tmp_path, archive).table["movie"].tolist() == ["007.tif"]


def test_a_short_name_that_two_movies_share_is_not_guessed(tmp_path: Path, make_movie: MakeMovie) -> None:
    archive = Archive("/archive", (make_movie("day1/pos4.tif"), make_movie("day2/pos4.tif")), ())
    with pytest.raises(UserError, match="unknown movie 'pos4'"):
        read("movie,track_id,t,y,x\npos4,3,5,1,2\n", tmp_path, archive)


def test_the_movie_may_be_left_out_where_there_is_one(tmp_path: Path, archive: Archive, make_movie: MakeMovie) -> None:
    text = "track_id,t,y,x\n3,5,1,2\n"
    assert read(text, tmp_path, Archive("/archive", (make_movie(),), ())).table["movie"].tolist() == ["pos4.tif"]
    with pytest.raises(UserError, match="there is no column movie, but 2 movies. add a column .*day1/pos4.tif, day2/pos5.ome.tif"):
        read(text, tmp_path, archive)


def test_positions_between_the_outermost_pixel_borders_are_inside(tmp_path: Path, archive: Archive) -> None:
    text = "movie,track_id,t,y,x\npos4,1,0,-0.5,-0.5\npos4,2,29,39.5,49.5\n"
    assert len(read(text, tmp_path, archive).table) == 2


ROW = "day1/pos4.tif,1,0,10,20\n"
BAD_ROWS = {
    "an unknown movie": ("day3/pos9.tif,1,1,10,20", "names the unknown movie 'day3/pos9.tif'. the movies here are day1/pos4.tif, day2"),
    "no movie": (",1,1,10,20", "names the unknown movie ''"),
    "a frame after the end": ("day1/pos4.tif,1,30,10,20", "is in frame 30 of day1/pos4.tif, which has 30 frames. frames count from 0"),
    "a frame before the start": ("day1/pos4.tif,1,-1,10,20", "is in frame -1"),
    "below the image": ("day1/pos4.tif,1,1,40,20", "is at y_px = 40 in day1/pos4.tif, which has 40 px along Y. positions are native pixels, not um"),
    "left of the image": ("day1/pos4.tif,1,1,10,-3", "is at x_px = -3 in day1/pos4.tif, which has 50 px along X"),
    "the same cell again": ("day1/pos4.tif,1,0,11,21", "has track 1 in frame 0 of day1/pos4.tif once more. keep one row per track and frame"),
    "half a frame": ("day1/pos4.tif,1,1.5,10,20", "has no whole number in column t: it is '1.5'"),
    "no track": ("day1/pos4.tif,,1,10,20", "has no whole number in column track_id: it is empty"),
    "a negative track": ("day1/pos4.tif,-4,1,10,20", "has track_id -4. track ids are 0 or larger"),
    "words": ("day1/pos4.tif,1,1,ten,20", "has no number in column y_px: it is 'ten'. write a number (with a decimal point)"),
    "infinity": ("day1/pos4.tif,1,1,10,inf", "has no number in column x_px: it is 'inf'"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_strict_refuses_rows_that_cannot_be_used(kind: str, tmp_path: Path, archive: Archive) -> None:
    row, message = BAD_ROWS[kind]
    with pytest.raises(UserError) as caught:
        read(f"movie,track_id,t,y_px,x_px\n{ROW}{row}\n{ROW.replace(',0,', ',2,')}{row}\n", tmp_path, archive, strict=True)
    assert f"cells.csv: 2 of 4 rows cannot be used; the first, line 3, {message}" in str(caught.value)


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_few_bad_rows_are_left_out_and_said_in_one_line(kind: str, tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    row, message = BAD_ROWS[kind]
    good = [ROW.replace(",0,", f",{t},") for t in (0, 2, 3, 4)]
    table = read(f"movie,track_id,t,y_px,x_px\n{good[0]}{row}\n{''.join(good[1:])}", tmp_path, archive).table
    # Of two rows that contradict each other nobody knows which is right.
    assert table["t"].tolist() == ([2, 3, 4] if kind == "the same cell again" else [0, 2, 3, 4])
    assert len(caplog.messages) == 1
    assert f"cells.csv: 1 of 5 rows are left out; the first, line 3, {message}" in caplog.text


@pytest.mark.parametrize("kind", [kind for kind in BAD_ROWS if "movie" not in kind])
def test_a_table_half_of_which_is_bad_is_refused(kind: str, tmp_path: Path, archive: Archive) -> None:
    row, message = BAD_ROWS[kind]
    with pytest.raises(UserError) as caught:
        read(f"movie,track_id,t,y_px,x_px\n{ROW}{row}\n{ROW.replace(',0,', ',2,')}{row}\n", tmp_path, archive)
    assert f"cells.csv: 2 of 4 rows cannot be used; the first, line 3, {message}" in str(caught.value)


def test_of_rows_that_say_the_same_one_is_kept(tmp_path: Path, archive: Archive, caplog: pytest.LogCaptureFixture) -> None:
    text = f"movie,track_id,t,y_px,x_px\n{ROW}{ROW}{ROW.replace(',0,', ',2,')}"
    assert read(text, tmp_path, archive).table["t"].tolist() == [0, 2]
    assert "1 of 3 rows are left out; the first, line 3, has track 1 in frame 0 of day1/pos4.tif once more" in caplog.text


def test_a_table_of_the_whole_archive_goes_with_a_part_of_it(tmp_path: Path, make_movie: MakeMovie, caplog: pytest.LogCaptureFixture) -> None:
    text = "movie,track_id,t,y,x\n" + "".join(f"pos{n}.tif,1,{t},5,5\n" for n in (4, 5, 6, 7) for t in range(3))
    table = read(text, tmp_path, Archive("/archive", (make_movie("pos4.tif"), make_movie("pos6.tif")), ())).table
    assert table["movie"].value_counts().to_dict() == {"pos4.tif": 3, "pos6.tif": 3}
    assert "6 of 12 rows are left out; the first, line 5, names the unknown movie 'pos5.tif'" in caplog.text


def test_a_position_outside_the_stack_is_refused(tmp_path: Path, archive: Archive) -> None:
    with pytest.raises(UserError, match=r"is at z_px = 3 in day2/pos5.ome.tif, which has 3 px along Z"):
        read("movie,track_id,t,z,y,x\npos5,1,0,3,1,1\n", tmp_path, archive)
    assert read("movie,track_id,t,z,y,x\npos5,1,0,2,1,1\npos5,2,0,,1,1\n", tmp_path, archive).table["z_px"].tolist()[0] == 2


def test_where_the_only_movie_has_another_name_the_column_may_go(tmp_path: Path, make_movie: MakeMovie) -> None:
    with pytest.raises(UserError, match="the movies here are pos4.tif; name one of them, or leave the column out, as there is one movie"):
        read("movie,track_id,t,y,x\n05062019_B3_3,3,5,1,2\n", tmp_path, Archive("/archive", (make_movie(),), ()))


BAD_FILES = {
    "empty": ("", "the file is empty. cells.csv has the columns movie, track_id, t, y_px, x_px"),
    "no rows": ("movie,track_id,t,y,x\n", "the table has no rows"),
    "columns are missing": ("movie,track_id,frame,yc,xc\npos4,1,0,1,1\n", "there is no column y_px, x_px; found: movie, track_id, t, yc, xc"),
    "more cells than columns": ('movie,track_id,t,y,x\n"pos4,1,0,1,1\n', "this is not a CSV file"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_files_that_are_no_table_are_refused(kind: str, tmp_path: Path, archive: Archive) -> None:
    text, message = BAD_FILES[kind]
    with pytest.raises(UserError) as caught:
        read(text, tmp_path, archive)
    assert f"cells.csv: {message}" in str(caught.value)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / "cells.csv").write_bytes("movie,track_id,t,y,x\nGröße,1,0,1,1\n".encode("utf-16"))
    with pytest.raises(UserError, match="cells.csv: this is not a CSV file .* save the table as CSV in UTF-8"):
        read_cells(tmp_path / "cells.csv", archive)


def test_a_missing_file_is_refused(tmp_path: Path, archive: Archive) -> None:
    with pytest.raises(UserError, match="nowhere.csv: there is no such file or folder. check the path of the cells"):
        read_cells(tmp_path / "nowhere.csv", archive)


def test_a_hundred_thousand_rows_come_back_as_they_were(tmp_path: Path, archive: Archive) -> None:
    rng = np.random.default_rng(0)
    tracks, frames = np.divmod(rng.permutation(100_000), 10)
    given = pd.DataFrame({"movie": "pos5", "track_id": tracks, "t": frames, "y_px": rng.uniform(0, 39, 100_000), "x_px": rng.uniform(0, 49, 100_000)})
    given.to_csv(tmp_path / "cells.csv", index=False)
    found = read_cells(tmp_path / "cells.csv", archive).table
    expected = given.sort_values(["track_id", "t"], ignore_index=True)
    pd.testing.assert_frame_equal(found[["track_id", "t", "y_px", "x_px"]], expected[["track_id", "t", "y_px", "x_px"]])
