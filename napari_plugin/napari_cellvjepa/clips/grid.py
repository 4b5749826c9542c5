"""A grid of moving pictures that is as quick with ten thousand rows as with ten: only those in view are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QAbstractListModel, QModelIndex, QPersistentModelIndex, QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QKeyEvent, QPainter, QPen
from qtpy.QtWidgets import QApplication, QListView, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from napari_cellvjepa.clips.reading import Moving

_ROW = Qt.ItemDataRole.UserRole
_ANY = QModelIndex | QPersistentModelIndex
_GROUND, _FAINT, _CHOSEN = QColor("#15171b"), QColor("#8a9099"), QColor("#e69f00")
_GAP_PX = 6
_MARK_PX = 5
_BAR_PX = 2
_LINES = 2  # of a caption
SIDE_PX = 84  # about; pictures are stretched so that a line is full
FRAME_MS = 125  # from one picture to the next


class Rows(QAbstractListModel):
    """The rows that are shown, in their order, with a caption each.

    Parameters
    ----------
    describe, tell
        Return the caption of a row that was given none, and what the mouse tells of a row.
    """

    def __init__(self, describe: Callable[[int], str], tell: Callable[[int], str]) -> None:
        super().__init__()
        self.rows: list[int] = []
        self._captions: Sequence[str] = ()
        self._describe, self._tell = describe, tell

    def show_rows(self, rows: Sequence[int], captions: Sequence[str]) -> None:
        """Replace what is shown."""
        self.beginResetModel()
        self.rows, self._captions = [int(row) for row in rows], captions
        self.endResetModel()

    def caption(self, number: int) -> str:
        """Return the caption of the row in this place."""
        return self._captions[number] if number < len(self._captions) else self._describe(self.rows[number])

    def rowCount(self, parent: _ANY = QModelIndex()) -> int:  # noqa: B008 - as Qt has it
        """Return how many rows there are."""
        return 0 if parent.isValid() else len(self.rows)

    def data(self, index: _ANY, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the caption, or what the mouse tells."""
        if not index.isValid():
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.caption(index.row())
        if role == _ROW:
            return self.rows[index.row()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tell(self.rows[index.row()])
        return None


class Drawer(QStyledItemDelegate):
    """Draws one row: its picture at the present time, where in time that is, and its caption.

    Parameters
    ----------
    moving, problem
        Return the pictures of a row, or why there are none.
    """

    def __init__(self, moving: Callable[[int], Moving | None], problem: Callable[[int], str]) -> None:
        super().__init__()
        self._moving, self._problem = moving, problem
        self.side_px = SIDE_PX
        self.time = 0  # counted in frames, without end
        self.marks = True

    def sizeHint(self, option: QStyleOptionViewItem, index: _ANY) -> QSize:
        """Return how much place a row takes."""
        return self.place_of(option.fontMetrics.lineSpacing())

    def place_of(self, line_px: int) -> QSize:
        """Return the same, for a caption whose lines are so high."""
        return QSize(self.side_px + _GAP_PX, self.side_px + _GAP_PX + _LINES * line_px + 2)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _ANY) -> None:
        """Draw a row."""
        row = int(index.data(_ROW))
        whole: QRect = option.rect
        square = QRect(whole.x() + _GAP_PX // 2, whole.y() + _GAP_PX // 2, self.side_px, self.side_px)
        painter.save()
        moving = self._moving(row)
        if moving is None:
            draw_placeholder(painter, square, self._problem(row))
        else:
            draw_moving(painter, square, moving, self.time, self.marks)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setPen(QPen(_CHOSEN, 2))
            painter.drawRect(square.adjusted(0, 0, -1, -1))
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(QPen(_FAINT, 1))
            painter.drawRect(square.adjusted(0, 0, -1, -1))
        painter.setPen(option.palette.color(option.palette.ColorRole.Text))
        metrics, place = painter.fontMetrics(), square.bottom() + 2
        for line in str(index.data()).split("\n")[:_LINES]:
            text = metrics.elidedText(line, Qt.TextElideMode.ElideRight, whole.width())
            painter.drawText(QRect(whole.x(), place, whole.width(), metrics.lineSpacing()), Qt.AlignmentFlag.AlignHCenter, text)
            place += metrics.lineSpacing()
        painter.restore()


def draw_placeholder(painter: QPainter, square: QRect, problem: str) -> None:
    """Draw what stands for a picture that has not come, or that cannot."""
    painter.fillRect(square, _GROUND)
    painter.setPen(_FAINT)
    painter.drawText(square, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, "cannot be shown" if problem else "…")


def draw_moving(painter: QPainter, square: QRect, moving: Moving, time: int, marks: bool) -> None:
    """Draw a picture of a row, with a line below that shows the time, and marks at two borders beside the cell."""
    t = time % len(moving.frames)
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    painter.drawImage(square, image_of(moving.frames[t]))
    width = max(_BAR_PX, round(square.width() / len(moving.frames)))
    left = square.x() + round((square.width() - width) * t / max(1, len(moving.frames) - 1))
    painter.fillRect(QRect(left, square.bottom() + 1 - _BAR_PX, width, _BAR_PX), _CHOSEN)
    if marks:
        painter.setPen(QPen(_CHOSEN, 1))
        y, x = (square.y() + round(moving.cell[0] * square.height()), square.x() + round(moving.cell[1] * square.width()))
        if square.contains(x, y):
            painter.drawLine(square.x(), y, square.x() + _MARK_PX, y)
            painter.drawLine(x, square.y(), x, square.y() + _MARK_PX)


def image_of(frame: npt.NDArray[np.uint8]) -> QImage:
    """Return a frame as Qt has pictures; the frame must live as long."""
    kept = np.ascontiguousarray(frame)
    kind = QImage.Format.Format_Grayscale8 if kept.ndim == 2 else QImage.Format.Format_RGB888
    return QImage(kept.data, kept.shape[1], kept.shape[0], kept.strides[0], kind)


class Grid(QListView):
    """The grid.

    Attributes
    ----------
    moved
        Signal: others may be in view now.
    reached
        Signal ``(place)``: this place was clicked without a key held, or reached with the keyboard.
    paused
        Signal: the space bar was pressed.
    """

    moved = Signal()
    reached = Signal(int)
    paused = Signal()

    def __init__(self, rows: Rows, drawer: Drawer) -> None:
        super().__init__()
        self.setModel(rows)
        self.setItemDelegate(drawer)
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMouseTracking(True)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setMinimumHeight(120)
        self.setStyleSheet("QListView { background: transparent; border: none; }")
        self.verticalScrollBar().valueChanged.connect(self.moved)
        self.clicked.connect(self._click)
        self._rows, self._drawer, self._wanted_px = rows, drawer, SIDE_PX

    def fit(self, wanted_px: int) -> None:
        """Draw pictures about so wide: as many in a line as fit, and then as wide as fills it."""
        self._wanted_px = wanted_px
        # Qt breaks lines where a scroll bar would be, whether there is one or not.
        width = self.maximumViewportSize().width() - self.verticalScrollBar().sizeHint().width() - 2
        across = max(1, width // (wanted_px + _GAP_PX))
        side = max(16, width // across - _GAP_PX)
        if side != self._drawer.side_px or not self.gridSize().isValid():
            self._drawer.side_px = side
            self.setGridSize(self._drawer.place_of(self.fontMetrics().lineSpacing()))
        self.moved.emit()

    def in_view(self) -> tuple[int, int]:
        """Return the first place in view, and the one after the last."""
        count, area = self._rows.rowCount(), self.viewport().rect()
        if not count:
            return 0, 0
        first = self._at(area.top(), 0)
        last = self._at(area.bottom(), count - 1)
        across = area.width() // (self._drawer.side_px + _GAP_PX) + 1
        return max(0, first - across), min(count, last + across + 1)

    def _at(self, y: int, otherwise: int) -> int:
        """Return the place at a height, or the nearest one above it."""
        for up in (0, 4, 8, 12, 24, 48):
            found = self.indexAt(QPoint(_GAP_PX, y - up if otherwise else y + up))
            if found.isValid():
                return int(found.row())
        return otherwise

    def _click(self, index: QModelIndex) -> None:
        if QApplication.keyboardModifiers() == Qt.KeyboardModifier.NoModifier:  # with Ctrl or Shift several are picked out
            self.reached.emit(index.row())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move about among the pictures; Enter goes to the cell once more, the space bar lets the pictures stand still."""
        if event.key() == Qt.Key.Key_Space:
            self.paused.emit()
            return
        before = self.currentIndex().row()
        super().keyPressEvent(event)
        now = self.currentIndex().row()
        if now >= 0 and (now != before or event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)):
            self.reached.emit(now)

    def resizeEvent(self, event: Any) -> None:
        """Fill the lines, and tell that others may be in view."""
        super().resizeEvent(event)
        self.fit(self._wanted_px)
