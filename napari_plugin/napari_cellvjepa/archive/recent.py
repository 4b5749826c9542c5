"""The archives that were open before, in a small file of the user's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cellvjepa

MOST = 12
_LARGEST_BYTES = 2**16


def recent_file() -> Path:
    """Return the file: a path or an address on each line, the latest first."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "cellvjepa" / "recent_archives.txt"


def recent_archives() -> list[str]:
    """Return what was open before; nothing where it cannot be read."""
    try:
        file = recent_file()
        if file.stat().st_size > _LARGEST_BYTES:
            return []
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, RuntimeError):  # RuntimeError: there is no home folder
        return []
    return list(dict.fromkeys(line.strip() for line in lines if line.strip()))[:MOST]


def remember_archive(path: str) -> None:
    """Put an archive in front; where that cannot be written it is not remembered, and nothing fails."""
    if "\n" in path:
        return
    lines = [path, *(other for other in recent_archives() if other != path)][:MOST]
    try:
        with cellvjepa.atomic_path(recent_file()) as part:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except (cellvjepa.UserError, OSError, RuntimeError):
        return
