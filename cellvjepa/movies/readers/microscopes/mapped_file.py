"""Files mapped into memory, without the crash that mapping means where a disk fails or a share goes away."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

_POPULATE_READ = 22  # madvise(2): fetch these pages now, and say so if that fails, where touching them would end the process


def _madvise() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    # mmap.madvise would keep all other threads waiting for the disk.
    function = ctypes.CDLL(None, use_errno=True).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


_MADVISE = _madvise()


class MappedFile:
    """The bytes of a file.

    Where the system can fetch mapped pages in advance (Linux from 5.14 on) they are views, else they are read. Use it as a context
    manager; the file is closed when no view of it is left either.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._bytes: npt.NDArray[np.uint8] | None = None
        if _MADVISE is not None:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - opened for every read
                try:
                    self._bytes = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
                except (OSError, ValueError):  # not every file system can map, and nothing is in an empty file
                    return
            self._address = self._bytes.ctypes.data

    def __enter__(self) -> Self:
        """Return the file."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of the mapping."""
        self._bytes = None

    def part(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return a part of the file, fetched.

        Parameters
        ----------
        start, stop
            From where to where [byte].

        Raises
        ------
        OSError
            If the disk or share does not give it.
        ValueError
            If the file ends before.
        """
        if self._bytes is None or not self._fetch(start, stop):
            return self._read(start, stop)
        return self._bytes[start:stop]

    def scattered(self, start: int, step: int, length: int, number: int) -> npt.NDArray[np.uint8]:
        """Return the bytes from the first of several equally spaced parts to the end of the last; only these parts are sure to be fetched."""
        if step <= 8 * mmap.PAGESIZE or length > step // 2:  # disks give neighbours along
            return self.part(start, start + (number - 1) * step + length)
        for index in range(number):
            if self._bytes is None or not self._fetch(start + index * step, start + index * step + length):
                return self._read(start, start + (number - 1) * step + length)
        assert self._bytes is not None
        return self._bytes[start : start + (number - 1) * step + length]

    def _fetch(self, start: int, stop: int) -> bool:
        """Fetch pages; False where the system cannot."""
        assert self._bytes is not None
        if stop > self._bytes.size:
            raise _too_short(stop, self._bytes.size)
        aligned = start - start % mmap.PAGESIZE
        while _MADVISE(self._address + aligned, stop - aligned, _POPULATE_READ):
            code = ctypes.get_errno()
            if code == errno.EINVAL:
                self._bytes = None
                return False
            if code == errno.EFAULT:  # the page cannot be had
                size = os.stat(self._path).st_size  # noqa: PTH116
                if stop > size:
                    raise _too_short(stop, size)
                code = errno.EIO
            if code not in (errno.EINTR, errno.EAGAIN):
                raise OSError(code, os.strerror(code), self._path)
        return True

    def _read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        with open(self._path, "rb", buffering=0) as file:  # noqa: PTH123
            size = file.seek(0, os.SEEK_END)
            if stop > size:
                raise _too_short(stop, size)
            out = np.empty(stop - start, np.uint8)
            file.seek(start)
            filled = 0
            while filled < out.size:
                more = file.readinto(out[filled:].data)
                if not more:
                    raise _too_short(stop, start + filled)
                filled += more
        return out


def _too_short(stop: int, size: int) -> ValueError:
    return ValueError(f"it should go on to byte {stop:,}, but ends at {size:,}")
