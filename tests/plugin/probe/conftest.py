"""A store without movies whose embeddings know odd cells from even ones, its labels, and a probe that was trained on them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import cellvjepa
from tests.embedding.made_up import rows_of_tracks, store_of_table


@pytest.fixture(scope="session")
def odd_cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``cells.zarr`` (six movies of eight cells, two windows each), ``labels.csv``, and the probe ``probe``."""
    folder = tmp_path_factory.mktemp("odd")
    table = rows_of_tracks(*[(f"pos{m}.tif", c, (0, 20)) for m in range(6) for c in range(1, 9)])
    vectors = np.random.default_rng(0).normal(size=(len(table), 6))
    vectors[:, 0] += 2 * (table["track_id"] % 2)
    store_of_table(folder / "cells.zarr", table.assign(y_px=100.0 * table["track_id"]), vectors)
    lines = [f"pos{m}.tif,{c},{'odd' if c % 2 else 'even'},{'AB'[m % 2]}" for m in range(6) for c in range(1, 9)]
    (folder / "labels.csv").write_text("\n".join(["movie,track_id,label,donor", *lines, ""]))
    config = cellvjepa.Config().probe.model_copy(update={"bootstrap": 20})
    cellvjepa.make_probe(folder / "cells.zarr", folder / "labels.csv", folder / "probe", config)
    return folder


@pytest.fixture
def store(odd_cells: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(odd_cells / "cells.zarr", tmp_path / "cells.zarr"))


@pytest.fixture
def labels(odd_cells: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(odd_cells / "labels.csv", tmp_path / "labels.csv"))


@pytest.fixture
def trained(odd_cells: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(odd_cells / "probe", tmp_path / "trained"))
