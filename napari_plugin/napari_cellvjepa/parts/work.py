"""Long work in another thread: with progress, with cancel, and with every problem told in one line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from napari.utils import cancelable_progress
from napari.utils.notifications import show_error
from qtpy.QtCore import QObject, Signal
from superqt.utils import FunctionWorker

import cellvjepa

_LOG = logging.getLogger(__name__)
_REPORT_EVERY_S = 0.05  # a window need not be told more often


@dataclass(frozen=True)
class _Outcome:
    value: object = None
    error: Exception | None = None


class Work(QObject):
    """One piece of long work. Make it, connect to it, :meth:`start` it, forget it.

    Parameters
    ----------
    do
        The work: takes a progress callback ``(stage, done, total)``, which raises :class:`cellvjepa.Cancelled` once the
        work is to stop, and returns a result. It runs in another thread and must not touch layers or widgets.
    title
        What people read in napari's activity dock.
    shown
        Whether it is shown there: what is over before one could read it need not be.

    Attributes
    ----------
    progressed
        Signal ``(stage, done, total)``.
    succeeded
        Signal with the result; not emitted after :meth:`cancel`.
    failed
        Signal with the problem in one line, which has been shown as a notification by then.
    ended
        Signal ``(cancelled)``, the last one, whatever became of the work.
    """

    progressed = Signal(str, int, int)
    succeeded = Signal(object)
    failed = Signal(str)
    ended = Signal(bool)

    def __init__(self, do: Callable[[cellvjepa.Progress], object], title: str, *, shown: bool = True) -> None:
        super().__init__()
        self._do = do
        self._title = title
        self._shown = shown
        self._reported_at = 0.0
        self._reported_stage = ""
        # superqt stops its workers when the application quits; it does so by the same quit() that cancel() calls.
        self._worker = FunctionWorker(self._run)
        self._bar: cancelable_progress | None = None
        self.progressed.connect(self._show)
        self._worker.signals.returned.connect(self._deliver)
        self._worker.signals.finished.connect(self._end)

    def start(self) -> None:
        """Begin."""
        if self._shown:
            self._bar = cancelable_progress(total=0, desc=self._title)
        self._worker.start()

    def cancel(self) -> None:
        """Ask the work to stop at its next sign of progress."""
        self._worker.quit()

    @property
    def cancelled(self) -> bool:
        """Whether the work has been asked to stop."""
        return self._worker.abort_requested

    def _run(self) -> _Outcome:
        """Do the work (in the other thread)."""
        try:
            return _Outcome(self._do(self._report))
        except cellvjepa.Cancelled:
            return _Outcome()
        except Exception as error:  # whatever it is, the window must hear of it rather than the thread die of it
            return _Outcome(error=error)

    def _report(self, stage: str, done: int, total: int) -> None:
        """Tell the window how far the work is (in the other thread), or stop it."""
        if self.cancelled:
            raise cellvjepa.Cancelled
        now = time.monotonic()
        if now - self._reported_at > _REPORT_EVERY_S or stage != self._reported_stage or done >= total:
            self._reported_at, self._reported_stage = now, stage
            self.progressed.emit(stage, done, total)

    def _show(self, stage: str, done: int, total: int) -> None:
        bar = self._bar
        if bar is None:
            return
        if bar.is_canceled:
            self.cancel()
        if bar.total != total or done < bar.n:
            bar.reset(total=total)
        bar.set_description(f"{self._title}: {stage}")
        bar.update(done - bar.n)

    def _deliver(self, outcome: _Outcome) -> None:
        if outcome.error is None:
            self.succeeded.emit(outcome.value)
            return
        problem = str(outcome.error)
        if not isinstance(outcome.error, cellvjepa.UserError):
            _LOG.error("%s failed", self._title, exc_info=outcome.error)
            problem = (
                f"{self._title} stopped because of a fault in the program ({type(outcome.error).__name__}: {outcome.error}). "
                "Please report it with the text of Help > Show logs."
            )
        show_error(problem)
        self.failed.emit(problem)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self.ended.emit(self.cancelled)
        self.deleteLater()  # else whoever is connected to it by a closure would live on with it
