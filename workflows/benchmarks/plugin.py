"""How fast the Explore dock is, beside matplotlib: draw, redraw, lasso, colours, clicks, and its memory.

    xvfb-run -a -s "-screen 0 1600x1100x24" python workflows/benchmarks/plugin.py [--points 100000 1000000] [--folder DIR] [--out FILE]

Points are made up: eight overlapping clouds. Times are medians; every draw is followed by reading the picture back, so that it is finished.
The whole dock, in a viewer with a store behind it, is measured by plugin_dock.py, each stage in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from plugin_times import Times, timed, took

sys.path.insert(0, str(Path(__file__).parents[2] / "napari_plugin"))

_SIZE_PX = 600


def made_up(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 2) places and (N,) kinds."""
    generator = np.random.default_rng(0)
    kind = generator.integers(0, 8, points)
    middle = generator.normal(size=(8, 2))
    return middle[kind] + 0.35 * generator.normal(size=(points, 2)), kind.astype(str).astype(object)


def of_ours(places: np.ndarray, kinds: np.ndarray, app: Any) -> dict[str, Times]:
    from napari_cellvjepa.plot.dots import Box
    from napari_cellvjepa.plot.lasso import inside
    from napari_cellvjepa.plot.palette import colouring
    from napari_cellvjepa.plot.scatter import Scatter

    plot = Scatter()
    plot.resize(_SIZE_PX, _SIZE_PX)
    plot.show()
    app.processEvents()
    plot.picture()  # an empty plot, as it is before a store is opened
    none = np.zeros(len(places), bool)
    colours = colouring("kind", kinds)

    def first_draw() -> None:
        plot.show_points(places[:, 0], places[:, 1], True, colouring("kind", kinds), none)
        plot.picture()

    first = took(first_draw)

    def pan() -> None:
        box = plot.seen()
        plot.look_at(Box(box.x + 0.01, box.y, box.width, box.height))
        plot.picture()

    def refine() -> None:
        box = plot.seen()
        plot.look_at(Box(box.x - 0.01, box.y, box.width, box.height))
        plot.refine()
        plot.picture()

    def zoom() -> None:
        box = plot.seen()
        plot.look_at(Box(box.x + 0.02 * box.width, box.y, 0.95 * box.width, 0.95 * box.height))
        plot.picture()

    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    line = 0.5 + (0.25 + 0.05 * np.sin(9 * turn))[:, None] * np.column_stack([np.cos(turn), np.sin(turn)])
    points = plot.dots.points_N2

    def lasso() -> None:
        plot.paint(colours, inside(points, line))
        plot.picture()

    middle = (plot.width() / 2, plot.height() / 2)
    found = {"first draw": first, "pan": timed(pan), "zoom": timed(zoom), "drawn anew at rest": timed(refine)}
    plot.reset_view()
    plot.refine()
    found |= {
        "lasso of 200 corners": timed(lambda: inside(points, line)),
        "lasso, selection drawn": timed(lasso),
        "point under the mouse": timed(lambda: plot.nearest(middle)),
    }
    plot.close_canvas()
    plot.close()
    return found


def of_matplotlib(places: np.ndarray, kinds: np.ndarray) -> dict[str, Times]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.path import Path as Outline

    figure = Figure(figsize=(_SIZE_PX / 100, _SIZE_PX / 100), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()

    def first_draw() -> None:
        axes.scatter(places[:, 0], places[:, 1], c=kinds.astype(int), cmap="tab10", s=4, linewidths=0)
        canvas.draw()

    first = took(first_draw)

    def pan() -> None:
        low, high = axes.get_xlim()
        axes.set_xlim(low + 0.01, high + 0.01)
        canvas.draw()

    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    line = Outline((0.8 + 0.1 * np.sin(9 * turn))[:, None] * np.column_stack([np.cos(turn), np.sin(turn)]))
    panned = timed(pan, 1)  # it takes long enough
    return {"first draw": first, "pan": panned, "zoom": panned, "lasso of 200 corners": timed(lambda: line.contains_points(places), 1)}


def of_the_dock(stage: str, folder: str) -> dict[str, Times]:
    """Run a stage of plugin_dock.py."""
    command = [sys.executable, str(Path(__file__).with_name("plugin_dock.py")), stage, folder]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", help="where made-up stores are kept for another run")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    from napari.qt import get_qapp

    app = get_qapp()
    lines: list[str] = []

    def tell(line: str = "") -> None:
        lines.append(line)
        print(line, flush=True)

    tell(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the start\n")
    for points in options.points:
        places, kinds = made_up(points)
        ours, theirs = of_ours(places, kinds, app), of_matplotlib(places, kinds)
        titles = ("Explore", "(processors)", "matplotlib", "(processors)")
        tell(f"{points:,} points (ms)".ljust(28) + "".join(title.rjust(13) for title in titles))
        for name, times in ours.items():
            tell(name.ljust(28) + "".join(f"{value:13.1f}" for value in (*times, *theirs.get(name, ()))))
        tell()
    with tempfile.TemporaryDirectory() as temporary:
        for stage in ("clicks", "million"):
            tell(f"The dock: {stage} (ms)".ljust(66) + "(processors)".rjust(22))
            for name, (clock, busy) in of_the_dock(stage, options.folder or temporary).items():
                tell(name.ljust(66) + f"{clock:9.1f}" + (f"{busy:13.1f}" if busy else ""))
            tell()
    tell(f"load average {os.getloadavg()[0]:.1f} at the end")
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
