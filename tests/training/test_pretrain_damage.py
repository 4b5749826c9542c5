"""Damage in an archive neither stops nor poisons a run."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.movies.readers import open_archive
from cellvjepa.stories.run import tell_run
from cellvjepa.training.metrics import read_metrics
from cellvjepa.training.pretrain import pretrain


@pytest.fixture
def damaged_archive(toy_archive: Path, tmp_path: Path) -> Path:
    """The two toy movies, and a long Zarr movie with a chunk of garbage in its middle."""
    root = tmp_path / "archive"
    shutil.copytree(toy_archive, root)
    frames = tifffile.imread(toy_archive / "field1.tif")
    group = zarr.open_group(str(root / "long.zarr"), mode="w", zarr_format=2)
    array = group.create_array("0", shape=(240, 48, 40), chunks=(8, 48, 40), dtype=frames.dtype)
    array[...] = np.concatenate([frames] * 10)
    axes = [{"name": name, "type": "time" if name == "t" else "space"} for name in "tyx"]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    (root / "long.zarr" / "0" / "12.0.0").write_bytes(b"garbage")
    return root


def test_a_run_goes_on_past_damage_names_it_and_counts_it(
    damaged_archive: Path, tiny_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    movies = open_archive(damaged_archive).movies
    assert [movie.name for movie in movies] == ["field1.tif", "field2.tif", "long.zarr"]
    training = {"steps": 40, "live_blocks": 4, "clips_per_block": 2, "log_every": 5, "data_memory_mb": 1}  # small blocks, often renewed
    config = tiny_config.model_copy(update={"training": tiny_config.training.model_copy(update=training)})
    with caplog.at_level(logging.WARNING, "cellvjepa"):
        run = pretrain(movies, tmp_path / "run", config)
        tell_run(run, movies)
    rows = read_metrics(run / "metrics.jsonl")
    assert rows[-1]["step"] == 40
    assert rows[-1]["damaged_blocks"] > 0
    assert all(np.isfinite(row["loss"]) for row in rows)
    assert (run / "encoder.safetensors").is_file()
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings
    assert all(warning.startswith("left out: ") and "long.zarr" in warning for warning in warnings)


def test_a_movie_of_which_nothing_can_be_read_is_left_out(damaged_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    for chunk in (damaged_archive / "long.zarr" / "0").glob("[0-9]*"):
        chunk.write_bytes(b"garbage")
    pretrain(open_archive(damaged_archive).movies, tmp_path / "run", tiny_config)
    shutil.rmtree(damaged_archive / "long.zarr")
    alone = pretrain(open_archive(damaged_archive).movies, tmp_path / "alone", tiny_config)
    assert [row["loss"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [row["loss"] for row in read_metrics(alone / "metrics.jsonl")]


def test_an_archive_of_which_nothing_can_be_read_is_refused(damaged_archive: Path, tiny_config: Config, tmp_path: Path) -> None:
    for chunk in (damaged_archive / "long.zarr" / "0").glob("[0-9]*"):
        chunk.write_bytes(b"garbage")
    movies = tuple(movie for movie in open_archive(damaged_archive).movies if movie.name == "long.zarr")
    with pytest.raises(UserError, match="long.zarr: the pixels from T=.* cannot be read"):
        pretrain(movies, tmp_path / "run", tiny_config)
