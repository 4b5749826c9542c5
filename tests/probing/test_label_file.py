"""The label file: lines are added, never changed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cellvjepa.errors import UserError
from cellvjepa.probing.label_file import LabelLine, append_labels, read_lines, standing_lines, torn_line
from cellvjepa.probing.labels import read_labels


def line(label: str, who: str = "kim", *, track: int = 1, start: int | str = 0, stop: int | str = 8) -> LabelLine:
    return LabelLine("a.tif", track, label, start, stop, who, "2026-11-21T10:00:00+00:00")


def test_a_new_file_says_who_and_when(tmp_path: Path) -> None:
    append_labels(tmp_path / "new" / "labels.csv", [LabelLine.now("a, b.tif", 3, "round", "kim", t_start=0, t_stop=8)])
    (row,) = pd.read_csv(tmp_path / "new" / "labels.csv").to_dict("records")
    assert (row["movie"], row["track_id"], row["label"], row["t_start"], row["t_stop"], row["annotator"]) == ("a, b.tif", 3, "round", 0, 8, "kim")
    assert pd.Timestamp(row["date"]).tzinfo is not None


def test_what_is_there_stays_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    append_labels(path, [line("round")])
    before = path.read_bytes()
    append_labels(path, [line("flat"), line("flat", track=2)])
    assert path.read_bytes().startswith(before)
    assert read_lines(path)["label"].tolist() == ["round", "flat", "flat"]


def test_a_file_made_by_hand_gets_the_columns_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text('track_id,label,comment\r\n1,round,"so, so"\r\n2,flat,', encoding="utf-8-sig")
    append_labels(path, [line("flat", track=3)])
    found = read_lines(path)
    assert found["label"].tolist() == ["round", "flat", "flat"]
    assert found["comment"].tolist() == ["so, so", "", ""]
    assert found["annotator"].tolist() == ["", "", "kim"]


def test_a_last_line_left_open_is_closed_first(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("movie,track_id,label,t_start,t_stop,annotator,date\na.tif,1,round,0,8,lee,2026")
    append_labels(path, [line("flat")])
    assert read_lines(path)["date"].tolist() == ["2026", "2026-11-21T10:00:00+00:00"]


def test_of_one_annotator_the_last_word_holds(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    append_labels(
        path, [line("round"), line("flat", "lee"), line("round", track=2), line("flat"), line("", track=2), line("round", start=8, stop=16)]
    )
    standing = standing_lines(read_lines(path))
    assert standing[["track_id", "label", "t_start", "annotator"]].to_numpy().tolist() == [
        ["1", "flat", "0", "lee"],
        ["1", "flat", "0", "kim"],
        ["1", "round", "8", "kim"],
    ]


def test_lines_of_nobody_are_not_weighed_against_each_other() -> None:
    lines = pd.DataFrame({"track_id": ["1", "1"], "label": ["a", "b"]})
    assert len(standing_lines(lines)) == 2
    assert len(standing_lines(lines.assign(annotator=""))) == 2


def test_a_probe_learns_from_the_last_word(tmp_path: Path, table: pd.DataFrame) -> None:
    path = tmp_path / "labels.csv"
    append_labels(path, [line("round"), line("flat", track=2), line("round", track=2, start=8, stop=16), line("flat")])
    found = read_labels(path, table)
    assert found.names_N.tolist() == ["flat", "flat", "round"]
    assert found.notes == ("1 lines were changed later by the same annotator and are not used",)
    append_labels(path, [line("round", "lee")])
    with pytest.raises(UserError, match=r"contradict"):
        read_labels(path, table)


def test_two_programs_may_append_at_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    code = (
        "import sys; from cellvjepa.probing.label_file import *\n"
        "for i in range(40): append_labels(sys.argv[1], [LabelLine.now('a.tif', i, 'round', sys.argv[2], t_start=0, t_stop=8)])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), who]) for who in ("kim", "lee")]
    assert [process.wait(timeout=100) for process in running] == [0, 0]
    found = read_lines(path)
    assert found.groupby("annotator")["track_id"].nunique().to_dict() == {"kim": 40, "lee": 40}
    assert len(found) == 80


@pytest.mark.parametrize(
    ("content", "message"), [(b"a,b\n1,2\n", r"this is no label file \(its first line: a,b\)"), (b"\xff\xfe\x00", r"not a comma-separated table")]
)
def test_another_file_is_left_alone(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        append_labels(path, [line("round")])
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "message"), [(None, r"the labels file does not exist"), ("", r"cannot be read"), ("x,y\n1,2\n", r"missing columns: track_id, label")]
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        read_lines(tmp_path / "labels.csv")


def test_several_labels_at_once_have_one_spelling(tmp_path: Path) -> None:
    append_labels(tmp_path / "labels.csv", [line("dividing; bright"), line("bright;dividing", "ana"), line("bright;unsure", track=2)])
    assert read_lines(tmp_path / "labels.csv")["label"].tolist() == ["bright;dividing", "bright;dividing", "unsure"]


@pytest.mark.parametrize("cut", range(1, 52))
def test_half_a_line_was_never_said(tmp_path: Path, table: pd.DataFrame, cut: int) -> None:
    """Whoever writes may be stopped after any byte: what was whole before stays, and nothing is made up of the rest."""
    path = tmp_path / "labels.csv"
    append_labels(path, [line("round"), line("flat", track=2), line("f\u00fcnf", "J\u00f6rg", track=2, start=8, stop=16)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    said_N = [["1", "round", "kim"], ["2", "flat", "kim"], ["2", "f\u00fcnf", "J\u00f6rg"]]
    kept = 3 if cut <= len("2026-11-21T10:00:00+00:00\n") else 2  # only the date is shorter: who said what is whole
    assert read_lines(path)[["track_id", "label", "annotator"]].to_numpy().tolist() == said_N[:kept]
    torn = torn_line(path)
    assert bool(torn) == (kept == 2 and not path.read_bytes().endswith(b"\n"))
    assert ("The last line was not written to its end and is not used" in read_labels(path, table).notes) == bool(torn)
    append_labels(path, [line("round", track=3)])
    assert read_lines(path)[["track_id", "label", "annotator"]].to_numpy().tolist() == [*said_N[:kept], ["3", "round", "kim"]]


def test_half_a_first_line_is_none(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("movie,track_id,lab")
    append_labels(path, [line("round")])
    assert read_lines(path)["label"].tolist() == ["round"]


def test_it_is_known_where_lines_stand(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    begin, end = append_labels(path, [line("round")])
    assert (begin, end) == (0, path.stat().st_size)
    assert append_labels(path, [line("flat")]) == (end, path.stat().st_size)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.csv"
    append_labels(path, [line("round")])
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="the disk is full"):
        append_labels(path, [line("flat")])
    assert path.read_bytes() == before


def test_a_line_is_overruled_also_after_a_spreadsheet_has_written_it(tmp_path: Path, table: pd.DataFrame) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("movie,track_id,label,t_start,t_stop,annotator,date\na.tif,1.0,round,0.0,8.0,kim,2026\na.tif,2,flat,0,8,kim,2026\n")
    append_labels(path, [line("flat"), line("round", track=2)])
    assert read_labels(path, table).names_N.tolist() == ["flat", "round"]


def test_lines_with_more_fields_than_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("track_id,label\n1,round,so,so\n")
    with pytest.raises(UserError, match="more fields than the first line has names"):
        read_lines(tmp_path / "labels.csv")
