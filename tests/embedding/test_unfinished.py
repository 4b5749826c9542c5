from __future__ import annotations

import errno
import os
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest

from cellvjepa.embedding import layout, unfinished
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.store import open_store
from cellvjepa.embedding.unfinished import Unfinished, part_of
from cellvjepa.errors import Cancelled, UserError


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 16 rows: 72 windows make five, the last one short."""
    for module in (layout, unfinished):
        monkeypatch.setattr(module, "CHUNK_ROWS", 16)


@pytest.fixture(scope="module")
def embed_toy(toy):
    def run(path, **changes):
        arguments = {"encoder": toy.encoder, "movies": toy.movies, "windows": toy.windows, "shape": toy.shape, "config": toy.config}
        return embed_windows(**{**arguments, "store": path, "source": toy.source, **changes})

    return run


@pytest.fixture(scope="module")
def whole(embed_toy, tmp_path_factory):
    """The same store, made without an interruption."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (layout, unfinished):
            patch.setattr(module, "CHUNK_ROWS", 16)
        return embed_toy(tmp_path_factory.mktemp("whole") / "s.zarr")


@pytest.fixture(scope="module")
def begun(embed_toy, tmp_path_factory):
    """A store of which 10 of 72 rows are done."""
    path = tmp_path_factory.mktemp("begun") / "s.zarr"
    with pytest.raises(Cancelled):
        embed_toy(path, progress=StopAfter(10))
    return part_of(path)


class StopAfter:
    """A progress that cancels once so many rows are done."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __call__(self, stage: str, done: int, total: int) -> None:
        if done >= self.rows:
            raise Cancelled


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store but the date it was begun, and the metadata that repeat nothing but other files."""
    return {
        str(file.relative_to(store)): file.read_bytes()
        for file in sorted(store.rglob("*"))
        if file.is_file() and not file.is_relative_to(store / "uns" / "cellvjepa" / "date")
    }


@pytest.mark.parametrize("rows", [1, 17, 71])
def test_cancelled_anywhere_and_resumed_is_the_same_bit_for_bit(embed_toy, whole, small_chunks, tmp_path, rows):
    path = tmp_path / "s.zarr"
    with pytest.raises(Cancelled):
        embed_toy(path, progress=StopAfter(rows))
    assert not path.exists()
    seen = []
    embed_toy(path, progress=lambda stage, done, total: seen.append(done))
    assert rows <= seen[0] < rows + 5, "what was done is not done again"
    assert seen == sorted(seen)
    assert contents(path) == contents(whole)
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


def test_cancelled_at_every_batch(embed_toy, whole, small_chunks, tmp_path):
    path = tmp_path / "s.zarr"
    for attempt in range(100):
        done = attempt * 5
        try:
            embed_toy(path, progress=StopAfter(done))
        except Cancelled:
            continue
        break
    assert contents(path) == contents(whole)


SLOW_CHILD = """
import pickle, sys, time
from cellvjepa.embedding import layout, unfinished
from cellvjepa.embedding.embed import embed_windows

layout.CHUNK_ROWS = unfinished.CHUNK_ROWS = 16
with open(sys.argv[1], "rb") as file:
    arguments = pickle.load(file)
embed_windows(*arguments, progress=lambda stage, done, total: time.sleep(0.2))
"""


def test_killed_and_resumed_is_the_same_bit_for_bit(embed_toy, whole, toy, small_chunks, tmp_path):
    path = tmp_path / "s.zarr"
    arguments = (toy.encoder, toy.movies, toy.windows, toy.shape, toy.config, path, toy.source)
    (tmp_path / "arguments").write_bytes(pickle.dumps(arguments))
    child = subprocess.Popen([sys.executable, "-c", SLOW_CHILD, tmp_path / "arguments"])
    while child.poll() is None and (unfinished.unfinished_rows(path) or (0, 0))[0] < 20:
        time.sleep(0.01)
    child.kill()
    child.wait()
    rows, _ = unfinished.unfinished_rows(path)
    assert 20 <= rows < 72
    embed_toy(path)
    assert contents(path) == contents(whole)


def test_a_torn_batch_is_computed_again(embed_toy, whole, small_chunks, tmp_path):
    path = tmp_path / "s.zarr"
    with pytest.raises(Cancelled):
        embed_toy(path, progress=StopAfter(26))
    (pending,) = part_of(path).glob("pending-*")
    assert pending.stat().st_size == 10 * 48 * 4, "one chunk of 16 is done, and two batches of 5 are pending"
    os.truncate(pending, 7 * 48 * 4 + 3)
    embed_toy(path)
    assert contents(path) == contents(whole)


def test_a_second_process_is_told_and_the_first_goes_on(embed_toy, whole, small_chunks, tmp_path):
    path = tmp_path / "s.zarr"
    refused = []

    def start_another(stage, done, total):
        if done == 10 and not refused:
            refused.append(True)

            def first_goes_on(stage, done, total):
                Unfinished(path, 72, 48).add_pending(0, 10, np.zeros((5, 48), np.float32))
                os.truncate(part_of(path) / "pending-00000", 15 * 48 * 4)

            with pytest.raises(UserError, match="another process is writing these embeddings. wait until it is done, then run this again"):
                embed_toy(path, progress=first_goes_on)
            os.truncate(part_of(path) / "pending-00000", 10 * 48 * 4)

    embed_toy(path, progress=start_another)
    assert refused
    assert contents(path) == contents(whole)


