"""What reading runs into in a long run: damaged pieces, which are left out, and shares that go away, which are waited for."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cellvjepa.errors import Cancelled, UserError

_Read = TypeVar("_Read")

_LOG = logging.getLogger(__name__)
_NETWORK = (
    "ESTALE",
    "ETIMEDOUT",
    "EHOSTDOWN",
    "EHOSTUNREACH",
    "ENETDOWN",
    "ENETUNREACH",
    "ENOTCONN",
    "ECONNRESET",
    "ECONNREFUSED",
    "ENODEV",
    "ENXIO",
)
_AWAY = {getattr(errno, name) for name in _NETWORK if hasattr(errno, name)}  # not every system has them all
_FIRST_WAIT_S = 1.0
_DISK_ERROR_S = 15.0  # a share says so for a moment, a bad disk for ever
_MOST_NAMED = 20  # damaged places that are named; more are counted only


@dataclass(frozen=True)
class Patience:
    """How long to wait for a share that has gone away.

    Parameters
    ----------
    in_all_s
        Longest time in all [s]; then the run stops with what was found.
    between_s
        Longest time between two tries [s]; the first comes after a second, each later one after twice the time before.
    """

    in_all_s: float = 600.0
    between_s: float = 30.0


class Trouble:
    """What went wrong in a stream so far; safe from several threads.

    Attributes
    ----------
    damaged
        How many pieces could not be read and were left out.
    """

    def __init__(self, patience: Patience) -> None:
        self.damaged = 0
        self._patience = patience
        self._named: set[str] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def note(self, error: UserError) -> UserError:
        """Count a damaged piece, warn of each place once, and return the error."""
        with self._lock:
            self.damaged += 1
            text = str(error)
            new = text not in self._named
            self._named.add(text)
            count = len(self._named)
        if new and count <= _MOST_NAMED:
            _LOG.warning("left out: %s", text)
            if count == _MOST_NAMED:
                _LOG.warning("more damage is counted (damaged_blocks in metrics.jsonl) but no longer named")
        return error

    def ride_out(self, read: Callable[[], _Read]) -> _Read:
        """Read; while the place is away, wait and read again.

        Raises
        ------
        UserError
            What reading raised if it is damage.
        GoneError
            If the place was away for too long.
        Cancelled
            If waiting was stopped.
        """
        began, wait_s, said = time.monotonic(), _FIRST_WAIT_S, False
        while True:
            try:
                return read()
            except UserError as error:
                if not _is_away(error):
                    raise
                waited_s = time.monotonic() - began
                if _is_disk_error(error) and waited_s > _DISK_ERROR_S:
                    raise
                if waited_s + wait_s > self._patience.in_all_s:
                    raise GoneError(
                        f"the place has been away for {waited_s:.0f} s ({error.what})", "bring it back and resume", error.where
                    ) from error
                if not said:
                    _LOG.warning("waiting for it to come back: %s", error)
                    said = True
            if self._stopped.wait(wait_s):
                raise Cancelled("the stream was closed")
            wait_s = min(2 * wait_s, self._patience.between_s)

    def stop_waiting(self) -> None:
        """End all waiting, for good."""
        self._stopped.set()


class GoneError(UserError):
    """A place that did not come back."""


def _is_away(error: UserError) -> bool:
    """Whether the place cannot be reached at present, rather than what is there be damaged."""
    if any(isinstance(cause, ConnectionError | TimeoutError) or cause.errno in _AWAY for cause in _os_errors(error)) or _is_disk_error(error):
        return True
    if error.where is None or "://" in error.where:
        return False
    folder = Path(error.where).parent
    # A file that is missing among others was deleted; whoever unmounts a share leaves an empty folder behind, or none.
    return not Path(error.where).exists() and (not folder.is_dir() or not any(folder.iterdir()))


def _is_disk_error(error: UserError) -> bool:
    """Whether it says "input/output error": a share that is being mounted again says so, and a disk with a bad place."""
    return any(cause.errno == errno.EIO for cause in _os_errors(error))


def _os_errors(error: UserError) -> list[OSError]:
    found, cause = [], error.__cause__
    while cause is not None:
        if isinstance(cause, OSError):
            found.append(cause)
        cause = cause.__cause__
    return found
