"""The file of a session: YAML that is read without trusting it, and written in one piece."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import yaml

import cellvjepa

ENDING = ".cellvjepa.yaml"
MARKER = "cellvjepa_session"
VERSION = 1
_LARGEST_BYTES = 2**25
_BEGINNING = 2**12  # the marker stands in the first lines
_MOST_LAYERS = 1000
_HEAD = "# A session of cellvjepa. Drop it on napari's window, or open it with File > Open or in the Archive dock.\n"


def is_session(path: Path) -> bool:
    """Tell whether a file says of itself that it is a session."""
    try:
        with path.open("rb") as file:
            beginning = file.read(_BEGINNING)
    except OSError:
        return False
    return any(line.startswith(MARKER.encode() + b":") for line in beginning.splitlines())


def write_session(path: Path, content: dict[str, Any]) -> None:
    """Write a session.

    Raises
    ------
    UserError
        If the place cannot be written to; what stood there is untouched then.
    """
    saved = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    head = {MARKER: VERSION, "program": cellvjepa.__version__, "saved": saved}
    text = _HEAD + yaml.safe_dump({**head, **content}, sort_keys=False, allow_unicode=True, width=150, default_flow_style=None)
    with cellvjepa.atomic_path(path) as part:
        part.write_text(text, encoding="utf-8")


def read_session(path: Path) -> dict[str, Any]:
    """Read a session: a mapping with ``layers``, a list of mappings, and perhaps ``selections``, ``viewer`` and ``docks``.

    Raises
    ------
    UserError
        If it is none, or one of a later program.
    """
    no_session = "choose a file that 'Save session' has written"
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise cellvjepa.UserError(f"the file has {path.stat().st_size:,} bytes, more than a session has", no_session, path)
        found = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - it is a SafeLoader
    except OSError as error:
        raise cellvjepa.UserError(f"it cannot be read ({error.strerror})", "check the path", path) from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, cellvjepa.UserError):
            raise
        raise cellvjepa.UserError(f"this is no valid YAML ({type(error).__name__})", no_session, path) from None
    if not isinstance(found, dict) or MARKER not in found:
        raise cellvjepa.UserError("this is no session of cellvjepa", no_session, path)
    if found[MARKER] != VERSION:
        raise cellvjepa.UserError(f"this is a session of version {found[MARKER]}, and this program knows version {VERSION}", "update cellvjepa", path)
    layers = found.setdefault("layers", [])
    if not isinstance(layers, list) or len(layers) > _MOST_LAYERS or not all(isinstance(layer, dict) for layer in layers):
        raise cellvjepa.UserError("its list of layers is damaged", no_session, path)
    return found


class _Loader(yaml.SafeLoader):
    """Loads plain values only, and no references, with which a small file could fill the memory."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse a reference."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("references are not allowed")
        return super().compose_node(parent, index)
