"""The order in which rows of a store are done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cellvjepa
from cellvjepa.embedding import layout, order, unfinished
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import save_encoder


@pytest.mark.parametrize("chunk_rows", [8192, 7])
def test_when_n_are_done_they_are_the_first_n(
    toy_archive: Path, tmp_path: Path, tiny_config: cellvjepa.Config, monkeypatch: pytest.MonkeyPatch, chunk_rows: int
) -> None:
    """Proven on what is on disk at each sign of progress: rows in X, then those pending, compared with the finished store."""
    for module in (layout, order, unfinished):
        monkeypatch.setattr(module, "CHUNK_ROWS", chunk_rows)
    save_encoder(build_vjepa(tiny_config, seed=0).target_encoder, tmp_path / "run", {"config": tiny_config.model_dump(mode="json")})
    encoder, card = cellvjepa.load_encoder(tmp_path / "run")
    movies = [cellvjepa.with_levels(movie) for movie in cellvjepa.open_archive(toy_archive).movies]
    shape = cellvjepa.ClipShape.of(tiny_config.clip)
    windows = cellvjepa.grid_windows(movies, shape, 4)
    # Mixed, so that the order of reading is not that of the rows.
    mixed = np.random.default_rng(0).permutation(len(windows.clips))
    windows = cellvjepa.Windows(tuple(windows.clips[i] for i in mixed), windows.table.iloc[mixed].reset_index(drop=True))
    store = tmp_path / "out.zarr"
    pending: dict[int, Any] = {}

    def look(stage: str, done: int, total: int) -> None:
        part = store.with_name("out.zarr.part")
        if stage == "embedding" and part.is_dir():
            files = sorted(part.glob("pending-*"))
            pending[done] = np.fromfile(files[-1], np.float32) if files else np.empty(0, np.float32)

    source = cellvjepa.Source.of(card, tmp_path / "run", [toy_archive])
    cellvjepa.embed_windows(encoder, movies, windows, shape, tiny_config.embed, store, source, progress=look)
    vectors = np.asarray(cellvjepa.open_store(store).vectors_ND[:])
    rows = cellvjepa.embedding_order(windows)
    assert sorted(rows) == list(range(len(vectors)))
    assert not np.array_equal(rows, np.arange(len(vectors)))
    checked = 0
    for done, values in pending.items():
        waiting = values.reshape(-1, vectors.shape[1])
        np.testing.assert_array_equal(waiting, vectors[rows[done - len(waiting) : done]])
        checked += len(waiting)
    assert checked > 0
