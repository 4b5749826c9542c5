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

from cellvjepa.errors import Cancelled

_QUIET_S = 10.0  # between lines where there is no terminal to draw on


class _Notes(logging.Handler):
    """Shows what the program logs as lines above the bars."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(logging.WARNING)
        self._terminal = terminal

    def emit(self, record: logging.LogRecord) -> None:
        """Print one warning."""
        self._terminal.note(record.getMessage())


class Terminal:
    """Draws one bar per stage on stderr, and warnings above them; the first Ctrl-C cancels at the next step, the second at once.

    Use it as a context manager and pass it as the ``progress`` of a function.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=self._console
        )
        self._tasks: dict[str, TaskID] = {}
        self._cancelled = False
        self._said = time.monotonic()
        self._handlers: dict[signal.Signals, object] = {}
        self._notes = _Notes(self)

    def __call__(self, stage: str, done: int, total: int, /) -> None:
        """Show that ``done`` of ``total`` steps are done; see :class:`cellvjepa.progress.Progress`.

        Raises
        ------
        Cancelled
            After Ctrl-C.
        """
        if self._cancelled:
            raise Cancelled(stage)
        if not self._console.is_terminal:
            self._say_a_line(stage, done, total)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._interrupt)
        logging.getLogger("cellvjepa").addHandler(self._notes)
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._bars.stop()
        logging.getLogger("cellvjepa").removeHandler(self._notes)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._cancelled:
            raise KeyboardInterrupt
        self._cancelled = True
        self.note("stopping after this step; press Ctrl-C again to stop at once")

    def _say_a_line(self, stage: str, done: int, total: int) -> None:
        first = stage not in self._tasks
        self._tasks[stage] = TaskID(0)
        now = time.monotonic()
        if (done == total and not first) or now - self._said > _QUIET_S:
            self._said = now
            print(f"{stage}: {done}/{total}", file=sys.stderr, flush=True)
