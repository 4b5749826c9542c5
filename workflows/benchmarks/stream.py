"""How fast clips come: the stream against its limit and against naive reading, on one noisy movie in eight layouts.

    python workflows/benchmarks/stream.py [--data DIR] [--archive] [--soak-minutes 3] [--viscy-python PATH] [--frames 200 --size 2048]

makes the movie in DIR unless it is there (8 GB at the full size), measures everything in one run, each measurement in a process of
its own, and writes the tables to workflows/benchmarks/stream.md. One-thread measurements are bound to one core, the others to two.
Do nothing else on the machine meanwhile: ratios are taken within the run, but neighbours come and go.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from stream_movie import LAYOUTS, PLAIN, Layout, make_archive, make_recording
from stream_readers import readers_of
from stream_report import Results, write_report

HERE = Path(__file__).parent


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        _run(options, options.data or Path(scratch))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the movies, used again if they are there (default: a temporary one)")
    parser.add_argument("--frames", type=int, default=200, help="of the movie")
    parser.add_argument("--size", type=int, default=2048, help="of the movie [px]")
    parser.add_argument("--seconds", type=float, default=4.0, help="that each measurement takes at least [s]")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind, of which the median is given")
    parser.add_argument("--layouts", nargs="+", choices=[layout.name for layout in LAYOUTS], default=[layout.name for layout in LAYOUTS])
    parser.add_argument("--archive", action="store_true", help="time the first batch of an archive, too")
    parser.add_argument("--archive-movies", type=int, default=1000, help="in that archive")
    parser.add_argument("--soak-minutes", type=float, default=3.0, help="of streaming while memory is watched; 0: none [min]")
    parser.add_argument("--viscy-python", type=Path, help="the Python of an environment with viscy in it")
    parser.add_argument("--out", type=Path, default=HERE / "stream.md", help="the page that the results go to")
    return parser.parse_args()


def _run(options: argparse.Namespace, data: Path) -> None:
    make_recording(data, options.frames, options.size, options.layouts, _tell)
    layouts = [layout for layout in LAYOUTS if layout.name in options.layouts]
    results = Results(options.frames, options.size, options.seconds, options.rounds)
    for number in range(options.rounds):
        for layout in layouts:
            for kind, wanted in _measurements(layout, data, options.seconds):
                _tell(f"round {number + 1}: {layout.name}, {kind}")
                results.add(layout.name, kind, _measured(wanted))
    if options.viscy_python is not None:
        _tell("viscy")
        results.viscy = _viscy(options.viscy_python, data, options.seconds)
    if options.archive:
        folder = data / f"archive_{options.archive_movies}"
        make_archive(folder, options.archive_movies, _tell)
        _tell("first batch")
        wanted = {"kind": "first", "archive": str(folder), "workers": 2, "cores": 2}
        cache = {"CELLVJEPA_CACHE": str(data / f"cache_{os.getpid()}")}
        results.first = [_measured(wanted, cache) for _ in range(1 + options.rounds)]
    if options.soak_minutes > 0:
        _tell(f"soak for {options.soak_minutes:g} minutes")
        wanted = {"kind": "soak", "layouts": options.layouts, "data": str(data), "workers": 2, "cores": 2, "seconds": 60 * options.soak_minutes}
        results.soak = _measured(wanted)
    print(write_report(results, options.out))


def _measurements(layout: Layout, data: Path, seconds: float) -> list[tuple[str, dict[str, Any]]]:
    """Return what is measured on a layout; what is compared with each other stands side by side."""
    place = {"layout": layout.name, "data": str(data), "seconds": seconds}
    naive = readers_of(layout)
    return [
        ("limit", {"kind": "limit", "cores": 1, **place}),
        ("stream 1", {"kind": "stream", "workers": 1, "cores": 1, **place}),
        ("stream 2", {"kind": "stream", "workers": 2, "cores": 2, **place}),
        *((reader, {"kind": "naive", "reader": reader, "cores": 1, **place}) for reader in naive),
        ("DataLoader 2", {"kind": "loader", "reader": naive[0], "cores": 2, **place}),
    ]


def _measured(wanted: dict[str, Any], settings: dict[str, str] | None = None) -> dict[str, Any]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, str(HERE / "stream_measure.py"), json.dumps(wanted)]
    return _last_json(subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads, **(settings or {})}))


def _viscy(python: Path, data: Path, seconds: float) -> dict[str, Any]:
    command = [str(python), str(HERE / "stream_viscy.py"), str(PLAIN.path(data)), str(data / "viscy"), str(seconds)]
    return _last_json(subprocess.run(command, capture_output=True, text=True))


def _last_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        _tell(f"  failed: {reason}")
        return {"error": reason}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
