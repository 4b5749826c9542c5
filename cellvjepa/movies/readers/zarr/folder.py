"""A folder of a Zarr store, wherever it lies: what is read of it, and that nothing leads out of it."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cellvjepa.errors import UserError

LARGEST_METADATA_BYTES = 2**26
METADATA_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR)
_LONGEST_NAME = 255  # of one folder, as file systems have it
_MOST_ENTRIES = 100_000  # of folders, to count the files in them
# A pipe that is called zarr.json must not be waited for.
_WITHOUT_WAITING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class AccessDeniedError(UserError):
    """What is asked for may not be read; a public bucket answers so for what is not there, too."""


class ZarrFolder(Protocol):
    """A folder that may be a group or an array.

    Attributes
    ----------
    address
        What opens it again: its path, or its remote address.
    name
        The last part of the address.
    """

    @property
    def address(self) -> str: ...  # noqa: D102

    @property
    def name(self) -> str: ...  # noqa: D102

    def read(self, name: str) -> bytes | None:
        """Return the content of a file in it, or None where there is none.

        Raises
        ------
        UserError
            If it cannot be read, or is larger than metadata are.
        """

    def child(self, inner: str) -> ZarrFolder:
        """Return a folder below it, by the path that metadata give.

        Raises
        ------
        UserError
            If the path leads out of this folder.
        """

    def parent(self) -> ZarrFolder | None:
        """Return the folder it lies in, if there is one."""

    def children(self) -> list[str] | None:
        """Return the names of the folders in it, in no order; None where they cannot be listed, as over plain HTTP.

        Raises
        ------
        UserError
            If it cannot be read.
        """

    def count_files(self, most: int) -> int | None:
        """Count the files below it that are no metadata, up to a number; None where they cannot be counted."""

    def store(self) -> tuple[Any, str]:
        """Return what zarr opens: a store, and the path within it."""


@dataclass(frozen=True)
class LocalFolder:
    """A folder of a file system, as :class:`ZarrFolder`."""

    path: Path

    @property
    def address(self) -> str:
        """Return its path."""
        return str(self.path)

    @property
    def name(self) -> str:
        """Return its own name."""
        return self.path.name

    def read(self, name: str) -> bytes | None:
        """Return the content of a file in it, or None where there is none."""
        place = os.path.join(self.path, name)  # noqa: PTH118 - called for every node of an archive
        try:
            descriptor = os.open(place, _WITHOUT_WAITING)
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    return None
                refuse_large(found.st_size, place)
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    return file.read(found.st_size)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            remedy = "ask for the right to read it, or copy the store again"
            raise UserError(f"the metadata cannot be read ({error.strerror})", remedy, printable(place)) from error

    def child(self, inner: str) -> LocalFolder:
        """Return a folder below it; a link may not lead out either."""
        path, linked = self.path, False
        for part in parts_within(inner, self.address):
            path = path / part
            linked = linked or os.path.islink(path)  # noqa: PTH114 - a Path raises where it cannot look
        if linked and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.path)):
            raise _leads_out(inner, self.address)
        return LocalFolder(path)

    def parent(self) -> LocalFolder | None:
        """Return the folder it lies in."""
        return None if self.path.parent == self.path else LocalFolder(self.path.parent)

    def children(self) -> list[str]:
        """Return the names of the folders in it that are no links: those may lead round in circles."""
        try:
            with os.scandir(self.path) as entries:
                return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError as error:
            raise UserError(f"the folder cannot be read ({error.strerror})", "ask for the right to read it", printable(self.address)) from error

    def count_files(self, most: int) -> int:
        """Count the files below it that are no metadata, without looking at more entries than it takes."""
        count, looked_at, to_visit = 0, 0, [os.fspath(self.path)]
        while to_visit:
            try:
                with os.scandir(to_visit.pop()) as entries:
                    for entry in entries:
                        looked_at += 1
                        if entry.is_dir(follow_symlinks=False):
                            to_visit.append(entry.path)
                        else:
                            count += entry.name not in METADATA_FILES
                        if count >= most or looked_at >= _MOST_ENTRIES:
                            return count
            except OSError:
                continue  # reading the pixels in it will say what is wrong
        return count

    def store(self) -> tuple[str, str]:
        """Return what zarr opens."""
        return self.address, ""


def parts_within(inner: str, where: str) -> list[str]:
    """Split the path that metadata give for something below a folder.

    Raises
    ------
    UserError
        If it leads out of the folder, or is no path.
    """
    parts = [part for part in inner.split("/") if part not in ("", ".")]
    if not parts or inner.startswith("/") or ".." in parts or "\\" in inner or Path(inner).is_absolute():
        raise _leads_out(inner, where)
    if "\0" in inner or printable(inner) != inner or max(map(len, parts)) > _LONGEST_NAME:
        raise UserError(f"the metadata names {printable(inner)!r:.80}, which is no path", "copy the store again", where)
    return parts


def printable(text: str) -> str:
    """Return a name that can be shown and written: bytes that are no UTF-8 stand as escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape" if _from_bytes(text) else "backslashreplace").decode("utf-8", "backslashreplace")
    return text


def _from_bytes(text: str) -> bool:
    return all(not "\ud800" <= character <= "\udfff" or "\udc80" <= character <= "\udcff" for character in text)


def refuse_large(found_bytes: int, where: str) -> None:
    """Refuse metadata that are absurdly large.

    Raises
    ------
    UserError
        If they are.
    """
    if found_bytes > LARGEST_METADATA_BYTES:
        raise UserError("the metadata is absurdly large", "write it again with a current OME-Zarr writer", where)


def _leads_out(inner: str, where: str) -> UserError:
    what = f"the metadata points out of the image, to {printable(inner):.80}"
    return UserError(what, "do not use this store: it may have been tampered with", where)
