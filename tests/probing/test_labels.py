from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellvjepa.errors import UserError
from cellvjepa.probing.labels import read_labels


def write(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_times_a_label_is_for_the_whole_track(tmp_path: Path, table: pd.DataFrame) -> None:
    found = read_labels(write(tmp_path, "movie,track_id,label\na.tif,1,rest\nb.tif,1,move\n"), table)
    assert found.rows_N.tolist() == [0, 1, 2, 5, 6]
    assert found.names_N.tolist() == ["rest"] * 3 + ["move"] * 2
    assert found.classes == ("move", "rest")
    assert found.codes_N.tolist() == [1, 1, 1, 0, 0]
    assert found.table["clip_id"].tolist() == ["c0", "c1", "c2", "c5", "c6"]
    assert found.notes == ()


def test_a_label_counts_where_it_covers_half_of_a_window(tmp_path: Path, table: pd.DataFrame) -> None:
    # 4..11 covers four of the frames 0..7, and three of the frames 8..15.
    found = read_labels(write(tmp_path, "movie,track_id,label,t_start,t_stop\na.tif,1,rest,4,11\na.tif,2,move,,\n"), table)
    assert found.rows_N.tolist() == [0, 3, 4]


@given(start=st.integers(0, 30), length=st.integers(1, 30))
def test_the_rule_of_half_is_the_count_of_frames(tmp_path_factory: pytest.TempPathFactory, start: int, length: int) -> None:
    windows = pd.DataFrame({"movie": "m", "track_id": 1, "t_start": [0, 5, 9, 20], "t_stop": [5, 9, 20, 21]})
    others = pd.DataFrame({"movie": "m", "track_id": 2, "t_start": [0], "t_stop": [100]})
    path = write(tmp_path_factory.mktemp("l"), f"track_id,label,t_start,t_stop\n1,A,{start},{start + length}\n2,B,,\n")
    labelled = set(range(start, start + length))
    wanted = [i for i, w in windows.iterrows() if 2 * len(labelled & set(range(w.t_start, w.t_stop))) >= w.t_stop - w.t_start]
    if not wanted:
        with pytest.raises(UserError, match=r"only one class is left: all 1 labelled rows are 'B'"):
            read_labels(path, pd.concat([windows, others], ignore_index=True))
        return
    found = read_labels(path, pd.concat([windows, others], ignore_index=True))
    assert found.rows_N.tolist() == [*wanted, 4]


def test_the_movie_may_be_left_out_where_there_is_one(tmp_path: Path, table: pd.DataFrame) -> None:
    path = write(tmp_path, "track_id,label\n1,rest\n2,move\n")
    assert read_labels(path, table[table["movie"] == "a.tif"].reset_index(drop=True)).rows_N.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match=r"no column 'movie', but the embeddings come from 2 movies \(a.tif, ...\). add the column"):
        read_labels(path, table)


def test_movies_may_be_named_without_suffix_or_as_before_they_were_converted(tmp_path: Path, table: pd.DataFrame) -> None:
    found = read_labels(write(tmp_path, "movie,track_id,label\na,1,rest\nb.zarr,1,move\n"), table)
    assert found.rows_N.tolist() == [0, 1, 2, 5, 6]
    assert set(found.table["movie"]) == {"a.tif", "b.tif"}


def test_what_spreadsheets_write_is_understood(tmp_path: Path, table: pd.DataFrame) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("movie, track_id ,label,annotator\r\na.tif, 1.0,rest,kim\r\na.tif,2, NA,\r\na.tif,2,,lee\r\n", encoding="utf-8-sig")
    found = read_labels(path, table)
    assert found.classes == ("NA", "rest")
    assert found.table["annotator"].tolist() == ["kim", "kim", "kim", "", ""]
    assert found.notes == ("1 lines without a label are not used",)


def test_a_window_halfway_between_two_labels_is_left_out(tmp_path: Path, table: pd.DataFrame) -> None:
    text = "movie,track_id,label,t_start,t_stop\na.tif,1,rest,0,12\na.tif,1,move,12,24\n"
    found = read_labels(write(tmp_path, text), table)
    assert found.rows_N.tolist() == [0, 2]
    assert found.notes == ("1 window lies half in one label and half in another and is not used",)


