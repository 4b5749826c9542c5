"""A store to which rows are added: the first movie is embedded (36 rows: chunks of 16, 16 and 4), then both (72 rows)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr

from cellvjepa.cells.windows import Windows
from cellvjepa.embedding import layout, unfinished
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.store import add_columns, open_store, revise_store
from cellvjepa.embedding.unfinished import part_of
from cellvjepa.errors import Cancelled, UserError


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    for module in (layout, unfinished):
        monkeypatch.setattr(module, "CHUNK_ROWS", 16)


@pytest.fixture
def embed_toy(toy):
    def run(path, windows=toy.windows, **changes):
        arguments = {"encoder": toy.encoder, "movies": toy.movies, "shape": toy.shape, "config": toy.config}
        return embed_windows(**{**arguments, "windows": windows, "store": path, "source": toy.source, **changes})

    return run


@pytest.fixture
def path(embed_toy, toy, first_rows, tmp_path):
    """A finished store of the first movie."""
    return embed_toy(tmp_path / "s.zarr", first_rows(toy.windows, 36))


def picked(windows: Windows, rows) -> Windows:
    rows = list(rows)
    return replace(windows, clips=tuple(windows.clips[i] for i in rows), table=windows.table.iloc[rows].reset_index(drop=True))


def stop_after(rows: int):
    def progress(stage: str, done: int, total: int) -> None:
        if done >= rows:
            raise Cancelled

    return progress


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store but those with dates."""
    files = [file for file in sorted(store.rglob("*")) if file.is_file() and not {"date", "additions"} & set(file.parts)]
    return {str(file.relative_to(store)): file.read_bytes() for file in files}


@pytest.mark.parametrize("given", ["both", "the new one", "the new one first"])
def test_a_movie_is_added_after_the_rows_that_are_there(embed_toy, toy, path, given):
    before = np.asarray(open_store(path).vectors_ND)
    rows = {"both": range(72), "the new one": range(36, 72), "the new one first": [*range(36, 72), *range(36)]}[given]
    seen = []
    embed_toy(
        path,
        picked(toy.windows, rows),
        source=replace(toy.source, archives=("archive", "second")),
        progress=lambda stage, done, total: seen.append((done, total)),
    )
    found = open_store(path)
    assert (seen[0], seen[-1]) == ((0, 36), (36, 36)), "what is there is not computed again"
    np.testing.assert_array_equal(found.vectors_ND[:36], before)
    whole = np.asarray(open_store(embed_toy(path.parent / "whole.zarr")).vectors_ND)
    np.testing.assert_allclose(np.asarray(found.vectors_ND), whole, atol=1e-5)
    pd.testing.assert_frame_equal(found.table, toy.windows.table, check_dtype=False)
    assert found.provenance.source.archives == ("archive", "second")
    assert found.provenance.levels["movie"].tolist() == ["a.tif", "a.tif", "b.tif", "b.tif"]
    (addition,) = found.additions
    assert addition["rows"] == [36, 72]
    assert addition["archives"] == ["archive", "second"]
    assert addition["date"].startswith("20")
    read = anndata.read_zarr(path)
    assert read.obs_names.tolist() == [str(i) for i in range(72)]
    np.testing.assert_array_equal(read.X, np.asarray(found.vectors_ND))


def test_chunks_that_are_full_are_shared_and_the_old_store_is_not_written_to(embed_toy, path):
    chunks = [path / "X" / "c" / str(i) / "0" for i in range(3)]
    kept = path.parent / "kept"
    kept.hardlink_to(chunks[2])
    before = [chunk.stat().st_ino for chunk in chunks], kept.read_bytes()
    embed_toy(path)
    assert [chunk.stat().st_ino for chunk in chunks[:2]] == before[0][:2]
    assert kept.read_bytes() == before[1], "the last chunk is written anew, not in place"


def test_adding_twice_and_nothing(embed_toy, toy, path):
    embed_toy(path, picked(toy.windows, range(36, 50)))
    embed_toy(path)
    found = open_store(path)
    assert [addition["rows"] for addition in found.additions] == [[36, 50], [50, 72]]
    whole = np.asarray(open_store(embed_toy(path.parent / "whole.zarr")).vectors_ND)
    np.testing.assert_allclose(np.asarray(found.vectors_ND), whole, atol=1e-5)
    before = contents(path)
    seen = []
    embed_toy(path, progress=lambda stage, done, total: seen.append((done, total)))
    embed_toy(path, picked(toy.windows, range(36)))
    assert contents(path) == before
    assert seen == [(72, 72)]


@pytest.mark.parametrize("rows", [1, 12, 36])
def test_cancelled_and_resumed_is_the_same_bit_for_bit(embed_toy, toy, path, rows):
    whole = embed_toy(path.parent / "w" / "s.zarr", picked(toy.windows, range(36)))
    embed_toy(whole)
    with pytest.raises(Cancelled):
        embed_toy(path, progress=stop_after(rows))
    assert len(open_store(path)) == 36, "the old store is there until the new one is complete"
    embed_toy(path)
    assert contents(path) == contents(whole)
    assert sorted(p.name for p in path.parent.iterdir()) == ["s.zarr", "w"]


