"""A gallery: rows of a store as small moving pictures that lead to their cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.clips.captions import caption_of, told_of
from napari_cellvjepa.clips.figure import SaveFigure
from napari_cellvjepa.clips.grid import FRAME_MS, SIDE_PX, Drawer, Grid, Rows
from napari_cellvjepa.clips.thumbnails import Thumbnails, nowhere
from napari_cellvjepa.layers.store_movies import Movies

_SIDES_PX = (56, 224)
_SETTLE_MS = 30  # after scrolling, before what is in view now is read


class Gallery(QWidget):
    """The gallery.

    Attributes
    ----------
    chosen
        Signal ``(row)``: a picture was clicked, or reached with the keyboard.
    wanted
        Signal ``(rows)``: these rows of the store, a list, are to be selected.
    """

    chosen = Signal(int)
    wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._found: cellvjepa.Embeddings | None = None
        self.thumbnails = Thumbnails()
        self.thumbnails.setParent(self)  # it ends with this widget, whoever forgets to cancel
        self._model = Rows(self._describe, self._tell_of)
        self._drawer = Drawer(self.thumbnails.get, self.thumbnails.problem)
        self.grid = Grid(self._model, self._drawer)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.retry = QPushButton("Try again")
        self.retry.clicked.connect(self._try_again)
        self.play = QPushButton("Pause")
        self.play.setToolTip("<qt>Let the pictures move, or stand still (space).</qt>")
        self.zoom = QSlider(Qt.Orientation.Horizontal)
        self.zoom.setRange(*_SIDES_PX)
        self.zoom.setValue(SIDE_PX)
        self.zoom.setMinimumWidth(40)
        self.zoom.setToolTip("Size of the pictures")
        self.figure = SaveFigure(self._shown)
        self.select = QPushButton("Select these")
        self.select.setToolTip(
            "<qt>Select these cells in the plot and in the viewer; if several are picked out here (Ctrl or Shift), only those.</qt>"
        )
        self._playing = self._timer(FRAME_MS, self._play, single=False)
        self._settling = self._timer(_SETTLE_MS, self._read_in_view, single=True)
        self._still = False
        self._connect()
        self._lay_out()
        self._enable()
        self._tell()

    def _timer(self, after_ms: int, then: Callable[[], None], single: bool) -> QTimer:
        timer = QTimer(self)
        timer.setInterval(after_ms)
        timer.setSingleShot(single)
        timer.timeout.connect(then)
        return timer

    def _connect(self) -> None:
        self.grid.moved.connect(self._settling.start)
        self.grid.reached.connect(self._reach)
        self.grid.selectionModel().selectionChanged.connect(self._enable)
        self.thumbnails.came.connect(self._show_what_came)
        self.thumbnails.told.connect(self._tell)
        self.play.clicked.connect(self._pause)
        self.zoom.valueChanged.connect(self.grid.fit)
        self.grid.paused.connect(self._pause)
        self.select.clicked.connect(lambda: self.wanted.emit(self._marked() or self.rows()))

    def _lay_out(self) -> None:
        told = QHBoxLayout()
        told.addWidget(self.status, 1)
        told.addWidget(self.retry)
        line = QHBoxLayout()
        line.addWidget(self.play)
        line.addWidget(self.zoom, 1)
        line.addWidget(self.figure)
        line.addWidget(self.select)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.grid, 1)
        layout.addLayout(told)
        layout.addLayout(line)

    def follow(self, found: cellvjepa.Embeddings | None, movies: Movies | None, elsewhere: Callable[[], Path | None] = nowhere) -> None:
        """Show rows of this store from now on, and none until they are given.

        Parameters
        ----------
        found
            The store, or None.
        movies
            The movies behind it.
        elsewhere
            Returns where the movies are now, if not where the store says.
        """
        self._found = found
        self.thumbnails.follow(found, movies, elsewhere)
        self.figure.follow(found, movies, elsewhere)
        self.show_rows([])

    def show_rows(self, rows: Sequence[int], captions: Sequence[str] = ()) -> None:
        """Show these rows in this order; their pictures come as they are read.

        Parameters
        ----------
        captions
            One for each row, of one or two lines; without them track and frames are told.
        """
        self._model.show_rows(rows, captions)
        self._enable()
        self._start_or_stop()
        self._tell()
        self._settling.start()

    def rows(self) -> list[int]:
        """Return the rows that are shown."""
        return list(self._model.rows)

    def cancel(self) -> None:
        """Give up reading pictures and saving figures; pictures in view are read when the gallery is scrolled or shown again."""
        self.thumbnails.cancel()
        self.figure.cancel()
        self._tell()

    def _shown(self) -> list[tuple[int, str]]:
        """Return the rows that a figure is to show, with their captions."""
        marked = set(self._marked())
        both = [(row, self._model.caption(number)) for number, row in enumerate(self._model.rows)]
        return [(row, caption) for row, caption in both if row in marked] if marked else both

    def _describe(self, row: int) -> str:
        return caption_of(self._found, row) if self._found is not None else ""

    def _tell_of(self, row: int) -> str:
        if self._found is None:
            return ""
        return "\n".join(filter(None, (told_of(self._found, row), self.thumbnails.problem(row))))

    def _marked(self) -> list[int]:
        """Return the rows that are picked out, if there are several."""
        places = sorted(index.row() for index in self.grid.selectionModel().selectedIndexes())
        return [self._model.rows[place] for place in places] if len(places) > 1 else []

    def _reach(self, place: int) -> None:
        self.chosen.emit(self._model.rows[place])

    def _read_in_view(self) -> None:
        if self.isVisible():
            first, last = self.grid.in_view()
            self.thumbnails.want(self._model.rows[first:last])
            self._tell()

    def _show_what_came(self, rows: list[int]) -> None:
        self.grid.viewport().update()
        self._tell()

    def _play(self) -> None:
        self._drawer.time += 1
        self.grid.viewport().update()

    def _pause(self) -> None:
        """Let the pictures stand still, or move again."""
        self._still = not self._still
        self.play.setText("Play" if self._still else "Pause")
        self._start_or_stop()

    def _start_or_stop(self) -> None:
        if self.isVisible() and not self._still and self._model.rows:
            self._playing.start()
        else:
            self._playing.stop()

    def _tell(self) -> None:
        """Say what keeps pictures from coming."""
        stage, problems = self.thumbnails.stage, self.thumbnails.problems(self._model.rows)
        first = next(iter(problems.values()), "")
        text = f"{stage} …" if stage else f"{len(problems):,} of these cannot be shown: {first}" if first else ""
        self.status.setText(text)
        self.status.setVisible(bool(text))
        self.retry.setText("Stop" if stage else "Try again")
        self.retry.setVisible(bool(text))

    def _try_again(self) -> None:
        if self.thumbnails.stage:
            self.cancel()
        else:
            self.thumbnails.forget_problems()
            self._read_in_view()

    def _enable(self, *_: object) -> None:
        marked = len(self._marked())
        self.select.setText(f"Select these {marked}" if marked else "Select these")
        for button in (self.select, self.play):
            button.setEnabled(bool(self._model.rows))

    def showEvent(self, event: Any) -> None:
        """Move, and read what is in view."""
        super().showEvent(event)
        self._start_or_stop()
        self._settling.start()

    def hideEvent(self, event: Any) -> None:
        """Rest while nobody looks."""
        super().hideEvent(event)
        self._playing.stop()
        self.thumbnails.want([])  # what is under way, an archive that is opened, goes on