def test_labels_that_cover_no_window_are_counted(tmp_path: Path, table: pd.DataFrame) -> None:
    found = read_labels(write(tmp_path, "movie,track_id,label,t_start,t_stop\na.tif,1,rest,,\na.tif,2,move,0,15\na.tif,2,die,15,16\n"), table)
    assert found.notes == ("1 of 3 labels cover at least half of no embedded window and are not used",)


def test_two_annotators_may_agree(tmp_path: Path, table: pd.DataFrame) -> None:
    found = read_labels(write(tmp_path, "movie,track_id,label,annotator\na.tif,1,rest,kim\na.tif,1,rest,lee\na.tif,2,move,lee\n"), table)
    assert found.rows_N.tolist() == [0, 1, 2, 3, 4]


def test_unsure_is_no_class(tmp_path: Path, table: pd.DataFrame) -> None:
    """Whoever is unsure contradicts nobody."""
    found = read_labels(write(tmp_path, "movie,track_id,label\na.tif,1,rest\na.tif,2,move\n\nb.tif,1,UNSURE\na.tif,1, unsure\n"), table)
    assert found.rows_N.tolist() == [0, 1, 2, 3, 4]
    assert found.classes == ("move", "rest")
    assert found.notes == ("2 lines say 'unsure' and are not used",)


def test_labels_after_the_end_of_the_movie_are_named(tmp_path: Path, table: pd.DataFrame) -> None:
    text = "movie,track_id,label,t_start,t_stop\na.tif,1,rest,,\na.tif,2,move,0,24\nb.tif,1,move,24,40\nb.tif,1,move,0,5\n"
    assert read_labels(write(tmp_path, text), table).notes == (
        "1 labels begin after the last embedded frame of their movie and are not used "
        "(the first: line 4, track 1 of b.tif, frames 24 to 40: move; the embeddings end with frame 23)",
        "1 of 4 labels cover at least half of no embedded window and are not used",
    )


def test_further_columns_come_along_but_never_replace_those_of_the_store(tmp_path: Path, table: pd.DataFrame) -> None:
    text = "movie,track_id,label,donor,x_px,well\na.tif,1,rest,D1,7,A1\nb.tif,1,move,D2,7,A2\n"
    found = read_labels(write(tmp_path, text), table.assign(well="old"))
    assert found.table["donor"].tolist() == ["D1"] * 3 + ["D2"] * 2
    assert found.table["well"].tolist() == ["A1"] * 3 + ["A2"] * 2
    assert found.table["x_px"].tolist() == [100.0] * 5


