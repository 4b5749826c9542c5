"""`cellvjepa probe` and `predict` on a made-up store: six movies of eight cells, whose numbers are odd or even, which the embedding knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.cli import run
from cellvjepa.embedding.store import open_store
from tests.embedding.made_up import rows_of_tracks, store_of_table

HEADER = "movie,track_id,label,donor,t_start,t_stop\n"
FEW = ("--set", "probe.bootstrap=25")


def lines(movies: int = 6, odd: str = "odd", even: str = "even", donor: str = "A") -> list[str]:
    return [f"pos{m}.tif,{c},{odd if c % 2 else even},{donor},," for m in range(movies) for c in range(1, 9)]


def store_of(folder: Path, movies: int = 6) -> Path:
    table = rows_of_tracks(*[(f"pos{m}.tif", c, (0, 20)) for m in range(movies) for c in range(1, 9)])
    vectors = np.random.default_rng(0).normal(size=(len(table), 6))
    vectors[:, 0] += 2 * (table["track_id"] % 2)
    return store_of_table(folder / f"{movies}.zarr", table.assign(y_px=100.0 * table["track_id"]), vectors)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(tmp_path_factory.mktemp("made_up"))


def probe(store: Path, folder: Path, text: list[str], *more: str) -> int:
    (folder / "labels.csv").write_text(HEADER + "\n".join(text))
    return run(["probe", str(store), "--labels", str(folder / "labels.csv"), "--out", str(folder / "out"), *FEW, *more])


ONE_RARE = [*lines()[1:], "pos0.tif,1,rare,A,,"]
OVERLAPPING = [*lines()[1:], "pos0.tif,1,odd,A,0,12", "pos0.tif,1,even,A,6,24"]
TWO_ANNOTATORS = [*lines(), "pos0.tif,1,even,A,,"]
OUTSIDE = ["pos0.tif,1,odd,A,500,520", "pos1.tif,2,even,A,500,520"]


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        (
            ONE_RARE,
            (),
            "class 'rare' occurs in one group only (pos0.tif; movie), so it cannot be both learnt and tested. label this class",
        ),
        (OVERLAPPING, (), "lines 49 and 50 contradict each other: track 1 of pos0.tif, frames 0 to 12: odd, and track 1 of pos0.tif, frames 6 to 24"),
        (TWO_ANNOTATORS, (), "lines 2 and 50 contradict each other: track 1 of pos0.tif: odd, and track 1 of pos0.tif: even. keep one label"),
        (OUTSIDE, (), "none of the 2 labels covers at least half of an embedded window"),
        (lines(), ("--group", "plate"), "there is no column 'plate' to group by. name an existing column: clip_id"),
        (
            lines(),
            ("--group", "donor"),
            "all 96 labelled rows are of one group by column 'donor' (A), so none can be held out: there is no honest",
        ),
        (lines(2), (), "form 2 group(s) by movie, fewer than the 5 folds: there is no honest score. label more movies"),
        (lines(odd="odd;big"), ("--set", 'probe.order=["big","odd"]'), "several labels at once have no order"),
    ],
)
def test_bad_input_is_one_line(
    text: list[str], more: tuple[str, ...], sentence: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(store, tmp_path, text, *more) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out" / "report.html").exists()


def test_several_labels_at_once_from_labels_to_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = store_of(tmp_path, movies=3)
    assert probe(store, tmp_path, [line.replace("odd", "big;odd") if ",1," in line else line for line in lines(3, even="none")]) == 0
    said = capsys.readouterr().out
    assert "(mean over 2 classes, of which several may fit a window) in 3 folds over 3 groups by movie; guessing gives 0.50" in said
    assert "Note: There are 3 movies, so there are 3 folds instead of 5" in said
    assert "(big: linear; odd: linear)" in said
    assert "fewer than the 5 folds" not in said
    assert run(["predict", str(store), "--probe", str(tmp_path / "out")]) == 0
    table = open_store(store).table
    assert set(table["predicted"]) <= {"big", "odd", "big;odd", "none"}
    assert f"odd {int((table['p_odd'] >= 0.5).sum())}" in capsys.readouterr().out
    np.testing.assert_allclose(table["probability"], np.maximum(table[["p_big", "p_odd"]], 1 - table[["p_big", "p_odd"]]).min(axis=1))


def test_unsure_and_labels_after_the_movie_are_left_out_with_a_note(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ["pos0.tif,1,Unsure,A,,", *lines()[1:-1], "pos5.tif,8,even,A,500,520"]
    assert probe(store, tmp_path, text, "--kind", "knn") == 0
    said = capsys.readouterr().out
    assert "Note: 1 lines say 'unsure' and are not used" in said
    assert "Note: 1 labels begin after the last embedded frame of their movie and are not used (the first: line 49, track 8 of pos5.tif" in said
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 92
    assert "out (knn)" in said
