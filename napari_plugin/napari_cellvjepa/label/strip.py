"""The strip under the time slider: labels over time, of one cell or of all tracks of a movie."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QRadioButton, QSizePolicy, QToolTip, QVBoxLayout, QWidget

from napari_cellvjepa.label.strip_picture import Lanes, picture, title_of

_ONE_HIGH_PX, _ALL_HIGH_PX = 42, 120
_AXIS_PX = 13  # below the lanes: the numbers of frames
_TIME = QColor("#ffffff")
_MOST_TICKS = 10


class Strip(QWidget):
    """Draws lanes, and tells where they are clicked.

    Attributes
    ----------
    clicked
        Signal ``(frame, lane)``.
    """

    clicked = Signal(int, int)

    def __init__(self) -> None:
        super().__init__()
        self._lanes: Lanes | None = None
        self._colours: dict[str, str] = {}
        self._image: QImage | None = None
        self._frame, self._lane, self._open = -1, -1, (-1, -1)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(_ONE_HIGH_PX)

    def sizeHint(self) -> QSize:
        """Return how large it would be."""
        return QSize(400, _ONE_HIGH_PX if self._lanes is None or len(self._lanes.keys) <= 2 else _ALL_HIGH_PX)

    def show_lanes(self, lanes: Lanes | None, colours: Mapping[str, str], lane: int = -1) -> None:
        """Show these; ``lane`` is the one of the chosen cell."""
        self._lanes, self._colours, self._lane, self._image = lanes, dict(colours), lane, None
        self.setMinimumHeight(_ONE_HIGH_PX if lanes is None or len(lanes.keys) <= 2 else _ALL_HIGH_PX)
        self.update()

    def show_time(self, frame: int, begun: int = -1, ended: int = -1) -> None:
        """Mark the current frame, and an interval that has been begun: from ``begun`` to ``ended`` or to now."""
        opened = (begun, ended)
        if (frame, opened) != (self._frame, self._open):
            self._frame, self._open = frame, opened
            self.update()

    def position_px(self, frame: int, lane: int = 0) -> tuple[float, float]:
        """Return where the middle of a frame of a lane is drawn."""
        assert self._lanes is not None
        return (frame + 0.5) * self.width() / self._lanes.frames, (lane + 0.5) * self._high / max(len(self._lanes.keys), 1)

    def at(self, x: float, y: float) -> tuple[int, int]:
        """Return the frame and the lane at a place; (-1, -1) where nothing is shown."""
        if self._lanes is None or not len(self._lanes.keys):
            return -1, -1
        frame = min(max(int(x * self._lanes.frames / max(self.width(), 1)), 0), self._lanes.frames - 1)
        return frame, min(max(int(y * len(self._lanes.keys) / self._high), 0), len(self._lanes.keys) - 1)

    @property
    def _high(self) -> int:
        """How high all lanes are together [px]."""
        return max(self.height() - _AXIS_PX, 1)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Tell which frame was clicked."""
        if event.button() == Qt.MouseButton.LeftButton and (place := self.at(event.position().x(), event.position().y()))[0] >= 0:
            self.clicked.emit(*place)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say what is under the mouse; dragged, time goes along."""
        frame, lane = self.at(event.position().x(), event.position().y())
        if frame < 0 or self._lanes is None:
            return
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.clicked.emit(frame, lane)
        here = (self._lanes.lane_P == lane) & (self._lanes.from_P <= frame) & (frame < self._lanes.to_P)
        labels = [self._lanes.label_P[i] for i in here.nonzero()[0]]
        QToolTip.showText(
            event.globalPosition().toPoint(), f"{title_of(self._lanes, lane)} · frame {frame}" + "".join(f" · {name}" for name in labels), self
        )

    def resizeEvent(self, event: QEvent) -> None:
        """Draw anew."""
        self._image = None
        super().resizeEvent(event)  # type: ignore[arg-type]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw."""
        painter = QPainter(self)
        if self._lanes is None:
            painter.setPen(QPen(QColor("#a0a0a0")))
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, "Click a cell to see its labels over time.")
            return
        if self._image is None:
            drawn = picture(self._lanes, self._colours, self._high, max(self.width(), 1))
            self._image = QImage(drawn.data, drawn.shape[1], drawn.shape[0], 3 * drawn.shape[1], QImage.Format.Format_RGB888).copy()
        painter.drawImage(0, 0, self._image)
        self._draw_names(painter)
        self._draw_ticks(painter)
        self._draw_time(painter)

    def _draw_names(self, painter: QPainter) -> None:
        """Write the classes into the intervals where there is room."""
        lanes, count = self._lanes, len(self._lanes.keys) if self._lanes else 0
        if lanes is None or not count or self._high / count < painter.fontMetrics().height():
            return
        high = self._high / count
        painter.setPen(QPen(QColor("#000000")))
        for lane, begin, end, label in zip(lanes.lane_P.tolist(), lanes.from_P.tolist(), lanes.to_P.tolist(), lanes.label_P, strict=True):
            left, right = (frame * self.width() / lanes.frames for frame in (begin, min(end, lanes.frames)))
            box = QRectF(left + 3, lane * high, right - left - 6, high)
            if painter.fontMetrics().horizontalAdvance(label) <= box.width():
                painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), label)

    def _draw_ticks(self, painter: QPainter) -> None:
        assert self._lanes is not None
        step = next(
            step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**3, 10**4, 10**5, 10**6, 10**9) if step * _MOST_TICKS >= self._lanes.frames
        )
        painter.setPen(QPen(QColor("#a0a0a0")))
        font = painter.font()
        font.setPixelSize(_AXIS_PX - 3)
        painter.setFont(font)
        for frame in range(0, self._lanes.frames, step):
            x = (frame + 0.5) * self.width() / self._lanes.frames
            painter.drawLine(QPointF(x, self._high), QPointF(x, self._high + 3))
            painter.drawText(QPointF(x + 3, self.height() - 2), str(frame))

    def _draw_time(self, painter: QPainter) -> None:
        assert self._lanes is not None
        count, one = max(len(self._lanes.keys), 1), self.width() / self._lanes.frames
        high = self._high / count
        lane = QRectF(0.5, max(self._lane, 0) * high, self.width() - 1.5, max(high, 2.0))
        if self._lane >= 0 and count > 1:
            painter.setPen(QPen(_TIME, 1))
            painter.drawRect(lane)
        if self._open != (-1, -1):
            begun, ended = self._open
            low, top = sorted((begun, ended if ended >= 0 else self._frame))
            box = QRectF(low * one, lane.top(), (top + 1 - low) * one, max(lane.height() - 1, 6.0))
            painter.fillRect(box, QColor(255, 255, 255, 70))
            painter.setPen(QPen(_TIME, 1, Qt.PenStyle.DashLine))
            painter.drawRect(box)
        painter.setPen(QPen(_TIME, 2))
        x = (self._frame + 0.5) * one
        painter.drawLine(QPointF(x, 0), QPointF(x, self._high))


class StripPanel(QWidget):
    """The strip with its title, and the choice between the cell and all tracks.

    Attributes
    ----------
    mode_changed
        Signal: the other was chosen.
    """

    mode_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.strip = Strip()
        self.title = QLabel("Labels over time")
        self.one, self.all = QRadioButton("this cell"), QRadioButton("all tracks")
        self.one.setChecked(True)
        self.all.setToolTip("<qt>A line for each track of the movie; with more tracks than lines several share one. A click goes to the cell.</qt>")
        self._choice = QButtonGroup(self)
        for button in (self.one, self.all):
            self._choice.addButton(button)
        self.one.toggled.connect(self.mode_changed)
        line = QHBoxLayout()
        line.addWidget(self.title, 1)
        line.addWidget(self.one)
        line.addWidget(self.all)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 2, 6, 4)
        layout.setSpacing(2)
        layout.addLayout(line)
        layout.addWidget(self.strip, 1)
