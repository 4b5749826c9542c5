"""What readers that use libraries of other formats have in common: is the library there, and what did it raise."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.remedies import COPY_AGAIN

INSTALL = 'pip install "cellvjepa[formats]"'


def installed(library: str) -> bool:
    """Whether a library of the extra ``formats`` can be imported."""
    return importlib.util.find_spec(library) is not None


def refuse_without(library: str, path: Path) -> None:
    """Say what to install where the library is missing.

    Raises
    ------
    UserError
        If it is.
    """
    if not installed(library):
        raise UserError(f"reading {path.suffix.lower()} needs the library {library}", INSTALL, path)


@contextmanager
def reading(where: str, kind: str) -> Iterator[None]:
    """Turn whatever a library raises at a damaged file into a sentence.

    Raises
    ------
    UserError
        Instead of any other exception.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a library raises whatever it meets in a damaged file
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"this cannot be read as {kind} ({said})", COPY_AGAIN, where) from error
