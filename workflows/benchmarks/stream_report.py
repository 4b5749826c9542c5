"""What the benchmark of the stream found, as tables, and held against the numbers that issue 3 asks for."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

KINDS = ("limit", "stream 1", "stream 2", "zarr", "tensorstore", "dask", "tifffile", "DataLoader 2")
CLIP_BYTES = 16 * 224 * 224 * 2

_PACKAGES = ("numpy", "zarr", "numcodecs", "imagecodecs", "tifffile", "tensorstore", "dask", "torch")
_QUIET = 0.93
_FLAT = 1.05  # the last third of a soak against its first


@dataclass
class Results:
    """Everything that was measured: of each layout and kind, one entry per round."""

    frames: int
    size_px: int
    seconds: float
    rounds: int
    found: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    viscy: dict[str, Any] | None = None
    first: list[dict[str, Any]] = field(default_factory=list)
    soak: dict[str, Any] | None = None

    def add(self, layout: str, kind: str, measured: dict[str, Any]) -> None:
        self.found.setdefault(layout, {}).setdefault(kind, []).append(measured)

    def get(self, layout: str, kind: str, what: str) -> float | None:
        """Return the median over the rounds; None if there is none."""
        values = [one[what] for one in self.found.get(layout, {}).get(kind, ()) if what in one]
        return statistics.median(values) if values else None

    def clips_per_s(self, layout: str, kind: str) -> float | None:
        if kind != "limit":
            return self.get(layout, kind, "clips_per_s")
        decode, crop_s = self.get(layout, kind, "decode_mb_per_s"), self.get(layout, kind, "crop_s")
        amplification = self.get(layout, "stream 1", "amplification")
        if decode is None or crop_s is None or amplification is None:
            return None
        return 1 / (amplification * CLIP_BYTES / (decode * 1e6) + crop_s)


@dataclass(frozen=True)
class Check:
    """One number of the issue."""

    what: str
    wanted: str
    found: float
    passed: bool


def checks_of(results: Results) -> Iterator[Check]:
    """Hold the results against the numbers of issue 3."""
    for layout in results.found:
        limit, one, two = (results.clips_per_s(layout, kind) for kind in ("limit", "stream 1", "stream 2"))
        naive = results.clips_per_s(layout, "zarr")
        amplification = results.get(layout, "stream 1", "amplification")
        if one is None:
            continue
        if layout.startswith("zarr") and limit is not None:
            most = 1.8 if "lz4" in layout or "sharded" in layout else 1.5
            yield Check(f"{layout}: limit / stream", f"<= {most:g}", limit / one, limit / one <= most)
        if layout in ("zarr 16x256x256 zstd", "zarr 1x512x512 zstd") and naive is not None:
            yield Check(f"{layout}: stream / naive zarr-python", ">= 8", one / naive, one / naive >= 8)
        if layout == "tiff contiguous":
            yield Check(f"{layout}: clips/s of one thread", ">= 1,500", one, one >= 1500)
        if two is not None:
            yield Check(f"{layout}: two threads / one", ">= 1.8", two / one, two / one >= 1.8)
        if amplification is not None:
            yield Check(f"{layout}: decoded bytes per used byte", "<= 1", amplification, amplification <= 1)
    warm = [one["first_s"] for one in results.first[1:] if "first_s" in one]
    if warm:
        yield Check("first batch of an archive, warm cache [s]", "< 5", statistics.median(warm), statistics.median(warm) < 5)
    if results.soak is not None and len(results.soak.get("memory_mb", ())) >= 6:
        growth = growth_of(results.soak["memory_mb"])
        yield Check("soak: memory of the last third / of the first", f"<= {_FLAT:g}", growth, growth <= _FLAT)


def growth_of(memory_mb: list[float]) -> float:
    """Return the median of the last third over that of the first, whose first sample is still filling up."""
    third = len(memory_mb) // 3
    return statistics.median(memory_mb[-third:]) / statistics.median(memory_mb[1 : third + 1])


def write_report(results: Results, page: Path) -> str:
    """Put a section on the page, in place of an older one of the same commit, machine and movie; return its text."""
    head = f"## {_commit()}, {_processor()}, movie of {results.frames} x {results.size_px} x {results.size_px}"
    section = "\n".join([head, "", *_machine(results), "", *_tables(results)]) + "\n"
    old = (
        page.read_text()
        if page.is_file()
        else "# Streaming: results of stream.py\n\nHow to read this: `python workflows/benchmarks/stream.py --help`.\n"
    )
    parts = old.split("\n## ")
    kept = [part for part in parts[1:] if part.splitlines()[0] != head.removeprefix("## ")]
    page.write_text("\n## ".join([parts[0], section.removeprefix("## "), *kept]))
    return section


def _tables(results: Results) -> Iterator[str]:
    kinds = [kind for kind in KINDS if any(kind in of_layout for of_layout in results.found.values())]
    yield "16x224x224 clips per second. The limit decodes as much per clip as the stream does; the number after a name counts threads or workers."
    yield ""
    yield from _table(["layout", *kinds], ([layout, *(_number(results.clips_per_s(layout, kind)) for kind in kinds)] for layout in results.found))
    yield "Decoded bytes per used byte, and the raw codec's speed:"
    yield ""
    reading = [kind for kind in kinds if kind not in ("limit", "DataLoader 2", "stream 2")]
    rows = (
        [layout, *(_number(results.get(layout, kind, "amplification")) for kind in reading), _number(_codec_speed(results, layout))]
        for layout in results.found
    )
    yield from _table(["layout", *reading, "codec [MB/s]"], rows)
    yield "Peak memory of the process [MB] (with pages of mapped files; the DataLoader's with its largest worker):"
    yield ""
    yield from _table(["layout", *kinds], ([layout, *(_number(results.get(layout, kind, "peak_mb")) for kind in kinds)] for layout in results.found))
    yield from _others(results)
    yield ""
    rows = ([check.what, check.wanted, _number(check.found), "pass" if check.passed else "**fell short**"] for check in checks_of(results))
    yield from _table(["asked for by issue 3", "wanted", "found", ""], rows)


def _others(results: Results) -> Iterator[str]:
    for layout, kinds in results.found.items():
        for kind, rounds in kinds.items():
            for error in sorted({one["error"] for one in rounds if "error" in one}):
                yield f"- {layout}, {kind}: failed ({error})"
    if results.viscy is None:
        yield "- VisCy: not measured (no --viscy-python)."
    elif "error" in results.viscy:
        yield f"- VisCy: failed ({results.viscy['error']})"
    else:
        frames, clips = results.viscy["frames_per_s"], results.viscy["clips_per_s"]
        yield (
            f"- VisCy {results.viscy['version']}, TripletDataModule, anchor and next frame from 1x512x512 chunks: {frames:,.0f} frames/s, "
            f"as many pixels as {_number(clips)} clips/s; peak {results.viscy['peak_mb']:,.0f} MB"
        )
    for one, cache in zip(results.first, ["cold", *["warm"] * len(results.first)], strict=False):
        if "error" in one:
            yield f"- archive, {cache} cache: failed ({one['error']})"
        else:
            seconds = f"{one['first_s']:.2f} s from the path to the first batch, {one['open_s']:.2f} s of it to open"
            yield f"- archive of {one['movies']:,} movies, {cache} cache: {seconds}; {one['import_s']:.2f} s of imports before"
    if results.soak is not None:
        memory = results.soak.get("memory_mb", [])
        shown = ", ".join(f"{value:,.0f}" for value in memory)
        text = f"{results.soak['clips']:,} clips from all layouts; memory every {results.soak['every_s']:g} s [MB]: {shown}" if memory else "failed"
        yield f"- soak: {text}"


def _codec_speed(results: Results, layout: str) -> float | None:
    speed = results.get(layout, "limit", "decode_mb_per_s")
    return None if speed is None or speed > 1e8 else speed


def _table(head: list[str], rows: Any) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|---|" + "---:|" * (len(head) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _machine(results: Results) -> Iterator[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else float("nan")
    machine = f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; {platform.system()}, Python {platform.python_version()}"
    yield f"{time.strftime('%Y-%m-%d')}. {machine}."
    yield f"{', '.join(_versions())}. Median of {results.rounds} rounds, each measurement {results.seconds:g} s or longer."
    busy = [one["busy"] for kinds in results.found.values() for one in (*kinds.get("limit", ()), *kinds.get("stream 1", ())) if "busy" in one]
    if busy:
        said = "" if statistics.median(busy) > _QUIET else ": neighbours took the rest, so these numbers are **not to be trusted**"
        yield f"One-thread measurements had their core for {statistics.median(busy):.0%} of the time (the worst for {min(busy):.0%}){said}."


def _versions() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return f"commit {git('rev-parse', '--short', 'HEAD') or 'unknown'}{changed}"
