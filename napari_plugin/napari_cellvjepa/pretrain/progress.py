"""How a run stands: the verdict of the monitors, how far it is, and its curves."""

from __future__ import annotations

import html

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QProgressBar, QVBoxLayout, QWidget

import cellvjepa
from napari_cellvjepa.pretrain.curves import CurvesView
from napari_cellvjepa.pretrain.watching import Seen

_NO_RUN = "No run is shown. Start one, or open the folder of one above."


class RunProgress(QWidget):
    """The page."""

    def __init__(self) -> None:
        super().__init__()
        self.light, self.how, self.speed = QLabel(), QLabel(), QLabel()
        for label in (self.light, self.how, self.speed):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.bar = QProgressBar()
        self.curves = CurvesView()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        for part in (self.how, self.light, self.bar, self.speed, self.curves):
            layout.addWidget(part)
        layout.addStretch(1)
        self.show_nothing()

    def show_nothing(self) -> None:
        """Say that there is no run."""
        self.how.setText(_NO_RUN)
        for part in (self.light, self.bar, self.speed, self.curves):
            part.hide()

    def show_run(self, seen: Seen, new_lines: bool) -> None:
        """Show what was seen; the curves are drawn again only where there are new lines."""
        state, rows = seen.state, seen.state.rows
        self.how.setText(seen.sentence or "There is no run in this folder yet.")
        for part in (self.light, self.bar, self.speed, self.curves):
            part.setVisible(bool(rows) and state.config is not None)
        if not rows or state.config is None:
            return
        last = rows[-1]
        self.light.setText(_in_colour(last["health"], last["health_reason"]))
        self.bar.setRange(0, state.config.training.steps)
        self.bar.setValue(last["step"])
        self.bar.setFormat(f"step {last['step']:,} of {state.config.training.steps:,}")
        self.speed.setText(_speed(seen))
        if new_lines:
            self.curves.show_rows(rows)


def _in_colour(verdict: str, reason: str) -> str:
    """Return the verdict with its light, as the library words it."""
    colour = cellvjepa.LIGHTS.get(verdict, "gray")
    sentence = html.escape(reason[:1].upper() + reason[1:])
    return f'<span style="color: {colour}; font-size: 16pt">●</span> <b>{verdict}</b>. {sentence}'


def _speed(seen: Seen) -> str:
    last = seen.state.rows[-1]
    parts = [f"{clips:,.0f} clips/s" if clips >= 10 else f"{clips:.1f} clips/s"] if (clips := last["clips_per_s"]) else []
    if last["data_wait"] > 0.05:
        parts.append(f"{last['data_wait']:.0%} of the time waiting for data")
    if last["damaged_blocks"]:
        parts.append(f"{last['damaged_blocks']} damaged pieces left out")
    left_s = seen.state.seconds_left
    if seen.running and left_s is not None:
        parts.append(f"{in_words(left_s)} left")
    return " · ".join(parts)


def in_words(seconds: float) -> str:
    """Return a time as people say it: the two largest units at most."""
    minutes = seconds / 60
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes:.0f} min"
    if minutes < 48 * 60:
        return f"{int(minutes // 60)} h {int(minutes % 60)} min"
    return f"{minutes / 60 / 24:.1f} days"
