"""What the movies are called that lie in one folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cellvjepa.movies.readers.series.name_atoms import meaning_of
from cellvjepa.movies.readers.series.name_pattern import GROUPING, Field, NamePattern

_ALWAYS = ("well", "row", "column", "field")  # also where a folder has only one: another one may come
_FIELD = re.compile(r"(\{[a-z]+\}|\*)")
_LETTERS = re.compile(r"[A-Za-z]*$")


def distinct_movie_names(patterns: Sequence[NamePattern], groups: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a name for each movie of a folder: what tells it from the others, such as ``B2_1`` or ``s3``.

    Parameters
    ----------
    patterns
        How the files of each movie are named, with fields for what tells it from others.
    groups
        What it is that tells it from others.
    """
    varying = {meaning for meaning in GROUPING if len({one.get(meaning) for one in groups}) > 1}
    one_kind = len({pattern.text for pattern in patterns}) == 1 and "/" not in patterns[0].text
    for name in (_of_groups, _of_all_that_stays) if one_kind else (_of_all_that_stays,):
        names = [name(pattern, values, varying) for pattern, values in zip(patterns, groups, strict=True)]
        if not any(name == "" or name.isdecimal() for name in names) and len(set(names)) == len(names):
            return names
    return [pattern.fixed(values).text for pattern, values in zip(patterns, groups, strict=True)]


def _of_groups(pattern: NamePattern, values: Mapping[str, str], varying: set[str]) -> str:
    words: list[str] = []
    between = ""
    for index, part in enumerate(pattern.parts):
        if isinstance(part, Field) and part.meaning in values and (part.meaning in _ALWAYS or part.meaning in varying):
            before = pattern.parts[index - 1] if index else ""
            letters = _LETTERS.search(before)[0] if isinstance(before, str) else ""  # type: ignore[index]
            if words and not (between.isalnum() or not between):
                letters = "_" + letters
            words.append(letters + values[part.meaning])
            between = ""
        else:
            between += part if isinstance(part, str) else "_"
    return "".join(words)


def _of_all_that_stays(pattern: NamePattern, values: Mapping[str, str], varying: set[str]) -> str:
    """Leave out what varies within a movie, and the word before it: ``cellA`` for ``cellA_t{t}.tif``."""
    folders = []
    *above, file = pattern.fixed(values).text.split("/")
    for folder in (*(one for one in above if not _FIELD.search(one)), file):  # a folder of one channel or frame tells no movies apart
        stem = re.sub(r"(\.ome)?\.[A-Za-z0-9]+$", "", folder, flags=re.IGNORECASE)
        kept = ""
        for text in _FIELD.split(stem):
            if _FIELD.fullmatch(text):
                word = _LETTERS.search(kept)
                if word and meaning_of(kept, "number") in ("t", "channel", "z"):
                    kept = kept[: word.start()]
                kept = kept.rstrip("-_. ")
            else:
                kept += text
        folders.append(kept.strip("-_. "))
    return "/".join(folder for folder in folders if folder)
