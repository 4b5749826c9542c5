"""A line of a dock: what is under way, how far it is, and a button that stops it."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QWidget

from napari_cellvjepa.parts.latest import Latest

_SHOWN_AFTER_MS = 200  # what is done before that needs no line


class Busy(QWidget):
    """The line; it is seen while there is work.

    Parameters
    ----------
    works
        The kinds of work that it tells of.
    """

    def __init__(self, works: Sequence[Latest]) -> None:
        super().__init__()
        self._works = tuple(works)
        self.text = QLabel()
        self.text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedSize(90, 8)
        self.stop = QPushButton("Cancel")
        self.stop.setToolTip("<qt>Stop at the next step; what has been written stays whole.</qt>")
        self.stop.clicked.connect(self._stop)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.bar, 0, Qt.AlignmentFlag.AlignVCenter)
        layout.addWidget(self.stop)
        self._showing = QTimer(self)
        self._showing.setSingleShot(True)
        self._showing.setInterval(_SHOWN_AFTER_MS)
        self._showing.timeout.connect(self._show_if_busy)
        self.hide()
        for work in self._works:
            work.changed = self._look

    def running(self) -> list[Latest]:
        """Return what is under way."""
        return [work for work in self._works if work.under_way]

    def _look(self) -> None:
        if not isalive(self):  # type: ignore[no-untyped-call]
            return
        running = self.running()
        if not running:
            self._showing.stop()
            self.hide()
            self.stop.setEnabled(True)
            return
        if self.isHidden() and not self._showing.isActive():
            self._showing.start()
        work = running[-1]
        stage, done, total = work.progress
        if self.stop.isEnabled():
            self.text.setText(f"{work.title}: {stage}" if stage else work.title)
        self.bar.setRange(0, total)  # a range of 0 moves to and fro
        self.bar.setValue(done)

    def _show_if_busy(self) -> None:
        self.setVisible(bool(self.running()))

    def _stop(self) -> None:
        self.text.setText("stopping …")
        self.stop.setEnabled(False)
        for work in self.running():
            work.stop()
