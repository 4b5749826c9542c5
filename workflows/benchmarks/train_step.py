"""How long a training step takes: ours, transformers' VJEPA2Model trained the obvious way, and the public step of V-JEPA 2.

    python workflows/benchmarks/train_step.py [--sizes Ti S B] [--batch 2] [--device cpu] [--reference VJEPA2_CHECKOUT] [--movies ARCHIVE]

All train the same network (16 x 224 x 224 px, one channel, tubelets of 2 x 16 x 16) on the same clips and masks. Each contender lives
in a process of its own; they take turns, a few steps at a time, so that whatever else the machine does hits all alike; medians are
given. In the same run the machine multiplies large matrices, which is its peak. With --movies the stream of a real archive feeds
our step, and what is waited for is measured. The tables go to workflows/benchmarks/train_step.md.
Do nothing else on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from train_step_contenders import SIZES, Contender, Setting, ours, reference, transformers
from train_step_report import Results, write_report
from train_step_waiting import waiting

HERE = Path(__file__).parent


def main() -> None:
    options = _options()
    if options.child:
        _serve(options.child, Setting(**json.loads(options.setting)), options.reference)
        return
    results = Results(sys.argv[1:], options.steps, options.rounds)
    for size in options.sizes:
        setting = Setting(size, options.batch, options.precision, options.device, options.masks)
        _compare(setting, options, results)
    if options.movies is not None:
        for preset in options.presets:
            print(f"stream of {options.movies} into {preset}", flush=True)
            results.waiting[preset] = waiting(options.movies, preset, options.device, options.wait_seconds)
    write_report(results, options.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["Ti", "S"], help="of the network")
    parser.add_argument("--batch", type=int, default=2, help="clips of a step")
    parser.add_argument("--steps", type=int, default=2, help="that a contender takes at its turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender, of which the median is given")
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--masks", choices=["published", "recipe"], default="published", help="V-JEPA's, or those of the default recipe")
    parser.add_argument("--reference", type=Path, help="a checkout of facebookresearch/vjepa2")
    parser.add_argument("--movies", type=Path, help="an archive whose stream feeds our step")
    parser.add_argument("--presets", nargs="+", default=["tiny"], help="configurations that the stream feeds")
    parser.add_argument("--wait-seconds", type=float, default=60.0, help="of streaming [s]")
    parser.add_argument("--out", type=Path, default=HERE / "train_step.md", help="the page that the results go to")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--setting", help=argparse.SUPPRESS)
    return parser.parse_args()


def _compare(setting: Setting, options: argparse.Namespace, results: Results) -> None:
    names = ["ours", "transformers", *(["reference"] if options.reference else []), "peak"]
    children = {name: _start(name, setting, options.reference) for name in names}
    for round_number in range(options.rounds):
        for name, child in list(children.items()):
            answer = _ask(child, options.steps)
            if answer is None:
                print(f"{setting.size}: {name} gave up (see above)", flush=True)
                del children[name]
                continue
            print(f"{setting.size}: round {round_number + 1}: {name}: {answer['seconds']:.3g} s", flush=True)
            results.add(setting, name, answer)
    for child in children.values():
        child.communicate()


def _start(name: str, setting: Setting, checkout: Path | None) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).resolve()), "--child", name, "--setting", json.dumps(asdict(setting))]
    command += ["--reference", str(checkout)] if checkout else []
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(child: subprocess.Popen[str], steps: int) -> dict[str, Any] | None:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(f"{steps}\n")
        child.stdin.flush()
    except BrokenPipeError:
        return None
    for line in child.stdout:
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    return None


def _serve(name: str, setting: Setting, checkout: Path | None) -> None:
    """Take steps whenever the parent asks for some."""
    device = torch.device(setting.device)
    contender = None if name == "peak" else _contender(name, setting, checkout)
    if contender is not None:
        contender.step(setting.examples(0))  # compiles, warms up, takes its memory
    taken = 0
    for line in sys.stdin:
        answer = _peak(setting, device) if contender is None else _turn(contender, setting, device, int(line), taken)
        taken += int(line)
        print(json.dumps(answer), flush=True)


def _contender(name: str, setting: Setting, checkout: Path | None) -> Contender:
    if name == "reference":
        assert checkout is not None
        return reference(setting, checkout)
    return {"ours": ours, "transformers": transformers}[name](setting)


def _turn(contender: Contender, setting: Setting, device: torch.device, steps: int, taken: int) -> dict[str, Any]:
    """Return seconds per step, first in one go, then with the phases timed (which on a GPU is slower)."""
    batches = [setting.examples(taken + number + 1) for number in range(steps)]
    cpu_began = time.process_time()
    seconds = _timed(lambda: [contender.step(examples) for examples in batches], device) / steps
    cpu_seconds = (time.process_time() - cpu_began) / steps
    contender.clock.spent_s, contender.clock.on = {}, True
    whole = _timed(lambda: contender.step(batches[0]), device)
    contender.clock.on = False
    memory = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident_bytes()
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "phases": contender.clock.spent_s,
        "with_phases": whole,
        "memory_mb": memory / 1e6,
        "trained": contender.trained,
    }


def _peak(setting: Setting, device: torch.device, seconds: float = 2.0) -> dict[str, Any]:
    """Return the best GFLOP/s of large matrix products in the precision of the step."""
    from cellvjepa.model.device import resolve_precision

    low = resolve_precision(device, setting.precision) == "bfloat16"  # type: ignore[arg-type]
    best, began = 0.0, time.perf_counter()
    for size in (2048, 4096) if device.type == "cpu" else (4096, 8192):
        a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16 if low else torch.float32) for _ in range(2))
        torch.matmul(a, b)
        until = time.perf_counter() + seconds / 2
        while time.perf_counter() < until:
            best = max(best, 2e-9 * size**3 / _timed(lambda a=a, b=b: torch.matmul(a, b), device))
    return {"seconds": time.perf_counter() - began, "gflops": best}


def _timed(run: Any, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _resident_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
