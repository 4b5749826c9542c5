"""Small pictures of movies, read in another thread: first those that were asked for last, which are those one looks at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPixmap

import cellvjepa

SIZE_PX = 160
_MOST_KEPT = 400  # pictures, of 100 KB each
_MOST_ASKED = 48  # more rows than a window shows: who has scrolled on does not wait for what was passed


class Pictures(QObject):
    """Pictures by number.

    Attributes
    ----------
    ready
        Signal ``(number)``: the picture can be had.
    """

    ready = Signal(int)
    _read = Signal(int, int, object)

    def __init__(self) -> None:
        super().__init__()
        self._kept: OrderedDict[int, QPixmap] = OrderedDict()
        self._asked: OrderedDict[int, Callable[[], npt.NDArray[np.uint8]]] = OrderedDict()
        self._changed = threading.Condition()
        self._generation = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self._read.connect(self._keep, Qt.ConnectionType.QueuedConnection)

    def forget(self) -> None:
        """Begin anew, with other movies."""
        with self._changed:
            self._generation += 1
            self._asked.clear()
        self._kept.clear()

    def close(self) -> None:
        """Read no more."""
        with self._changed:
            self._closed = True
            self._asked.clear()
            self._changed.notify()

    def picture(self, number: int, movie: cellvjepa.Movie) -> QPixmap | None:
        """Return the picture of a movie, or None, and then :attr:`ready` tells when it can be had."""
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        with self._changed:
            if not self._closed:
                self._asked[number] = partial(_seen, movie)
                self._asked.move_to_end(number)
                while len(self._asked) > _MOST_ASKED:
                    self._asked.popitem(last=False)
                self._changed.notify()
        if self._thread is None and not self._closed:
            # A thread that hangs in a read of a file server must not keep the program from ending.
            self._thread = threading.Thread(target=self._work, name="cellvjepa-pictures", daemon=True)
            self._thread.start()
        return None

    def _work(self) -> None:
        """Read what is asked for (in the other thread)."""
        while True:
            with self._changed:
                while not (self._asked or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
                number, read = self._asked.popitem(last=True)
                generation = self._generation
            try:
                picture: Any = read()
            except Exception:  # whatever is wrong with one movie, the others have pictures
                picture = None
            try:
                self._read.emit(generation, number, picture)
            except RuntimeError:
                return  # the window has gone

    def _keep(self, generation: int, number: int, picture: npt.NDArray[np.uint8] | None) -> None:
        if generation != self._generation or self._closed:
            return
        self._kept[number] = _unreadable() if picture is None else _pixmap(picture)
        while len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        self.ready.emit(number)


def blank() -> QPixmap:
    """Return what is shown until a picture has been read."""
    square = QPixmap(SIZE_PX, SIZE_PX)
    square.fill(QColor(128, 128, 128, 40))
    return square


def _seen(movie: cellvjepa.Movie) -> npt.NDArray[np.uint8]:
    return cellvjepa.thumbnail(cellvjepa.levelled([movie])[0], SIZE_PX)


def _unreadable() -> QPixmap:
    square = blank()
    painter = QPainter(square)
    painter.setPen(QColor(200, 120, 60))
    painter.drawLine(0, 0, SIZE_PX, SIZE_PX)
    painter.drawLine(0, SIZE_PX, SIZE_PX, 0)
    painter.end()
    return square


def _pixmap(picture_YX3: npt.NDArray[np.uint8]) -> QPixmap:
    """Return a square with the picture in its middle."""
    height, width, _ = picture_YX3.shape
    image = QImage(np.ascontiguousarray(picture_YX3).tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
    square = QPixmap(SIZE_PX, SIZE_PX)
    square.fill(QColor(0, 0, 0, 0))
    painter = QPainter(square)
    scaled = image.scaled(SIZE_PX, SIZE_PX, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation)
    painter.drawImage((SIZE_PX - scaled.width()) // 2, (SIZE_PX - scaled.height()) // 2, scaled)
    painter.end()
    return square
