"""A scatter plot of a store: drawn with vispy; panned, zoomed, pointed at and drawn around with the mouse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QEvent, QTimer, Signal
from qtpy.QtWidgets import QGridLayout, QWidget
from vispy import scene

from napari_cellvjepa.plot.axes import Axis, AxisStrip
from napari_cellvjepa.plot.dots import Box, Dots
from napari_cellvjepa.plot.lasso import inside
from napari_cellvjepa.plot.palette import Colouring, plain
from napari_cellvjepa.plot.pen import How, Pen, Tool, how_of
from napari_cellvjepa.plot.plane import Limits, Plane
from napari_cellvjepa.plot.trails import Trail, Trails

_GROUND = "#15171b"
_REFINE_AFTER_MS = 120  # rest after which what is drawn is fitted to the view
_HOVER_EVERY_MS = 40
_CLICK_PX = 4  # a press and a release this near to each other are a click
_REACH_PX = 9  # a click or the mouse this near to a point mean it


class Scatter(QWidget):
    """The plot.

    Attributes
    ----------
    picked
        Signal ``(row)``: a point was clicked; -1 for none.
    enclosed
        Signal ``(rows, how)``: a line was drawn around rows, bool (N,), which ``"new"`` selects, or which are to ``"add"`` or ``"subtract"``.
    hovered
        Signal ``(row)``: the mouse is over a point; -1 when it no longer is.
    moved
        Signal: another part of the plane is seen.
    """

    picked = Signal(int)
    enclosed = Signal(object, str)
    hovered = Signal(int)
    moved = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.tool: Tool = "pan"
        self.how: How = "new"
        self._canvas = scene.SceneCanvas(bgcolor=_GROUND, keys=None, size=(380, 380))
        self._view = self._canvas.central_widget.add_view()
        self._view.camera = scene.PanZoomCamera(interactive=False)
        self.dots = Dots(self._view.scene)
        self.trails = Trails(self._view.scene)
        self._pen = Pen(self._view.scene, self._in_plane)
        self._plane = Plane.of(np.empty((0, 2)), alike=False)
        self._press: npt.NDArray[np.float64] | None = None
        self._last: npt.NDArray[np.float64] = np.zeros(2)
        self._over = -1
        self._refining = self._timer(_REFINE_AFTER_MS, self.refine)
        self._hovering = self._timer(_HOVER_EVERY_MS, self._hover)
        for name in ("mouse_press", "mouse_move", "mouse_release", "mouse_wheel", "mouse_double_click"):
            # Before the scene gets them, and it does not: for each event it would draw everything once more to find out what is hit.
            getattr(self._canvas.events, name).connect(getattr(self, f"_{name}"), position="first")
        self._canvas.events.resize.connect(self._after_move, position="last")  # when the camera knows
        self.across, self.up = AxisStrip(up=False), AxisStrip(up=True)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.up, 0, 0)
        layout.addWidget(self._canvas.native, 0, 1)
        layout.addWidget(self.across, 1, 1)
        self._canvas.native.setMouseTracking(True)
        self.setMinimumSize(220, 170)

    def _timer(self, after_ms: int, then: Any) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(after_ms)
        timer.timeout.connect(then)
        return timer

    def show_points(self, x_N: npt.NDArray[Any], y_N: npt.NDArray[Any], alike: bool, colouring: Colouring, chosen_N: npt.NDArray[np.bool_]) -> None:
        """Plot two columns, all of them in view.

        Parameters
        ----------
        x_N, y_N
            (N,) numbers; rows where one of them is not finite are not drawn.
        alike
            Whether both have the same unit.
        colouring
            A colour for each row.
        chosen_N
            bool (N,): which rows are selected.
        """
        both = np.column_stack([np.asarray(x_N, np.float64), np.asarray(y_N, np.float64)])
        self._plane = Plane.of(both, alike)
        self.dots.mark(None)
        self.dots.place(self._plane.points(both), colouring, chosen_N)
        self._view.camera.aspect = 1 if alike else None
        self.reset_view()
        self.refine()

    def name_axes(self, x: Axis, y: Axis) -> None:
        """Write beside the plot what it shows."""
        self.across.show_axis(x)
        self.up.show_axis(y)

    def show_nothing(self) -> None:
        """Empty the plot."""
        self.name_axes(Axis(), Axis())
        self.draw_trails(())
        self.show_points(np.empty(0), np.empty(0), False, plain(0), np.zeros(0, bool))

    def paint(self, colouring: Colouring, chosen_N: npt.NDArray[np.bool_]) -> None:
        """Draw the same points in other colours, or with others selected."""
        self.dots.place(self.dots.points_N2, colouring, chosen_N)
        self.refine()

    def use_tool(self, tool: str) -> None:
        """Set what dragging does."""
        self.tool = cast("Tool", tool)

    def use_how(self, how: str) -> None:
        """Set what a drawn line is for."""
        self.how = cast("How", how)

    def mark(self, row: int | None) -> None:
        """Draw a ring around a row."""
        self.dots.mark(row)
        self._canvas.update()

    def draw_trails(self, trails: Sequence[Trail]) -> None:
        """Draw these tracks and no others."""
        self.trails.draw(trails, self.dots.points_N2)
        self.mark_trails({})

    def mark_trails(self, frames: Mapping[str, float]) -> None:
        """Mark where the tracks that are drawn are now.

        Parameters
        ----------
        frames
            The frame that is shown, for each movie that is.
        """
        self.trails.mark(frames, self.dots.points_N2)
        self._canvas.update()

    def reset_view(self) -> None:
        """Bring all points into view."""
        self.look_at(self._plane.home)

    def look_at(self, box: Box) -> None:
        """Bring a part of the plane into view, in units of the plot (all points lie between 0 and 1)."""
        self._view.camera.rect = (box.x, box.y, box.width, box.height)
        self._after_move()

    def seen(self) -> Box:
        """Return the part of the plane that is in view."""
        width, height = self._canvas.size
        (x0, y0), (x1, y1) = self._in_plane((0, height)), self._in_plane((width, 0))
        return Box(float(x0), float(y0), float(x1 - x0), float(y1 - y0))

    def limits(self) -> Limits:
        """Return the values of x and of y at the edges of the view, in the units of the columns."""
        return self._plane.limits(self.seen())

    def look_at_limits(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        """Bring the part of the plane into view that lies between these values, in the units of the columns."""
        if (box := self._plane.box(x, y)) is not None:
            self.look_at(box)

    def shape(self) -> float:
        """Return the height of the plot over its width."""
        width, height = self._canvas.size
        return float(height / width)

    def position_px(self, row: int) -> tuple[float, float]:
        """Return where a row is on the plot, in pixels from the upper left corner."""
        x, y = self._view.scene.transform.map(self.dots.points_N2[row])[:2]
        return float(x), float(y)

    def refine(self) -> None:
        """Fit what is drawn to the view: points one by one, or their density."""
        self._refining.stop()
        self.dots.draw(self.seen(), self._canvas.size, self._canvas.pixel_scale)
        self._canvas.update()

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return what is seen, uint8 (height, width, 4)."""
        return np.asarray(self._canvas.render(), np.uint8)

    def close_canvas(self) -> None:
        """Give back what the plot holds of the graphics card."""
        self._refining.stop()
        self._hovering.stop()
        self._canvas.close()

    def _after_move(self, event: object = None) -> None:
        if self.dots.many:
            self._refining.start()
        self._canvas.update()
        x, y = self.limits()
        self.across.show_limits(x)
        self.up.show_limits(y)
        self.moved.emit()

    def _in_plane(self, position_px: Any) -> npt.NDArray[np.float64]:
        return np.asarray(self._view.scene.transform.imap(np.asarray(position_px, np.float64))[:2], np.float64)

    def _mouse_press(self, event: Any) -> None:
        event.blocked = True
        self._press = self._last = np.asarray(event.pos, np.float64)
        if event.button == 1 and (self.tool != "pan" or "Shift" in event.modifiers):
            self._pen.begin("lasso" if self.tool == "pan" else self.tool, self._press)
        self._set_over(-1)

    def _mouse_move(self, event: Any) -> None:
        event.blocked = True
        here = np.asarray(event.pos, np.float64)
        if self._press is None:
            self._last = here
            if not self._hovering.isActive():
                self._hovering.start()
            return
        self._drag_to(here)

    def _drag_to(self, here: npt.NDArray[np.float64]) -> None:
        if self._pen.down:
            self._pen.draw_to(here)
        elif not self._is_click(here):
            step = self._in_plane(self._last) - self._in_plane(here)
            self._view.camera.pan(*step)
            self._last = here
            self._after_move()

    def _is_click(self, here: npt.NDArray[np.float64]) -> bool:
        """Tell whether the mouse has not left the place where it was pressed."""
        assert self._press is not None
        far = np.abs(here - self._press).max() > _CLICK_PX
        return not far and bool((self._last == self._press).all()) and not self._pen.has_moved

    def _mouse_release(self, event: Any) -> None:
        event.blocked = True
        here, press = np.asarray(event.pos, np.float64), self._press
        if press is None:
            return
        click = self._is_click(here)
        if not click:
            self._drag_to(here)  # vispy leaves out moves that follow each other fast, and so often the last one
        corners = self._pen.corners(here) if self._pen.down else None
        self._pen.lift()
        self._press = None
        self._canvas.update()
        if click:
            if event.button == 1:
                self.picked.emit(self.nearest(here))
        elif corners is not None:
            self.enclosed.emit(inside(self.dots.points_N2, corners), how_of(event.modifiers, self.how))

    def _mouse_wheel(self, event: Any) -> None:
        event.blocked = True
        self._view.camera.zoom(0.85 ** float(event.delta[1]), center=self._in_plane(event.pos))
        self._after_move()

    def _mouse_double_click(self, event: Any) -> None:
        event.blocked = True

    def nearest(self, position_px: Any) -> int:
        """Return the row at a place on the plot, or -1."""
        unit = np.abs(self._in_plane((1, 1)) - self._in_plane((0, 0)))  # of the plane per pixel
        return self.dots.nearest(self._in_plane(position_px), unit, _REACH_PX)

    def _hover(self) -> None:
        if self._press is None:
            self._set_over(self.nearest(self._last))

    def _set_over(self, row: int) -> None:
        if row != self._over:
            self._over = row
            self.hovered.emit(row)

    def leaveEvent(self, event: QEvent) -> None:
        """Forget what the mouse was over."""
        self._hovering.stop()
        self._set_over(-1)
        super().leaveEvent(event)
