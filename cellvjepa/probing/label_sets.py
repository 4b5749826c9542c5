"""Several labels at once: ``dividing;bright`` in labels.csv says that a cell is both, and that no other class of the file fits it."""

from __future__ import annotations

SEPARATOR = ";"
NONE = "none"
"""What is written where no class fits, in a file that has several labels at once."""
UNSURE = "unsure"
"""What annotators write where they cannot tell."""


def one_spelling(label: str) -> str:
    """Return the same set of classes in the one way in which it is compared: sorted, without spaces and repeats.

    A label without ``;`` is returned as it is. Who is unsure of one of several is unsure: ``dividing;unsure`` is ``unsure``.
    """
    if SEPARATOR not in label:
        return label
    parts = {part.strip() for part in label.split(SEPARATOR)} - {""}
    if UNSURE in {part.casefold() for part in parts}:
        return UNSURE
    named = members(label)
    return SEPARATOR.join(named) if named else NONE if parts else ""


def members(label: str) -> tuple[str, ...]:
    """Return the classes that a label names, sorted; none for ``none``."""
    parts = {part.strip() for part in label.split(SEPARATOR)} - {""}
    return tuple(sorted(part for part in parts if part.casefold() != NONE))
