"""A conversion that was interrupted goes on where it stopped, and what is unfinished is taken for a movie by nobody."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from cellvjepa.cli import run
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.convert import convert, layout, shard
from cellvjepa.movies.convert.layout import Level
from cellvjepa.movies.readers import open_archive, open_movie
from cellvjepa.writing import only_one

# In another process: shards of one chunk of frames, each of which takes a moment.
SLOWLY = """
import sys, time
from cellvjepa.movies.convert import convert, layout, shard
from cellvjepa.movies.readers import open_archive
layout.SHARD_BYTES = layout._LEAST_SLAB_BYTES = 2**12
write = shard.OpenShard.write
def slowly(self, path):
    time.sleep(0.05)
    return write(self, path)
shard.OpenShard.write = slowly
print("begun", flush=True)
convert(open_archive(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a movie of 40 shards, when these are small."""
    pixels = np.random.default_rng(0).integers(0, 200, (640, 24, 20)).astype("uint16")
    path = tmp_path / "source" / "movie.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "TYX", "finterval": 60.0})
    return path


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut everything into shards of one chunk of frames."""
    monkeypatch.setattr(layout, "SHARD_BYTES", 2**12)
    monkeypatch.setattr(layout, "_LEAST_SLAB_BYTES", 2**12)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def shards_done(partial: Path) -> int:
    return sum(path.read_text().count('"key"') for path in (partial / "journal").glob("*.jsonl")) if partial.is_dir() else 0


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(source: Path, tmp_path: Path, small_shards: None) -> None:
    convert(open_archive(source), tmp_path / "whole.zarr")
    destination, partial = tmp_path / "out.zarr", tmp_path / "out.zarr.partial"
    done = [0]
    for wanted in (1, 7, 20, 30):
        process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(source), str(destination)], stdout=subprocess.PIPE)
        until = time.monotonic() + 60
        while shards_done(partial) < wanted and time.monotonic() < until:
            time.sleep(0.003)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not destination.exists()
        with pytest.raises(UserError):
            open_archive(partial)
        done.append(shards_done(partial))
        assert done[-1] >= max(wanted, done[-2]), "what was done before is not done again"
    assert done[-1] < 40
    times = {path: path.stat().st_mtime_ns for path in partial.rglob("c/**/*") if path.is_file()}
    convert(open_archive(source), destination)
    again = [path for path, t in times.items() if (destination / path.relative_to(partial / "out.zarr")).stat().st_mtime_ns != t]
    assert len(again) <= 4, "what was done before is not done again"
    assert tree(destination) == tree(tmp_path / "whole.zarr")
    assert not partial.exists()


@pytest.fixture
def interrupted(source: Path, tmp_path: Path, small_shards: None) -> Path:
    """Leave a conversion to ``out.zarr`` behind that was cancelled half-way; return its folder."""

    def stop(stage: str, done: int, total: int, /) -> None:
        if done >= total / 2:
            raise Cancelled(stage)

    with pytest.raises(Cancelled):
        convert(open_archive(source), tmp_path / "out.zarr", progress=stop)
    partial = tmp_path / "out.zarr.partial"
    assert 0 < shards_done(partial) < 40
    return partial


def test_cancelled_it_goes_on(interrupted: Path, source: Path, tmp_path: Path) -> None:
    convert(open_archive(source), tmp_path / "out.zarr")
    assert np.array_equal(open_movie(tmp_path / "out.zarr").pixels[:, 0, 0], tifffile.imread(source))


def test_what_the_disk_lost_is_written_again(interrupted: Path, source: Path, tmp_path: Path) -> None:
    files = sorted(path for path in interrupted.rglob("c/**/*") if path.is_file())
    files[0].write_bytes(b"\0" * files[0].stat().st_size)
    files[1].write_bytes(files[1].read_bytes()[:-1])
    files[2].unlink()
    journal = next((interrupted / "journal").glob("*.jsonl"))
    journal.write_bytes(journal.read_bytes()[:-30])  # a last line that was not written whole
    convert(open_archive(source), tmp_path / "out.zarr")
    convert(open_archive(source), tmp_path / "whole.zarr")
    assert tree(tmp_path / "out.zarr") == tree(tmp_path / "whole.zarr")


def test_a_source_that_changed_is_refused(interrupted: Path, source: Path, tmp_path: Path) -> None:
    pixels = tifffile.imread(source)
    tifffile.imwrite(source, pixels + 1, imagej=True, metadata={"axes": "TYX", "finterval": 60.0})
    with pytest.raises(UserError, match=r"movie.*has changed since its conversion was begun.*remove .*out.zarr.partial to start from the beginning"):
        convert(open_archive(source), tmp_path / "out.zarr")


