"""Asking a run to stop where there are no signals: by a file in its folder, which is looked for at each step."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from cellvjepa.errors import Stopped
from cellvjepa.progress import Progress

_FILE = "stop"
_LOOK_EVERY_S = 0.5  # the folder may lie on a slow drive


def ask_run_to_stop(run: str | os.PathLike[str]) -> None:
    """Ask the process that trains a run, here or on another machine, to save a checkpoint after the step it is at, and to end."""
    (Path(run) / _FILE).touch()


class UntilAsked:
    """Progress that is handed on, and that stops the work once the run has been asked to stop.

    Parameters
    ----------
    run
        The folder of the run; what was asked of an earlier process does not count: it is forgotten once this one has begun to work,
        not where it is refused because another one is at work.
    progress
        To whom it is handed on.
    """

    def __init__(self, run: str | os.PathLike[str], progress: Progress) -> None:
        self._file, self._progress = Path(run) / _FILE, progress
        self._looked_s: float | None = None

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Hand on; see :class:`cellvjepa.progress.Progress`.

        Raises
        ------
        Stopped
            If the run has been asked to stop.
        """
        now_s = time.monotonic()
        if self._looked_s is None:
            self._looked_s = now_s
            self._forget()
        elif now_s - self._looked_s > _LOOK_EVERY_S:
            self._looked_s = now_s
            if self._file.exists():
                self._forget()
                raise Stopped(signal.SIGTERM, f"while {stage}", "start it again, with --resume if it has begun to train")
        self._progress(stage, done, total)

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            self._file.unlink()