def test_another_batch_size_may_finish_the_work(embed_toy, whole, toy, small_chunks, tmp_path):
    path = tmp_path / "s.zarr"
    with pytest.raises(Cancelled):
        embed_toy(path, progress=StopAfter(10))
    embed_toy(path, config=toy.config.model_copy(update={"batch_size": 3}))
    np.testing.assert_allclose(np.asarray(open_store(path).vectors_ND), np.asarray(open_store(whole).vectors_ND), atol=1e-5)


def test_an_unfinished_store_is_recognised(begun):
    path = begun.with_name("s.zarr")
    for name in (path, begun):
        with pytest.raises(
            UserError, match=r"these embeddings are unfinished \(10 of 72 rows are done\)\. run the same `cellvjepa embed` command again"
        ):
            open_store(name)
    with pytest.raises(FileNotFoundError):
        anndata.read_zarr(path)


def test_killed_between_the_last_two_moves(embed_toy, whole, tmp_path):
    path = shutil.copytree(whole, tmp_path / "s.zarr")
    part_of(path).mkdir()
    (part_of(path) / "done").write_bytes(b"\1")
    assert len(open_store(path)) == 72
    embed_toy(path)
    assert not part_of(path).exists()


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            lambda toy: {"source": replace(toy.source, checkpoint_sha256="f" * 64)},
            "the model's checkpoint is 000000000000 in the store and ffffffffffff now",
        ),
        (lambda toy: {"shape": replace(toy.shape, z="middle")}, "clip.z is max in the store and middle now"),
        (lambda toy: {"config": toy.config.model_copy(update={"pool": "moments"})}, "embed.pool is mean in the store and moments now"),
        (
            lambda toy: {"movies": (toy.movies[0], replace(toy.movies[1], levels=toy.movies[1].levels + 5))},
            "the intensity range of channel 'dna' of 'b.tif' is 0 to 1000 in the store and 5 to 1005 now",
        ),
        (
            lambda toy: {"windows": replace(toy.windows, clips=toy.windows.clips[:40], table=toy.windows.table.iloc[:40])},
            "32 of the 36 windows of 'b.tif' in the store are not among those now",
        ),
        (
            lambda toy: {"windows": replace(toy.windows, table=toy.windows.table.assign(y_um=toy.windows.table["y_um"].where(lambda y: y < 8, 7.5)))},
            "y_um of row 18 is 9.0 in the store and 7.5 now",
        ),
    ],
)
def test_a_store_of_something_else_is_refused_with_the_difference(embed_toy, whole, begun, toy, tmp_path, change, found, finished):
    path = tmp_path / "s.zarr"
    there = shutil.copytree(whole, path) if finished else shutil.copytree(begun, part_of(path))
    before = contents(there)
    with pytest.raises(UserError, match=r"embeddings of something else are there") as error:
        embed_toy(path, **change(toy))
    assert found in str(error.value)
    assert "choose another --out" in str(error.value)
    assert contents(there) == before


def test_paths_dates_and_archives_may_differ(embed_toy, whole, toy):
    before = contents(whole)
    assert embed_toy(whole, source=replace(toy.source, model="elsewhere/run", archives=("moved",))) == whole
    assert contents(whole) == before


def test_what_is_not_a_store_is_not_overwritten(embed_toy, tmp_path):
    file = tmp_path / "s.zarr"
    file.write_text("mine")
    with pytest.raises(UserError, match="there is a file where the store should be. choose another --out"):
        embed_toy(file)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "thesis.doc").write_text("mine")
    with pytest.raises(UserError, match="this is not a store of embeddings written by cellvjepa"):
        embed_toy(folder)
    assert file.read_text() == (folder / "thesis.doc").read_text() == "mine"


def test_an_empty_folder_may_become_the_store(embed_toy, tmp_path):
    (tmp_path / "s.zarr").mkdir()
    assert len(open_store(embed_toy(tmp_path / "s.zarr"))) == 72


def test_a_full_disk_keeps_what_is_done(embed_toy, whole, small_chunks, tmp_path, monkeypatch):
    path = tmp_path / "s.zarr"

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "open_to_write", full)
        with pytest.raises(UserError, match="s.zarr: the disk is full. free some space"):
            embed_toy(path)
    seen = []
    embed_toy(path, progress=lambda stage, done, total: seen.append(done))
    assert seen[0] == 16
    assert contents(path) == contents(whole)


def test_work_in_progress_holds_one_chunk_of_vectors(embed_toy, small_chunks, tmp_path, monkeypatch):
    sizes = []
    fill = Unfinished.fill
    monkeypatch.setattr(Unfinished, "fill", lambda self, chunk, vectors: sizes.append(len(vectors)) or fill(self, chunk, vectors))
    embed_toy(tmp_path / "s.zarr")
    assert sizes == [16, 16, 16, 16, 8]
