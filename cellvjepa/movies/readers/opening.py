"""Opening all movies of an archive at once and in order, without waiting for ever for one that does not answer."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from cellvjepa.errors import UserError
from cellvjepa.progress import Progress, silent

Opened = TypeVar("Opened")

# Threads, not processes. On two cores and a local disk 10,000 small TIFFs took 14 s one after the other, the same with 16 threads, and
# 26 s in two spawned processes that shared the cores with other work (each needs about 1 s to start and import); a script without
# "if __name__ == '__main__'" cannot spawn at all. Where each file answers after 15 ms, as on a file server, 400 of them took 7.6 s one
# after the other and 1.9, 1.2, 0.7, 0.8 s with 4, 8, 16, 32 threads (2026-11, 2 virtual cores).
THREADS = 16

_NAMED_AFTER_S = 20.0  # a movie that takes longer is named
_GIVEN_UP_AFTER_S = 600.0  # a folder of 40,000 frames on a slow file server takes minutes
_STAGE = "opening movies"
_BETWEEN_REPORTS_S = 0.05
_JOIN_S = 1.0


def open_each(
    names: Sequence[str],
    open_one: Callable[[int], Opened],
    *,
    progress: Progress = silent,
    named_after_s: float = _NAMED_AFTER_S,
    given_up_after_s: float = _GIVEN_UP_AFTER_S,
) -> list[Opened | Exception]:
    """Open many movies in threads.

    Parameters
    ----------
    names
        What to call them in messages.
    open_one
        Opens the movie of an index; called from several threads.
    progress
        Called from the calling thread. A movie that takes long is a stage of its own, with its name.
    named_after_s, given_up_after_s
        How long a movie may take until it is named, and until it is given up. [s]

    Returns
    -------
    list
        For each name what ``open_one`` returned or raised, or a :class:`UserError` that says that it was given up; in the order of
        the names, whatever the order in which they were ready.

    Raises
    ------
    UserError
        If as many movies were given up as there are threads: nothing answers any more.
    Cancelled
        If ``progress`` raises it. Threads stop after the movie they are at.
    """
    work = _Work(open_one, len(names))
    results: dict[int, Opened | Exception] = {}
    named: set[int] = set()
    given_up: list[int] = []
    try:
        work.hire(min(THREADS, len(names)))
        progress(_STAGE, 0, len(names))
        while len(results) < len(names):
            for index, result in work.ready(len(names) - len(results)):
                results.setdefault(index, result)
                if index in named:
                    progress(_waiting(names[index]), 1, 1)
            progress(_STAGE, len(results), len(names))
            for index, took_s in work.took_s():
                if took_s > named_after_s and index not in results:
                    named.add(index)
                    progress(_waiting(names[index]), 0, 1)
                if took_s > given_up_after_s and index not in results:
                    results[index] = _no_answer("it", given_up_after_s, names[index])
                    given_up.append(index)
                    work.hire(1)
            if len(given_up) >= THREADS:
                raise _no_answer(f"each of {len(given_up)} movies", given_up_after_s, names[given_up[0]])
    finally:
        work.stop()
    if not names:
        progress(_STAGE, 0, 0)
    return [results[index] for index in range(len(names))]


class _Work(Generic[Opened]):
    """Threads that take one index after the other. A thread that hangs in a read cannot be ended, so the program must not wait for it."""

    def __init__(self, open_one: Callable[[int], Opened], number: int) -> None:
        self._open_one = open_one
        self._todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[int, Opened | Exception]] = queue.SimpleQueue()
        self._started_s: dict[int, float] = {}
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        for index in range(number):
            self._todo.put(index)

    def hire(self, number: int) -> None:
        """Start more threads."""
        for _ in range(number):
            thread = threading.Thread(target=self._run, name="cellvjepa-open", daemon=True)
            self._threads.append(thread)
            thread.start()

    def ready(self, most: int) -> list[tuple[int, Opened | Exception]]:
        """Return what becomes ready in the next moment, up to a number."""
        found: list[tuple[int, Opened | Exception]] = []
        until_s = time.monotonic() + _BETWEEN_REPORTS_S
        try:
            while len(found) < most:
                found.append(self._done.get(timeout=max(0.0, until_s - time.monotonic())))
        except queue.Empty:
            pass
        return found

    def took_s(self) -> list[tuple[int, float]]:
        """Return which are being opened, and for how long they have been."""
        now = time.monotonic()
        return [(index, now - since_s) for index, since_s in self._started_s.copy().items()]

    def stop(self) -> None:
        """Let threads end after what they are at; those that hang are left behind."""
        self._stopped.set()
        until_s = time.monotonic() + _JOIN_S
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                index = self._todo.get_nowait()
            except queue.Empty:
                return
            self._started_s[index] = time.monotonic()
            result: Opened | Exception
            try:
                result = self._open_one(index)
            except Exception as error:  # whatever is wrong with one movie must not cost the others
                result = error
            self._started_s.pop(index, None)
            self._done.put((index, result))


def _waiting(name: str) -> str:
    return f"waiting for {name}"


def _no_answer(which: str, after_s: float, where: str) -> UserError:
    return UserError(f"{which} did not answer within {after_s:.0f} s", "check the disk, or the connection to the file server", where)
