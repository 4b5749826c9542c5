"""Memory that batches are made in, used again and again, page-locked where a GPU will fetch it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


class Buffer:
    """A piece of memory, and what must have happened before it may be written to again."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._array = np.empty(0, dtype)
        self._copied: Callable[[], None] | None = None

    def of_length(self, length: int) -> npt.NDArray[Any]:
        """Return a 1-d array of so many values of any content, once what was in it has been copied."""
        if self._copied is not None:
            self._copied()
            self._copied = None
        if len(self._array) < length:
            self._array = _locked(length, self._dtype)
        return self._array[:length]

    def busy_until(self, copied: Callable[[], None]) -> None:
        """Keep what is in it until ``copied`` returns."""
        self._copied = copied


class Buffers:
    """Buffers that nobody uses at present; taking and giving back is safe from several threads."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._free: list[Buffer] = []
        self._lock = threading.Lock()

    def take(self) -> Buffer:
        """Return a free buffer, or a new one."""
        with self._lock:
            return self._free.pop() if self._free else Buffer(self._dtype)

    def give_back(self, buffer: Buffer) -> None:
        """Let a buffer be used again."""
        with self._lock:
            self._free.append(buffer)


def _locked(length: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    # Heavy, and imported already by whoever has a GPU to feed.
    import torch

    if not torch.cuda.is_available():
        return np.empty(length, dtype)
    array: npt.NDArray[Any] = torch.empty(length * dtype.itemsize, dtype=torch.uint8, pin_memory=True).numpy().view(dtype)
    return array
