from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr

from cellvjepa import __version__, writing
from cellvjepa.embedding import layout, store, unfinished
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.layout import OBS_COLUMNS
from cellvjepa.embedding.store import add_columns, open_store, revise_store
from cellvjepa.errors import UserError


@pytest.fixture(scope="module")
def made(toy, tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "s.zarr"
    return embed_windows(toy.encoder, toy.movies, toy.windows, toy.shape, toy.config, path, toy.source)


@pytest.fixture
def path(made, tmp_path):
    return shutil.copytree(made, tmp_path / "s.zarr")


def test_anndata_reads_what_the_contract_says(made, toy):
    found = anndata.read_zarr(made)
    assert found.X.shape == (72, 48)
    assert found.X.dtype == np.float32
    assert np.abs(found.X).max(axis=1).min() > 0
    assert tuple(found.obs.columns[: len(OBS_COLUMNS)]) == OBS_COLUMNS
    for name in OBS_COLUMNS:
        np.testing.assert_array_equal(found.obs[name].to_numpy(), toy.windows.table[name].to_numpy())
    about = found.uns["cellvjepa"]
    assert about["version"] == __version__
    assert about["checkpoint_sha256"] == "0" * 64
    assert about["model"] == "runs/toy"
    assert json.loads(about["config"]) == {}
    assert list(about["archives"]) == ["archive"]
    assert json.loads(about["clip_shape"])["frames"] == 4
    assert about["pool"] == "mean"
    assert about["precision"] == "float32"
    assert about["date"].startswith("20")
    assert list(about["channels"]) == ["dna", "actin"]
    assert about["levels"].values.tolist() == [[name, channel, 0.0, 1000.0] for name in ("a.tif", "b.tif") for channel in ("dna", "actin")]


def test_chunks_and_consolidated_metadata(made):
    assert zarr.open_array(made / "X", mode="r").chunks == (8192, 48)
    assert "consolidated_metadata" in json.loads((made / "zarr.json").read_text())


def test_opening_reads_the_table_and_leaves_the_vectors(made, toy):
    found = open_store(made)
    assert len(found) == 72
    assert isinstance(found.vectors_ND, zarr.Array)
    assert found.table["movie"].dtype == object
    pd.testing.assert_frame_equal(found.table, toy.windows.table, check_dtype=False)
    assert found.projections == {}
    assert found.provenance.source == toy.source
    assert found.provenance.clip_shape == toy.shape


def test_blocks_are_all_vectors_in_order(made, monkeypatch):
    found = open_store(made)
    for module in (layout, unfinished, store):
        monkeypatch.setattr(module, "CHUNK_ROWS", 30)
    blocks = list(found.blocks())
    assert [(rows.start, rows.stop) for rows, _ in blocks] == [(0, 30), (30, 60), (60, 72)]
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), np.asarray(found.vectors_ND))


