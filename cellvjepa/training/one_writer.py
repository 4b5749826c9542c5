"""One run is trained by one process (or by several that train together): a second one would remove what the first is writing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cellvjepa.errors import UserError
from cellvjepa.writing import writable_folder

_FILE = "in_use.lock"


@contextmanager
def only_writer(run: Path) -> Iterator[None]:
    """Hold a run for this process; it is let go however the process ends. Where a file system knows no locks, nothing is held.

    Raises
    ------
    UserError
        If another process holds it, or its folder cannot be written to.
    """
    lock = FileLock(writable_folder(run / "checkpoints") / _FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError("another process trains this run", "wait for its end, or stop it: put a file named 'stop' into the folder", run) from None
    except (OSError, NotImplementedError):
        pass
    try:
        yield
    finally:
        lock.release()