def test_pixels_that_changed_behind_our_back_are_refused(interrupted: Path, source: Path, tmp_path: Path) -> None:
    before = source.stat()
    content = bytearray(source.read_bytes())
    with tifffile.TiffFile(source) as tiff:
        content[tiff.pages[0].dataoffsets[0] + 5] ^= 1
    source.write_bytes(content)
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UserError, match="its pixels have changed since its conversion was begun"):
        convert(open_archive(source), tmp_path / "out.zarr")


def test_another_source_is_refused(interrupted: Path, source: Path, tmp_path: Path) -> None:
    other = shutil.copy(source, tmp_path / "other.tif")
    with pytest.raises(UserError, match=r"an unfinished conversion of .*movie.tif is here. finish it first, or remove it"):
        convert(open_archive(other), tmp_path / "out.zarr")


def test_not_twice_at_once(interrupted: Path, source: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    lock = interrupted / "journal" / "lock"
    with only_one(lock, "held", "wait", lock), pytest.raises(UserError, match="this is being written by another process"):
        convert(open_archive(source), tmp_path / "out.zarr")


def test_begun_otherwise_is_refused(interrupted: Path, source: Path, tmp_path: Path) -> None:
    labels = {"movie.tif": {"cells": open_movie(source)}}
    with pytest.raises(UserError, match="its conversion was begun with other labels or by another version"):
        convert(open_archive(source), tmp_path / "out.zarr", labels)


def test_killed_at_the_very_end(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        convert(open_archive(source), tmp_path / "out.zarr")
    before = tree(tmp_path / "out.zarr")
    shutil.rmtree(tmp_path / "out.zarr")
    convert(open_archive(source), tmp_path / "out.zarr")
    assert tree(tmp_path / "out.zarr") == before
    assert not (tmp_path / "out.zarr.partial").exists()


def test_what_exists_is_not_touched(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.zarr").mkdir()
    with pytest.raises(UserError, match=r"out.zarr: this exists already. choose another name"):
        convert(open_archive(source), tmp_path / "out.zarr")
    (tmp_path / "two.zarr.partial").mkdir()
    (tmp_path / "two.zarr.partial" / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match="this is in the way, and no unfinished conversion"):
        convert(open_archive(source), tmp_path / "two.zarr")
    assert tree(tmp_path / "two.zarr.partial") == {"precious.txt": b"mine"}


def test_a_full_disk_is_one_line_and_can_be_continued(
    source: Path, tmp_path: Path, small_shards: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, count = shard.write_checked, 0

    def full(path: Path, parts: Any) -> tuple[int, int]:
        nonlocal count
        count += 1
        if count > 9:
            raise UserError("the disk is full", "free some space or choose another output folder", path)
        return write(path, parts)

    with monkeypatch.context() as patch:
        patch.setattr(shard, "write_checked", full)
        assert run(["convert", str(source), str(tmp_path / "out.zarr")]) == 2
    assert "the disk is full. free some space or choose another output folder." in capsys.readouterr().err
    assert not (tmp_path / "out.zarr").exists()
    assert run(["convert", str(source), str(tmp_path / "out.zarr")]) == 0
    assert np.array_equal(open_movie(tmp_path / "out.zarr").pixels[:, 0, 0], tifffile.imread(source))


def test_what_the_system_says_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(UserError, match="the disk is full"):
        shard.write_checked(tmp_path / "file", [b"pixels"])


def test_a_disk_that_gives_back_something_else_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget = shard._forget

    def and_rot(descriptor: int) -> None:
        forget(descriptor)
        os.pwrite(descriptor, b"X", 2)

    monkeypatch.setattr(shard, "_forget", and_rot)
    with pytest.raises(UserError, match="the disk does not give back what was written to it"):
        shard.write_checked(tmp_path / "file", [b"pixels"])


def test_a_compressor_that_errs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import imagecodecs

    monkeypatch.setattr(imagecodecs, "blosc_decode", lambda *_, out, **__: out.fill(7))
    level = Level((1, 1, 1, 4, 4), (1, 1, 1, 4, 4), (1, 1, 1, 4, 4))
    with pytest.raises(UserError, match="a chunk does not decode to what was compressed"):
        shard.OpenShard(level, (0, 0, 0, 0, 0)).add(np.ones((1, 1, 1, 4, 4), "uint16"), (0, 0, 0, 0, 0))


def test_ctrl_c_leaves_with_130_and_can_be_continued(source: Path, tmp_path: Path) -> None:
    command = SLOWLY.replace(
        "convert(open_archive(sys.argv[1]), sys.argv[2])", "from cellvjepa.cli import run; sys.exit(run(['convert', *sys.argv[1:]]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", command, str(source), str(tmp_path / "out.zarr")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while shards_done(tmp_path / "out.zarr.partial") < 3 and time.monotonic() < until:
        time.sleep(0.003)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cancelled; what was done is kept" in said
    assert not (tmp_path / "out.zarr").exists()
    assert shards_done(tmp_path / "out.zarr.partial") >= 3
