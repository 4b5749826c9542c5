"""Suggestions: doubtful, different, of many cells, and never what is labelled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.store import add_columns, open_store
from cellvjepa.errors import UserError
from cellvjepa.probing.labels import read_labels
from cellvjepa.probing.suggest import entropy_of, labelled_rows, last_predictions, representatives, suggest, unsure_and_diverse
from tests.embedding.made_up import rows_of_tracks, store_of_table

CONFIG = ProbeConfig()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """30 cells of three windows; ten each around three points. A probe is unsure of the second group."""
    table = rows_of_tracks(*(("a.tif", i, (0, 4, 8)) for i in range(30)))
    group = table["track_id"].to_numpy() // 10
    vectors = 10.0 * np.eye(3)[group] + np.random.default_rng(0).normal(0, 0.5, (90, 3))
    path = store_of_table(tmp_path / "cells.zarr", table, vectors)
    p = np.where(group == 1, 0.5, 0.99)
    add_columns(path, pd.DataFrame({"p_a": p, "p_b": 1 - p}), "probe", {})
    return path


def test_the_doubtful_come_first_and_the_others_stand_for_clusters(store: Path) -> None:
    found = suggest(store, 10, CONFIG)
    assert len(found.table) == 10
    why = found.table["why"].str.split(" ").str[0].tolist()
    assert why == ["unsure"] * 7 + ["stands"] * 3
    groups = found.table["track_id"].to_numpy() // 10
    assert (groups[:7] == 1).all()
    assert sorted(groups[7:]) == [0, 1, 2]
    assert found.table["track_id"].is_unique
    assert found.unlabelled == 90


def test_without_predictions_all_stand_for_clusters(tmp_path: Path) -> None:
    path = store_of_table(tmp_path / "s.zarr", rows_of_tracks(*(("a", i, (0,)) for i in range(9))), np.repeat(np.eye(3), 3, axis=0) * 5)
    found = suggest(path, 3, CONFIG)
    assert sorted(found.table["track_id"].to_numpy() // 3) == [0, 1, 2]
    assert found.table["why"].tolist() == ["stands for 3 similar clips"] * 3
    assert "Nothing is predicted" in found.notes[0]


def test_what_is_labelled_is_not_asked_again_and_the_file_can_be_filled_in(store: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("movie,track_id,label,t_start,t_stop,annotator\n" + "".join(f"a,{i},a,0,9,kim\n" for i in range(10, 19)) + "a,0,unsure,,,kim\n")
    found = suggest(store, 8, CONFIG, labels)
    taken = set(found.table["track_id"])
    assert not taken & {0, *range(10, 19)}
    filled = tmp_path / "next.csv"
    found.table.assign(label=["a", "b"] * 4).to_csv(filled, index=False)
    read = read_labels(filled, open_store(store).table)
    assert set(read.rows_N) == set(found.rows_K)
    found.table.assign(label="").to_csv(filled, index=False)
    with pytest.raises(UserError, match=r"holds no labels"):
        read_labels(filled, open_store(store).table)


def test_overlap_in_time_is_what_counts(store: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "movie,track_id,label,t_start,t_stop,annotator\na.tif,3,a,7,8,kim\na.tif,4,a,,,kim\na.tif,5,a,0,4,kim\na.tif,5,,0,4,kim\nz,1,a,,,kim\n"
    )
    table = open_store(store).table
    assert table[labelled_rows(table, labels)][["track_id", "t_start"]].to_numpy().tolist() == [[3, 4], [4, 0], [4, 4], [4, 8]]


def test_more_than_there_are_gives_all(store: Path) -> None:
    found = suggest(store, 1000, CONFIG)
    assert sorted(found.rows_K) == list(range(90))
    assert found.notes == ("There are only 90 unlabelled clips.",)


def test_where_all_is_labelled_that_is_said(store: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("movie,track_id,label\n" + "".join(f"a,{i},x\n" for i in range(30)))
    with pytest.raises(UserError, match=r"every clip of this store overlaps a label"):
        suggest(store, 3, CONFIG, tmp_path / "l.csv")


def test_embeddings_that_are_no_numbers_are_passed_over(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 3))
    vectors[4] = np.nan
    path = store_of_table(tmp_path / "s.zarr", rows_of_tracks(*(("a", i, (0,)) for i in range(9))), vectors)
    found = suggest(path, 9, CONFIG)
    assert 4 not in found.rows_K
    assert any("1 clips whose embedding is not a number" in note for note in found.notes)


def test_doubt_times_distance() -> None:
    #       labelled   doubtful twins     certain and far   doubtful and far
    points = np.array([[0.1], [5.0], [5.1], [100.0], [9.0]])
    u = np.array([0.9, 0.9, 0.9, 0.001, 0.8])
    chosen = unsure_and_diverse(u, points, np.arange(5), np.array([[0.0]]), np.zeros(0, np.int64), 2)
    assert chosen.tolist() == [4, 1]
    assert unsure_and_diverse(u, points, np.array([0, 1, 1, 2, 3]), np.zeros((0, 1)), np.zeros(0, np.int64), 1).tolist() == [0]


def test_no_cell_twice_while_there_are_others() -> None:
    points = np.arange(6.0)[:, None]
    cells = np.array([0, 0, 0, 1, 1, 1])
    assert sorted(cells[unsure_and_diverse(np.ones(6), points, cells, np.zeros((0, 1)), np.zeros(0, np.int64), 2)]) == [0, 1]
    chosen, sizes = representatives(np.array([[0.0], [0.1], [9.0], [9.1]]), np.array([0, 1, 0, 1]), 2, 0)
    assert sorted(np.array([0, 1, 0, 1])[chosen]) == [0, 1]
    assert sizes == [2, 2]


def test_entropy_is_one_where_nothing_is_known() -> None:
    found = entropy_of(pd.DataFrame({"p_a": [0.5, 1.0, np.nan], "p_b": [0.5, 0.0, np.nan]}))
    assert found is not None
    np.testing.assert_allclose(found, [1, 0, np.nan], atol=1e-12)
    assert entropy_of(pd.DataFrame({"x": [1]})) is None


def test_what_an_earlier_probe_said_of_other_classes_plays_no_part(store: Path) -> None:
    table = pd.DataFrame({"p_bright": np.linspace(0, 1, 90), "p_fast": 0.0})
    add_columns(store, table, "probe", {"rows per class": {"bright": 3, "fast": 4}})
    left = last_predictions(open_store(store))
    assert list(left) == ["p_bright", "p_fast"]
    unsure = entropy_of(left)  # several classes at once: the mean of the entropies of two answers, of which one is sure
    assert unsure is not None
    assert unsure.max() == pytest.approx(0.5, abs=1e-3)
    assert abs(int(unsure.argmax()) - 44.5) < 1
