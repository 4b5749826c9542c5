"""How many labels there are, and what is said about them before a probe is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellvjepa.cli import run
from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.tables import export
from cellvjepa.errors import UserError
from cellvjepa.probing.label_counts import count_labels, label_column
from tests.embedding.made_up import rows_of_tracks, store_of_table


@pytest.fixture
def store(tmp_path: Path) -> Path:
    table = rows_of_tracks(*[(f"pos{m}.tif", c, (0, 20)) for m in range(6) for c in range(1, 5)])
    return store_of_table(tmp_path / "store.zarr", table.assign(y_px=100.0 * table["track_id"]), np.random.default_rng(0).normal(size=(48, 3)))


def written(folder: Path, lines: list[str], header: str = "movie,track_id,label") -> Path:
    (folder / "labels.csv").write_text("\n".join([header, *lines, ""]))
    return folder / "labels.csv"


def test_windows_are_counted_by_group_and_class(store: Path, tmp_path: Path) -> None:
    lines = [f"pos{m}.tif,{c},{'odd' if c % 2 else 'even'},{'A' if m < 3 else 'B'}" for m in range(6) for c in range(1, 5)]
    found = count_labels(store, written(tmp_path, lines, "movie,track_id,label,donor"), ProbeConfig())
    assert found.rows == 48
    assert found.basis == "movie"
    assert found.counts.to_dict() == {
        "even": dict.fromkeys((f"pos{m}.tif" for m in range(6)), 4),
        "odd": dict.fromkeys((f"pos{m}.tif" for m in range(6)), 4),
    }
    assert found.columns == ("movie", "donor")
    assert (found.problem, found.notes) == ("", ())


def test_what_cannot_be_scored_is_said_before_it_is_tried(store: Path, tmp_path: Path) -> None:
    lines = ["pos0.tif,1,rare", *(f"pos{m}.tif,{c},{'odd' if c % 2 else 'even'}" for m in range(6) for c in range(2, 5))]
    found = count_labels(store, written(tmp_path, lines), ProbeConfig())
    assert "class 'rare' occurs in one group only" in found.problem
    assert "class 'rare' has 2 windows only: its score will be rough; label more of it" in found.notes


def test_several_labels_of_a_window_count_for_each_class(store: Path, tmp_path: Path) -> None:
    lines = [f"pos{m}.tif,{c},{'odd;big' if c % 2 else 'none'}" for m in range(6) for c in range(1, 5)]
    found = count_labels(store, written(tmp_path, lines), ProbeConfig())
    assert found.counts.sum().to_dict() == {"big": 24, "none": 24, "odd": 24}
    assert found.rows == 48


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["other.tif,1,odd"], "1 labels name a movie that was not embedded (the first: 'other.tif')"),
        (["pos0.tif,1,odd", "pos1.tif,1,odd"], "only one class is left"),
        ([], "the file holds no labels"),
    ],
)
def test_labels_that_do_not_fit_are_told_in_a_sentence(lines: list[str], sentence: str, store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        count_labels(store, written(tmp_path, lines), ProbeConfig())
    assert sentence in str(caught.value)


def test_labels_go_out_with_the_table_and_without_the_vectors(store: Path, tmp_path: Path) -> None:
    labels = written(tmp_path, ["pos0.tif,1,odd", "pos1.tif,2,even"])
    assert run(["export", str(store), "--to", str(tmp_path / "out.csv"), "--labels", str(labels), "--no-vectors"]) == 0
    found = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert found["label"].value_counts().to_dict() == {"": 44, "odd": 2, "even": 2}
    assert set(found.loc[found["label"] == "odd", "clip_id"]) == {"pos0.tif#id1_t0", "pos0.tif#id1_t20"}
    assert "e000" not in found
    export(store, tmp_path / "out.parquet", columns=label_column(store, labels), vectors=False)
    assert pd.read_parquet(tmp_path / "out.parquet")["label"].notna().sum() == 4


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--to", "out.h5ad", "--no-vectors"], "there is nothing but vectors in such a table"),
        (["--to", "out.csv", "--aggregate", "track", "--labels", "labels.csv"], "averages have no labels of windows"),
    ],
)
def test_what_makes_no_sense_together_is_refused(
    more: list[str], sentence: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, ["pos0.tif,1,odd", "pos1.tif,2,even"])
    monkeypatch.chdir(tmp_path)
    assert run(["export", str(store), *more]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.glob("out.*"))
