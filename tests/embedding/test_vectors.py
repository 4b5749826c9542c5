from __future__ import annotations

import os

import numpy as np
import pytest
import zarr

from cellvjepa.embedding import layout, unfinished, vectors
from cellvjepa.embedding.store import open_store
from cellvjepa.embedding.vectors import vectors_at


@pytest.fixture
def stored(store_of, monkeypatch):
    """40 vectors in chunks of 16, and what they are."""
    for module in (layout, unfinished):
        monkeypatch.setattr(module, "CHUNK_ROWS", 16)
    numbers = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    return open_store(store_of(numbers)), numbers


@pytest.mark.parametrize("rows", [[39, 0, 16, 15, 0, 38], [3], [], range(40)])
def test_rows_come_in_the_order_asked_for(stored, rows):
    found = stored[0].vectors_at(np.array(rows, np.int64))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, stored[1][list(rows)])


def test_only_these_rows_are_read(stored, monkeypatch):
    def refuse(*_):
        raise AssertionError("read through zarr")

    monkeypatch.setattr(zarr.Array, "__getitem__", refuse)
    np.testing.assert_array_equal(stored[0].vectors_at(np.array([20, 1])), stored[1][[20, 1]])
    monkeypatch.setattr(vectors, "_lies_plain", lambda array: False)
    with pytest.raises(AssertionError, match="read through zarr"):
        stored[0].vectors_at(np.array([20, 1]))


@pytest.mark.parametrize("rows", [[0, 40], [-1]])
def test_rows_that_are_not_there(stored, rows):
    with pytest.raises(IndexError, match="of 40"):
        stored[0].vectors_at(np.array(rows))


def test_a_file_of_another_size_is_left_to_zarr(stored):
    embeddings, _ = stored
    os.truncate(embeddings.path / "X" / "c" / "1" / "0", 100)
    with pytest.raises(ValueError, match="reshape|size|buffer"):
        embeddings.vectors_at(np.array([20]))


@pytest.mark.parametrize(
    "layout", [{}, {"compressors": None, "chunks": (8, 3)}, {"compressors": None, "shards": (16, 6)}, {"compressors": None, "dtype": ">f4"}]
)
def test_other_layouts_are_read_through_zarr(tmp_path, layout):
    numbers = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    array = zarr.create_array(tmp_path / "X", **{"shape": (40, 6), "chunks": (8, 6), "dtype": "float32", **layout})
    array[:] = numbers
    np.testing.assert_array_equal(vectors_at(array, tmp_path / "X", np.array([39, 4, 17])), numbers[[39, 4, 17]])
