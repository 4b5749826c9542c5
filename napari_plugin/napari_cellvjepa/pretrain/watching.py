"""Looking at a run again and again, in another thread: a folder on a slow drive must not hold up the window."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import FunctionWorker

import cellvjepa
from napari_cellvjepa.pretrain.process import Started, last_words, process_of, read_started

_EVERY_MS = 1000
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Seen:
    """What was seen of a run.

    Parameters
    ----------
    state
        What its files say.
    started
        The process that was last started for it here; None: there was none.
    running
        Whether that process is at it.
    said
        The last line of its log.
    asked
        Whether it has been asked to stop.
    """

    state: cellvjepa.RunState
    started: Started | None
    running: bool
    said: str
    asked: bool

    @property
    def sentence(self) -> str:
        """How it stands, in one or two sentences."""
        rows, config = self.state.rows, self.state.config
        step = f"step {rows[-1]['step']:,}" if rows else "the first step"
        if self.running:
            if self.asked:
                return "Stopping: a checkpoint is saved after this step …"
            return "Training." if rows else f"Starting … {self.said}".rstrip()
        if self.state.ended:
            if rows[-1]["health"] == "red":
                return f"Stopped at {step}: the network has collapsed. The best encoder from before was kept."
            return f"Done: all {rows[-1]['step']:,} steps."
        if self.started is not None and not self.started.here:
            return f"Started on {self.started.host}; whether it still runs there cannot be seen from here."
        if self.asked or self.said.startswith("cellvjepa: stopped by"):
            kept = self.state.checkpoint_step
            return "Stopped before training began." if kept is None else f"Stopped after step {kept:,}. Resume goes on from there."
        if self.started is not None:
            last = f" Its last line: {self.said.removeprefix('cellvjepa: ')}" if self.said else " It left no message."
            return f"The training process has ended before its time.{last}"
        if config is not None:
            return f"{step.capitalize()} of {config.training.steps:,}. It was not started from here; if it is not running elsewhere, Resume goes on."
        return ""


def look(run: Path, before: cellvjepa.RunState | None) -> Seen:
    """Look at a run once (in any thread)."""
    started = read_started(run)
    running = started is not None and process_of(started) is not None  # first: what it wrote at its end is then read below
    said, asked = last_words(run) if started is not None else ("", False)
    return Seen(cellvjepa.read_run_state(run, before), started, running, said, asked)


class Watch(QObject):
    """Looks at one run, every second.

    Attributes
    ----------
    seen
        Signal: a :class:`Seen`.
    """

    seen = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._run: Path | None = None
        self._before: cellvjepa.RunState | None = None
        self._looking: FunctionWorker[Seen] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self.look_now)

    def follow(self, run: Path | None) -> None:
        """Look at this run from now on; None: at none."""
        self._run, self._before, self._looking = run, None, None
        if run is None:
            self._timer.stop()
        else:
            self._timer.start()
            self.look_now()

    def look_now(self) -> None:
        """Look, if nobody is looking."""
        if self._run is None or self._looking is not None:
            return
        worker = self._looking = FunctionWorker(partial(look, self._run, self._before))
        # Bound methods: a closure would hold the worker, and the worker the closure.
        worker.signals.returned.connect(self._take)
        worker.signals.errored.connect(self._give_up)
        worker.start()

    def _take(self, found: Seen) -> None:
        if isalive(self) and found.state.folder == self._run:  # type: ignore[no-untyped-call]
            self._looking = None
            self._before = found.state
            self.seen.emit(found)

    def _give_up(self, error: Exception) -> None:
        """Look again the next time: the drive may be back by then."""
        _LOG.warning("a run cannot be looked at: %s", error)
        self._looking = None
