"""Files that hold several movies (positions, scenes, images): each has the file's path, ``#`` and its number as its uri."""

from __future__ import annotations

from pathlib import Path

from cellvjepa.errors import UserError


def parted(path: Path) -> tuple[Path, int | None]:
    """Part ``/data/exp.nd2#2`` into the path of the file and the number of the movie in it.

    The number is None where the path has none, or where a file is really called so.
    """
    front, mark, number = str(path).rpartition("#")
    if not (mark and number.isdecimal() and number == str(int(number))) or path.exists() or path.is_symlink() or not Path(front).exists():
        return path, None
    return Path(front), int(number)


def each_of(path: Path, number: int) -> list[Path]:
    """Return the uris of as many movies in one file: the file itself where there is one."""
    return [path] if number == 1 else [Path(f"{path}#{index}") for index in range(number)]


def named(path: Path, root: Path) -> str:
    """Return what a movie below a root is called: ``day1/exp.nd2/2`` for ``/data/day1/exp.nd2#2`` below ``/data``."""
    file, number = parted(path)
    top = parted(root)[0]
    name = top.name if file == top else file.relative_to(top).as_posix()
    return name if number is None else f"{name}/{number}"


def chosen(path: Path, number: int | None, there: int) -> int:
    """Return which movie of a file is meant.

    Raises
    ------
    UserError
        If the file has several and none is named, or has none of that number.
    """
    if there == 1 and number is None:
        return 0
    file = parted(path)[0].name
    choice = "give the file without a number" if there == 1 else f"give one of {file}#0 to {file}#{there - 1}, or the file as an archive"
    if number is None:
        raise UserError(f"the file holds {there} movies", choice, path)
    if number >= there or there == 1:
        raise UserError(f"there is no movie {number} in this file", choice, path)
    return number
