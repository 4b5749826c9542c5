"""What of an image has been written: one line per shard, so that an interrupted conversion goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cellvjepa.errors import UserError
from cellvjepa.movies.convert.shard import File
from cellvjepa.writing import readable_write_errors


@dataclass(frozen=True)
class Written:
    """One shard that is on the disk, at all resolutions.

    Parameters
    ----------
    key
        Which one: the number of the part of the image, and the index of the shard.
    pixels_crcs
        CRC-32 of the native pixels of each slab that it was made of.
    files
        The finest level first.
    """

    key: tuple[int, ...]
    pixels_crcs: tuple[int, ...]
    files: tuple[File, ...]


@dataclass(frozen=True)
class Begun:
    """What was begun to be written, and from what.

    Parameters
    ----------
    target
        Path of the image below the destination.
    sources
        Fingerprint of the movie (``""``) and of each label image, by name.
    layout
        How the image is cut, in words.
    """

    target: str
    sources: Mapping[str, str]
    layout: str


@dataclass(frozen=True)
class Journal:
    """The journal of one image.

    Parameters
    ----------
    path
        Of its file.
    written
        What is done, by key.
    finished
        Whether the image is complete, with its metadata.
    """

    path: Path
    written: Mapping[tuple[int, ...], Written]
    finished: bool

    def add(self, one: Written) -> None:
        """Note a shard that is on the disk."""
        self._append({"key": one.key, "pixels": one.pixels_crcs, "files": [[f.path, f.size, f.crc] for f in one.files]})

    def finish(self) -> None:
        """Note that the image is complete."""
        self._append({"finished": True})

    def _append(self, line: Mapping[str, Any]) -> None:
        with readable_write_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            # What a killed process has left of its last line ends here.
            file.write("\n" + json.dumps(line))
            file.flush()
            os.fsync(file.fileno())


def open_journal(path: Path, begun: Begun) -> Journal:
    """Begin a journal, or go on with the one that is there.

    Raises
    ------
    UserError
        If the one that is there is about something else: the source has changed, or is to be converted otherwise.
    """
    lines = _lines(path)
    if not lines or "target" not in lines[0]:
        with readable_write_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(begun)), encoding="utf-8")
        return Journal(path, {}, finished=False)
    _refuse_another(lines[0], begun, path)
    written = {}
    for line in lines[1:]:
        if "key" in line:
            one = Written(tuple(line["key"]), tuple(line["pixels"]), tuple(File(*file) for file in line["files"]))
            written[one.key] = one
    return Journal(path, written, finished=any("finished" in line for line in lines))


def target_of(path: Path) -> str | None:
    """Return which image a journal is about; None if it does not say."""
    lines = _lines(path)
    return str(lines[0]["target"]) if lines and "target" in lines[0] else None


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def _refuse_another(found: Mapping[str, Any], begun: Begun, path: Path) -> None:
    partial = path.parent.parent
    again = f"remove {partial} to start from the beginning"
    now, before = begun.sources, found.get("sources", {})
    changed = [name for name in now if name in before and now[name] != before[name]]
    if changed:
        what = f"the label image {changed[0]}" if changed[0] else "the movie"
        raise UserError(f"{what} has changed since its conversion was begun", f"leave it alone while it is converted; {again}", begun.target)
    if set(now) != set(before) or found.get("layout") != begun.layout or found.get("target") != begun.target:
        raise UserError("its conversion was begun with other labels or by another version", f"go on as it was begun, or {again}", begun.target)
