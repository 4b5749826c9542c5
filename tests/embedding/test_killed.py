"""kill -9 at any moment: of embedding, and of adding to a store. What results is as if nothing had happened, bit for bit."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cellvjepa.embedding import layout, unfinished
from cellvjepa.embedding.embed import embed_windows
from cellvjepa.embedding.store import open_store
from cellvjepa.embedding.unfinished import part_of
from cellvjepa.errors import UserError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL are not there")

# Imports everything once; then each line "moment store" is a process of its own that embeds and is killed right before it touches the disk
# for the moment-th time. The answer is "killed" or "done".
MORTAL = """
import os, pickle, signal, sys
from cellvjepa.embedding import layout, unfinished
from cellvjepa.embedding.embed import embed_windows

layout.CHUNK_ROWS = unfinished.CHUNK_ROWS = 16
with open(sys.argv[1], "rb") as file:
    encoder, movies, windows, shape, config, source = pickle.load(file)
touches = 0

def kill_at(moment):
    def hook(event, arguments):
        global touches
        if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate") or (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wa+x")
        ):
            touches += 1
            if touches == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    return hook

for line in sys.stdin:
    moment, store = line.rstrip().split(" ", 1)
    child = os.fork()
    if not child:
        sys.addaudithook(kill_at(int(moment)))
        embed_windows(encoder, movies, windows, shape, config, store, source)
        os.write(1, b"touched %d\\n" % touches)
        os._exit(0)
    if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        print("killed", flush=True)
"""


class Mortal:
    """Embeds in a process that dies."""

    def __init__(self, arguments: Path) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", MORTAL, arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def embed(self, store: Path, moment: int = 0) -> int | None:
        """Return how often the disk was touched; None if it was killed before."""
        self.process.stdin.write(f"{moment} {store}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        assert answer, "the process that is to be killed could not begin"
        return None if answer == ["killed"] else int(answer[1])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def mortal(toy, tmp_path_factory):
    arguments = tmp_path_factory.mktemp("mortal") / "arguments"
    arguments.write_bytes(pickle.dumps((toy.encoder, toy.movies, toy.windows, toy.shape, toy.config, toy.source)))
    process = Mortal(arguments)
    yield process
    process.close()


@pytest.fixture(scope="module")
def of_one_movie(toy, first_rows, tmp_path_factory):
    """A finished store of the first movie: 36 rows in three chunks, the last one short."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (layout, unfinished):
            patch.setattr(module, "CHUNK_ROWS", 16)
        path = tmp_path_factory.mktemp("one") / "s.zarr"
        return embed_windows(toy.encoder, toy.movies, first_rows(toy.windows, 36), toy.shape, toy.config, path, toy.source)


def contents(store: Path) -> dict[str, bytes]:
    """Every file of a store but those with dates."""
    dates = [store / "uns" / "cellvjepa" / name for name in ("date", "additions")]
    return {
        str(file.relative_to(store)): file.read_bytes()
        for file in sorted(store.rglob("*"))
        if file.is_file() and not any(file.is_relative_to(date) for date in dates)
    }


def test_embedding_killed_again_and_again(mortal, tmp_path):
    whole = tmp_path / "whole.zarr"
    touches = mortal.embed(whole)
    path = tmp_path / "s.zarr"
    rng = np.random.default_rng(0)
    kills = 0
    # Most is written at the beginning, and removed again by the next after a kill there; once begun, work goes on in small steps.
    while mortal.embed(path, int(rng.integers(1, 40)) if part_of(path).exists() else touches * (kills + 1) // 3) is None:
        kills += 1
        assert kills < 100
        if path.exists():
            assert len(open_store(path)) == 72
    assert kills > 1
    assert contents(path) == contents(whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.zarr", "whole.zarr"]


def test_adding_killed_at_any_moment(mortal, of_one_movie, tmp_path):
    whole = shutil.copytree(of_one_movie, tmp_path / "whole" / "s.zarr")
    touches = mortal.embed(whole)
    added = contents(whole)
    assert len(open_store(whole)) == 72
    rng = np.random.default_rng(1)
    # The last ones are where folders change places; between the two moves alone, there is no store for a moment.
    tail = next(n for n in range(touches) if n > 0.9 * touches)
    moments = [*rng.choice(np.arange(1, tail), 8, replace=False), *rng.choice(np.arange(tail, touches), 4, replace=False)]
    for moment in moments:
        path = shutil.copytree(of_one_movie, tmp_path / str(moment) / "s.zarr")
        assert mortal.embed(path, moment) is None
        if path.exists():
            there = np.asarray(open_store(path).vectors_ND)
            np.testing.assert_array_equal(there[:36], np.asarray(open_store(of_one_movie).vectors_ND))
            assert len(there) in (36, 72)
        else:
            with pytest.raises(UserError, match=r"these embeddings are unfinished \(36 of 36 rows are done\). run the same"):
                open_store(path)
        assert mortal.embed(path)
        assert contents(path) == added, f"killed at moment {moment} of {touches}"
        assert [p.name for p in path.parent.iterdir()] == ["s.zarr"]
