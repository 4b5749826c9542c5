"""Patterns of file names that people can read: ``{well}/{channel}_t{t}.tif``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from cellvjepa.errors import UserError

MEANINGS = {
    "t": "the number of the time point",
    "time": "a time stamp, as 00d04h30m",
    "channel": "the channel, a word or a number",
    "z": "the number of the plane",
    "plate": "the plate",
    "well": "the well",
    "row": "the row of the well",
    "column": "the column of the well",
    "field": "the field or position",
    "movie": "anything else that tells movies apart",
}
GROUPING = ("plate", "well", "row", "column", "field", "movie")
STAMP = r"(?:[0-9]{4}y[0-9]{1,2}m[0-9]{1,2}d_)?(?:[0-9]++d)?[0-9]++h[0-9]++m(?:[0-9]++s)?"

_NUMBERS = ("t", "z")
_EXAMPLE = 'for instance --pattern "{well}/{channel}_t{t}.tif"'
_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*\}|\*|[{}]|[^{}*]+")


@dataclass(frozen=True)
class Field:
    """A part of a name that has a meaning, one of :data:`MEANINGS`."""

    meaning: str


@dataclass(frozen=True)
class Anything:
    """A part of a name that varies and means nothing: ``*``."""


Part = str | Field | Anything


@dataclass(frozen=True)
class NamePattern:
    """How the paths of files are put together.

    Texts of fields are as short as what follows them allows; they never reach from one folder into another. A field that is there
    twice must have the same text in both places.

    Parameters
    ----------
    parts
        Literal texts, fields, and what means nothing; between two that vary there is a literal text, unless the first is a number.
    """

    parts: tuple[Part, ...]

    @cached_property
    def text(self) -> str:
        """Return it as people write it; :func:`parse_pattern` reads it."""
        return "".join(_written(part) for part in self.parts)

    @property
    def meanings(self) -> tuple[str, ...]:
        """Return the meanings of its fields, each once, in the order in which they stand."""
        return tuple(dict.fromkeys(part.meaning for part in self.parts if isinstance(part, Field)))

    @property
    def literal(self) -> str | None:
        """Return the path that it is, where nothing in it varies."""
        return "".join(map(str, self.parts)) if all(isinstance(part, str) for part in self.parts) else None

    def match(self, path: str) -> dict[str, str] | None:
        """Return what the fields are in a path with ``/``, or None where it does not fit."""
        found = self._regex.fullmatch(path)
        if found is None:
            return None
        values: dict[str, str] = {}
        for (meaning, _), value in zip(self._groups, found.groups(), strict=True):
            if values.setdefault(meaning, value) != value:
                return None
        return values

    def fixed(self, values: Mapping[str, str]) -> NamePattern:
        """Return the pattern with some fields replaced by what they are."""
        parts: list[Part] = []
        for part in self.parts:
            plain = values.get(part.meaning, part) if isinstance(part, Field) else part
            if isinstance(plain, str) and parts and isinstance(parts[-1], str):
                parts[-1] += plain
            else:
                parts.append(plain)
        return NamePattern(tuple(parts))

    @cached_property
    def _groups(self) -> tuple[tuple[str, int], ...]:
        return tuple((part.meaning, index) for index, part in enumerate(self.parts) if isinstance(part, Field))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        """Return a regex without backtracking: a text ends where what follows it first fits, and that is not tried again.

        As what follows is a literal text and numbers, up to the next text or the end of a folder's name, the first place where it fits
        leaves most room for the rest: no match is missed.
        """
        written = []
        depth = 0
        for part in self.parts:
            if isinstance(part, str):
                folders = part.split("/")
                for index, literal in enumerate(folders):
                    if index:
                        written.append("(?=/)" + ")" * depth + "/")
                        depth = 0
                    written.append(re.escape(literal))
            elif isinstance(part, Field) and part.meaning in _NUMBERS:
                written.append("([0-9]++)")
            elif isinstance(part, Field) and part.meaning == "time":
                written.append(f"({STAMP})")
            else:
                written.append(")" * depth + "(?>" + ("([^/]+?)" if isinstance(part, Field) else "[^/]*?"))
                depth = 1
        return re.compile("".join(written) + r"\Z" + ")" * depth, re.DOTALL)


def parse_pattern(text: str) -> NamePattern:
    """Read a pattern: fields stand in braces (a brace itself is written twice), ``*`` is what means nothing, ``/`` parts folders.

    Raises
    ------
    UserError
        If it is none: an unknown field, a lone brace, or nothing between two parts that vary.
    """

    def refused(what: str, remedy: str) -> UserError:
        return UserError(f"in the pattern '{text}' {what}", remedy, "--pattern")

    if not text.strip():
        raise UserError("the pattern is empty", f"give one, {_EXAMPLE}", "--pattern")
    if text.startswith("/") or "\\" in text or ".." in text.split("/") or "//" in text or "\0" in text:
        raise refused("the path is not relative with / between folders", f"write it from the archive on, {_EXAMPLE}")
    parts: list[Part] = []
    for token in _TOKEN.findall(text):
        if token in ("{", "}"):
            raise refused(f"a brace is alone at '{token}'", "close it, or write it twice where the name has a brace")
        part: Part = token
        if token == "*":
            part = Anything()
        elif token in ("{{", "}}"):
            part = token[0]
        elif token.startswith("{"):
            if token[1:-1] not in MEANINGS:
                raise refused(f"{token} is unknown", f"the fields are {', '.join(f'{{{name}}}' for name in MEANINGS)}")
            part = Field(token[1:-1])
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        else:
            parts.append(part)
    for before, after in itertools.pairwise(parts):
        if not isinstance(before, str) and not isinstance(after, str) and not (_is_number(before) and not _is_number(after)):
            raise refused(f"nothing stands between {_written(before)} and {_written(after)}", "write what stands between them in the names")
        if _is_number(before) and isinstance(after, str) and after[0].isdigit():
            raise refused(f"a digit follows {_written(before)}, which takes all digits", "leave the digit out")
    meanings = NamePattern(tuple(parts)).meanings
    if "t" in meanings and "time" in meanings:
        raise refused("time is there twice, as {t} and {time}", "write * for one of them")
    return NamePattern(tuple(parts))


def _is_number(part: Part) -> bool:
    return isinstance(part, Field) and part.meaning in _NUMBERS


def _written(part: Part) -> str:
    if isinstance(part, str):
        return part.replace("{", "{{").replace("}", "}}")
    return f"{{{part.meaning}}}" if isinstance(part, Field) else "*"
