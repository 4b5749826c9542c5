"""How fast the Explore plot is, beside matplotlib: first draw, redraw, lasso, colours, and the way from a click to the cell.

    xvfb-run -a -s "-screen 0 1600x1100x24" python workflows/benchmarks/plugin.py [--points 100000 1000000] [--out plugin.md]

Points are made up: eight overlapping clouds. Times are medians; every draw is followed by reading the picture back, so that it is finished.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "napari_plugin"))

_SIZE_PX = 600


def made_up(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 2) places and (N,) kinds."""
    generator = np.random.default_rng(0)
    kind = generator.integers(0, 8, points)
    middle = generator.normal(size=(8, 2))
    return middle[kind] + 0.35 * generator.normal(size=(points, 2)), kind.astype(str).astype(object)


def timed(do: Callable[[], object], times: int = 5) -> float:
    """Return the median time [ms]."""
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        do()
        found.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(found)


def of_ours(places: np.ndarray, kinds: np.ndarray, app: Any) -> dict[str, float]:
    from napari_cellvjepa.plot.dots import Box
    from napari_cellvjepa.plot.lasso import inside
    from napari_cellvjepa.plot.palette import colouring
    from napari_cellvjepa.plot.scatter import Scatter

    plot = Scatter()
    plot.resize(_SIZE_PX, _SIZE_PX)
    plot.show()
    app.processEvents()
    begin = time.perf_counter()
    colours = colouring("kind", kinds)
    none = np.zeros(len(places), bool)
    plot.show_points(places[:, 0], places[:, 1], True, colours, none)
    plot.picture()
    first = 1e3 * (time.perf_counter() - begin)

    def pan() -> None:
        box = plot.seen()
        plot.look_at(Box(box.x + 0.01, box.y, box.width, box.height))
        plot.picture()

    def refine() -> None:
        plot.refine()
        plot.picture()

    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    line = 0.5 + (0.25 + 0.05 * np.sin(9 * turn))[:, None] * np.column_stack([np.cos(turn), np.sin(turn)])
    points = plot.dots.points_N2
    chosen = inside(points, line)
    middle = (plot.width() / 2, plot.height() / 2)
    found = {
        "first draw": first,
        "pan": timed(pan),
        "refine after zoom": timed(refine),
        "lasso of 200 corners": timed(lambda: inside(points, line)),
        "selection drawn": timed(lambda: (plot.paint(colours, chosen), plot.picture())),
        "point under the mouse": timed(lambda: plot.nearest(middle)),
    }
    plot.close_canvas()
    plot.close()
    return found


def of_matplotlib(places: np.ndarray, kinds: np.ndarray) -> dict[str, float]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.path import Path as Outline

    begin = time.perf_counter()
    figure = Figure(figsize=(_SIZE_PX / 100, _SIZE_PX / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.scatter(places[:, 0], places[:, 1], c=kinds.astype(int), cmap="tab10", s=4, linewidths=0)
    canvas.draw()
    first = 1e3 * (time.perf_counter() - begin)

    def pan() -> None:
        low, high = axes.get_xlim()
        axes.set_xlim(low + 0.01, high + 0.01)
        canvas.draw()

    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    line = Outline((0.8 + 0.1 * np.sin(9 * turn))[:, None] * np.column_stack([np.cos(turn), np.sin(turn)]))
    return {"first draw": first, "pan": timed(pan, 3), "lasso of 200 corners": timed(lambda: line.contains_points(places), 3)}


def from_click_to_cell(app: Any) -> dict[str, float]:
    """Time the way from a row to its cell where the movie is open, on a movie of 64 frames of 512 x 512 px."""
    import napari
    import pandas as pd

    from napari_cellvjepa.layers.linking import go_to

    class Found:
        """As much of a store as the way needs."""

    generator = np.random.default_rng(0)
    found: Any = Found()
    rows = 1000
    found.table = pd.DataFrame({"t_start": generator.integers(0, 48, rows), "z_px": 0.0, "x_um": np.nan})
    found.table = found.table.assign(t_stop=found.table["t_start"] + 16, y_px=generator.random(rows) * 512, x_px=generator.random(rows) * 512)
    found.provenance = Found()
    found.provenance.clip_shape = Found()
    found.provenance.clip_shape.size_px, found.provenance.clip_shape.pixel_um = 64, None
    viewer = napari.Viewer(show=True)
    layer = viewer.add_image(generator.integers(0, 4096, (64, 512, 512), dtype=np.uint16), contrast_limits=(0, 4096))

    def go() -> None:
        go_to(viewer, found, int(generator.integers(rows)), layer)
        viewer.window.screenshot(canvas_only=True, flash=False)

    go()
    app.processEvents()
    ms = timed(go, 9)
    viewer.close()
    return {"row to cell, drawn": ms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    from napari.qt import get_qapp

    app = get_qapp()
    load = os.getloadavg()
    lines = [f"load average {load[0]:.1f} on {os.cpu_count()} cores at the start", ""]
    for points in options.points:
        places, kinds = made_up(points)
        ours, theirs = of_ours(places, kinds, app), of_matplotlib(places, kinds)
        lines.append(f"{points:,} points (ms)".ljust(36) + "Explore".rjust(12) + "matplotlib".rjust(12))
        for name, value in ours.items():
            lines.append(name.ljust(36) + f"{value:12.1f}" + (f"{theirs[name]:12.1f}" if name in theirs else ""))
        lines.append("")
    for name, value in from_click_to_cell(app).items():
        lines.append(name.ljust(36) + f"{value:12.1f}")
    lines.append(f"load average {os.getloadavg()[0]:.1f} at the end")
    text = "\n".join(lines)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
