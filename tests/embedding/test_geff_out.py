"""Graphs are read back by the reference implementation of GEFF, which checks them against its specification."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cellvjepa.embedding import geff_out, layout, store, unfinished
from cellvjepa.embedding.geff_out import track_edges
from cellvjepa.embedding.store import open_store
from cellvjepa.embedding.tables import export
from cellvjepa.errors import Cancelled, UserError
from tests.embedding.made_up import rows_of_tracks, store_of_table

geff = pytest.importorskip("geff", reason="the reference implementation of GEFF is not installed")

# A mother (1) that divides into 2 and 3 after two windows, and a cell without a future.
DIVIDING = rows_of_tracks(("day1/a.tif", 1, (0, 4)), ("day1/a.tif", 2, (8, 12)), ("day1/a.tif", 3, (8,)), ("day1/a.tif", 4, (0,))).assign(
    parent_track_id=[-1, -1, 1, 1, 1, -1], label=["x", None, "y, z", "x", "x", "x"], padded=[True] + [False] * 5, intensity=[1.0, np.nan, 2, 3, 4, 5]
)
EDGES = {(0, 1), (2, 3), (1, 2), (1, 4)}


def read(path):
    graph, metadata = geff.read(path, structure_validation=True, backend="networkx")
    return graph, metadata


def test_the_reference_reads_nodes_edges_and_embeddings(tmp_path) -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    path = export(store_of_table(tmp_path / "s.zarr", DIVIDING, vectors), tmp_path / "t.geff")
    graph, metadata = read(path)
    assert set(graph.edges) == EDGES
    np.testing.assert_array_equal([graph.nodes[i]["embedding"] for i in range(6)], vectors)
    node = graph.nodes[2]
    assert (node["t"], node["y"], node["x"], node["track_id"], node["t_start"], node["label"]) == (9, 20.0, 16.0, 2, 8, "y, z")
    assert "label" not in graph.nodes[1]
    assert "intensity" not in graph.nodes[1]
    assert metadata.directed
    assert [(axis.name, axis.unit, axis.scale, axis.scaled_unit) for axis in metadata.axes] == [
        ("t", "frame", 60.0, "second"),
        ("y", "pixel", 0.5, "micrometer"),
        ("x", "pixel", 0.5, "micrometer"),
    ]
    assert metadata.extra["cellvjepa"]["movie"] == "day1/a.tif"


def test_each_movie_is_a_graph_of_its_own_with_a_safe_name(tmp_path, monkeypatch) -> None:
    for module in (layout, unfinished, store, geff_out):
        monkeypatch.setattr(module, "CHUNK_ROWS", 2)
    # The rows of a movie need not stand together.
    table = rows_of_tracks(("../a b.tif", 1, (0, 4)), ("b.tif", 1, (0,)), (".._a_b.tif", 7, (0, 4))).iloc[[0, 2, 1, 3, 4]].reset_index(drop=True)
    path = export(store_of_table(tmp_path / "s.zarr", table, np.arange(10.0).reshape(5, 2)), tmp_path / "t.geff")
    movies = json.loads((path / ".zattrs").read_text())["cellvjepa"]["movies"]
    assert movies == {"a_b.tif": "../a b.tif", "b.tif": "b.tif", "a_b.tif_": ".._a_b.tif"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr", "t.geff"]
    first, second, third = (read(path / name)[0] for name in movies)
    assert (set(first.edges), set(second.edges), set(third.edges)) == ({(0, 2)}, set(), {(3, 4)})
    assert list(first.nodes[2]["embedding"]) == [4.0, 5.0]
    assert list(third.nodes[4]["embedding"]) == [8.0, 9.0]


def test_planes_become_an_axis_where_there_are_some(tmp_path) -> None:
    table = rows_of_tracks(("a.tif", 1, (0, 4))).assign(z_px=[1.0, 2.0], time_s=np.nan, y_um=np.nan, x_um=np.nan, embedding=[7, 8])
    graph, metadata = read(export(store_of_table(tmp_path / "s.zarr", table, np.ones((2, 3))), tmp_path / "t.geff"))
    assert [(axis.name, axis.scale) for axis in metadata.axes] == [("t", None), ("z", None), ("y", None), ("x", None)]
    assert (graph.nodes[1]["z"], graph.nodes[1]["embedding_"]) == (2.0, 8)


def test_edges_do_not_depend_on_the_order_of_rows() -> None:
    order = np.random.default_rng(1).permutation(6)
    found = track_edges(DIVIDING.iloc[order].reset_index(drop=True))
    assert {(int(order[a]), int(order[b])) for a, b in found} == EDGES
    assert track_edges(DIVIDING.assign(track_id=-1)).shape == (0, 2)
    # A track that claims to be its own mother, and one whose mother is not there.
    assert track_edges(rows_of_tracks(("a.tif", 1, (0,)), ("a.tif", 2, (0,))).assign(parent_track_id=[1, 9])).shape == (0, 2)


def test_what_is_there_stays_until_the_graph_is_complete(tmp_path) -> None:
    made = store_of_table(tmp_path / "s.zarr", DIVIDING, np.ones((6, 2)))
    target = export(made, tmp_path / "t.geff")
    before = sorted(p.relative_to(target) for p in target.rglob("*"))

    def cancel(stage, done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        export(made, target, progress=cancel)
    assert sorted(p.relative_to(target) for p in target.rglob("*")) == before
    assert export(made, target) == target
    (tmp_path / "photos.geff").mkdir()
    with pytest.raises(UserError, match="this exists and is no graph. give another name"):
        export(made, tmp_path / "photos.geff")
    assert len(open_store(made)) == 6
