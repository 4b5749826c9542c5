"""Averages of this plate, windows of 4 frames, a minute each.

frames          0     4     8
A1  a.tif  1    |-0---|-1---|          B2  c.tif  1    |-5---|-6---|
           2    |-2---|
A1  b.tif  1          |-3---|-4---|
"""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from cellvjepa.embedding import aggregate as module
from cellvjepa.embedding.aggregate import aggregate
from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.embedding.tables import export
from cellvjepa.errors import UserError
from tests.embedding.made_up import rows_of_tracks, store_of_table

TABLE = rows_of_tracks(("a.tif", 1, (0, 4)), ("a.tif", 2, (0,)), ("b.tif", 1, (4, 8)), ("c.tif", 1, (0, 4))).assign(
    plate="p1",
    well=["A1"] * 5 + ["B2"] * 2,
    parent_track_id=-1,
    intensity=[1.0, 3.0, 5.0, 7.0, 9.0, 0.0, 2.0],
    padded=[True, False, False, False, False, False, False],
    cluster=["0", "1", "0", "0", "0", "1", "1"],
)
VECTORS = np.stack([np.arange(7.0) ** 2, -np.arange(7.0)], axis=1)


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    return open_store(store_of_table(tmp_path_factory.mktemp("plate") / "s.zarr", TABLE, VECTORS))


def vectors(found: module.Aggregates) -> tuple[np.ndarray, np.ndarray]:
    parts = list(found.blocks())
    assert [part[0].start for part in parts] == [0, *(part[0].stop for part in parts[:-1])]
    return np.concatenate([part[1] for part in parts]), np.concatenate([part[2] for part in parts])


def test_a_track_is_the_mean_of_its_windows(embeddings: Embeddings) -> None:
    found = aggregate(embeddings, "track")
    mean, sd = vectors(found)
    np.testing.assert_allclose(mean[:, 0], [0.5, 4.0, 12.5, 30.5])
    np.testing.assert_allclose(sd[:, 0], [np.sqrt(0.5), np.nan, np.sqrt(24.5), np.sqrt(60.5)], rtol=1e-6)
    table = found.table
    assert table[["movie", "track_id", "well", "n"]].to_numpy().tolist() == [
        ["a.tif", 1, "A1", 2],
        ["a.tif", 2, "A1", 1],
        ["b.tif", 1, "A1", 2],
        ["c.tif", 1, "B2", 2],
    ]
    assert table[["t_start", "t_stop", "time_s"]].to_numpy().tolist() == [[0, 8, 0], [0, 4, 0], [4, 12, 240], [0, 8, 0]]
    assert table["intensity"].tolist() == [2, 5, 8, 1]
    assert table["intensity_sd"].round(3).tolist()[:1] == [1.414]
    assert table["padded"].tolist() == [0.5, 0, 0, 0]
    assert table["share_cluster_1"].tolist() == [0.5, 0, 0, 1]
    assert "clip_id" not in table


def test_a_cell_counts_once_in_its_well(embeddings: Embeddings) -> None:
    found = aggregate(embeddings, "well")
    mean, sd = vectors(found)
    np.testing.assert_allclose(mean[:, 0], [(0.5 + 4 + 12.5) / 3, 30.5])
    np.testing.assert_allclose(sd[:, 0], [np.std([0.5, 4, 12.5], ddof=1), np.nan], rtol=1e-6)
    assert found.table[["plate", "well", "n", "n_windows"]].to_numpy().tolist() == [["p1", "A1", 3, 5], ["p1", "B2", 1, 2]]
    assert found.table["intensity"].tolist() == [5, 1]
    assert found.table["intensity_sd"][0] == pytest.approx(np.std([2, 5, 8], ddof=1))
    assert found.table["share_cluster_0"].tolist() == [pytest.approx(2.5 / 3), 0]
    assert not {"movie", "track_id", "parent_track_id"} & set(found.table)


