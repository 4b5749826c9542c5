"""What is being learnt, drawn while it is: the loss, the score of each fold, the score by number of labels."""

from __future__ import annotations

from collections import deque

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.plot.palette import GRAY, LIGHT, PALETTE
from napari_cellvjepa.probe.curves import Curves, Line

_DRAW_EVERY_MS = 100
_MOST_RUNS = 8  # earlier runs of the loss that are still seen
_COLOURS = (PALETTE[1], PALETTE[0], PALETTE[2], PALETTE[4], PALETTE[5], PALETTE[3], PALETTE[6], *LIGHT)


class Learning(QWidget):
    """Three plots; each is seen once there is something in it."""

    def __init__(self) -> None:
        super().__init__()
        self._came: deque[cellvjepa.Learnt] = deque()
        self._series: dict[str, dict[str, list[tuple[float, float]]]] = {}
        self.loss = Curves("Loss of the attentive probe", "step", named=False)
        self.held_out = Curves("Cells it had not seen: share recognised", "fold", named=True, limits=(0.0, 1.0))
        self.labels = Curves("Score by number of labels", "labels per class", named=True, limits=(0.0, 1.0))
        self._plots = {"loss": self.loss, "held out": self.held_out, "labels": self.labels}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for plot in self._plots.values():
            layout.addWidget(plot)
        self._timer = QTimer(self)
        self._timer.setInterval(_DRAW_EVERY_MS)
        self._timer.timeout.connect(self.draw)
        self.begin()
        self._timer.stop()

    def note(self, point: cellvjepa.Learnt) -> None:
        """Take a point, from any thread; it is drawn soon."""
        self._came.append(point)

    def begin(self) -> None:
        """Forget what was drawn, and listen."""
        self._came.clear()
        self._series = {name: {} for name in self._plots}
        for plot in self._plots.values():
            plot.hide()
        self._timer.start()

    def end(self) -> None:
        """Draw what came last, and rest."""
        self.draw()
        self._timer.stop()

    def draw(self) -> None:
        """Draw what has come."""
        touched = set()
        while self._came:
            point = self._came.popleft()
            self._series[point.curve].setdefault(point.series, []).append((point.x, point.y))
            touched.add(point.curve)
        for name in touched:
            make = _runs if name == "loss" else _curves
            self._plots[name].show_lines(make(self._series[name]))
            self._plots[name].show()


def colours_of(names: list[str]) -> dict[str, str]:
    """Return a colour for each kind of features, this encoder's the first; gray for guessing."""
    rest = [name for name in names if name != "class prior"]
    rest.sort(key=lambda name: name != "this encoder")
    return {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(rest)} | {"class prior": GRAY}


def _curves(series: dict[str, list[tuple[float, float]]]) -> list[Line]:
    colours = colours_of(list(series))
    return [Line(name, tuple(points), colours[name]) for name, points in series.items()]


def _runs(series: dict[str, list[tuple[float, float]]]) -> list[Line]:
    """Return the last runs, the earlier ones faded."""
    *earlier, last = list(series)[-_MOST_RUNS:]
    faded = [Line("", tuple(series[name]), PALETTE[1], faded=True) for name in earlier]
    return [*faded, Line(last, tuple(series[last]), PALETTE[0])]
