"""The movies of an archive as people look for them: by the folders they lie in, or by words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cellvjepa

_WORDS = re.compile(r"\d+\s+[^\W\d]\w*|\S+")


@dataclass(frozen=True, eq=False)
class Entry:
    """A movie of an archive.

    Parameters
    ----------
    movie
        The movie.
    facts
        What ``cellvjepa inspect`` says about it.
    line
        The most important of that in one line.
    searched
        The text in which words are looked for.
    """

    movie: cellvjepa.Movie
    facts: dict[str, Any]
    line: str
    searched: str

    @property
    def problems(self) -> list[dict[str, str]]:
        """What people should know about it, and what can be done."""
        return list(self.facts["problems"])


@dataclass(frozen=True, eq=False)
class Catalogue:
    """An archive that has been looked through.

    Parameters
    ----------
    archive
        The archive.
    entries
        Its movies, in its order.
    """

    archive: cellvjepa.Archive
    entries: tuple[Entry, ...]

    def matching(self, text: str) -> list[int]:
        """Return the movies of whose text all words are a part; ``3 channels`` is one word, and not found in ``13 channels``."""
        patterns = [_pattern(word) for word in _WORDS.findall(text.lower())]
        return [number for number, entry in enumerate(self.entries) if all(pattern.search(entry.searched) for pattern in patterns)]


@dataclass(eq=False)
class Node:
    """A branch of the tree or a movie in it.

    Parameters
    ----------
    title
        What is read there.
    parent
        The node it hangs on, None for the root.
    row
        Its place among its siblings.
    entry, skipped
        The number of its movie, or of what is not used; -1 where it is a branch.
    """

    title: str
    parent: Node | None = None
    row: int = 0
    entry: int = -1
    skipped: int = -1
    children: list[Node] = field(default_factory=list)

    def add(self, title: str, *, entry: int = -1, skipped: int = -1) -> Node:
        """Add a child."""
        child = Node(title, self, len(self.children), entry, skipped)
        self.children.append(child)
        return child


def catalogue(paths: Sequence[str], progress: cellvjepa.Progress) -> Catalogue:
    """Open archives and look through them; no pixels are read (in another thread).

    Raises
    ------
    UserError
        If there is no movie.
    """
    archive = cellvjepa.open_archives(paths, progress=progress)
    progress("looking through the movies", 0, 0)
    found = cellvjepa.survey(archive, cellvjepa.ClipShape.of(cellvjepa.Config().clip))
    entries = [_entry(movie, facts) for movie, facts in zip(archive.movies, found["movies"], strict=True)]
    progress("looking through the movies", len(entries), len(entries))
    return Catalogue(archive, tuple(entries))


def tree_of(found: Catalogue, numbers: Sequence[int], *, with_skipped: bool) -> Node:
    """Return the tree of some movies of an archive; folders that hold nothing but one folder are one branch with it."""
    root = Node("")
    branches: dict[tuple[str, ...], Node] = {(): root}
    for number in numbers:
        *folders, title = found.entries[number].movie.name.split("/")
        _branch(branches, tuple(folders)).add(title, entry=number)
    for child in root.children:
        _join(child)
    if with_skipped and found.archive.skipped:
        unused = root.add(f"Not used: {len(found.archive.skipped):,}")
        for number, skipped in enumerate(found.archive.skipped):
            unused.add(_relative(skipped.path, found.archive.root), skipped=number)
    return root


def _branch(branches: dict[tuple[str, ...], Node], folders: tuple[str, ...]) -> Node:
    if folders not in branches:
        branches[folders] = _branch(branches, folders[:-1]).add(folders[-1])
    return branches[folders]


def _join(node: Node) -> None:
    """Join a branch with its child where there is only one."""
    while len(node.children) == 1:
        (child,) = node.children
        node.title, node.entry, node.children = f"{node.title}/{child.title}", child.entry, child.children
        for grandchild in node.children:
            grandchild.parent = node
    for child in node.children:
        _join(child)


def _entry(movie: cellvjepa.Movie, facts: dict[str, Any]) -> Entry:
    shape = facts["shape"]
    counts = [_counted(shape["T"], "frame"), f"{shape['Y']} x {shape['X']} px"]
    counts += [_counted(shape["Z"], "plane")] if shape["Z"] > 1 else []
    counts += [_counted(shape["C"], "channel")] if shape["C"] > 1 else []
    groups = " ".join(f"{key} {value}" for key, value in facts["groups"].items())
    words = [movie.name, *counts, _counted(shape["Z"], "plane"), _counted(shape["C"], "channel"), *facts["channels"], groups, facts["dtype"]]
    words += [
        facts["codec"],
        f"{shape['Y']} x {shape['X']}",
        *(problem["what"] for problem in facts["problems"]),
        "problem" * bool(facts["problems"]),
    ]
    return Entry(movie, facts, ", ".join(counts), " ".join(words).lower())


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(r"(?<![\d.])" * word[0].isdigit() + r"\s+".join(re.escape(part) for part in word.split()))


def _relative(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/\\") or path.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