def test_trajectories_share_one_axis(embeddings: Embeddings) -> None:
    found = aggregate(embeddings, "trajectory")
    assert found.step == "240 s"
    assert found.table["step"].tolist() == [0, 1, 0, 1, 2, 0, 1]
    assert found.table["time_s"].tolist() == [0, 240, 0, 240, 480, 0, 240]
    np.testing.assert_array_equal(vectors(found)[0], VECTORS.astype(np.float32))


@pytest.mark.parametrize("level", ["track", "well", "trajectory"])
def test_parts_of_any_size_give_the_same(embeddings: Embeddings, level: module.Level, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vectors(aggregate(embeddings, level))
    monkeypatch.setattr(module, "CHUNK_ROWS", 2)
    assert len(list(aggregate(embeddings, "track").blocks())) > 1
    for found, expected in zip(vectors(aggregate(embeddings, level)), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_windows_that_overlap_fall_into_one_step_and_frames_do_without_an_interval(tmp_path) -> None:
    table = rows_of_tracks(("a.tif", 1, (0, 2, 4, 5)), ("b.tif", 1, (1, 3))).assign(time_s=np.nan)
    found = aggregate(open_store(store_of_table(tmp_path / "s.zarr", table, np.arange(6.0)[:, None])), "trajectory")
    assert found.step == "2 frames"
    assert found.table[["movie", "step", "axis_frames", "n"]].to_numpy().tolist() == [
        ["a.tif", 0, 0, 1],
        ["a.tif", 1, 2, 1],
        ["a.tif", 2, 4, 2],
        ["b.tif", 0, 0, 1],
        ["b.tif", 1, 2, 1],
    ]
    np.testing.assert_allclose(vectors(found)[0][:, 0], [0, 1, 2.5, 4, 5])


def test_places_of_a_grid_are_cells(tmp_path) -> None:
    table = rows_of_tracks(("a.tif", -1, (0, 4)), ("a.tif", -1, (0, 4))).assign(x_px=[8, 8, 24, 24], clip_id=list("abcd"))
    found = aggregate(open_store(store_of_table(tmp_path / "s.zarr", table, np.arange(4.0)[:, None])), "track")
    assert found.table[["track_id", "x_px", "n"]].to_numpy().tolist() == [[-1, 8, 2], [-1, 24, 2]]


def test_what_cannot_be_averaged(embeddings: Embeddings, tmp_path) -> None:
    with pytest.raises(UserError, match="there is no aggregate named 'day'. choose track, well, trajectory"):
        aggregate(embeddings, "day")  # type: ignore[arg-type]
    without = open_store(store_of_table(tmp_path / "s.zarr", TABLE.drop(columns=["well", "plate"]), VECTORS))
    with pytest.raises(UserError, match="the movies of this store belong to no wells"):
        aggregate(without, "well")
    some = open_store(store_of_table(tmp_path / "t.zarr", TABLE.assign(well=["A1"] * 6 + [None]), VECTORS))
    with pytest.raises(UserError, match="1 of 7 rows belong to no well"):
        aggregate(some, "well")
    with pytest.raises(UserError, match="a graph of tracks has no averages"):
        export(embeddings.path, tmp_path / "t.geff", averaged="track")


def test_averages_are_written_as_tables(embeddings: Embeddings, tmp_path) -> None:
    parquet = pd.read_parquet(export(embeddings.path, tmp_path / "t.parquet", averaged="track"))
    csv = pd.read_csv(export(embeddings.path, tmp_path / "t.csv", averaged="track"))
    data = anndata.read_h5ad(export(embeddings.path, tmp_path / "t.h5ad", averaged="track"))
    expected = [0.5, 4.0, 12.5, 30.5]
    assert parquet["e000"].tolist() == csv["e000"].tolist() == data.X[:, 0].tolist() == expected
    assert (
        parquet["e000_sd"].isna().tolist()
        == csv["e000_sd"].isna().tolist()
        == np.isnan(data.layers["sd"][:, 0]).tolist()
        == [False, True, False, False]
    )
    assert parquet["n"].tolist() == data.obs["n"].tolist() == [2, 1, 2, 2]
    assert data.uns["cellvjepa"]["aggregate"]["level"] == "track"
