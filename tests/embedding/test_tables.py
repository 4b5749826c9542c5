from __future__ import annotations

import json
import shutil

import anndata
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cellvjepa.embedding import layout, store, tables, unfinished
from cellvjepa.embedding.store import add_columns, open_store, revise_store
from cellvjepa.embedding.tables import export
from cellvjepa.errors import Cancelled, UserError


@pytest.fixture(scope="module")
def made(write_store, three_groups, tmp_path_factory):
    """90 rows in chunks of 32, projected, with a column that is empty in the first chunk and text after it."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (layout, unfinished, store):
            patch.setattr(module, "CHUNK_ROWS", 32)
        made = write_store(tmp_path_factory.mktemp("made") / "s.zarr", three_groups)
        revise_store(made, projections={"X_umap": three_groups[:, :2].copy(), "X_pca": three_groups[:, 2:5].copy()})
        add_columns(made, pd.DataFrame({"label": [None] * 40 + ["a, b"] * 50, "sure": [True, False] * 45}), "label", {})
        # The smaller chunks stay while the tests of this module run.
        yield made


@pytest.fixture
def path(made, tmp_path):
    return shutil.copytree(made, tmp_path / "s.zarr")


COLUMNS = ["pca000", "pca001", "pca002", "umap000", "umap001", *(f"e{i:03d}" for i in range(12))]


def test_parquet_and_csv_hold_everything(path, tmp_path, three_groups):
    table = open_store(path).table
    parquet = pd.read_parquet(export(path, tmp_path / "t.parquet"))
    csv = pd.read_csv(export(path, tmp_path / "t.CSV"))
    for found in (parquet, csv):
        assert found.columns.tolist() == [*table.columns, *COLUMNS]
        np.testing.assert_array_equal(found[COLUMNS[5:]].to_numpy(np.float32), three_groups)
        np.testing.assert_array_equal(found[["umap000", "umap001"]].to_numpy(np.float32), three_groups[:, :2])
        for name in ("clip_id", "movie", "track_id", "t_start", "y_px", "time_s", "sure"):
            assert found[name].tolist() == table[name].tolist()
        assert found["label"].isna().sum() == 40
        assert found["label"][40] == "a, b"
    assert parquet["e000"].dtype == np.float32


def test_parquet_is_written_chunk_by_chunk_and_says_where_it_comes_from(path, tmp_path):
    file = pq.ParquetFile(export(path, tmp_path / "t.parquet"))
    assert [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)] == [32, 32, 26]
    assert json.loads(file.schema_arrow.metadata[b"cellvjepa"]) == {"store": str(path), "checkpoint_sha256": "0" * 64}


def test_h5ad_is_the_same_anndata(path, tmp_path):
    found, expected = anndata.read_h5ad(export(path, tmp_path / "t.h5ad")), anndata.read_zarr(path)
    np.testing.assert_array_equal(found.X, expected.X)
    pd.testing.assert_frame_equal(found.obs, expected.obs)
    pd.testing.assert_frame_equal(found.var.astype(str), expected.var.astype(str))
    np.testing.assert_array_equal(found.obsm["X_umap"], expected.obsm["X_umap"])
    assert found.uns["cellvjepa"]["checkpoint_sha256"] == "0" * 64
    assert found.uns["cellvjepa"]["steps"] == expected.uns["cellvjepa"]["steps"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".h5ad"])
def test_an_interrupted_export_leaves_the_old_file(path, tmp_path, suffix):
    target = tmp_path / f"t{suffix}"
    target.write_text("old")

    def cancel(stage, done, total):
        if done == 64:
            raise Cancelled

    with pytest.raises(Cancelled):
        export(path, target, progress=cancel)
    assert target.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr", target.name]


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.zarr"])
def test_unknown_suffixes_are_refused(path, tmp_path, name):
    with pytest.raises(UserError, match=r"the suffix '.*' is unknown. end the name with .parquet, .csv, .h5ad, .geff"):
        export(path, tmp_path / name)


def test_bad_targets_are_refused(path, tmp_path):
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(UserError, match="this is a folder. give the name of a file"):
        export(path, tmp_path / "t.csv")
    with pytest.raises(UserError, match="there is no such store"):
        export(tmp_path / "no.zarr", tmp_path / "u.csv")
    add_columns(path, pd.DataFrame({"e003": np.zeros(90)}), "e003", {})
    with pytest.raises(UserError, match="the column 'e003' of its table has the name of a number of the vectors. rename that column"):
        export(path, tmp_path / "u.csv")


def test_flat_table_is_a_part(path):
    found = open_store(path)
    flat = tables.flat_table(found, slice(10, 12), np.asarray(found.vectors_ND[10:12]))
    assert flat["track_id"].tolist() == [10, 11]
    assert len(flat.columns) == len(found.table.columns) + len(COLUMNS)
