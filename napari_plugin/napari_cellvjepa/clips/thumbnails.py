"""The small moving pictures of rows: read in other threads as they are wanted, and kept in bounded memory."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path

from qtpy.QtCore import QCoreApplication, QObject, QTimer, Signal

import cellvjepa
from napari_cellvjepa.clips.reading import Moving, Reader
from napari_cellvjepa.layers.store_movies import Movies

_LOG = logging.getLogger(__name__)
SIZE_PX = 96
_BUDGET_BYTES = 48 * 2**20
_THREADS = 3  # they wait for disks most of the time
_LOOK_EVERY_MS = 40


def nowhere() -> Path | None:
    """Return that movies are where their store says."""
    return None


class Thumbnails(QObject):
    """The pictures.

    Parameters
    ----------
    budget_bytes
        How much is kept; those looked at longest ago go first.

    Attributes
    ----------
    came
        Signal ``(rows)``: these rows, a list, have been read, or it is known that they cannot be.
    told
        Signal: :attr:`stage` is another one.
    """

    came = Signal(object)
    told = Signal()

    def __init__(self, budget_bytes: int = _BUDGET_BYTES) -> None:
        super().__init__()
        self._budget = budget_bytes
        self._bytes = 0
        self._kept: OrderedDict[int, Moving] = OrderedDict()
        self._problems: dict[int, str] = {}
        self._asked: dict[int, Future[Moving]] = {}
        self._reader: Reader | None = None
        self._elsewhere: Callable[[], Path | None] = nowhere
        self._place: Path | None = None
        self._told = ""
        self._pool = ThreadPoolExecutor(_THREADS, "cellvjepa-thumbnails")
        if (application := QCoreApplication.instance()) is not None:
            application.aboutToQuit.connect(self.cancel)  # else Python would wait for what is still to be read
        self._looking = QTimer(self)
        self._looking.setInterval(_LOOK_EVERY_MS)
        self._looking.timeout.connect(self._look)

    def follow(self, found: cellvjepa.Embeddings | None, movies: Movies | None, elsewhere: Callable[[], Path | None] = nowhere) -> None:
        """Show rows of this store from now on; what was read of another is forgotten."""
        self.cancel()
        self._kept.clear()
        self._problems.clear()
        self._bytes = 0
        self._elsewhere = elsewhere
        self._reader = None if found is None or movies is None else Reader(found, movies, SIZE_PX)

    def want(self, rows: Sequence[int]) -> None:
        """Have these rows read, the first first, and no others that were wanted before."""
        reader = self._reader
        if reader is None:
            return
        if reader.stopped.is_set():
            reader = self._reader = reader.again()
        place = self._elsewhere()
        if place != self._place:  # the movies may be found there
            self._place = place
            self._problems.clear()
        self._asked = {row: future for row, future in self._asked.items() if not future.cancel()}
        for row in dict.fromkeys(rows):
            if row not in self._kept and row not in self._problems and row not in self._asked:
                self._asked[row] = self._pool.submit(reader.read, row, place)
        if self._asked:
            self._looking.start()

    def get(self, row: int) -> Moving | None:
        """Return the pictures of a row, if they have been read."""
        if row in self._kept:
            self._kept.move_to_end(row)
        return self._kept.get(row)

    def problem(self, row: int) -> str:
        """Say why a row cannot be read, or ``""``."""
        return self._problems.get(row, "")

    def problems(self, rows: Sequence[int]) -> dict[int, str]:
        """Return which of these rows cannot be read, and why."""
        return {row: self._problems[row] for row in rows if row in self._problems} if self._problems else {}

    def forget_problems(self) -> None:
        """Try again what could not be read, when it is wanted again."""
        self._problems.clear()
        if self._reader is not None:
            self._reader = self._reader.again()

    @property
    def stage(self) -> str:
        """What keeps the pictures from coming, e.g. that an archive is being opened; or ``""``."""
        return self._reader.stage if self._reader and self._asked else ""

    @property
    def outstanding(self) -> int:
        """How many rows are still being read."""
        return len(self._asked)

    @property
    def kept_bytes(self) -> int:
        """How much memory the pictures take."""
        return self._bytes

    def cancel(self) -> None:
        """Give up what is being read."""
        if self._reader is not None and self._asked:
            self._reader.stop()
        for future in self._asked.values():
            future.cancel()
        self._asked = {}
        self._looking.stop()
        self._tell()

    def _look(self) -> None:
        """Take what has come."""
        done = [(row, future) for row, future in self._asked.items() if future.done()]
        for row, future in done:
            del self._asked[row]
            try:
                self._keep(row, future.result())
            except (CancelledError, cellvjepa.Cancelled):
                continue
            except cellvjepa.UserError as error:
                self._problems[row] = str(error)
            except Exception as error:  # whatever it is, one picture is missing and the others come
                _LOG.error("row %d cannot be shown", row, exc_info=error)
                self._problems[row] = f"it cannot be shown because of a fault in the program ({type(error).__name__}: {error})"
        if done:
            self.came.emit([row for row, _ in done])
        if not self._asked:
            self._looking.stop()
        self._tell()

    def _tell(self) -> None:
        if self.stage != self._told:
            self._told = self.stage
            self.told.emit()

    def _keep(self, row: int, moving: Moving) -> None:
        self._kept[row] = moving
        self._bytes += moving.frames.nbytes
        while self._bytes > self._budget and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].frames.nbytes
