from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest

from cellvjepa.cli import run
from cellvjepa.embedding import similar as similar_room
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.similar import compute_bounds, open_index
from cellvjepa.embedding.store import open_store, revise_store
from cellvjepa.errors import Cancelled, UserError


def by_hand(vectors_ND: np.ndarray, row: int) -> np.ndarray:
    """Cosines of standardised vectors with one of them."""
    standard = (vectors_ND - vectors_ND.mean(axis=0, dtype=float)) / vectors_ND.std(axis=0, dtype=float)
    unit = standard / np.linalg.norm(standard, axis=1, keepdims=True)
    return unit @ unit[row]


@pytest.fixture
def few_candidates(monkeypatch):
    """Few components and few candidates, so that bounds decide."""
    monkeypatch.setattr(similar_room, "_COMPONENTS", 3)
    monkeypatch.setattr(similar_room, "_CANDIDATES", 4)


@pytest.mark.parametrize("kind", ["groups", "noise", "a plane"])
def test_the_nearest_are_those_of_an_exhaustive_search(store_of, three_groups, few_candidates, kind):
    rng = np.random.default_rng(1)
    vectors = {
        "groups": three_groups,
        "noise": rng.normal(size=(300, 12)),
        "a plane": rng.normal(size=(300, 2)) @ rng.normal(size=(2, 12)) + 100,
    }[kind].astype(np.float32)
    index = open_index(store_of(vectors))
    for row in (0, 17, 89):
        expected = by_hand(vectors.astype(float), row)
        found = index.similar(row, 7, exact=True)
        assert found.exact
        assert (found.row, len(found.table), row in found.table["row"].tolist()) == (row, 7, False)
        others = np.delete(np.arange(len(vectors)), row)
        np.testing.assert_allclose(found.table["similarity"], np.sort(expected[others])[::-1][:7], atol=1e-5)
        np.testing.assert_allclose(found.table["similarity"], expected[found.table["row"]], atol=1e-5)
        assert found.table["track_id"].tolist() == found.table["row"].tolist(), "the store's columns stand beside"


def test_bounds_are_never_below_the_similarity(store_of, few_candidates):
    vectors = np.random.default_rng(2).normal(size=(200, 12)).astype(np.float32) * np.linspace(0.1, 9, 12, dtype=np.float32) - 50
    bounds = compute_bounds(open_store(store_of(vectors)))
    turned = np.asarray(bounds.turned_NE, float)
    for row in range(0, 200, 20):
        assert (turned @ turned[row] >= by_hand(vectors.astype(float), row) - 1e-5).all()


def test_what_is_not_searched_to_the_end_says_so_unless_proof_is_asked_for(store_of, few_candidates):
    vectors = np.random.default_rng(1).normal(size=(3000, 12)).astype(np.float32)
    index = open_index(store_of(vectors))
    found = [index.similar(row, 3) for row in range(20)]
    assert not all(neighbours.exact for neighbours in found)
    expected = [np.sort(np.delete(by_hand(vectors.astype(float), row), row))[::-1][:3] for row in range(20)]
    right = [np.allclose(neighbours.table["similarity"], nearest, atol=1e-5) for neighbours, nearest in zip(found, expected, strict=True)]
    assert all(good for good, neighbours in zip(right, found, strict=True) if neighbours.exact), "what is said to be proven is so"
    assert not all(right)
    for row, nearest in enumerate(expected):
        proven = index.similar(row, 3, exact=True)
        assert proven.exact
        np.testing.assert_allclose(proven.table["similarity"], nearest, atol=1e-5)


def test_few_rows_and_more_asked_for_than_there_are(store_of, three_groups):
    found = open_index(store_of(three_groups[:4])).similar(2, 10)
    assert sorted(found.table["row"]) == [0, 1, 3]
    assert found.exact
    alone = open_index(store_of(three_groups[:1], "alone.zarr")).similar(0)
    assert (len(alone.table), alone.exact) == (0, True)


def test_highest_bounds_are_the_highest():
    rng = np.random.default_rng(0)
    for values in (rng.normal(size=100_000), np.zeros(100_000), np.sort(rng.normal(size=100_000)), rng.normal(size=50)):
        numbers = values.astype(np.float32)
        rows, rest = similar_room._highest(numbers, 40)
        assert len(set(rows.tolist())) == 40
        np.testing.assert_array_equal(np.sort(numbers[rows]), np.sort(numbers)[-40:])
        assert rest == np.sort(numbers)[-41]


@pytest.fixture(scope="module")
def of_tracks(toy, tmp_path_factory):
    """The toy's windows: 4 frames long, one from each frame of 4 tracks in 2 movies, so that neighbours in time overlap."""
    path = tmp_path_factory.mktemp("tracks") / "s.zarr"
    return embed_windows(toy.encoder, toy.movies, toy.windows, toy.shape, toy.config, path, toy.source)


