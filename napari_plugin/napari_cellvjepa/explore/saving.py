"""The plot as a picture for a publication: what is in view, with its axes and its legend."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.notifications import show_info
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QWidget

import cellvjepa
from napari_cellvjepa.explore.drawing import Drawing
from napari_cellvjepa.parts.latest import Latest
from napari_cellvjepa.plot.axes import titled
from napari_cellvjepa.plot.density import above, density, squares
from napari_cellvjepa.plot.dots import MOST_MARKERS, UNCHOSEN_ALPHA
from napari_cellvjepa.plot.palette import Colouring
from napari_cellvjepa.plot.scatter import Scatter

_DENSITY_COLUMNS = 750  # half of the dots per inch of the file: squares of two
_FILTER = "Picture (*.png);;Drawing (*.svg)"


class Saving(QObject):
    """Asks for a file and writes the plot to it.

    Parameters
    ----------
    owner
        The widget that the dialog belongs to.
    plot, drawing
        What is saved.
    """

    def __init__(self, owner: QWidget, plot: Scatter, drawing: Drawing) -> None:
        super().__init__()
        self._owner, self._plot, self._drawing = owner, plot, drawing
        self.working = Latest(self)

    def ask(self) -> None:
        """Ask where, then save."""
        columns = self._drawing.columns
        if columns is None:
            return
        name = f"{columns.found.path.name.removesuffix('.zarr')}_plot.png"
        path, kind = QFileDialog.getSaveFileName(self._owner, "Save the plot", str(columns.found.path.with_name(name)), _FILTER)
        if path:
            self.save(Path(path) if Path(path).suffix else Path(path + (".svg" if "svg" in kind else ".png")))

    def save(self, path: Path) -> None:
        """Write the plot as it is seen."""
        columns = self._drawing.columns
        if columns is None:
            return
        names = self._drawing.axes()
        seen = {
            "x_limits": self._plot.limits()[0],
            "y_limits": self._plot.limits()[1],
            "shape": self._plot.shape(),
            "x_title": columns.axis(names[0]).title,
            "y_title": columns.axis(names[1]).title,
            "x_numbers": columns.axis(names[0]).numbers,
            "y_numbers": columns.axis(names[1]).numbers,
        }
        both = np.column_stack([np.asarray(columns.values(name), np.float64) for name in names])
        lines = [both[trail.rows_M] for trail in self._plot.trails.trails]
        do = partial(_saved, path, both, self._drawing.colouring, self._drawing.chosen_N, seen, lines)
        self.working.do(do, "Saving the plot", lambda _: show_info(f"The plot is in {path}."))

    def cancel(self) -> None:
        """Give up."""
        self.working.cancel()


def _saved(
    path: Path, both_N2: Any, colouring: Colouring, chosen_N: Any, seen: dict[str, Any], lines: list[Any], progress: cellvjepa.Progress
) -> None:
    """Draw and write (in the other thread)."""
    progress("drawing", 0, 0)
    (x0, x1), (y0, y1) = seen["x_limits"], seen["y_limits"]
    inside = (both_N2[:, 0] >= x0) & (both_N2[:, 0] <= x1) & (both_N2[:, 1] >= y0) & (both_N2[:, 1] <= y1)
    rows, picture = np.flatnonzero(inside), None
    if len(rows) > MOST_MARKERS:
        # As on the screen, numbers that hardly differ come near to 0 before they lose digits.
        shares = ((both_N2[rows] - (x0, y0)) / (x1 - x0, y1 - y0)).astype(np.float32)
        where = squares(shares, (0, 0, 1, 1), (round(_DENSITY_COLUMNS * seen["shape"]), _DENSITY_COLUMNS))
        picture = density(where, colouring.index_N[rows], colouring.colours_K4)
        if chosen_N.any():
            picture = above(density(where, colouring.index_N[rows], colouring.colours_K4, chosen_N[rows]), picture)
        rows = rows[:0]
    rows = np.random.default_rng(0).permutation(rows)
    rows = rows[np.argsort(2 * chosen_N[rows].astype(np.int8) - colouring.background()[rows], kind="stable")]
    colours = colouring.rgba(rows)
    if chosen_N.any():
        colours[~chosen_N[rows], 3] = UNCHOSEN_ALPHA
    scale = colouring.colours_K4[:-1] if colouring.limits is not None else None  # the last colour is that of what is not known
    plot = cellvjepa.ScatterPlot(
        both_N2[rows],
        colours,
        **seen,
        density=picture,
        kinds=[(kind.label, kind.colour) for kind in colouring.kinds],
        scale=colouring.limits,
        scale_colours_K4=scale,
        colour_title=titled(colouring.name),
        lines=lines,
    )
    progress("writing", 0, 0)
    cellvjepa.save_scatter(plot, path)
