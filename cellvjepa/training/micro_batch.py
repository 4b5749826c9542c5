"""How many clips go through the network at once: as many as fit the memory, up to the recipe's batch.

The batch of the recipe is cut into equal parts whose gradients are added up. What is a mean over clips (the error) stays what it is,
to rounding; what is a statistic of clips (the variance-covariance term, SIGReg) sees a part only, so the number of parts is a part
of the recipe, and is said where a run says what it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

_SHARE = 0.8  # of the free memory: fragments, kernels' workspace, whatever else wants some
_OVERHEAD = 1.5  # on CPUs: what is there only for a moment, relative to what is kept for the backward pass
_UNKNOWN_BYTES = 2 * 2**30  # where a system does not tell how much memory is free
_GROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_SENTENCES = ("out of memory", "not enough memory", "can't allocate memory")  # CUDA and MPS; the CPU's on Windows; the CPU's elsewhere


def parts_of(batch: int, at_most: int) -> int:
    """Return the fewest equal parts of a batch none of which is larger than ``at_most`` clips (but 1 clip at least)."""
    return next(parts for parts in range(1, batch + 1) if batch % parts == 0 and batch // parts <= max(1, at_most))


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a computation failed because there was too little memory, of whichever kind."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sentence in str(error) for sentence in _SENTENCES)


def clips_that_fit(run: Callable[[int], None], batch: int, trained_bytes: int, device: torch.device) -> int:
    """Return how many clips at once should fit the memory, 1 or more; measured on one or two of them.

    Parameters
    ----------
    run
        Computes the loss of so many clips, forward only where the device is no GPU, else there and back.
    batch
        Clips that are wanted.
    trained_bytes
        Size of gradients and of what the optimiser keeps, where neither is there yet.
    device
        Where it is computed.
    """
    measure = partial(_peak_bytes, run, device) if device.type == "cuda" else partial(_passing_bytes, run)
    more = min(batch, 2) - 1
    # What one more clip takes: what is there for the weights' sake, whatever the batch, is left out.
    per_clip = measure(1 + more) - measure(1) if more else measure(1)
    free = free_bytes(device) - trained_bytes
    return max(1, min(batch, int(_SHARE * free / max(per_clip, 1))))


def kept_bytes(run: Callable[[], None]) -> int:
    """Return the bytes that a computation keeps for its backward pass, each storage counted once."""
    kept: dict[int, int] = {}
    held: list[torch.Tensor] = []  # until the end, so that no address is given away twice

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        held.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        run()
    return sum(kept.values())


def free_bytes(device: torch.device) -> int:
    """Return the memory that can still be had on a device; on a CPU this process's share of what could be freed without swapping.

    Of a container, or a job of a cluster, what its limit leaves; several processes on one machine (torchrun) have equal shares.
    """
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reserved
    limits = [left for left in (_free_of_system(), _free_of_group()) if left is not None]
    return min(limits, default=_UNKNOWN_BYTES) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _free_of_system() -> int | None:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines())
        if "MemAvailable" in fields:
            return int(fields["MemAvailable"].split()[0]) * 1024
    names: dict[str, int] = getattr(os, "sysconf_names", {})  # there is none on Windows
    if {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= names.keys():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return None


def _free_of_group(root: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int | None:
    """Return what the limits of the control groups that a process is in leave it (Linux; version 2 and 1); None where there are none."""
    if not membership.is_file():
        return None
    left: list[int] = []
    for line in membership.read_text(encoding="utf-8").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = top / path.lstrip("/")
        # In a container the path may be that of the machine outside, which is not seen here: then the top is its own group.
        left += [free for group in (folder, *folder.parents) if group.is_relative_to(top) and (free := _left_of_group(group, *names)) is not None]
    return min(left, default=None)


def _left_of_group(group: Path, limit: str, used: str, cache: str) -> int | None:
    try:
        most, now = (group / limit).read_text(encoding="ascii").strip(), int((group / used).read_text(encoding="ascii"))
        fields = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return None
    return max(0, int(most) - now + int(fields.get(cache, 0))) if most.isdigit() else None  # files that were read can be forgotten


def _passing_bytes(run: Callable[[int], None], count: int) -> float:
    return _OVERHEAD * kept_bytes(lambda: run(count))


def _peak_bytes(run: Callable[[int], None], device: torch.device, count: int) -> float:
    run(count)  # libraries take their workspace at the first call
    torch.cuda.reset_peak_memory_stats(device)
    run(count)
    return float(torch.cuda.max_memory_allocated(device))
