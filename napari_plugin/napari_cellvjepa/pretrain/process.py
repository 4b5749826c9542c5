"""Training in a process of its own, which goes on when napari is closed, and how it is found again. Knows nothing of windows."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

import cellvjepa

LOG, CARD = "pretrain.log", "process.json"
_SAME_S = 2.0  # the system tells when a process began to a hundredth of a second; clocks are put right now and then
_TAIL_BYTES = 16_384
_ASKED = "$ stop"
# Starts the process and ends at once, so that it belongs to no one: it is not a child of napari that would have to be waited for.
_LAUNCH = """
import json, os, subprocess, sys
words, log, options = json.load(sys.stdin)
with open(log, "ab") as out:
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **options)
print(process.pid, flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Started:
    """A process that was started to train a run.

    Parameters
    ----------
    pid, began_s, host
        Which process it is: its number, when it began as the system says [s since 1970], and the machine.
    words
        Its command line.
    movies
        What it was told to train on.
    preset
        The preset that its settings were made from.
    """

    pid: int
    began_s: float
    host: str
    words: tuple[str, ...]
    movies: tuple[str, ...]
    preset: str

    @property
    def here(self) -> bool:
        """Whether it was started on this machine: of others nothing is known."""
        return self.host == socket.gethostname()


def start(words: Sequence[str], run: Path, movies: Sequence[str], preset: str) -> Started:
    """Start ``cellvjepa pretrain`` in a process that survives this one, and note in the run's folder which it is.

    Parameters
    ----------
    words
        The command, ``("cellvjepa", "pretrain", ...)``.
    run
        The folder of the run; the log is written there.
    movies, preset
        Noted with it.

    Raises
    ------
    UserError
        If the folder cannot be written to, the run is being trained already, or the process cannot be started.
    """
    known = read_started(run)
    if known is not None and process_of(known) is not None:
        raise cellvjepa.UserError("this run is being trained already", "stop it first, or choose another folder", run)
    command = [sys.executable, "-m", *words]
    try:
        run.mkdir(parents=True, exist_ok=True)
        with (run / LOG).open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
    except OSError as error:
        raise cellvjepa.UserError(f"the folder of the run cannot be written to ({error.strerror})", "choose another one", run) from None
    pid = _launched(command, run / LOG)
    try:
        began_s = psutil.Process(pid).create_time()
    except psutil.Error:
        began_s = 0.0  # it is over already; its last words are in the log
    started = Started(pid, began_s, socket.gethostname(), tuple(command), tuple(movies), preset)
    with cellvjepa.atomic_path(run / CARD) as part:
        part.write_text(json.dumps(asdict(started), indent=1) + "\n", encoding="utf-8")
    return started


def read_started(run: Path) -> Started | None:
    """Return the process that was last started for a run; None where there was none."""
    try:
        found: Any = json.loads((run / CARD).read_text(encoding="utf-8"))
        texts = {name: tuple(map(str, found[name])) for name in ("words", "movies")}
        return Started(int(found["pid"]), float(found["began_s"]), str(found["host"]), texts["words"], texts["movies"], str(found["preset"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def process_of(started: Started) -> Any | None:
    """Return the process itself, if it still runs on this machine; never another one that has got its number since."""
    if not started.here:
        return None
    try:
        process = psutil.Process(started.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        same = abs(process.create_time() - started.began_s) < _SAME_S or process.cmdline()[1:] == [*started.words[1:]]
    except psutil.Error:
        return None
    return process if same else None


def ask_to_stop(run: Path) -> None:
    """Ask a run to stop: it saves a checkpoint after the step it is at, and ends.

    Raises
    ------
    UserError
        If it is not running on this machine.
    """
    started = read_started(run)
    process = None if started is None else process_of(started)
    if process is None:
        raise cellvjepa.UserError("this run is not being trained on this machine", "stop it where it was started", run)
    try:
        with (run / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{_ASKED}\n")
        if sys.platform == "win32":  # there are no signals: a file is asked for at each step
            cellvjepa.ask_run_to_stop(run)
        else:
            process.send_signal(signal.SIGTERM)
    except (OSError, psutil.Error):
        return  # it has just ended


def last_words(run: Path) -> tuple[str, bool]:
    """Return the last line that a run's process wrote, or ``""``, and whether it had been asked to stop."""
    try:
        with (run / LOG).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return "", False
    said, asked = "", False
    for line in lines:
        if line.startswith("$ "):
            said, asked = ("", False) if line != _ASKED else (said, True)
        elif line.strip():
            said = line.strip()
    return said, asked


def _launched(command: Sequence[str], log: Path) -> int:
    options: dict[str, Any] = {"cwd": os.fspath(log.parent)}
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    else:
        options["start_new_session"] = True
    order = json.dumps([list(command), os.fspath(log), options])
    try:
        done = subprocess.run(
            [sys.executable, "-S", "-c", _LAUNCH],
            input=order,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            creationflags=options.get("creationflags", 0),
        )
        return int(done.stdout)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise cellvjepa.UserError(
            f"the process for training cannot be started ({error})", "run the copied command in a terminal", log.parent
        ) from None
