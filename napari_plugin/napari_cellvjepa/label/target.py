"""What a key labels: the whole track, the window shown at this time, the selected rows; or an interval that was begun and ended by hand."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QPushButton, QWidget

TRACK, WINDOW, ROWS = "track", "window", "rows"
_TITLES = {TRACK: "the whole track", WINDOW: "the window at this time", ROWS: "all selected rows"}


class Target(QWidget):
    """The choice, and the interval.

    Attributes
    ----------
    scope_changed
        Signal: something else was chosen.
    begun, ended, dropped
        Signals: a button was pressed.
    """

    scope_changed = Signal()
    begun = Signal()
    ended = Signal()
    dropped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.box = QComboBox()
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.currentIndexChanged.connect(self.scope_changed)
        self.start, self.end, self.drop = QPushButton("Start (S)"), QPushButton("End (E)"), QPushButton("Drop (Esc)")
        self.start.setToolTip("<qt>Begin an interval at this time. The next class then labels from here to the end, or to where time stands.</qt>")
        self.end.setToolTip("<qt>End the interval with this frame; without a start it begins with the track.</qt>")
        self.drop.setToolTip("<qt>Forget the interval.</qt>")
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.start.clicked.connect(self.begun)
        self.end.clicked.connect(self.ended)
        self.drop.clicked.connect(self.dropped)
        self._interval = (-1, -1)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("A key labels"), 0, 0)
        layout.addWidget(self.box, 0, 1, 1, 2)
        for column, button in enumerate((self.start, self.end, self.drop)):
            layout.addWidget(button, 1, column)
        layout.addWidget(self.about, 2, 0, 1, 3)
        self.offer(store=False, scope=TRACK)
        self.clear()

    def offer(self, *, store: bool, scope: str) -> None:
        """Offer what can be labelled; windows and rows are things of a store."""
        names = [TRACK, WINDOW, ROWS] if store else [TRACK]
        with QSignalBlocker(self.box):
            self.box.clear()
            for name in names:
                self.box.addItem(_TITLES[name], name)
            self.box.setCurrentIndex(names.index(scope) if scope in names else 0)

    def scope(self) -> str:
        """Return what is chosen."""
        return str(self.box.currentData())

    @property
    def interval(self) -> tuple[int, int]:
        """The first and the last frame of the interval; -1 for what is still open."""
        return self._interval

    def begin(self, frame: int) -> None:
        """Begin an interval, which drops the one before."""
        self._interval = (frame, -1)
        self._tell()

    def finish(self, frame: int, first: int) -> None:
        """End the interval with a frame; one that was not begun begins with ``first``."""
        begun = self._interval[0] if self._interval[0] >= 0 else first
        self._interval = (min(begun, frame), max(begun, frame))
        self._tell()

    def clear(self) -> None:
        """Forget the interval."""
        self._interval = (-1, -1)
        self._tell()

    def chosen(self, frame: int) -> tuple[int, int] | None:
        """Return the interval [frames, half open], up to ``frame`` where its end is open; None if there is none."""
        begun, ended = self._interval
        if begun < 0:
            return None
        last = ended if ended >= 0 else frame
        return min(begun, last), max(begun, last) + 1

    def _tell(self) -> None:
        begun, ended = self._interval
        text = "" if begun < 0 else f"Interval from frame {begun}: press E at its end, then a class."
        self.about.setText(text if ended < 0 else f"Interval of frames {begun} to {ended}: press a class.")
        self.about.setVisible(begun >= 0)
        self.drop.setEnabled(begun >= 0)
