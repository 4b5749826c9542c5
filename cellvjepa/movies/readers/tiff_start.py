"""What a file really is, told from its first bytes."""

from __future__ import annotations

from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.remedies import COPY_AGAIN

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def refuse_what_is_no_tiff(path: Path) -> None:
    """Refuse what is empty, a pointer to a file that is elsewhere, or of another format.

    Raises
    ------
    UserError
        If it is no TIFF.
    """
    start = first_bytes(path)
    if not start.startswith(_MAGIC):
        raise UserError(f"this is not a TIFF: it begins with {start[:8]!r}", "check what the file really is", path)


def first_bytes(path: Path) -> bytes:
    """Return the first 200 bytes of a file, or what there is.

    Raises
    ------
    UserError
        If it cannot be opened, is empty, or is a pointer to a file that is elsewhere.
    """
    if path.is_symlink() and not path.exists():
        raise UserError("this is a link to a file that is not here", "fetch it first (for git-annex: git annex get)", path)
    try:
        with path.open("rb", buffering=0) as file:
            start = file.read(200)
    except PermissionError as error:
        raise UserError("reading is not permitted", "ask for the right to read it", path) from error
    except OSError as error:
        raise UserError(f"the file cannot be opened ({error.strerror})", "check its permissions and the disk it is on", path) from error
    if not start:
        raise UserError("the file is empty (0 bytes)", COPY_AGAIN, path)
    if start.startswith(b"version https://git-lfs"):
        raise UserError("this is only a pointer of Git LFS, not the image", "fetch the image with: git lfs pull", path)
    if b"annex/objects/" in start and b"\0" not in start:
        raise UserError("this is only a pointer of git-annex, not the image", "fetch the image with: git annex get", path)
    return start
