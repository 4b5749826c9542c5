"""Where the network computes, and in which precision."""

from __future__ import annotations

import contextlib
from typing import Literal, TypeAlias

import torch

from cellvjepa.errors import UserError

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name, proven to be there.

    Parameters
    ----------
    name
        ``"auto"`` (CUDA, else MPS, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.

    Raises
    ------
    UserError
        If the name is unknown or the device is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"there is no device named '{name}'", "choose auto, cpu, cuda, cuda:0 or mps", "device")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            found = f"{count} CUDA device(s) found" if count else f"no CUDA device found by PyTorch {torch.__version__}"
            raise UserError(f"the device '{name}' is not available ({found})", "choose auto or cpu", "device")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("the device 'mps' is not available (it needs a Mac with Apple silicon)", "choose auto or cpu", "device")
    return device


def native_bfloat16(device: torch.device) -> bool:
    """Tell whether the device multiplies bfloat16 matrices in hardware, so that it is faster than float32 and not emulated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return any(bool(getattr(torch.cpu, name, bool)()) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return False


def resolve_precision(device: torch.device, precision: Precision) -> Literal["float32", "bfloat16"]:
    """Return what ``"auto"`` means on this device: bfloat16 where it is native, else float32."""
    if precision == "auto":
        return "bfloat16" if native_bfloat16(device) else "float32"
    return precision


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Return a context in which matrix products run in ``precision``; weights and results that need it stay float32.

    Parameters
    ----------
    device
        Where the tensors are.
    precision
        ``"auto"``: bfloat16 where :func:`native_bfloat16`, else float32.
    """
    if resolve_precision(device, precision) == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
