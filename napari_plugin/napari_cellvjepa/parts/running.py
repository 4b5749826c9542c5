"""The lower end of a dock: how far its work is, a button that cancels it, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from napari.utils.notifications import show_error
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.parts.latest import Latest


class Running(QWidget):
    """Does one piece of work at a time, and tells of it in more words than :class:`napari_cellvjepa.parts.busy.Busy`.

    Attributes
    ----------
    changed
        Signal ``(busy)``.
    progressed
        Signal ``(stage, done, total)``.
    """

    changed = Signal(bool)
    progressed = Signal(str, int, int)

    def __init__(self) -> None:
        super().__init__()
        self._latest = Latest(self)
        self._latest.changed = self._look
        self.bar = QProgressBar()
        self.stop = QPushButton("Cancel")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.stop.clicked.connect(self._cancel_by_hand)
        line = QHBoxLayout()
        line.addWidget(self.bar, 1)
        line.addWidget(self.stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(line)
        layout.addWidget(self.status)
        self._show_busy(False)

    @property
    def busy(self) -> bool:
        """Whether there is work."""
        return self._latest.under_way

    def do(
        self,
        do: Callable[[cellvjepa.Progress], Any],
        title: str,
        then: Callable[[Any], object],
        ended: Callable[[bool], object] | None = None,
    ) -> None:
        """Begin work, and give up the work before it.

        Parameters
        ----------
        do, title
            As for :class:`napari_cellvjepa.parts.work.Work`.
        then
            Is given the result.
        ended
            Is told at the end whether a person has cancelled the work.
        """
        self.tell("")
        self._latest.do(do, title, then, failed=self.tell, ended=partial(self._end, ended))

    def cancel(self) -> None:
        """Give up the work; nothing comes of it."""
        self._latest.cancel()

    def tell(self, text: str) -> None:
        """Say something about what was done."""
        self.status.setText(text)

    def refuse(self, error: cellvjepa.UserError) -> None:
        """Tell why nothing is done."""
        show_error(str(error))
        self.tell(str(error))

    def _cancel_by_hand(self) -> None:
        if self.busy:
            self._latest.stop()
            self.stop.setEnabled(False)
            self.tell("stopping after this step …")

    def _look(self) -> None:
        if self.busy is self.bar.isHidden():
            self._show_busy(self.busy)
        stage, done, total = self._latest.progress
        if not self.busy or not stage:
            return
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        if self.stop.isEnabled():
            self.tell(f"{stage}: {done:,} of {total:,}" if total else f"{stage} …")
        self.progressed.emit(stage, done, total)

    def _end(self, ended: Callable[[bool], object] | None) -> None:
        if self._latest.cancelled:
            self.tell("Cancelled.")
        if ended is not None:
            ended(self._latest.cancelled)

    def _show_busy(self, busy: bool) -> None:
        self.bar.setVisible(busy)
        self.bar.setRange(0, 0)
        self.stop.setVisible(busy)
        self.stop.setEnabled(busy)
        self.changed.emit(busy)
