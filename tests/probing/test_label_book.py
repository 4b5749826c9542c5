"""What a label file says, cell by cell, while it grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.errors import UserError
from cellvjepa.probing.label_book import NO_END, LabelBook
from cellvjepa.probing.label_file import LabelLine, append_labels, read_lines, standing_lines
from cellvjepa.probing.labels import read_labels

MOVIES = ("a.tif", "b.tif")


def spans(book: LabelBook, movie: str = "a.tif", track: int = 1) -> list[tuple[str, int, int]]:
    return sorted(((said.label, said.start, said.stop) for said in book.of_cell(movie, track)), key=lambda found: found[1:])


def say(path: Path, book: LabelBook, label: str, start: int = 0, stop: int = NO_END, *, who: str = "kim", track: int = 1) -> list[LabelLine]:
    """Label a cell; return the lines that would take it back."""
    lines = book.lines_for("a.tif", track, label, who, start, stop)
    undo = book.undoing(lines)
    append_labels(path, lines)
    book.add(lines)
    return undo


def test_a_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    book = LabelBook.read(tmp_path / "labels.csv", MOVIES)
    assert book.classes() == ()
    assert book.of_cell("a.tif", 1) == ()
    (tmp_path / "labels.csv").write_text("movie,tra")
    assert LabelBook.read(tmp_path / "labels.csv", MOVIES).classes() == ()


def test_movies_are_found_under_what_the_file_calls_them(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("movie,track_id,label\na,1,round\nb.tif,2,flat\nc,3,flat\na,x,flat\n")
    book = LabelBook.read(tmp_path / "labels.csv", MOVIES)
    assert spans(book) == [("round", 0, NO_END)]
    assert dict(book.counts) == {("round", "a.tif"): 1, ("flat", "b.tif"): 1}
    assert book.left_out == 2
    assert book.classes() == ("round", "flat")


def test_a_new_label_takes_the_frames_that_it_covers(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    book = LabelBook.read(path, MOVIES)
    say(path, book, "round")
    say(path, book, "dividing", 8, 16)
    assert spans(book) == [("round", 0, 8), ("dividing", 8, 16), ("round", 16, NO_END)]
    say(path, book, "flat", 12, 20)
    assert spans(book) == [("round", 0, 8), ("dividing", 8, 12), ("flat", 12, 20), ("round", 20, NO_END)]
    say(path, book, "", 10, 14)
    assert spans(book) == [("round", 0, 8), ("dividing", 8, 10), ("flat", 14, 20), ("round", 20, NO_END)]
    assert spans(LabelBook.read(path, MOVIES)) == spans(book)


def test_who_says_the_same_again_adds_nothing(tmp_path: Path) -> None:
    book = LabelBook.read(tmp_path / "labels.csv", MOVIES)
    say(tmp_path / "labels.csv", book, "round", 0, 8)
    assert book.lines_for("a.tif", 1, "round", "kim", 0, 8) == []
    assert book.lines_for("a.tif", 1, "round", "kim", 2, 4) == []
    assert book.lines_for("a.tif", 1, "", "kim", 8, 16) == []
    assert len(book.lines_for("a.tif", 1, "round", "lee", 0, 8)) == 1


def test_any_story_can_be_undone_step_by_step_and_the_file_says_what_the_book_says(tmp_path: Path, table: pd.DataFrame) -> None:
    """Random labels, taken back in turn: after each step the file, read again, holds what was remembered, and never contradicts itself."""
    rng = np.random.default_rng(0)
    for story in range(8):
        path = tmp_path / f"{story}.csv"
        book = LabelBook.read(path, MOVIES)
        say(path, book, "flat", 0, 8, track=2)  # two classes, so that a probe may read the file
        say(path, book, "round", 8, 16, track=2)
        steps, states = [], [spans(book)]
        for _ in range(8):
            start, stop = sorted(rng.choice(25, 2, replace=False).tolist())
            whole = rng.random() < 0.2
            steps.append(say(path, book, str(rng.choice(["round", "flat", "dividing", ""])), *((0, NO_END) if whole else (start, stop))))
            states.append(spans(book))
            assert spans(LabelBook.read(path, MOVIES)) == states[-1]
            for frame in range(25):
                assert len({label for label, begin, end in states[-1] if begin <= frame < end}) <= 1
            assert len(read_labels(path, table).rows_N) >= 2
        for undo, before in zip(reversed(steps), reversed(states[:-1]), strict=True):
            append_labels(path, undo)
            book.add(undo)
            assert spans(book) == before
            assert spans(LabelBook.read(path, MOVIES)) == before
        again = LabelBook.read(path, MOVIES)
        assert {key: n for key, n in again.counts.items() if n} == {key: n for key, n in book.counts.items() if n}


def test_lines_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    book = LabelBook.read(path, MOVIES)
    say(path, book, "round", 0, 8, who="lee")
    say(path, book, "flat", 0, 8)
    assert [(said.label, said.annotator) for said in book.of_cell("a.tif", 1)] == [("round", "lee"), ("flat", "kim")]


def test_a_line_of_nobody_cannot_be_overruled(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("movie,track_id,label\na.tif,1,round\n")
    book = LabelBook.read(tmp_path / "labels.csv", MOVIES)
    with pytest.raises(UserError, match=r"track 1 of a.tif is 'round' in a line of this file that names no annotator.*write into the file who"):
        book.lines_for("a.tif", 1, "flat", "kim")
    assert len(book.lines_for("a.tif", 1, "round", "kim")) == 1


def test_what_a_spreadsheet_or_another_name_wrote_is_taken_back_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("movie,track_id,label,t_start,t_stop,annotator,date\na,1.0,round,0.0,8.0,kim,2026\n")
    book = LabelBook.read(path, MOVIES)
    say(path, book, "flat", 4, 12)
    assert spans(book) == spans(LabelBook.read(path, MOVIES)) == [("round", 0, 4), ("flat", 4, 12)]
    assert standing_lines(read_lines(path))["label"].tolist() == ["round", "flat"]


def test_the_label_of_an_interval_is_what_a_probe_takes(tmp_path: Path) -> None:
    book = LabelBook.read(tmp_path / "labels.csv", MOVIES)
    say(tmp_path / "labels.csv", book, "round", 0, 8)
    say(tmp_path / "labels.csv", book, "flat", 8, 16)
    asked = {(0, 8): "round", (4, 12): "round", (5, 13): "flat", (12, 20): "flat", (13, 21): "", (20, 28): ""}
    assert {interval: book.label_of("a.tif", 1, *interval) for interval in asked} == asked


def test_a_class_gets_another_name(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    book = LabelBook.read(path, MOVIES)
    for track in (1, 2):
        say(path, book, "rond", 0, 8, track=track)
    say(path, book, "rond", 0, 8, who="lee")
    lines = book.renaming("rond", "round", "kim")
    append_labels(path, lines)
    book.add(lines)
    assert book.counts["round", "a.tif"] == 2
    assert book.counts["rond", "a.tif"] == 1
    assert sorted(book.cells()) == [("a.tif", 1), ("a.tif", 2)]


def test_movies_and_rows_are_looked_up_at_once(tmp_path: Path, table: pd.DataFrame) -> None:
    """The same answers as cell by cell, before and after labels were added to what was read."""
    path = tmp_path / "labels.csv"
    book = LabelBook.read(path, MOVIES)
    say(path, book, "round", 4, 13)
    say(path, book, "flat", track=2)
    for known in (book, LabelBook.read(path, MOVIES)):
        say(path, known, "dividing", 13, 24)
        rows = table[["movie", "track_id", "t_start", "t_stop"]].itertuples(index=False)
        expected = [known.label_of(*row) or None for row in rows]
        assert known.of_rows(table).tolist() == expected == ["round", "round", "dividing", "flat", "flat", None, None]
        assert sorted(known.of_movie("a.tif")[["track_id", "label", "start"]].to_numpy().tolist()) == [
            [1, "dividing", 13],
            [1, "round", 4],
            [2, "flat", 0],
        ]
        assert known.of_movie("b.tif").empty


def test_several_windows_of_a_cell_are_labelled_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    book = LabelBook.read(path, MOVIES)
    say(path, book, "round")
    lines = book.lines_for_all([("a.tif", 1, 0, 8), ("a.tif", 1, 4, 12), ("a.tif", 2, 0, 8)], "flat", "kim")
    assert spans(book) == [("round", 0, NO_END)]
    undo = book.undoing(lines)
    append_labels(path, lines)
    book.add(lines)
    assert spans(book) == spans(LabelBook.read(path, MOVIES)) == [("flat", 0, 8), ("flat", 4, 12), ("round", 12, NO_END)]
    assert spans(book, track=2) == [("flat", 0, 8)]
    book.add(undo)
    assert spans(book) == [("round", 0, NO_END)]
    assert spans(book, track=2) == []
