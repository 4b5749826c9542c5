"""What names of files tell: their natural order, and whether they are label images rather than movies."""

from __future__ import annotations

import itertools
import re

_LABEL_WORD = re.compile(r"labels?(image|mask)?s?|masks?|segs?|segm|segment(ation|ations|ed)")
_MAY_BE_LABELS = re.compile(r"label|mask|seg|_(?:GT|ST|RES|ERR_SEG)(?:/|$)", re.IGNORECASE)
_CELL_TRACKING_CHALLENGE = re.compile(r"[0-9]+_(GT|ST|RES|ERR_SEG)")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts ``t2`` before ``t10``."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((1, int(part), part) if index % 2 else (0, 0, part.lower()) for index, part in enumerate(parts))


def looks_like_labels(relative_path: str) -> bool:
    """Whether a part of a path, relative to its archive, is named as people name label images: ``track_labels.tif``, ``01_GT/SEG``."""
    if not _MAY_BE_LABELS.search(relative_path):  # most are none: an archive has a million names
        return False
    return any(_CELL_TRACKING_CHALLENGE.fullmatch(part) or _has_label_word(part) for part in relative_path.split("/"))


def _has_label_word(part: str) -> bool:
    with_breaks = re.sub(r"([a-z])([A-Z])", r"\1 \2", part)
    words = re.findall(r"[a-z]+", with_breaks.lower())
    # label-free is a kind of microscopy
    return any(_LABEL_WORD.fullmatch(word) and following != "free" for word, following in itertools.zip_longest(words, words[1:]))
