"""How many labels there are of each class in each group, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cellvjepa
from napari_cellvjepa.label.classes import Amount

_MOST_NAMED = 12  # groups


def amounts(book: cellvjepa.LabelBook, classes: Iterable[str], group_of: Mapping[str, str]) -> dict[str, Amount]:
    """Return how much there is of each class, by group.

    Parameters
    ----------
    group_of
        The group of each movie.
    """
    found = {}
    total = len(set(group_of.values()))
    for name in classes:
        groups = by_group(book, name, group_of)
        largest = sorted(groups.items(), key=lambda pair: -pair[1])
        detail = "<br>".join(f"{group}: {count:,}" for group, count in largest[:_MOST_NAMED]) + ("<br>…" if len(largest) > _MOST_NAMED else "")
        found[name] = Amount(sum(groups.values()), f"{len(groups):,} of {total:,}" if total > 1 else "", detail)
    return found


def by_group(book: cellvjepa.LabelBook, name: str, group_of: Mapping[str, str]) -> dict[str, int]:
    """Return how many labels of a class each group has, of those that have any."""
    groups: dict[str, int] = {}
    for (label, movie), count in list(book.counts.items()):
        if label == name and count > 0:
            group = group_of.get(movie, movie)
            groups[group] = groups.get(group, 0) + count
    return groups


def hint(book: cellvjepa.LabelBook, classes: Iterable[str], group_of: Mapping[str, str], basis: str) -> str:
    """Say what would keep a probe from learning of these labels, in a sentence; ``""`` if nothing would.

    Parameters
    ----------
    basis
        What a group is, e.g. ``"well"``.
    """
    used = [name for name in classes if by_group(book, name, group_of)]
    if len(used) < 2:
        return "A probe needs labels of two classes at least." if used else ""
    if len(set(group_of.values())) < 2:
        return ""
    lonely = {name: next(iter(groups)) for name in used if len(groups := by_group(book, name, group_of)) == 1}
    if not lonely:
        return ""
    name, group = next(iter(lonely.items()))
    more = f" The same holds for {len(lonely) - 1} more." if len(lonely) > 1 else ""
    return f"'{name}' has labels in one {basis} only ({group}). A probe is tested on a {basis} it has not seen: label it in another one, too.{more}"
