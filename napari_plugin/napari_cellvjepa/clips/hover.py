"""A small moving picture beside the mouse, of the row it is over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QPoint, QRect, Qt, QTimer
from qtpy.QtGui import QCursor, QGuiApplication, QPainter, QPaintEvent
from qtpy.QtWidgets import QWidget

import cellvjepa
from napari_cellvjepa.clips.captions import caption_of
from napari_cellvjepa.clips.grid import FRAME_MS, draw_moving, draw_placeholder
from napari_cellvjepa.clips.thumbnails import Thumbnails, nowhere
from napari_cellvjepa.layers.store_movies import Movies

_AFTER_MS = 200  # of rest over a row: who sweeps across the plot wants no pictures
_SIDE_PX = 128
_BESIDE_PX = 18  # of the mouse
_BUDGET_BYTES = 8 * 2**20


class HoverClip(QWidget):
    """The picture; it takes neither clicks nor keys, and nobody waits for it.

    Parameters
    ----------
    owner
        The widget that the mouse is over; this one goes with it.
    """

    def __init__(self, owner: QWidget) -> None:
        kind = Qt.WindowType.ToolTip | Qt.WindowType.FramelessWindowHint
        super().__init__(owner, kind | Qt.WindowType.WindowTransparentForInput | Qt.WindowType.WindowDoesNotAcceptFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_ShowWithoutActivating)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.resize(_SIDE_PX, _SIDE_PX + 2 * self.fontMetrics().lineSpacing() + 4)
        self.thumbnails = Thumbnails(_BUDGET_BYTES)
        self.thumbnails.setParent(self)
        self.thumbnails.came.connect(self._show)
        self._found: cellvjepa.Embeddings | None = None
        self._row = -1
        self._time = 0
        self._waiting = self._timer(_AFTER_MS, self._begin, single=True)
        self._playing = self._timer(FRAME_MS, self._play, single=False)

    def _timer(self, after_ms: int, then: Callable[[], None], single: bool) -> QTimer:
        timer = QTimer(self)
        timer.setInterval(after_ms)
        timer.setSingleShot(single)
        timer.timeout.connect(then)
        return timer

    def follow(self, found: cellvjepa.Embeddings | None, movies: Movies | None, elsewhere: Callable[[], Path | None] = nowhere) -> None:
        """Show rows of this store from now on (as :meth:`napari_cellvjepa.clips.gallery.Gallery.follow`)."""
        self.over(-1)
        self._found = found
        self.thumbnails.follow(found, movies, elsewhere)

    def over(self, row: int) -> None:
        """Take over that the mouse is over a row, or, with -1, over none."""
        self.hide()
        self._playing.stop()
        self._row = row
        if row < 0 or self._found is None:
            self._waiting.stop()
            self.thumbnails.want([])
        else:
            self._waiting.start()

    @property
    def shown_row(self) -> int:
        """The row that is shown, or -1."""
        return self._row if self.isVisible() else -1

    def cancel(self) -> None:
        """Give up what is being read, and show nothing."""
        self.over(-1)
        self.thumbnails.cancel()

    def _begin(self) -> None:
        if self.thumbnails.get(self._row) is not None or self.thumbnails.problem(self._row):
            self._show([self._row])
        else:
            self.thumbnails.want([self._row])

    def _show(self, rows: list[int]) -> None:
        if self._row in rows:
            self._time = 0
            self.move(_beside(QCursor.pos(), self.frameGeometry()))
            self.show()
            self._playing.start()

    def _play(self) -> None:
        self._time += 1
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw picture and caption."""
        if self._found is None or self._row < 0:
            return
        painter = QPainter(self)
        square = QRect(0, 0, _SIDE_PX, _SIDE_PX)
        painter.fillRect(self.rect(), self.palette().window())
        moving = self.thumbnails.get(self._row)
        if moving is None:
            draw_placeholder(painter, square, self.thumbnails.problem(self._row))
        else:
            draw_moving(painter, square, moving, self._time, marks=True)
        painter.setPen(self.palette().windowText().color())
        below = self.rect().adjusted(2, _SIDE_PX + 2, -2, 0)
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, caption_of(self._found, self._row))
        painter.end()


def _beside(mouse: QPoint, box: QRect) -> QPoint:
    """Return where the picture stands: right and below of the mouse, or on its other side where the screen ends."""
    screen = QGuiApplication.screenAt(mouse) or QGuiApplication.primaryScreen()
    area = screen.availableGeometry()
    x, y = mouse.x() + _BESIDE_PX, mouse.y() + _BESIDE_PX
    if x + box.width() > area.right():
        x = mouse.x() - _BESIDE_PX - box.width()
    if y + box.height() > area.bottom():
        y = mouse.y() - _BESIDE_PX - box.height()
    return QPoint(x, y)
