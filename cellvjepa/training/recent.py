"""The runs that were started or looked at last, so that a program need not be told again where they are.

The list lies beside what is remembered about movies, in the user's cache folder; whatever is wrong with it is no error.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.memory.database import users_memory
from cellvjepa.writing import atomic_path

_MOST = 12


def recent_runs() -> tuple[Path, ...]:
    """Return the folders of runs, the latest first; those that are gone are left out."""
    return tuple(folder for folder in _known() if folder.is_dir())


def remember_run(run: str | os.PathLike[str]) -> None:
    """Put a run first in that list."""
    file = _file()
    if file is None:
        return
    folder = Path(run).absolute()
    known = [folder, *(one for one in _known() if one != folder)][:_MOST]
    try:
        with atomic_path(file) as part:
            part.write_text(json.dumps([str(one) for one in known], indent=1), encoding="utf-8")
    except (UserError, OSError):
        return


def _known() -> list[Path]:
    file = _file()
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file is not None else []
    except (OSError, ValueError):
        return []
    return [Path(one) for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _file() -> Path | None:
    memory = users_memory().file
    return None if memory is None else memory.with_name("runs.json")
