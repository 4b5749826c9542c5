"""Memory that batches are made in, used again and again, page-locked where a GPU will fetch it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


class Buffer:
    """A piece of memory, and what must have happened before it may be written to again."""

    def __init__(self, dtype: np.dtype[Any], *, for_gpu: bool = False) -> None:
        self._dtype, self._for_gpu = dtype, for_gpu
        self._array = np.empty(0, dtype)
        self._copied: Callable[[], None] | None = None

    def of_length(self, length: int) -> npt.NDArray[Any]:
        """Return a 1-d array of so many values of any content, once what was in it has been copied."""
        if self._copied is not None:
            self._copied()
            self._copied = None
        if len(self._array) < length:
            self._array = np.empty(0, self._dtype)  # the old one goes before the new one comes
            self._array = _page_locked(length, self._dtype) if self._for_gpu else np.empty(length, self._dtype)
        return self._array[:length]

    def busy_until(self, copied: Callable[[], None]) -> None:
        """Keep what is in it until ``copied`` returns."""
        self._copied = copied


class Buffers:
    """Buffers that nobody uses at present; taking and giving back is safe from several threads, and from a finaliser.

    Parameters
    ----------
    dtype
        Of what is in them.
    for_gpu
        Whether a GPU will fetch it, if there is one.
    """

    def __init__(self, dtype: np.dtype[Any], *, for_gpu: bool = False) -> None:
        self._dtype, self._for_gpu = dtype, for_gpu
        self._free: deque[Buffer] = deque()  # its ends need no lock

    def take(self) -> Buffer:
        """Return a free buffer, or a new one."""
        try:
            return self._free.pop()
        except IndexError:
            return Buffer(self._dtype, for_gpu=self._for_gpu)

    def give_back(self, buffer: Buffer) -> None:
        """Let a buffer be used again."""
        self._free.append(buffer)


def _page_locked(length: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    # Heavy, and imported already by whoever has a GPU to feed.
    import torch

    if not torch.cuda.is_available():
        return np.empty(length, dtype)
    array: npt.NDArray[Any] = torch.empty(length * dtype.itemsize, dtype=torch.uint8, pin_memory=True).numpy().view(dtype)
    return array
