"""What we say to a user when something is wrong: what was found, where, and what to do about it."""

from __future__ import annotations

import os
import signal


class UserError(ValueError):
    """A mistake in the input that the user can mend; the command line prints it as one line and exits with 2.

    Parameters
    ----------
    what
        What was found, e.g. ``"the file is empty (0 bytes)"``.
    remedy
        What the user can do about it, e.g. ``"copy the file again"``.
    where
        The file, option or field it was found in.
    """

    def __init__(self, what: str, remedy: str, where: str | os.PathLike[str] | None = None) -> None:
        self.what = what
        self.remedy = remedy
        self.where = None if where is None else os.fspath(where)
        super().__init__(str(self))

    def __str__(self) -> str:
        """Return the whole message on one line."""
        place = f"{self.where}: " if self.where else ""
        return " ".join(f"{place}{self.what.rstrip('.')}. {self.remedy.rstrip('.')}.".split())

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str, str | None]]:
        """Pickle by the three parts, so that the error survives a worker process."""
        return type(self), (self.what, self.remedy, self.where)


class Cancelled(Exception):  # noqa: N818 - it is not an error: the user asked for it
    """The user stopped a long piece of work; what was done is kept."""


class Stopped(Cancelled):
    """The system asked for an end, as a cluster does before it needs the machine for others; what was done is kept, to be gone on with.

    Parameters
    ----------
    number
        The signal it asked with.
    when
        Where the work was, e.g. ``"after step 7"``.
    remedy
        How it goes on.
    """

    def __init__(self, number: int, when: str, remedy: str) -> None:
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name} {when}; {remedy}")
