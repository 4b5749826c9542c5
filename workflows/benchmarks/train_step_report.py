"""What the benchmark of the training step found, as tables, and held against the numbers that issue 4 asks for."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from train_step_contenders import PHASES, Setting, needed_gflop
from train_step_waiting import Waiting

from cellvjepa.model.device import resolve_precision

_NAMES = {
    "ours": "cellvjepa",
    "transformers": "transformers.VJEPA2Model, the obvious way",
    "reference": "facebookresearch/vjepa2",
}


@dataclass
class Results:
    """Everything that was measured: of each setting and contender, one entry per round."""

    arguments: list[str]
    steps: int
    rounds: int
    found: dict[Setting, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    waiting: dict[str, Waiting] = field(default_factory=dict)

    def add(self, setting: Setting, name: str, answer: dict[str, Any]) -> None:
        self.found.setdefault(setting, {}).setdefault(name, []).append(answer)

    def get(self, setting: Setting, name: str, what: str) -> float | None:
        """Return the median over the rounds; None if there is none."""
        values = [one[what] for one in self.found[setting].get(name, ()) if what in one]
        return statistics.median(values) if values else None

    def peak_gflops(self, setting: Setting) -> float:
        """Return the best that was seen in any round."""
        return max(one["gflops"] for one in self.found[setting]["peak"])

    def share_of_peak(self, setting: Setting, name: str) -> float | None:
        """Return what the method needs, over what the machine could have computed in that time."""
        seconds = self.get(setting, name, "seconds")
        return None if seconds is None else needed_gflop(setting) / seconds / self.peak_gflops(setting)

    def phase(self, setting: Setting, name: str, phase: str) -> float | None:
        """Return the median share of a step; ``"rest"`` is what no phase accounts for."""
        shares = []
        for one in self.found[setting].get(name, ()):
            spent, whole = one["phases"], one["with_phases"]
            shares.append((whole - sum(spent.values()) if phase == "rest" else spent.get(phase, 0.0)) / whole)
        return statistics.median(shares) if shares else None


@dataclass(frozen=True)
class Check:
    """One number of the issue; ``at_most``, else at least."""

    what: str
    wanted: float
    found: float
    at_most: bool = True

    @property
    def passed(self) -> bool:
        return self.found <= self.wanted if self.at_most else self.found >= self.wanted


def checks_of(results: Results) -> Iterator[Check]:
    """Hold the results against the numbers of issue 4."""
    for setting in results.found:
        seconds = results.get(setting, "ours", "seconds")
        if seconds is None:
            continue
        low = resolve_precision(torch.device(setting.device), setting.precision) == "bfloat16"  # type: ignore[arg-type]
        for name, ratio in (("transformers", 0.7), ("reference", 0.8)):
            theirs = results.get(setting, name, "seconds")
            if theirs is not None and setting.size == "Ti" and low:
                yield Check(f"Ti: step time, ours / {name}", ratio, seconds / theirs)
        share = results.share_of_peak(setting, "ours")
        on_gpu = setting.device.startswith("cuda")
        wanted = {"S": 0.3 if on_gpu else 0.5, "B": 0.4 if on_gpu else None}.get(setting.size)
        if share is not None and wanted is not None and low:
            yield Check(f"{setting.size}: share of the measured GEMM peak", wanted, share, at_most=False)
        beside = [results.phase(setting, "ours", phase) or 0.0 for phase in ("optimiser", "EMA")]
        yield Check(f"{setting.size}: EMA and optimiser, share of a step", 0.03, sum(beside))
    for preset, waited in results.waiting.items():
        yield Check(f"{preset}: waiting for data, share of the time", 0.02, waited.share)


def write_report(results: Results, out: Path) -> None:
    """Put the results in front of the page, below its head; results of earlier runs stay."""
    head = "# The training step: results of train_step.py\n\nHow to read this: `python workflows/benchmarks/train_step.py --help`.\n"
    before = out.read_text(encoding="utf-8") if out.exists() else head
    start = before.find("\n## ")
    old = before[start:] if start >= 0 else "\n"
    out.write_text(head + "\n" + "\n".join(_lines(results)).rstrip() + "\n" + old, encoding="utf-8")


def _lines(results: Results) -> Iterator[str]:
    setting = next(iter(results.found))
    yield f"## commit {_commit()}, {_machine(setting)}"
    yield ""
    yield f"{time.strftime('%Y-%m-%d')}. `train_step.py {' '.join(results.arguments)}`. {os.cpu_count()} cores, {torch.get_num_threads()} threads."
    yield f"torch {version('torch')}, transformers {version('transformers')}, Python {platform.python_version()}, {platform.system()}."
    yield f"Median of {results.rounds} rounds of {results.steps} steps, contenders taking turns. Batch {setting.batch}, masks: {setting.masks}."
    yield "transformers encodes the whole clip for the context, because its mask comes after the encoder. Share of peak: what the method"
    yield "needs to compute (products of matrices, nothing twice), over what the machine multiplies in that time."
    yield ""
    yield "| size | contender | weights | step [s] | clips/s | ours / it | processor time [s] | share of peak | peak memory [MB] |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    for one in results.found:
        yield from _of_contenders(results, one)
    yield ""
    yield f"| size | contender | {' | '.join(PHASES)} | rest |"
    yield "|---|---|" + "---:|" * (len(PHASES) + 1)
    for one in results.found:
        for name in _present(results, one):
            shares = [results.phase(one, name, phase) or 0.0 for phase in (*PHASES, "rest")]
            yield f"| {one.size} | {_NAMES[name]} | " + " | ".join(f"{share:.1%}" for share in shares) + " |"
    if not any("reference" in contenders for contenders in results.found.values()):
        yield ""
        yield "The public step of V-JEPA 2 was not measured: no checkout was given (--reference), or it lacks something (it needs einops)."
    for preset, waited in results.waiting.items():
        yield ""
        yield f"Stream into `{preset}`: {waited.clips_per_s:.4g} clips/s, waiting for data {waited.share:.2%} of the time ({waited.lines} lines)."
    yield ""
    yield "| asked for by issue 4 | wanted | found |  |"
    yield "|---|---:|---:|---:|"
    for check in checks_of(results):
        sign = "<=" if check.at_most else ">="
        yield f"| {check.what} | {sign} {check.wanted:g} | {check.found:.3g} | {'pass' if check.passed else '**fell short**'} |"


def _of_contenders(results: Results, setting: Setting) -> Iterator[str]:
    mine = results.get(setting, "ours", "seconds")
    for name in _present(results, setting):
        seconds, share = results.get(setting, name, "seconds"), results.share_of_peak(setting, name)
        memory, trained = results.get(setting, name, "memory_mb"), results.get(setting, name, "trained")
        busy = results.get(setting, name, "cpu_seconds")  # of all threads: on a machine that others use, the steadier number
        assert seconds is not None
        ratio = "" if mine is None or name == "ours" else f"{mine / seconds:.3g}"
        numbers = f"{trained:,.0f} | {seconds:.3g} | {setting.batch / seconds:.3g} | {ratio} | {busy:.3g} | {share:.1%} | {memory:,.0f}"
        yield f"| {setting.size} | {_NAMES[name]} | {numbers} |"
    yield f"| {setting.size} | large products of matrices |  |  |  |  |  | {results.peak_gflops(setting):,.0f} GFLOP/s |  |"


def _present(results: Results, setting: Setting) -> list[str]:
    return [name for name in _NAMES if name in results.found[setting]]


def _commit() -> str:
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty= with changes"], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def _machine(setting: Setting) -> str:
    if setting.device.startswith("cuda"):
        return str(torch.cuda.get_device_name(setting.device))
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()
