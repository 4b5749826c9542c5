"""One conversion at a time in one place: two that write the same files would spoil them for each other."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from cellvjepa.errors import UserError


@contextlib.contextmanager
def only_one(partial: Path, lock: Path) -> Iterator[None]:
    """Hold a file while working; the system lets go of it when the process ends, however it ends.

    Where locks are not known (Windows, some file servers) nothing is held.

    Parameters
    ----------
    partial
        The unfinished conversion, for the message.
    lock
        The file to hold.

    Raises
    ------
    UserError
        If another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                raise UserError("this is being written by another process", "wait until it has finished, or stop it", partial) from error
        yield
