"""What a survey found as a table that fits a terminal: movies that are alike share a row where there are many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cellvjepa.movies.readers.zarr.folder import printable
from cellvjepa.movies.survey import pieces_of

MOST_ROWS = 30  # before movies that are alike share one
_MARKS = {"file": "", "assumed": "?", "given": "!"}
_LEAST_NAME = 20  # characters; in a narrower terminal the table is wider than it
_LONGEST_CHANNELS = 12  # characters on a line


@dataclass(frozen=True)
class Column:
    """A column of texts."""

    title: str
    texts: tuple[str, ...]

    @property
    def width(self) -> int:
        """Return the characters of the longest line in it."""
        return max(len(line) for text in (self.title, *self.texts) for line in text.split("\n"))


@dataclass(frozen=True)
class SurveyTable:
    """Columns, and the spaces between them."""

    columns: tuple[Column, ...]
    gap: int

    @property
    def width(self) -> int:
        """Return the characters of the longest line."""
        return sum(column.width for column in self.columns) + self.gap * (len(self.columns) - 1)


def survey_table(movies: Sequence[dict[str, Any]], width: int, *, every_movie: bool = False) -> SurveyTable:
    """Return the table of what a survey found.

    Parameters
    ----------
    movies
        ``survey(...)["movies"]``.
    width
        Of the terminal [characters]. Where it is too narrow, cells are broken into two lines and names are cut in their middle.
    every_movie
        Whether each movie has a row of its own, however many there are.
    """
    groups = [[movie] for movie in movies]
    if len(movies) > MOST_ROWS and not every_movie:
        groups = list(_alike(movies).values())
    left_out = groups[MOST_ROWS:] if not every_movie else []
    groups = groups[: len(groups) - len(left_out)]
    names = [_name(group) for group in groups]
    if left_out:
        names.append(f"... and {sum(map(len, left_out)):,} more of {len(left_out):,} kinds (--all)")
    for broken, gap in ((False, 2), (True, 2), (True, 1)):
        columns = [column for column in (_broken(groups) if broken else _columns(groups, " ")) if any(column.texts)]
        room = width - sum(gap + column.width for column in columns)
        if room >= _LEAST_NAME:
            break
    room = max(_LEAST_NAME, room)
    if left_out:
        columns = [Column(column.title, (*column.texts, "")) for column in columns]
    return SurveyTable((Column("movie", tuple(_folded(name, room) if broken else _cut(name, room) for name in names)), *columns), gap)


def legend(movies: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines that explain what a table of these movies shows."""
    origins = {origin for movie in movies for origin in movie["axes"].values()}
    lines = []
    if any(movie["predicted"] for movie in movies):
        lines.append(
            "x: decoded per used byte of a random clip; clips/s: predicted for one core, in the stream of pretrain and at random places (embed)"
        )
    marks = [f"{mark} {origin}" for origin, mark in _MARKS.items() if mark and origin in origins]
    return [*lines, *([f"axes: {', '.join(marks)}, the others as the file says"] if marks else [])]


def summary(movies: Sequence[dict[str, Any]], skipped: int) -> str:
    """Return one line about the whole archive: ``"1,000 movies, 84 GB of pixels, 2,350 hours recorded; 3 skipped"``."""
    total = sum(movie["bytes"] for movie in movies)
    timed = [movie for movie in movies if movie["interval_s"] is not None and movie["shape"]["T"] > 1]
    untimed = sum(movie["interval_s"] is None and movie["shape"]["T"] > 1 for movie in movies)
    hours = sum((movie["shape"]["T"] - 1) * movie["interval_s"] for movie in timed) / 3600
    parts = [f"{len(movies):,} movie{'s' * (len(movies) != 1)}", f"{_bytes(total)} of pixels"]
    if timed:
        parts.append(f"{hours:,.3g} hours recorded" if hours < 100 else f"{hours:,.0f} hours recorded")
    if untimed:
        parts.append(f"no interval known of {untimed:,}" if timed else "no interval known")
    none = sum(movie["predicted"] is None for movie in movies)
    if none:
        parts.append(f"{none:,} yield{'s' * (none == 1)} no clip")
    return ", ".join(parts) + (f"; {skipped:,} skipped" if skipped else "")


