"""Writing files so that nothing is ever half there: first beside the place, then moved into it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cellvjepa.errors import UserError

_REMEDIES = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another output folder"),
    errno.EDQUOT: ("your disk quota is used up", "free some space or choose another output folder"),
    errno.EROFS: ("the file system is read-only", "choose an output folder that you may write to"),
    errno.EACCES: ("writing is not permitted", "choose an output folder that you may write to"),
    errno.EPERM: ("writing is not permitted", "choose an output folder that you may write to"),
    errno.EFBIG: ("the file would become larger than the disk or a limit allows", "choose an output folder on another disk"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another output folder"),
}


@contextlib.contextmanager
def readable_write_errors(where: str | os.PathLike[str]) -> Iterator[None]:
    """Turn a full disk, a read-only folder and their kin into a :class:`UserError` that names ``where``."""
    try:
        yield
    except Exception as error:
        number = _system_error(error)
        if number not in _REMEDIES:
            raise
        named = getattr(error, "filename", None)  # may be the number of an open file
        place = named if named and isinstance(named, str) else where
        what, remedy = _REMEDIES[number]
        if number in (errno.EACCES, errno.EPERM) and _is_unreadable(place):
            what, remedy = "reading is not permitted", "ask for the right to read it"
        raise UserError(what, remedy, place) from error


def _is_unreadable(place: str | os.PathLike[str]) -> bool:
    """Tell whether something is there that may not be read; what lies in a folder that may not be entered is not known to be there."""
    return os.path.exists(place) and not os.access(place, os.R_OK)  # noqa: PTH110 - that of Path raises


def _system_error(error: Exception) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    # safetensors tells what the system said in its text only: "... No space left on device (os error 28)".
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else None


def writable_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder (and its parents) and prove that a file can be written there.

    Raises
    ------
    UserError
        If the folder cannot be made or written to.
    """
    folder = Path(path)
    with readable_write_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise UserError("this is a file, not a folder", "choose another output folder", folder) from None
        with tempfile.TemporaryFile(dir=folder):
            pass
    return folder


def bring_to_disk(path: str | os.PathLike[str]) -> None:
    """Wait until a file is on the disk itself: a power cut must not leave a name without its contents."""
    with Path(path).open("r+b") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def only_one(lock: Path, what: str, remedy: str, where: Path) -> Iterator[None]:
    """Hold a file while working; the system lets go of it when the process ends, however it ends.

    Where locks are not known (Windows, some file servers) nothing is held.

    Parameters
    ----------
    lock
        The file to hold.
    what, remedy, where
        What is said if another process holds it.

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
                raise UserError(what, remedy, where) from error
        yield


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside ``path`` to write a file or folder to; it takes the place of ``path`` only on success.

    Raises
    ------
    UserError
        If the disk is full or the place cannot be written to; ``path`` is then as it was before.
    """
    final = Path(path)
    with readable_write_errors(final):
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise UserError("this is a file, not a folder", "choose another output folder", final.parent) from None
        scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
        try:
            part = scratch / final.name
            yield part
            _as_others_are(part)
            _replace(part, final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def remove_leftovers(folder: Path, names: str) -> None:
    """Remove what :func:`atomic_path` was writing to when its process was killed.

    Nobody else must be writing these files at the moment.

    Parameters
    ----------
    folder
        Where the files are, or in folders below.
    names
        Pattern of their names, e.g. ``"step_*"``.
    """
    for path in list(folder.rglob(f".{names}.*")):
        if path.is_dir() and re.fullmatch(r"[a-z0-9_]{8}", path.name.rpartition(".")[2]):  # as tempfile names them
            shutil.rmtree(path, ignore_errors=True)


def _as_others_are(part: Path) -> None:
    """Give a file the permissions of any new file here: some libraries write files that nobody else of the lab could read."""
    if part.is_file():
        any_file = part.with_name(f"{part.name}.any")
        any_file.touch()
        part.chmod(any_file.stat().st_mode & 0o777)


def _replace(part: Path, final: Path) -> None:
    if not (part.is_dir() and final.exists()):
        os.replace(part, final)
        return
    # A folder cannot be replaced in one step: the old one steps aside into the scratch folder first.
    aside = part.with_name(f"{part.name}.old")
    try:
        os.replace(final, aside)
        os.replace(part, final)
    except BaseException:  # Ctrl-C in between, too: the scratch folder is about to be removed, and the old one with it
        if aside.exists() and not final.exists():
            os.replace(aside, final)
        raise