def test_a_dozen_labels_of_a_million_rows(tmp_path: Path) -> None:
    tracks = np.arange(10**6) // 100
    start = np.arange(10**6) % 100 * 8
    large = pd.DataFrame({"movie": pd.Categorical.from_codes(tracks % 5, [f"m{k}" for k in range(5)]), "track_id": tracks})
    large = large.assign(t_start=start, t_stop=start + 8)
    lines = [f"m{t % 5},{t},{'ab'[t % 2]},80,88" for t in range(12)]
    began = time.process_time()
    found = read_labels(write(tmp_path, "\n".join(["movie,track_id,label,t_start,t_stop", *lines])), large)
    assert time.process_time() - began < 10
    assert found.rows_N.tolist() == [100 * t + 10 for t in range(12)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("movie,label\na.tif,rest\n", r"missing columns: track_id \(found: movie, label\). the first line must read movie,track_id,label"),
        ("movie;track_id;label\na.tif;1;rest\n", r"missing columns: track_id, label \(found: movie;track_id;label\)"),
        ("movie,track_id,label\na.tif,1,rest\na.tif,2,move,7\n", r"not a comma-separated table .*Expected 3 fields in line 3, saw 4"),
        ("", r"not a comma-separated table"),
        ("movie,track_id,label\na.tif,1,rest,7\na.tif,1\n", r"some lines have more fields than the first line has names"),
        ("movie,track_id,label\n", r"the file holds no labels"),
        ("movie,track_id,label\na.tif,1,rest\nc.tif,1,move\nc.tif,2,move\n", r"2 labels name a movie that was not embedded \(the first: 'c.tif'\)"),
        ("movie,track_id,label\na.tif,1,rest\na.tif,9,move\n", r"1 labels name a track that was not embedded \(the first: track 9 of a.tif\)"),
        ("movie,track_id,label\na.tif,one,rest\n", r"track_id must be a whole number, but 1 lines have another \(the first: 'one' in line 2\)"),
        ("movie,track_id,label,t_start\na.tif,1,rest,2.5\n", r"t_start must be a whole number.*\(the first: '2.5' in line 2\)"),
        ("movie,track_id,label,t_start,t_stop\na.tif,1,rest,9,9\n", r"1 labels end before they begin \(the first: track 1 of a.tif, frames 9 to 9"),
        ("movie,track_id,label,t_start,t_stop\na.tif,1,rest,90,99\na.tif,2,move,90,99\n", r"none of the 2 labels covers .*frames 90 to 99: rest"),
        (
            "movie,track_id,label\na.tif,1,rest\na.tif,2,rest\n",
            r"only one class is left: all 5 labelled rows are 'rest'. label cells of at least two",
        ),
        (
            "movie,track_id,label\na.tif,1,rest\na.tif,1,move\n",
            r"lines 2 and 3 contradict each other: track 1 of a.tif: rest, and track 1 of a.tif: move. keep one label for each time, write 'unsure'",
        ),
        (
            "movie,track_id,label,t_start,t_stop\n\na.tif,1,rest,0,4\na.tif,1,die,0,4\na.tif,1,move,4,24\na.tif,1,die,20,24\n",
            r"lines 3 and 4 contradict each other: track 1 of a.tif, frames 0 to 4: rest, and .* 0 to 4: die; 1 more such pairs",
        ),
        (  # the long one of lines 2 and 3 still holds when line 4 begins
            "movie,track_id,label,t_start,t_stop\na.tif,1,rest,0,20\na.tif,1,rest,2,4\na.tif,1,move,19,24\nb.tif,1,move,0,24\n",
            r"lines 2 and 4 contradict each other: .*frames 0 to 20: rest, and .*frames 19 to 24: move\. keep",
        ),
        ("movie,track_id,label,t_start\na.tif,1,rest,-3\na.tif,2,move,0\n", r"1 labels begin before the movie \(the first: .*frames -3 to : rest\)"),
        ("movie,track_id,label\na.tif,1,Unsure\n", r"the file holds no labels"),
    ],
)
def test_bad_labels_are_refused_in_one_line(tmp_path: Path, table: pd.DataFrame, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        read_labels(path, table)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_bad_files_are_refused(tmp_path: Path, table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="the labels file does not exist. check the path"):
        read_labels(tmp_path / "none.csv", table)
    with pytest.raises(UserError, match="cannot be read as a file"):
        read_labels(tmp_path, table)
    (tmp_path / "binary.csv").write_bytes(np.arange(256, dtype=np.uint8).tobytes() * 8)
    with pytest.raises(UserError, match="not a comma-separated table"):
        read_labels(tmp_path / "binary.csv", table)


def test_several_labels_at_once(tmp_path: Path, table: pd.DataFrame) -> None:
    labels = read_labels(write(tmp_path, "movie,track_id,label\na.tif,1,move; bright\na.tif,2,none\nb.tif,1,bright;unsure\n"), table)
    assert (labels.multilabel, labels.names_N.tolist()) == (True, ["bright;move"] * 3 + ["none"] * 2)
    assert any("say 'unsure'" in note for note in labels.notes)
    assert not read_labels(write(tmp_path, "movie,track_id,label\na.tif,1,move\na.tif,2,none\n"), table).multilabel
    with pytest.raises(
        UserError, match=r"contradict each other: .*: bright;move, and .*: bright. .*if both are true, write one line with 'bright;move'"
    ):
        read_labels(write(tmp_path, "movie,track_id,label\na.tif,1,move;bright\na.tif,1,bright\na.tif,2,none\n"), table)
    again = read_labels(write(tmp_path, "movie,track_id,label\na.tif,1,move;bright\na.tif,1,bright;move\na.tif,2,none\n"), table)
    assert again.classes == ("bright;move", "none")
