"""Of work that is asked for again and again only the latest matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject

import cellvjepa
from napari_cellvjepa.parts.work import Work


class Latest:
    """Long work of one kind: new work gives up the one before, and what comes back is taken only from the latest.

    Parameters
    ----------
    owner
        For whom the work is done; nothing comes back when it has gone.

    Attributes
    ----------
    title
        Of the work that was begun last.
    progress
        ``(stage, done, total)`` of it.
    cancelled
        Whether a person has cancelled the work that ended last.
    changed
        Called when work begins, gets on, or ends.
    """

    def __init__(self, owner: QObject) -> None:
        self._owner = owner
        self._work: Work | None = None
        self.title, self.progress, self.cancelled = "", ("", 0, 0), False
        self.changed: Callable[[], object] = lambda: None

    @property
    def under_way(self) -> bool:
        """Whether there is work."""
        return self._work is not None

    def do(
        self,
        do: Callable[[cellvjepa.Progress], Any],
        title: str,
        then: Callable[[Any], object],
        *,
        failed: Callable[[str], object] = lambda problem: None,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        """Begin work.

        Parameters
        ----------
        do, title
            As for :class:`napari_cellvjepa.parts.work.Work`.
        then
            Is given the result.
        failed
            Is given the problem in one line.
        ended
            Called after either, and when a person has cancelled the work; not when :meth:`cancel` or other work put an end to it.
        """
        self.cancel()
        work = self._work = Work(do, title)
        work.succeeded.connect(lambda result: then(result) if self._wants(work) else None)
        work.failed.connect(lambda problem: failed(problem) if self._wants(work) else None)
        work.ended.connect(lambda cancelled: self._end(work, cancelled, ended))
        work.progressed.connect(lambda stage, done, total: self._note(work, (stage, done, total)))
        self._owner.destroyed.connect(work.cancel)  # the window may be closed without the dock being told
        self.title, self.progress = title, ("", 0, 0)
        work.start()
        self.changed()

    def stop(self) -> None:
        """Ask the work to stop, as a person does: ``ended`` is called when it has."""
        if self._work is not None:
            self._work.cancel()

    def cancel(self) -> None:
        """Give up the work that is under way."""
        if self._work is not None:
            self._work.cancel()
            self._work = None
            self.changed()

    def _note(self, work: Work, progress: tuple[str, int, int]) -> None:
        if self._wants(work):
            self.progress = progress
            self.changed()

    def _wants(self, work: Work) -> bool:
        return work is self._work and bool(isalive(self._owner))  # type: ignore[no-untyped-call]

    def _end(self, work: Work, cancelled: bool, ended: Callable[[], object]) -> None:
        if self._wants(work):
            self._work, self.cancelled = None, cancelled
            ended()
            self.changed()
