"""Numbers of the whole Explore dock, each stage in a process of its own: plugin.py runs it.

python plugin_dock.py clicks FOLDER      a movie of 320 frames, 2048 x 2048 px, with 2,000 cells: 40,000 windows
python plugin_dock.py million FOLDER     a store of 1e6 windows in 100 movies

Prints a JSON object {what: [ms, ms of all processors]}; MB where the name says so.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from plugin_times import Times, median, took

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "napari_plugin"), str(ROOT), str(Path(__file__).parent)]

SIDE, CELLS, WINDOWS = 2048, 2000, 20
COLUMNS = 45  # of cells in the image
STEP = SIDE // COLUMNS
PATIENCE_S = 300


def made_store(path: Path, rows: int, one_movie: bool) -> Path:
    """Write a store with a map and clusters, all made up."""
    import store

    from cellvjepa.embedding.store import revise_store

    of_many = store.table_of

    def of_one(rows: int, movies_from: int = 0) -> pd.DataFrame:
        table = of_many(rows, movies_from)
        y, x = centre_of(table["track_id"].to_numpy())
        return table.assign(movie="field.tif", track_id=table["track_id"] + 1, y_px=y, x_px=x, y_um=y / 2, x_um=x / 2)

    if path.exists():
        return path
    generator = np.random.default_rng(0)
    store.table_of = of_one if one_movie else of_many
    store.write(path, rows, 8, lambda chunk, dim: generator.normal(size=(chunk.stop - chunk.start, dim)).astype(np.float32))
    store.table_of = of_many
    kind = generator.integers(0, 8, rows)
    umap = (3 * generator.normal(size=(8, 2)))[kind] + generator.normal(size=(rows, 2))
    clusters = pd.DataFrame({"cluster": kind.astype(str).astype(object)})
    revise_store(path, columns=clusters, projections={"X_umap": umap.astype(np.float32)}, steps={"X_umap": {"method": "made up"}})
    return path


def centre_of(cell: Any) -> tuple[Any, Any]:
    """Return y and x of a cell [px]."""
    return (cell // COLUMNS + 0.5) * STEP, (cell % COLUMNS + 0.5) * STEP


def rss_mb() -> float:
    """Return the memory of this process [MB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Window:
    """A viewer with the dock in it."""

    def __init__(self) -> None:
        from napari import Viewer  # first: it brings pydantic, which cannot be imported once Qt is there
        from napari.qt import get_qapp

        self.app = get_qapp()
        self.viewer = Viewer(show=True)
        self.viewer.window._qt_window.resize(1500, 1000)
        self.app.processEvents()

    def open_dock(self) -> None:
        """Open it, and draw it."""
        from napari_cellvjepa.explore.dock import ExploreWidget

        self.dock = ExploreWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.dock, name="Explore")
        self.app.processEvents()
        self.dock.plot.picture()

    def open_store(self, path: Path) -> None:
        """Open a store, and draw it."""
        self.dock.open_store(path)
        self.wait(lambda: self.dock.found is not None and len(self.dock.plot.dots.points_N2) > 0)
        self.dock.plot.picture()

    def wait(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not until():
            self.app.processEvents()
            assert time.monotonic() < end

    def shown(self) -> None:
        """Draw the viewer, and read the picture back."""
        self.viewer.window.screenshot(canvas_only=True, flash=False)

    def settle(self) -> None:
        for _ in range(20):
            self.app.processEvents()
            time.sleep(0.02)


def timed(do: Callable[[int], object], times: int = 7) -> Times:
    """Return the median times; the first time does not count."""
    found = []
    for number in range(times + 1):
        found.append(took(partial(do, number)))
    return median(found[1:])


def clicks(folder: Path) -> dict[str, Times]:
    """Time what a click does."""
    from tests.plugin import mouse

    window = Window()
    found = {"dock opened, first time": took(window.open_dock)}
    window.viewer.window.remove_dock_widget(window.dock)
    found["dock opened, again"] = took(window.open_dock)
    path = made_store(folder / "one.zarr", CELLS * WINDOWS, one_movie=True)
    found["store of 40,000 windows opened"] = took(lambda: window.open_store(path))
    viewer, dock = window.viewer, window.dock
    rows, columns = np.mgrid[:SIDE, :SIDE]
    cell = (rows // STEP) * COLUMNS + columns // STEP
    y, x = centre_of(cell)
    disc = ((rows - y) ** 2 + (columns - x) ** 2 < 300) & (columns < STEP * COLUMNS) & (cell < CELLS)
    frame = np.where(disc, cell + 1, 0).astype(np.int32)
    shape = (16 * WINDOWS, SIDE, SIDE)
    viewer.add_image(np.broadcast_to((frame > 0).astype(np.uint16), shape), name="field.tif", contrast_limits=(0, 2), scale=(60.0, 0.5, 0.5))
    labels = viewer.add_labels(np.broadcast_to(frame, shape), name="field.tif cells", scale=(60.0, 0.5, 0.5))
    points = next(layer for layer in viewer.layers if "cellvjepa_store" in layer.metadata)
    viewer.layers.selection.active = labels
    window.shown()
    assert len(labels.colormap.color_dict) > CELLS, "the labels have not been coloured"
    generator = np.random.default_rng(0)

    def other_colours(number: int) -> None:
        dock.plotted.colour.setCurrentText(("cluster", "track_id")[number % 2])
        dock.drawing._draw_colours()

    def recolour(number: int) -> None:
        dock.labels._shown = {}
        dock.labels.refresh()

    def recolour_drawn(number: int) -> None:
        recolour(number)
        window.shown()

    def next_frame(number: int) -> None:
        viewer.dims.set_current_step(0, 16 * (number + 1))
        window.shown()

    points.opacity = 0.0  # 40,000 of them take long to draw
    window.shown()
    found["viewer drawn, nothing changed"] = timed(lambda _: window.shown())
    found["2,000 labels of 2048 x 2048 px recoloured"] = timed(recolour)
    found["the same, drawn"] = timed(recolour_drawn)
    found["next window on the time slider, recoloured, drawn"] = timed(next_frame)
    found["other column for the colours: plot, legend, points, labels"] = timed(other_colours)
    arrived: list[int] = []
    dock.journey.arrived.connect(arrived.append)
    dock.plot.reset_view()

    def in_the_plot(number: int) -> None:
        before = len(arrived)
        mouse.click(dock.plot._canvas.native, dock.plot.position_px(int(generator.integers(len(dock.found)))))
        window.wait(lambda: len(arrived) > before)
        window.shown()

    found["click in the plot, viewer at the cell, drawn"] = timed(in_the_plot)
    window.settle()
    canvas = viewer.window._qt_viewer.canvas.native
    middle = (canvas.width() / 2, canvas.height() / 2)

    def in_the_image(number: int) -> None:
        mouse.click(canvas, middle)
        assert dock.link.chosen_N.sum() == 1
        dock.plot.picture()

    found["click in the image, highlighted in the plot"] = timed(in_the_image)
    viewer.close()
    return found


def million(folder: Path) -> dict[str, Times]:
    """Time a large store, and weigh it."""
    import cellvjepa
    from napari_cellvjepa.plot.lasso import inside

    path = made_store(folder / "million.zarr", 1_000_000, one_movie=False)
    window = Window()
    window.open_dock()
    window.settle()
    empty = rss_mb()
    alone = cellvjepa.open_store(path)
    np.asarray(alone.projections["X_umap"])
    store_mb = rss_mb() - empty
    del alone
    found = {"store of 1e6 windows opened": took(lambda: window.open_store(path))}
    window.settle()
    dock = window.dock
    found["memory: store alone [MB]"] = (store_mb, 0)
    found["memory: with dock and plot, over the store [MB]"] = (rss_mb() - empty - store_mb, 0)
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    line = 0.5 + (0.25 + 0.05 * np.sin(9 * turn))[:, None] * np.column_stack([np.cos(turn), np.sin(turn)])

    def lasso(number: int) -> None:
        dock.plot.enclosed.emit(inside(dock.plot.dots.points_N2, line + 0.01 * number), "new")
        dock.plot.picture()

    found["lasso: found, drawn, points of the viewer selected"] = timed(lasso)
    dock.toolbar.tracks.click()
    rows = np.flatnonzero(dock.link.chosen_N)[:200]
    dock.drawing.select_rows(rows.tolist())
    found["tracks of 200 selected windows drawn"] = timed(lambda _: (dock.trajectories.draw(dock.link.chosen_N, -1), dock.plot.picture()))
    window.settle()
    found["memory: after that, over the store [MB]"] = (rss_mb() - empty - store_mb, 0)
    window.viewer.close()
    return found


if __name__ == "__main__":
    stage, folder = sys.argv[1], Path(sys.argv[2])
    print(json.dumps({"clicks": clicks, "million": million}[stage](folder)))
