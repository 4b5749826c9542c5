"""The command `surprise`: maps of an archive, a table of cells, columns of a store."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pandas as pd
import pytest
import yaozarrs

from cellvjepa.cli import run
from cellvjepa.config import Config, save_config
from cellvjepa.embedding.store import open_store
from cellvjepa.embedding.surprise import MAP
from cellvjepa.movies.readers import open_movie


@pytest.fixture(scope="module")
def trained(toy_archive: Path, tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    save_config(tiny_config, folder / "config.yaml")
    assert run(["pretrain", str(toy_archive), "--out", str(folder / "run"), "--config", str(folder / "config.yaml")]) == 0
    return folder / "run"


def test_the_command_from_a_run_to_maps_and_a_table(trained, toy_archive, tmp_path, capsys):
    (tmp_path / "cells.csv").write_text("movie,track_id,t,y_px,x_px\n" + "".join(f"field1.tif,1,{t},12,{8 + t}\n" for t in range(24)))
    out = tmp_path / "maps"
    arguments = ["surprise", str(toy_archive), "--model", str(trained), "--out", str(out), "--cells", str(tmp_path / "cells.csv")]
    assert run(arguments) == 0
    assert "surprise.csv (24 rows)" in capsys.readouterr().out
    found = pd.read_csv(out / "surprise.csv")
    assert len(found) == 24
    assert (found["surprise"] > 0).all()
    for name in ("field1.tif", "field2.tif"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = yaozarrs.validate_zarr_store(str(out / name / MAP)).ome_metadata()
        assert isinstance(image, yaozarrs.v05.Image)
        assert [axis.name for axis in image.multiscales[0].axes] == list("tczyx")
        assert open_movie(out / name / MAP).shape == {"T": 12, "C": 1, "Z": 1, "Y": 6, "X": 5}
    written = (out / "field1.tif" / MAP / "zarr.json").stat().st_mtime_ns
    assert run(arguments) == 0
    assert (out / "field1.tif" / MAP / "zarr.json").stat().st_mtime_ns == written


def test_the_command_adds_columns_to_a_store_of_the_same_cells(trained, toy_archive, tmp_path, capsys):
    cells, store, out = tmp_path / "cells.csv", tmp_path / "cells.zarr", tmp_path / "maps"
    cells.write_text("movie,track_id,t,y_px,x_px\n" + "".join(f"field{n}.tif,1,{t},12,{8 + t}\n" for n in (1, 2) for t in range(24)))
    archive = [str(toy_archive), "--model", str(trained), "--cells", str(cells)]
    assert run(["embed", *archive, "--out", str(store)]) == 0
    before = open_store(store).table
    assert run(["surprise", *archive, "--out", str(out), "--store", str(store)]) == 0
    assert f"Store: {store} (surprise of {len(before)} rows)" in " ".join(capsys.readouterr().out.split())
    after = open_store(store).table
    pd.testing.assert_frame_equal(after[before.columns], before)
    each = pd.read_csv(out / "surprise.csv")
    for row in after.itertuples():
        window = each[(each["movie"] == row.movie) & (each["track_id"] == row.track_id) & each["t"].between(row.t_start, row.t_stop - 1)]["surprise"]
        assert len(window) == 8
        assert (row.surprise, row.surprise_peak) == pytest.approx((window.mean(), window.max()), rel=1e-4)
    assert run(["surprise", str(toy_archive), "--model", str(trained), "--out", str(out), "--store", str(store)]) == 2
    assert "a store has rows of cells, and no cells are given. add --cells" in " ".join(capsys.readouterr().err.split())


def test_a_model_without_predictor_is_said_in_one_line(trained, toy_archive, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "old")
    (tmp_path / "old" / "predictor.safetensors").unlink()
    capsys.readouterr()
    assert run(["surprise", str(toy_archive), "--model", str(tmp_path / "old"), "--out", str(tmp_path / "maps")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"cellvjepa: {tmp_path / 'old'}: this model comes without its predictor (no predictor.safetensors). ")
    assert error.count("\n") == 1
    assert not (tmp_path / "maps").exists()
