"""The buttons over a plot: what the mouse does, and what becomes of the selection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from qtpy.QtCore import Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QButtonGroup, QPushButton, QWidget
from superqt import QFlowLayout

from napari_cellvjepa.plot.pen import How, Tool

_TOOLS: Mapping[Tool, tuple[str, str]] = {
    "pan": ("Pan", "Drag to move the plot, turn the wheel to zoom, click a point to go to its cell. With Shift, dragging draws a lasso."),
    "lasso": ("Lasso", "Draw around points to select them."),
    "rectangle": ("Rectangle", "Draw a rectangle around points to select them."),
}
_HOWS: Mapping[How, tuple[str, str]] = {
    "new": ("Select", "What you draw around becomes the selection."),
    "add": ("Add", "What you draw around joins the selection. So it does with Shift held."),
    "subtract": ("Subtract", "What you draw around leaves the selection. So it does with Alt held."),
}


class Toolbar(QWidget):
    """The buttons.

    Attributes
    ----------
    tool_changed, how_changed
        Signals: the name of the tool, and what a drawn line is for.
    inverted, cleared, fitted, saved
        Signals: buttons were pressed.
    tracks_shown
        Signal ``(shown)``: whether tracks are drawn.
    """

    tool_changed = Signal(str)
    how_changed = Signal(str)
    inverted = Signal()
    cleared = Signal()
    fitted = Signal()
    saved = Signal()
    tracks_shown = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._layout = QFlowLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.tools = self._group(_TOOLS, lambda name: self.tool_changed.emit(name))
        self._button("Fit", "Bring all points into view.", self.fitted.emit)
        self.hows = self._group(_HOWS, lambda name: self.how_changed.emit(name))
        self._button("Invert", "Select what is not selected.", self.inverted.emit)
        self._button("Clear", "Select nothing.", self.cleared.emit)
        tip = "Draw the selected tracks through the plot, or that of the cell clicked last, with their daughters; marks show where they are now."
        self.tracks = self._button("Tracks", tip, lambda: self.tracks_shown.emit(self.tracks.isChecked()))
        self.tracks.setCheckable(True)
        self._button("Save picture", "Save the plot with its axes and legend as PNG or SVG, at 300 dots per inch.", self.saved.emit)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Ask for the height of all lines: a splitter would else give that of one."""
        super().resizeEvent(event)
        self.setMinimumHeight(self._layout.heightForWidth(event.size().width()))

    def choose_tool(self, tool: Tool) -> None:
        """Press the button of a tool."""
        self.tools[tool].click()

    def choose_how(self, how: How) -> None:
        """Press the button that says what a drawn line is for."""
        self.hows[how].click()

    def _group(self, options: Mapping[Tool, tuple[str, str]] | Mapping[How, tuple[str, str]], then: Callable[[str], None]) -> dict[str, QPushButton]:
        group = QButtonGroup(self)
        buttons: dict[str, QPushButton] = {}
        for name, (title, tip) in cast("Mapping[str, tuple[str, str]]", options).items():
            button = self._button(title, tip, lambda _=False, name=name: then(name))
            button.setCheckable(True)
            button.setChecked(not buttons)
            group.addButton(button)
            buttons[name] = button
        return buttons

    def _button(self, title: str, tip: str, then: Callable[..., None]) -> QPushButton:
        button = QPushButton()
        button.setText(title)
        button.setToolTip(f"<qt>{tip}</qt>")
        button.clicked.connect(lambda checked=False: then())
        self._layout.addWidget(button)
        return button