def _alike(movies: Sequence[dict[str, Any]]) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """Group movies whose rows differ in name, size and length only; the largest groups come first."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for movie in movies:
        ignored = {**movie, "shape": {**movie["shape"], "T": 2}, "bytes": 0, "predicted": None}
        kind = (*(column.texts[0] for column in _columns([[ignored]], " ")), str(movie["predicted"] is None), str(movie["channels"]))
        found.setdefault(kind, []).append(movie)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _columns(groups: Sequence[list[dict[str, Any]]], gap: str) -> list[Column]:
    def column(title: str, text: Any) -> Column:
        return Column(title.replace(" ", "\n"), tuple(text(group) for group in groups))

    return [
        column("axes", lambda group: _axes(group, gap)),
        column("channels", lambda group: _channels(group[0]["channels"], gap)),
        column("type", lambda group: group[0]["dtype"]),
        column("pixel [um]", lambda group: _pixel(group[0]["pixel_um"], gap)),
        column("every [s]", lambda group: _interval(group[0])),
        column("stored as", lambda group: _stored(group[0], gap)),
        column("levels", lambda group: _levels(group[0])),
        column("size", lambda group: _bytes(sum(movie["bytes"] for movie in group))),
        column("x", lambda group: _median(group, lambda movie: movie["read_amplification"])),
        column("clips/s stream", lambda group: _median(group, lambda movie: movie["predicted"]["stream_clips_per_s"])),
        column("clips/s random", lambda group: _median(group, lambda movie: movie["predicted"]["random_clips_per_s"])),
    ]


def _broken(groups: Sequence[list[dict[str, Any]]]) -> list[Column]:
    """Return the columns with two lines in each row."""
    found = {column.title: column for column in _columns(groups, "\n")}
    for above, below, title in (("type", "size", "type\nsize"), ("clips/s\nstream", "clips/s\nrandom", "clips/s\nstream\nrandom")):
        lines = zip(found[above].texts, found[below].texts, strict=True)
        found[above] = Column(title, tuple("\n".join(dict.fromkeys(pair)) for pair in lines))
        del found[below]
    return list(found.values())


def _name(group: list[dict[str, Any]]) -> str:
    name = printable(str(group[0]["name"]))
    return name if len(group) == 1 else f"{name} + {len(group) - 1:,} alike"


def _axes(group: list[dict[str, Any]], gap: str) -> str:
    shape, origins = group[0]["shape"], group[0]["axes"]
    lengths = [movie["shape"]["T"] for movie in group]
    frames = str(lengths[0]) if min(lengths) == max(lengths) else f"{min(lengths)}-{max(lengths)}"
    parts = [f"T{frames}{_MARKS[origins['T']]}"]
    parts += [f"{axis}{shape[axis]}{_MARKS[origins[axis]]}" for axis in "CZ" if shape[axis] > 1 or _MARKS[origins[axis]]]
    plane = f"{shape['Y']}{_MARKS[origins['Y']]}x{shape['X']}{_MARKS[origins['X']]}"
    return f"{' '.join(parts)}{gap}{plane}"


def _channels(names: list[str], gap: str) -> str:
    """Return the names of channels, where the file gives some."""
    if names == [f"ch{index}" for index in range(len(names))]:
        return ""
    half = (len(names) + 1) // 2
    lines = [", ".join(part) for part in (names[:half], names[half:]) if part]
    return gap.join(_cut(printable(line), _LONGEST_CHANNELS) for line in lines)


def _pixel(pixel_um: dict[str, float | None] | None, gap: str) -> str:
    if pixel_um is None:
        return "?"
    z, y, x = pixel_um["z"], pixel_um["y"], pixel_um["x"]
    assert y is not None
    assert x is not None
    plane = f"{y:.3g}" if math.isclose(y, x, rel_tol=1e-3) else f"{y:.3g}x{x:.3g}"
    return plane if z is None else f"{plane}{gap}z {z:.3g}"


def _interval(movie: dict[str, Any]) -> str:
    return "" if movie["shape"]["T"] == 1 else "?" if movie["interval_s"] is None else f"{movie['interval_s']:.4g}"


def _stored(movie: dict[str, Any], gap: str) -> str:
    chunks, shape = tuple(movie["chunks"].values()), tuple(movie["shape"].values())
    if math.prod(chunks) == 1:
        return str(movie["codec"])
    pieces = pieces_of(chunks, shape).replace("chunks of ", "").replace(" x ", "x").replace("strips of ", "").replace("whole images", "images")
    return f"{movie['codec']}{gap}{pieces}"


def _levels(movie: dict[str, Any]) -> str:
    number = len(movie["levels"])
    if number == 1:
        return ""
    read = movie["level_read"]
    return str(number) if read in (None, 0) else f"{number}, reads {'x'.join(str(f) for f in movie['levels'][read]['factor'][1:])}"


def _median(group: list[dict[str, Any]], value: Any) -> str:
    values = sorted(value(movie) for movie in group if movie["predicted"] is not None)
    if not values:
        return "-"
    middle = values[len(values) // 2]
    return f"{float(f'{middle:.2g}'):,.0f}" if middle >= 10 else f"{middle:.2g}"  # predictions are no better than that


def _bytes(number: int) -> str:
    size, unit = float(number), "kB"
    size /= 1e3
    for larger in ("MB", "GB", "TB", "PB"):
        if size < 999.5:
            break
        size, unit = size / 1e3, larger
    return f"{size:.3g} {unit}"


def _folded(name: str, room: int) -> str:
    """Return a name on one line or two; the second begins with a folder's or file's own name where that fits."""
    if len(name) <= room:
        return name
    at = name.rfind("/", 0, room) + 1
    if len(name) - at > room:
        at = max(at, min(room, len(name) - room))
    return f"{name[:at]}\n{_cut(name[at:], room)}" if at else _cut(name, room)


def _cut(name: str, room: int) -> str:
    """Return a name without its middle where it is too long: what tells movies apart stands at its ends."""
    if len(name) <= room:
        return name
    end = (room - 1) * 2 // 3
    return f"{name[: room - 1 - end]}…{name[-end:]}"
