"""What is remembered from one run to the next: texts under keys, each with the state of the files that it was learnt from.

One SQLite file in the user's cache folder, which several processes may use at once. It is only ever a short cut: where it cannot be
read or written, nothing is remembered and nothing fails; where it is damaged, it is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cellvjepa import __version__

FOLDER_VARIABLE = "CELLVJEPA_CACHE"

_FORMAT = 1
_LARGEST_BYTES = 2**28  # of all texts, compressed; when there are more, the longest unused are forgotten
_LARGEST_TEXT_BYTES = 2**22
_WAIT_S = 5.0  # for another process that writes
_KEYS_AT_ONCE = 500  # SQLite takes 999 values in a statement
_NOTED_EVERY_S = 24 * 3600.0  # that something was used is noted once a day, so that most runs only read
# No write-ahead log: it does not work between the machines of a cluster that share a home folder.
_TABLE = "CREATE TABLE IF NOT EXISTS remembered (key BLOB PRIMARY KEY, stamp TEXT, text BLOB, used_s REAL) WITHOUT ROWID"


@dataclass(frozen=True)
class Remembered:
    """A text, and the state that what it was learnt from was in then (:class:`cellvjepa.movies.readers.memory.sources.Stamps`)."""

    stamp: str
    text: str


@dataclass(frozen=True)
class Memory:
    """A file of remembered texts.

    Parameters
    ----------
    file
        The file; None remembers nothing.
    """

    file: Path | None

    def recall(self, keys: Sequence[bytes]) -> dict[bytes, Remembered]:
        """Return what is remembered under some keys."""
        found: dict[bytes, Remembered] = {}
        if self.file is not None and keys and self.file.is_file():
            _use(self.file, lambda database: _look_up(database, keys, found))
        return found

    def keep(self, learnt: Mapping[bytes, Remembered]) -> None:
        """Remember texts; those that have not been used for longest are forgotten when there are too many."""
        if self.file is None or not learnt:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        rows = [(key, one.stamp, zlib.compress(one.text.encode(), 1), time.time()) for key, one in learnt.items()]
        _use(self.file, lambda database: _write(database, [row for row in rows if len(row[2]) <= _LARGEST_TEXT_BYTES]))


FORGETFUL = Memory(None)


def users_memory() -> Memory:
    """Return the memory in the user's cache folder, or in the folder that the environment variable CELLVJEPA_CACHE names; empty: none."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named is not None:
        return Memory(Path(named) / "movies.sqlite" if named else None)
    try:
        return Memory(_cache_folder() / "cellvjepa" / "movies.sqlite")
    except RuntimeError:  # there is no home folder
        return Memory(None)


def key_of(*parts: str | int | None) -> bytes:
    """Return the key of something that depends on texts and numbers, and on this program's own code."""
    return hashlib.blake2b(json.dumps([_FORMAT, __version__, _code(), *parts]).encode(), digest_size=16).digest()


def _cache_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@cache
def _code() -> str:
    """Return a digest of the state of the readers' code: what an older version of it thought of a file is worth nothing."""
    readers = Path(__file__).parent.parent
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted([*readers.rglob("*.py"), readers.parent / "movie.py"])]
    return hashlib.blake2b(repr(states).encode(), digest_size=8).hexdigest()


def _use(file: Path, work: Callable[[sqlite3.Connection], None]) -> None:
    """Do something with the file; whatever is wrong with it is no error. A damaged file is removed."""
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=_WAIT_S)) as database:
            work(database)
    except (sqlite3.OperationalError, OSError, TypeError):
        return  # locked, read-only, full, not there; or its table is not what we know
    except sqlite3.DatabaseError:
        for path in (file, file.with_name(f"{file.name}-journal")):
            with contextlib.suppress(OSError):
                path.unlink()


def _look_up(database: sqlite3.Connection, keys: Sequence[bytes], found: dict[bytes, Remembered]) -> None:
    now_s = time.time()
    unnoted = []
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        part = keys[start : start + _KEYS_AT_ONCE]
        marks = ",".join("?" * len(part))
        for key, stamp, text, used_s in database.execute(f"SELECT key, stamp, text, used_s FROM remembered WHERE key IN ({marks})", part):
            plain = _inflated(text)
            if plain is not None:
                found[key] = Remembered(str(stamp), plain)
            if abs(now_s - used_s) > _NOTED_EVERY_S:
                unnoted.append((now_s, key))
    if unnoted:
        with database:
            database.executemany("UPDATE remembered SET used_s = ? WHERE key = ?", unnoted)


def _write(database: sqlite3.Connection, rows: list[tuple[bytes, str, bytes, float]]) -> None:
    with database:
        database.execute(_TABLE)
        database.executemany("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?, ?)", rows)
        _forget(database)


def _forget(database: sqlite3.Connection) -> None:
    (there,) = database.execute("SELECT COALESCE(SUM(LENGTH(text)), 0) FROM remembered").fetchone()
    if there <= _LARGEST_BYTES:
        return
    excess = there - _LARGEST_BYTES * 3 // 4
    dropped: list[tuple[bytes]] = []
    for key, length in database.execute("SELECT key, LENGTH(text) FROM remembered ORDER BY used_s"):
        if excess <= 0:
            break
        dropped.append((key,))
        excess -= length
    database.executemany("DELETE FROM remembered WHERE key = ?", dropped)


def _inflated(text: object) -> str | None:
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(text, 16 * _LARGEST_TEXT_BYTES)  # type: ignore[arg-type]
        return plain.decode() if unpacker.eof else None
    except (zlib.error, TypeError, ValueError):
        return None