def test_columns_are_added_and_replaced(path):
    rows = len(open_store(path))
    add_columns(path, pd.DataFrame({"prediction": ["G1/S"] * rows, "p(G1/S)": 0.5, "sure": True}), "prediction", {"probe": "runs/p"})
    add_columns(path, pd.DataFrame({"prediction": [None, "M"] * (rows // 2)}, index=range(100, 100 + rows)), "prediction", {"probe": "runs/q"})
    found = open_store(path)
    assert found.table["prediction"].tolist()[:2] == [None, "M"]
    assert found.table["p(G1_S)"].tolist() == [0.5] * rows, "a slash would leave the table's folder"
    assert found.table["sure"].all()
    assert found.steps == {"prediction": {"probe": "runs/q"}}
    read = anndata.read_zarr(path)
    assert list(read.obs["prediction"].cat.categories) == ["M"]
    assert read.X.shape == (72, 48)


def test_columns_that_do_not_fit_are_refused(path):
    with pytest.raises(UserError, match="3 rows cannot be added to a store of 72. make the table from this store"):
        add_columns(path, pd.DataFrame({"a": [1, 2, 3]}), "a", {})
    with pytest.raises(UserError, match="the column 'track_id' belongs to the store itself. give the new column another name"):
        add_columns(path, pd.DataFrame({"track_id": np.arange(72)}), "a", {})
    with pytest.raises(UserError, match="the column 'a_b' is there more than once"):
        add_columns(path, pd.DataFrame(np.zeros((72, 2)), columns=["a/b", "a_b"]), "a", {})


def test_hostile_column_names_stay_inside(path):
    names = ["../../outside", "..", "_index", "", "a/b", "\\c", "__group__"]
    add_columns(path, pd.DataFrame(np.zeros((72, len(names))), columns=names), "a", {})
    assert open_store(path).table.columns[-len(names) :].tolist() == ["x.._.._outside", "x..", "x_index", "x", "a_b", "x_c", "x__group__"]
    assert sorted(p.name for p in path.parent.iterdir()) == ["s.zarr"]
    assert anndata.read_zarr(path).n_obs == 72


@pytest.mark.parametrize(
    "values",
    [{"columns": pd.DataFrame({"cluster": ["0"] * 71})}, {"projections": {"X_umap": np.zeros((90, 2), np.float32)}, "steps": {"X_umap": {}}}],
)
def test_values_of_other_rows_than_the_store_has_now_are_refused(path, values):
    with pytest.raises(UserError, match="the store has 72 rows, but what is to be added to it has (71|90): another process has changed it meanwhile"):
        revise_store(path, **values)
    found = open_store(path)
    assert "cluster" not in found.table
    assert not found.projections


def test_a_crash_while_revising_leaves_the_old_store(path, monkeypatch):
    revise_store(path, projections={"X_umap": np.ones((72, 2), np.float32)})

    def crash(*_, **__):
        raise RuntimeError("crash")

    with monkeypatch.context() as patch:
        patch.setattr(store.zarr, "consolidate_metadata", crash)
        with pytest.raises(RuntimeError, match="crash"):
            revise_store(path, projections={"X_umap": np.zeros((72, 2), np.float32), "X_pca": np.zeros((72, 3), np.float32)})
    found = open_store(path)
    assert list(found.projections) == ["X_umap"]
    assert (found.projections["X_umap"] == 1).all()
    assert sorted(p.name for p in path.parent.iterdir()) == ["s.zarr"]


@pytest.mark.parametrize("failing", [1, 2])
def test_ctrl_c_while_the_new_store_takes_its_place_loses_nothing(path, monkeypatch, failing):
    replace, calls = os.replace, []

    def interrupted(source, target):
        if "s.zarr" in (Path(source).name, Path(target).name) and Path(source).is_dir():
            calls.append(source)
            if len(calls) == failing:
                raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(writing.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            revise_store(path, steps={"a": {}})
    assert open_store(path).steps == {}
    assert [p.name for p in path.parent.iterdir()] == ["s.zarr"]


@pytest.mark.parametrize("can_link", [True, False])
def test_revising_shares_the_vectors_where_it_can(path, monkeypatch, can_link):
    chunk = path / "X" / "c" / "0" / "0"
    before = chunk.stat().st_ino, chunk.read_bytes()
    if not can_link:
        link = os.link

        def refuse(source, target):
            if "/X/" in str(source):  # zarr links files of its own
                raise PermissionError
            link(source, target)

        monkeypatch.setattr(store.os, "link", refuse)
    revise_store(path, steps={"a": {"b": 1}})
    assert (chunk.stat().st_ino == before[0]) == can_link
    assert chunk.read_bytes() == before[1]
    assert open_store(path).steps == {"a": {"b": 1}}


def test_missing_foreign_and_damaged_stores_are_refused(path, tmp_path):
    with pytest.raises(UserError, match="no.zarr: there is no such store of embeddings. make one with `cellvjepa embed`, or check the path"):
        open_store(tmp_path / "no.zarr")
    (tmp_path / "file").write_text("text")
    with pytest.raises(UserError, match="there is no such store"):
        open_store(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: this is not a store of embeddings written by cellvjepa"):
        open_store(tmp_path / "empty")
    foreign = anndata.AnnData(np.zeros((3, 2), np.float32))
    for zarr_format in (2, 3):
        target = tmp_path / f"foreign{zarr_format}.zarr"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            anndata.io.write_elem(zarr.open_group(target, mode="w", zarr_format=zarr_format), "/", foreign)
        with pytest.raises(UserError, match="this is not a store of embeddings written by cellvjepa"):
            open_store(target)


def test_lost_pieces_are_noticed(path):
    (path / "X" / "c" / "0" / "0").unlink()
    with pytest.raises(UserError, match="1 of 1 pieces of the vectors are missing. copy the whole folder again"):
        open_store(path)
    shutil.rmtree(path / "X")
    with pytest.raises(UserError, match="the vectors are missing|pieces of the vectors are missing"):
        open_store(path)


def test_vectors_that_do_not_fit_the_table_are_refused(path):
    for file in (path / "X" / "zarr.json", path / "zarr.json"):
        text = file.read_text()
        file.write_text(json.dumps(json.loads(text, object_hook=lambda o: {**o, "shape": [10**12, 48]} if o.get("shape") == [72, 48] else o)))
    with pytest.raises(UserError, match=r"the vectors \(1000000000000 x 48\) do not fit the table \(72 rows\) and its 48 features"):
        open_store(path)