def test_what_later_steps_knew_is_missing_in_the_new_rows(embed_toy, path):
    columns = {"cluster": ["0", "1"] * 18, "votes": 3, "sure": True, "share": 0.5}
    add_columns(path, pd.DataFrame(columns, index=range(36)), "cluster", {"method": "kmeans"})
    revise_store(path, projections={"X_pca": np.zeros((36, 2), np.float32)}, steps={"X_pca": {"method": "pca"}})
    embed_toy(path)
    found = open_store(path)
    assert found.table["cluster"].tolist() == ["0", "1"] * 18 + [None] * 36
    assert found.table["votes"].tolist()[:36] == [3] * 36
    assert found.table["sure"].tolist()[:36] == [True] * 36
    assert found.table[["votes", "sure", "share"]].iloc[36:].isna().all(axis=None)
    assert found.steps == {"cluster": {"method": "kmeans"}}, "projections are made again"
    assert list(found.projections) == []
    assert anndata.read_zarr(path).n_obs == 72


def test_what_is_added_to_the_store_meanwhile_is_kept(embed_toy, path):
    with pytest.raises(Cancelled):
        embed_toy(path, progress=stop_after(10))
    add_columns(path, pd.DataFrame({"prediction": ["M"] * 36}), "prediction", {"probe": "p"})
    embed_toy(path)
    assert open_store(path).table["prediction"].tolist() == ["M"] * 36 + [None] * 36


def test_begun_with_one_movie_and_finished_with_two(embed_toy, toy, path):
    embed_toy(path)
    other = path.parent / "w" / "s.zarr"
    with pytest.raises(Cancelled):
        embed_toy(other, picked(toy.windows, range(36)), progress=stop_after(20))
    seen = []
    embed_toy(other, progress=lambda stage, done, total: seen.append((done, total)))
    assert seen[0] == (21, 36), "what was computed is not computed again"
    assert contents(other) == contents(path)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda toy: {"source": replace(toy.source, checkpoint_sha256="f" * 64)}, "the model's checkpoint is 000000000000 in the store and ffff"),
        (lambda toy: {"shape": replace(toy.shape, z="middle")}, "clip.z is max in the store and middle now"),
        (lambda toy: {"windows": picked(toy.windows, range(5, 72))}, "5 of the 36 windows of 'a.tif' in the store are not among those now"),
        (
            lambda toy: {"windows": replace(toy.windows, table=toy.windows.table.assign(area_px=3))},
            "the column 'area_px' is not in the store",
        ),
        (
            lambda toy: {"movies": (replace(toy.movies[0], levels=toy.movies[0].levels + 5), toy.movies[1])},
            "the intensity range of channel 'dna' of 'a.tif' is 0 to 1000 in the store and 5 to 1005 now",
        ),
    ],
)
def test_another_model_or_other_cells_are_refused_with_the_difference(embed_toy, toy, path, change, found):
    before = contents(path)
    with pytest.raises(UserError, match="s.zarr: embeddings of something else are there: ") as error:
        embed_toy(path, **change(toy))
    assert found in str(error.value)
    assert contents(path) == before
    assert [p.name for p in path.parent.iterdir()] == ["s.zarr"]


def test_what_was_begun_with_other_windows_is_refused(embed_toy, toy, path):
    with pytest.raises(Cancelled):
        embed_toy(path, progress=stop_after(10))
    with pytest.raises(UserError, match=r"s.zarr.part: .* 32 of the 36 windows of 'b.tif' in the store are not among those now"):
        embed_toy(path, picked(toy.windows, range(40)))
    with pytest.raises(UserError, match=r"s.zarr.part: .* 36 of the 36 windows that were begun, e.g. in 'b.tif', are not among those now"):
        embed_toy(path, picked(toy.windows, range(36)))


def test_something_else_beside_the_store_is_left_alone(embed_toy, tmp_path):
    part = part_of(tmp_path / "s.zarr")
    part.mkdir()
    (part / "thesis.doc").write_text("mine")
    with pytest.raises(UserError, match="s.zarr.part: there is something else where the store is to be made. move it away"):
        embed_toy(tmp_path / "s.zarr")
    assert (part / "thesis.doc").read_text() == "mine"


def test_chunks_of_zeros_are_written_too(store_of):
    path = store_of(np.zeros((40, 3), np.float32))
    assert sorted(f.name for f in (path / "X" / "c").iterdir()) == ["0", "1", "2"]
    assert len(open_store(path)) == 40


def test_stores_with_compressed_vectors_are_added_to(embed_toy, path):
    vectors = np.asarray(open_store(path).vectors_ND)
    compressed = zarr.create_array(path / "X", shape=vectors.shape, chunks=(16, 48), dtype="float32", overwrite=True)
    compressed[:] = vectors
    compressed.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    with layout.quiet_zarr():
        zarr.consolidate_metadata(path)
    embed_toy(path)
    found = open_store(path)
    assert len(found.vectors_ND.metadata.codecs) > 1
    np.testing.assert_array_equal(found.vectors_ND[:36], vectors)
    np.testing.assert_array_equal(found.vectors_at(np.array([70, 3])), np.asarray(found.vectors_ND)[[70, 3]])
    assert np.abs(found.vectors_ND[36:]).max(axis=1).min() > 0
