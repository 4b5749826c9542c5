"""Training in a process of its own, and how it is found again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

import cellvjepa
from napari_cellvjepa.pretrain.process import CARD, LOG, Started, ask_to_stop, last_words, process_of, read_started, start


def eventually(true: Callable[[], bool], seconds: float = 240) -> None:
    """Wait for another process."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def described(process: subprocess.Popen[bytes]) -> Started:
    found = psutil.Process(process.pid)
    import socket

    return Started(process.pid, found.create_time(), socket.gethostname(), tuple(found.cmdline()), ("/movies",), "tiny")


def test_a_process_is_known_again_by_its_beginning_not_by_its_number(other: subprocess.Popen[bytes]) -> None:
    known = described(other)
    assert process_of(known) is not None
    assert process_of(replace(known, began_s=known.began_s - 1000, words=("python", "-m", "cellvjepa"))) is None  # the number was given again
    assert process_of(replace(known, host="another machine")) is None


def test_a_process_that_is_over_is_not_found_even_before_it_was_waited_for(other: subprocess.Popen[bytes]) -> None:
    known = described(other)
    other.kill()
    eventually(lambda: process_of(known) is None)
    assert other.returncode is None


def test_what_stands_in_the_folder_may_be_anything(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    assert read_started(tmp_path) is None
    for text in ("", "[]", "{}", '{"pid": "x"}'):
        (tmp_path / CARD).write_text(text)
        assert read_started(tmp_path) is None
    (tmp_path / CARD).write_text(json.dumps(asdict(described(other))))
    assert read_started(tmp_path) == described(other)


def test_a_run_that_is_being_trained_is_not_started_again(tmp_path: Path, other: subprocess.Popen[bytes]) -> None:
    (tmp_path / CARD).write_text(json.dumps(asdict(described(other))))
    with pytest.raises(cellvjepa.UserError, match=r"this run is being trained already\. stop it first"):
        start(("cellvjepa", "--version"), tmp_path, (), "tiny")


def test_it_belongs_to_nobody_and_its_last_words_are_kept(tmp_path: Path) -> None:
    started = start(("cellvjepa", "pretrain", "/nothing/here", "--out", str(tmp_path)), tmp_path, ("/nothing/here",), "tiny")
    assert read_started(tmp_path) == started
    assert started.pid not in [child.pid for child in psutil.Process().children(recursive=True)]
    eventually(lambda: process_of(started) is None)
    said, asked = last_words(tmp_path)
    assert said.startswith("cellvjepa: /nothing/here: ")
    assert not asked
    with pytest.raises(cellvjepa.UserError, match="this run is not being trained on this machine"):
        ask_to_stop(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="sessions are POSIX")
def test_it_has_a_session_of_its_own(tmp_path: Path) -> None:
    started = start(("cellvjepa", "pretrain", "/nothing/here", "--out", str(tmp_path)), tmp_path, (), "tiny")
    try:
        assert os.getsid(started.pid) == started.pid != os.getsid(0)
    except ProcessLookupError:
        pytest.fail("it was over before it was looked at")


def test_only_what_was_said_since_the_last_start_counts(tmp_path: Path) -> None:
    assert last_words(tmp_path) == ("", False)
    log = tmp_path / LOG
    log.write_text("$ python -m cellvjepa pretrain\nan old line\n$ stop\ncellvjepa: stopped by SIGTERM after step 3; --resume goes on\n")
    assert last_words(tmp_path) == ("cellvjepa: stopped by SIGTERM after step 3; --resume goes on", True)
    with log.open("a") as out:
        out.write("$ python -m cellvjepa pretrain --resume\n")
    assert last_words(tmp_path) == ("", False)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(cellvjepa.UserError, match="the folder of the run cannot be written to"):
        start(("cellvjepa",), tmp_path / "file" / "run", (), "tiny")
