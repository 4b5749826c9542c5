"""What a person sees in a terminal while work goes on, and what Ctrl-C does to it."""

from __future__ import annotations

import logging
import signal
import sys
import time
from types import FrameType, TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cellvjepa.errors import Cancelled, Stopped

_QUIET_S, _SAME_S = 10.0, 60.0  # between lines where there is no terminal to draw on, and where nothing new is to be said

# Clusters send them before they take a machine away; Windows knows the first only.
REQUEUE = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
_TROUBLE = "cellvjepa.movies.trouble"


class _Notes(logging.Handler):
    """Shows what the program logs as lines above the bars."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.WARNING)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        """Print one warning."""
        self._terminal.warn(record.name, record.getMessage())


class Terminal:
    """Draws one bar per stage on stderr, and warnings above them; the first Ctrl-C cancels at the next step, the second at once.

    Use it as a context manager and pass it as the ``progress`` of a function.

    Parameters
    ----------
    requeued
        Whether the work is gone on with after it was stopped by the system: SIGTERM and SIGUSR1 then end it with
        :class:`cellvjepa.errors.Stopped`. Else SIGTERM is as Ctrl-C.
    first
        Whether this is the first of the processes that work together. The others show warnings of damaged files only, for each reads
        files of its own.
    """

    def __init__(self, *, requeued: bool = False, first: bool = True) -> None:
        self._requeued, self._first = requeued, first
        self._asked: int | None = None
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=self._console
        )
        self._tasks: dict[str, TaskID] = {}
        self._cancelled = False
        self._said, self._line = time.monotonic(), ""
        self._handlers: dict[signal.Signals, object] = {}
        self._notes = _Notes(self)

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Show that ``done`` of ``total`` steps are done; see :class:`cellvjepa.progress.Progress`.

        Raises
        ------
        Cancelled
            After Ctrl-C; as :class:`cellvjepa.errors.Stopped` where the system asked for it.
        """
        if self._cancelled:
            raise Cancelled(stage)
        if self._asked is not None:
            raise Stopped(self._asked, f"while {stage}", "start it again, with --resume if it has begun to train")
        if not self._first:
            return
        if not self._console.is_terminal:
            self._say_a_line(stage, done, total)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        if self._first:
            self._print(text)

    def warn(self, source: str, text: str) -> None:
        """Print a warning above the bars."""
        if self._first or source == _TROUBLE:
            self._print(text)

    def __enter__(self) -> Self:
        self._handlers[signal.SIGINT] = signal.signal(signal.SIGINT, self._interrupt)
        for number in REQUEUE if self._requeued else (signal.SIGTERM,):
            self._handlers[number] = signal.signal(number, self._stop if self._requeued else self._interrupt)
        logging.getLogger("cellvjepa").addHandler(self._notes)
        if self._console.is_terminal and self._first:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal and self._first:
            self._bars.stop()
        logging.getLogger("cellvjepa").removeHandler(self._notes)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._cancelled:
            raise KeyboardInterrupt
        self._cancelled = True
        self.note("stopping after this step; press Ctrl-C again to stop at once")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        # The same signal may come twice, from the cluster and handed on by torchrun: it stays one request. SIGKILL is for the impatient.
        self._asked = number

    def _say_a_line(self, stage: str, done: int, total: int) -> None:
        first = stage not in self._tasks
        self._tasks[stage] = TaskID(0)
        now, line = time.monotonic(), f"{stage}: {done}/{total}"
        if (done == total and not first) or now - self._said > (_SAME_S if line == self._line else _QUIET_S):
            self._said, self._line = now, line
            print(line, file=sys.stderr, flush=True)