def test_windows_of_the_same_track_at_the_same_time_are_left_out_unless_asked_for(of_tracks):
    index = open_index(of_tracks)
    table = index.embeddings.table
    row = index.row_of(table["clip_id"].iloc[13])
    here = table.iloc[row]
    same = (table["movie"] == here["movie"]) & (table["track_id"] == here["track_id"])
    overlapping = set(np.flatnonzero(same & ((table["t_start"] - here["t_start"]).abs() < 4)))
    assert len(overlapping) > 3
    assert not overlapping & set(index.similar(row, 71).table["row"])
    assert set(index.similar(row, 71).table["row"]) == set(range(72)) - overlapping
    assert set(index.similar(row, 71, overlapping=True).table["row"]) == set(range(72)) - {row}


def test_places_of_a_grid_count_as_tracks(of_tracks, tmp_path):
    path = shutil.copytree(of_tracks, tmp_path / "s.zarr")
    revise_store(path, columns=pd.DataFrame({"track_id": np.full(72, -1)}))
    index = open_index(path)
    table = index.embeddings.table
    near = (table["movie"] == "b.tif") & (table["y_px"] == table["y_px"].iloc[40]) & (table["x_px"] == table["x_px"].iloc[40])
    gone = set(range(72)) - set(index.similar(40, 71).table["row"])
    assert gone == set(np.flatnonzero(near & ((table["t_start"] - table["t_start"].iloc[40]).abs() < 4)))


def test_the_index_is_kept_beside_the_store_and_made_again_when_it_changes(store_of, three_groups, monkeypatch):
    made = []
    compute = similar_room.compute_bounds
    monkeypatch.setattr(similar_room, "compute_bounds", lambda *a: made.append(1) or compute(*a))
    path = store_of(three_groups)
    first = open_index(path).similar(3).table
    pd.testing.assert_frame_equal(open_index(path).similar(3).table, first)
    revise_store(path, columns=pd.DataFrame({"cluster": ["0"] * 90}), steps={"cluster": {}})
    assert open_index(path).similar(3).table["cluster"].tolist() == ["0"] * 10
    assert len(made) == 1, "clusters do not change what is similar"
    assert sorted(p.name for p in path.parent.iterdir()) == ["s.zarr", "s.zarr.similar"]
    shutil.rmtree(path)
    store_of(three_groups[::-1].copy())
    np.testing.assert_allclose(open_index(path).similar(86).table["similarity"], first["similarity"], atol=1e-5)
    assert len(made) == 2


@pytest.mark.parametrize("damage", ["missing", "short", "not numbers", "pickled", "another shape", "another type"])
def test_a_damaged_index_is_made_again(store_of, three_groups, damage):
    path = store_of(three_groups)
    first = open_index(path).similar(3).table
    file = path.with_name("s.zarr.similar") / "turned_NE.npy"
    if damage == "missing":
        file.unlink()
    elif damage == "short":
        os.truncate(file, 300)
    elif damage == "not numbers":
        file.write_bytes(b"\0" * 1000)
    elif damage == "pickled":
        np.save(file, np.array([{"a": 1}], dtype=object))
    else:
        np.save(file, np.zeros((90, 4), np.float32) if damage == "another shape" else np.zeros((90, 13), np.int32))
    pd.testing.assert_frame_equal(open_index(path).similar(3).table, first)


def test_where_nothing_can_be_written_it_works_too(store_of, three_groups, monkeypatch):
    path = store_of(three_groups)

    def refuse(path):
        raise UserError("the file system is read-only", "choose an output folder that you may write to", path)

    monkeypatch.setattr(similar_room, "atomic_path", refuse)
    assert len(open_index(path).similar(3).table) == 10
    assert not path.with_name("s.zarr.similar").exists()


def test_it_can_be_cancelled_and_leaves_nothing(store_of, three_groups):
    path = store_of(three_groups)

    def cancel(stage, done, total):
        raise Cancelled

    with pytest.raises(Cancelled):
        open_index(path, progress=cancel)
    assert [p.name for p in path.parent.iterdir()] == ["s.zarr"]


def test_a_collapsed_encoder_is_said(store_of):
    with pytest.raises(UserError, match="all vectors are the same. the encoder has collapsed"):
        open_index(store_of(np.full((20, 6), 0.1, np.float32)))


def test_the_command_tells_people_and_scripts(of_tracks, tmp_path, capsys):
    path = shutil.copytree(of_tracks, tmp_path / "s.zarr")
    clip = open_store(path).table["clip_id"].iloc[5]
    assert run(["similar", str(path), "--clip", clip, "--count", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["similarity", "clip_id", "track_id", "t_start", "t_stop"]
    assert len(lines) == 4
    assert run(["similar", str(path), "--clip", clip, "--count", "3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["clip"]["clip_id"] == clip
    assert answer["exact"] is True
    assert [f"{hit['similarity']:.3f}" for hit in answer["similar"]] == [line.split()[0] for line in lines[1:]]
    assert {"movie", "track_id", "t_start", "t_stop", "y_px", "row"} <= set(answer["similar"][0])
    assert run(["similar", str(path), "--clip", "a.tif#nowhere"]) == 2
    error = capsys.readouterr().err
    assert "there is no clip 'a.tif#nowhere' in this store. give one of its column clip_id, e.g. 'a.tif#" in error
