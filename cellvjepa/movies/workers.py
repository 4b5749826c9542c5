"""Threads that always do next what is needed first."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, TypeVar

_Result = TypeVar("_Result")
_Task = tuple[int, int, Future[Any] | None, Callable[[], Any]]

_LAST = 2**62


class Workers:
    """A number of threads with one queue, ordered by when the results are needed.

    Parameters
    ----------
    count
        How many threads.
    name
        What their names begin with.
    """

    def __init__(self, count: int, name: str) -> None:
        self._queue: queue.PriorityQueue[_Task] = queue.PriorityQueue()
        self._order = itertools.count()
        self._closed = False
        self._closing = threading.Lock()
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{index}", daemon=True) for index in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, needed_at: int, work: Callable[[], _Result]) -> Future[_Result]:
        """Queue a piece of work; once closed, it is cancelled at once.

        Parameters
        ----------
        needed_at
            Smaller is earlier; what is needed at the same time is begun in the order it was submitted.
        """
        future: Future[_Result] = Future()
        with self._closing:
            if self._closed:
                future.cancel()
                future.set_running_or_notify_cancel()
            else:
                self._queue.put((needed_at, next(self._order), future, work))
        return future

    def submit_after(self, before: Collection[Future[Any]], needed_at: int, work: Callable[[], _Result]) -> Future[_Result]:
        """Queue a piece of work as soon as others are done, well or not; no thread waits for them meanwhile."""
        future: Future[_Result] = Future()
        left = itertools.count(len(before) - 1, -1)  # next() of it is atomic
        # Futures keep their callbacks for good. One that kept the work, which knows these futures, would be a circle that keeps them all.
        waiting = [work]
        del work

        def one_is_done(_: Future[Any]) -> None:
            if next(left) == 0:
                self.submit(needed_at, waiting.pop()).add_done_callback(lambda done: _hand_over(done, future))

        for other in before:
            other.add_done_callback(one_is_done)
        return future

    def close(self) -> None:
        """Cancel what is queued and wait for what is being done."""
        with self._closing:
            first, self._closed = not self._closed, True
        if first:
            while True:
                try:
                    _, _, future, _ = self._queue.get_nowait()
                except queue.Empty:
                    break
                if future is not None and future.cancel():
                    future.set_running_or_notify_cancel()
            for _ in self._threads:
                self._queue.put((_LAST, next(self._order), None, lambda: None))
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            _, _, future, work = self._queue.get()
            if future is None:
                return
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:  # whatever it is, it belongs to whoever asked
                future.set_exception(error)
            del future, work  # or this thread would keep what was made until it makes something else


def _hand_over(done: Future[_Result], to: Future[_Result]) -> None:
    if not to.set_running_or_notify_cancel():
        return
    if done.cancelled():
        to.set_exception(CancelledWorkError())
    elif (error := done.exception()) is not None:
        to.set_exception(error)
    else:
        to.set_result(done.result())


class CancelledWorkError(Exception):
    """The threads were closed before a piece of work was begun."""
