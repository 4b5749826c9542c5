"""Writing labels: a label file is read once, lines are appended as people label, one piece after the other, and steps can be taken back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from napari.utils.notifications import show_error
from qtpy.QtCore import QFileSystemWatcher, QObject, QTimer, Signal

import cellvjepa
from napari_cellvjepa.parts.work import Work

Lines: TypeAlias = "list[cellvjepa.LabelLine]"
Saying: TypeAlias = Callable[[cellvjepa.LabelBook, cellvjepa.Progress], Lines]
_MOST_TAKEN_OVER = 2000  # lines; of more, the file is read again, which is quicker
_SETTLED_MS = 200  # another program may write in several pieces


@dataclass(frozen=True)
class Step:
    """One thing that was done: what was appended, and what takes it back."""

    title: str
    lines: tuple[Any, ...]
    undo: tuple[Any, ...]


@dataclass(frozen=True)
class _Job:
    """A piece of work: what is to be said, and what becomes of it in the list of steps."""

    title: str
    say: Saying
    after: Callable[[Step], object]
    failed: Callable[[], object] = lambda: None
    shown: bool = False


@dataclass(frozen=True)
class _Written:
    job: _Job
    lines: Lines
    undo: Lines
    end: int
    book: cellvjepa.LabelBook | None


class LabelPen(QObject):
    """Holds what a label file says, and appends to it. What is asked for is done in turn, in another thread.

    Attributes
    ----------
    changed
        Signal ``(cells)``: other labels hold, of these cells, (movie, track_id); ``None`` where it may be any.
    saved
        Signal ``(title, lines)``: so many lines are on the disk, for good; 0 where nothing needed to be said.
    failed
        Signal ``(problem)``: nothing was written; people have been told.
    """

    changed = Signal(object)
    saved = Signal(str, int)
    failed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.path: Path | None = None
        self.book: cellvjepa.LabelBook | None = None
        self.done: list[Step] = []
        self.undone: list[Step] = []
        self._movies: tuple[str, ...] = ()
        self._jobs: deque[_Job] = deque()
        self._work: Work | None = None
        self._end = 0  # of what is known of the file [bytes]
        self._job: _Job | None = None  # under way
        self._watcher = QFileSystemWatcher(self)
        self._watcher.fileChanged.connect(self._notice)
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(_SETTLED_MS)
        self._settling.timeout.connect(self._look_again)

    def follow(self, path: Path | None, movies: Sequence[str]) -> None:
        """Label in this file from now on, the cells of these movies; it need not be there yet."""
        if path == self.path and tuple(movies) == self._movies and (self.book is not None or self._work is not None):
            return
        self.finish()
        self.path, self._movies, self.book = path, tuple(movies), None
        self.done, self.undone = [], []
        if path is None:
            self.changed.emit(None)
        else:
            self._read()

    def write(self, title: str, say: Saying, *, shown: bool = False) -> None:
        """Append lines.

        Parameters
        ----------
        title
            What is done, for people.
        say
            Returns the lines; is given the labels that hold by then and a progress callback, in the other thread. A UserError it raises is shown.
        shown
            Whether it may take long, and is shown among napari's activities.
        """
        self._ask(_Job(title, say, self._did, shown=shown))

    def undo(self) -> None:
        """Take back the last step that has not been taken back."""
        if self.done:
            step = self.done.pop()
            self._repeat(f"Undo: {step.title}", step.undo, lambda: self.undone.append(step), lambda: self.done.append(step))

    def redo(self) -> None:
        """Do again what was taken back last."""
        if self.undone:
            step = self.undone.pop()
            self._repeat(f"Redo: {step.title}", step.lines, lambda: self.done.append(step), lambda: self.undone.append(step))

    def _repeat(self, title: str, lines: Sequence[Any], then: Callable[[], object], failed: Callable[[], object]) -> None:
        self._ask(_Job(title, partial(_again, lines), lambda _: then(), failed, len(lines) > _MOST_TAKEN_OVER))

    @property
    def busy(self) -> bool:
        """Whether something is being read or written."""
        return self._work is not None or bool(self._jobs)

    def finish(self) -> None:
        """Let go of the file; what has been asked for is still written."""
        if self._watcher.files():
            self._watcher.removePaths(self._watcher.files())
        self._settling.stop()
        if self._work is not None and self.path is not None and self._jobs:
            path, movies, jobs = self.path, self._movies, list(self._jobs)
            self._work.ended.connect(lambda _: _write_rest(path, movies, jobs))
        self._jobs.clear()
        self._work = None

    def _did(self, step: Step) -> None:
        self.done.append(step)
        self.undone = []

    def _ask(self, job: _Job) -> None:
        assert self.path is not None
        self._jobs.append(job)
        self._go_on()

    def _go_on(self) -> None:
        if self._work is not None or not self._jobs or self.path is None:
            return
        if self.book is None:  # it could not be read before; it may have been mended
            self._read()
            return
        job = self._job = self._jobs.popleft()
        self._start(partial(_written, self.path, self._movies, self.book, self._end, job), job.title, self._take, shown=job.shown)

    def _read(self) -> None:
        assert self.path is not None
        self._start(partial(_read_book, self.path, self._movies), "Reading the labels", self._take_book, shown=False)

    def _start(self, do: Callable[[cellvjepa.Progress], object], title: str, then: Callable[[Any], object], *, shown: bool) -> None:
        work = self._work = Work(do, title, shown=shown)
        work.succeeded.connect(lambda result: then(result) if work is self._work else None)
        work.failed.connect(lambda problem: self._fail(problem) if work is self._work else None)
        work.ended.connect(lambda _: self._ended(work))
        work.start()

    def _ended(self, work: Work) -> None:
        if work is self._work:
            self._work = None
            if self._job is not None:  # it failed, or was cancelled
                self._job.failed()
                self._job = None
            self._go_on()

    def _fail(self, problem: str) -> None:
        if self.book is None:
            self._jobs.clear()
        self.failed.emit(problem)

    def _take_book(self, result: tuple[cellvjepa.LabelBook, int]) -> None:
        self.book, self._end = result
        self._watch()
        self.changed.emit(None)

    def _take(self, written: _Written) -> None:
        assert self.book is not None
        self._job = None
        if not written.lines:
            self.saved.emit(written.job.title, 0)
            return
        cells: object = None
        if written.book is not None:
            self.book = written.book
        else:
            cells = self.book.add(written.lines)
        self._end = written.end
        self._watch()
        written.job.after(Step(written.job.title, tuple(written.lines), tuple(written.undo)))
        self.changed.emit(cells)
        self.saved.emit(written.job.title, len(written.lines))

    def _notice(self, path: str) -> None:
        self._settling.start()

    def _watch(self) -> None:
        if self.path is not None and self.path.exists() and not self._watcher.files():
            self._watcher.addPath(str(self.path))

    def _look_again(self) -> None:
        """Read the file again if another program has written to it."""
        if self.path is None or self._work is not None or self.book is None:
            return
        self._watch()  # a file that was replaced is not watched any more
        if _size(self.path) != self._end:
            self._read()


def _read_book(path: Path, movies: Sequence[str], progress: cellvjepa.Progress) -> tuple[cellvjepa.LabelBook, int]:
    """Read the labels (in the other thread)."""
    progress("reading", 0, 0)
    end = _size(path)  # before reading: what comes meanwhile is read again
    return cellvjepa.LabelBook.read(path, movies), end


def _written(path: Path, movies: Sequence[str], book: cellvjepa.LabelBook, known: int, job: _Job, progress: cellvjepa.Progress) -> _Written:
    """Append what is to be said (in the other thread); ``known`` is where the file ended when the book was read [bytes]."""
    progress("labelling", 0, 0)
    fresh = _size(path) != known
    if fresh:  # others have written meanwhile
        book = cellvjepa.LabelBook.read(path, movies)
    lines = job.say(book, progress)
    undo = book.undoing(lines)
    if not lines:
        return _Written(job, [], [], 0, None)
    progress("writing", 0, 0)  # the last moment at which it can be cancelled
    begin, end = cellvjepa.append_labels(path, lines)
    if fresh or begin != known or len(lines) > _MOST_TAKEN_OVER:
        return _Written(job, lines, undo, end, cellvjepa.LabelBook.read(path, movies))
    return _Written(job, lines, undo, end, None)


def _write_rest(path: Path, movies: Sequence[str], jobs: Sequence[_Job]) -> None:
    """Write what was asked for before the file was let go."""
    try:
        book = cellvjepa.LabelBook.read(path, movies)
        for job in jobs:
            lines = job.say(book, _silent)
            cellvjepa.append_labels(path, lines)
            book.add(lines)
    except cellvjepa.UserError as error:
        show_error(str(error))


def _again(lines: Sequence[Any], book: cellvjepa.LabelBook, progress: cellvjepa.Progress) -> Lines:
    """Return lines with the date of now."""
    date = cellvjepa.LabelLine.now("", 0, "", "").date
    return [replace(line, date=date) for line in lines]


def _silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
