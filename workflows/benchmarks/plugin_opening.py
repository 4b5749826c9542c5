"""How long each dock takes to open: in a napari that has just been started, and again.

    xvfb-run -a -s "-screen 0 1600x1100x24" python workflows/benchmarks/plugin_opening.py

Each dock has a process of its own, so that the first time includes importing what it needs; the viewer is open before the clock starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

DOCKS = ("Archive", "Masks", "Pretrain", "Embed", "Explore", "Label", "Probe", "See")


def main() -> None:
    if len(sys.argv) == 2:
        print(*map("{:.0f}".format, opened_ms(sys.argv[1])))
        return
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the start\n\ndock (ms)    first time    again")
    for dock in DOCKS:
        done = subprocess.run([sys.executable, __file__, dock], capture_output=True, text=True, check=True)
        first, again = done.stdout.split()[-2:]
        print(f"{dock:<10}{first:>13}{again:>9}", flush=True)
    print(f"\nload average {os.getloadavg()[0]:.1f} at the end")


def opened_ms(name: str) -> list[float]:
    """Return how long a dock takes to open, twice [ms]."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer(show=True)
    QApplication.processEvents()
    found = []
    for _ in range(2):
        began = time.perf_counter()
        dock, _ = viewer.window.add_plugin_dock_widget("cellvjepa", name)
        QApplication.processEvents()
        found.append(1e3 * (time.perf_counter() - began))
        viewer.window.remove_dock_widget(dock)
        QApplication.processEvents()
    viewer.close()
    return found


if __name__ == "__main__":
    main()
