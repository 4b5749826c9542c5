"""Recognising from their names alone which files are frames, channels and planes of one movie."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from cellvjepa.movies.readers.series.name_atoms import Atoms, are_wavelengths, atoms_of, meaning_of
from cellvjepa.movies.readers.series.name_pattern import GROUPING, STAMP, Anything, Field, NamePattern, Part, parse_pattern

_MOST_COMPARED = 64  # kinds of files, with each of as many others
_ENDING = r"(?P<ending>(?:\.ome)?\.(?i:tiff?|btf|tf8|stk))"


@dataclass(frozen=True)
class Convention:
    """How a program names its files.

    Parameters
    ----------
    program
        What it is called.
    names
        Its names, with a group for each field.
    pattern
        The same as a pattern, without the ending.
    """

    program: str
    names: re.Pattern[str]
    pattern: str


CONVENTIONS = (
    Convention(
        "IncuCyte",
        re.compile(rf"(?P<movie>.+)_(?P<channel>[A-Z][A-Za-z]*[0-9]?)_(?P<well>[A-P][0-9]{{1,2}})_(?P<field>[0-9]+)_(?P<time>{STAMP}){_ENDING}"),
        "{movie}_{channel}_{well}_{field}_{time}",
    ),
    Convention(
        "IncuCyte",
        re.compile(rf"(?P<movie>.+)_(?P<well>[A-P][0-9]{{1,2}})_(?P<field>[0-9]+)_(?P<time>{STAMP}){_ENDING}"),
        "{movie}_{well}_{field}_{time}",
    ),
    Convention(
        "Opera",
        re.compile(
            r"r(?P<row>[0-9]+)c(?P<column>[0-9]+)f(?P<field>[0-9]+)p(?P<z>[0-9]+)-ch(?P<channel>[0-9]+)sk(?P<t>[0-9]+)fk[0-9]+fl[0-9]+" + _ENDING
        ),
        "r{row}c{column}f{field}p{z}-ch{channel}sk{t}fk*fl*",
    ),
    Convention("Micro-Manager", re.compile(r"img_(?P<t>[0-9]{9})_(?P<channel>[^/]*)_(?P<z>[0-9]{3})" + _ENDING), "img_{t}_{channel}_{z}"),
    Convention(
        "Micro-Manager",
        re.compile(r"img_channel(?P<channel>[0-9]+)_position(?P<field>[0-9]+)_time(?P<t>[0-9]+)_z(?P<z>[0-9]+)" + _ENDING),
        "img_channel{channel}_position{field}_time{t}_z{z}",
    ),
)


@dataclass(frozen=True)
class Kin:
    """Files whose names are put together in the same way.

    Parameters
    ----------
    pattern
        How.
    paths
        The files.
    values
        For each of them what the fields of the pattern are.
    assumed
        What the names do not say and is taken from how they vary: sentences.
    unsure
        Why it cannot be said what varies; None where it can.
    time_is_said
        Whether the names say that a number is time.
    """

    pattern: NamePattern
    paths: tuple[str, ...]
    values: tuple[dict[str, str], ...]
    assumed: tuple[str, ...] = ()
    unsure: str | None = None
    time_is_said: bool = False

    @property
    def example(self) -> str:
        """Return a pattern that the user might mean, where it is not known what varies."""
        meanings = iter([meaning for meaning in ("channel", "t", "field", "z", "movie") if meaning not in self.pattern.meanings])
        return "".join(f"{{{next(meanings, 'movie')}}}" if part == "*" else part for part in re.split(r"(\*)", self.pattern.text))

    @property
    def has_series(self) -> bool:
        """Whether several of the files would be one movie."""
        return self.unsure is not None or any(meaning not in GROUPING for meaning in self.pattern.meanings)


def kin_among(paths: Sequence[str]) -> list[Kin]:
    """Sort files by how they are named.

    Parameters
    ----------
    paths
        Their paths, relative to one folder, with ``/``.

    Returns
    -------
    list
        Every file is in one of them, also where it has no kin.
    """
    found: list[Kin] = []
    rest = list(paths)
    for convention in CONVENTIONS:
        matched, others = _by_convention(convention, rest)
        if any(len(kin.paths) > 1 for kin in matched):
            found += matched
            rest = others
    groups: dict[object, list[tuple[str, Atoms]]] = defaultdict(list)
    for path in rest:
        atoms = atoms_of(path)
        groups[atoms.shape].append((path, atoms))
    return found + [_read(_without_false_wells(group)) for group in groups.values()]


def pattern_of_both(kin: Kin, others: Sequence[Kin]) -> NamePattern | None:
    """Return the pattern of files and of as many others that differ in one word, with a field for the word; None where there are none."""
    if "channel" in kin.pattern.meanings:
        return None
    for other in others[:_MOST_COMPARED]:
        if other is kin or len(other.paths) != len(kin.paths) or len(other.pattern.parts) != len(kin.pattern.parts):
            continue
        pairs = enumerate(zip(kin.pattern.parts, other.pattern.parts, strict=True))
        (index, (mine, its)), *more = [(at, pair) for at, pair in pairs if pair[0] != pair[1]]
        if more or not (isinstance(mine, str) and isinstance(its, str)):
            continue
        before = _shared_start(mine, its)
        after = _shared_start(mine[len(before) :][::-1], its[len(before) :][::-1])[::-1]
        word: list[Part] = [part for part in (before, Field("channel"), after) if part]
        parts = (*kin.pattern.parts[:index], *word, *kin.pattern.parts[index + 1 :])
        if all(isinstance(one, str) or isinstance(two, str) for one, two in itertools.pairwise(parts)):
            return NamePattern(parts)
    return None


def _shared_start(one: str, two: str) -> str:
    return "".join(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, two, strict=False)))


def _by_convention(convention: Convention, paths: Sequence[str]) -> tuple[list[Kin], list[str]]:
    by_ending: dict[str, list[tuple[str, dict[str, str]]]] = defaultdict(list)
    others = []
    for path in paths:
        match = convention.names.fullmatch(path)
        if match is None:
            others.append(path)
        else:
            values = match.groupdict()
            by_ending[values.pop("ending")].append((path, values))
    found = []
    for ending, files in by_ending.items():
        pattern = parse_pattern(convention.pattern + ending)
        said = "t" in pattern.meanings or "time" in pattern.meanings
        found.append(Kin(pattern, tuple(path for path, _ in files), tuple(values for _, values in files), time_is_said=said))
    return found, others


def _without_false_wells(group: list[tuple[str, Atoms]]) -> list[tuple[str, Atoms]]:
    """Take ``C1``, ``C2`` for channels rather than wells: a plate of which only one row is there, and that row C, is rare."""
    for column, kind in enumerate(group[0][1].kinds):
        if kind == "well" and len(letters := {atoms.values[column][0] for _, atoms in group}) == 1 and letters <= set("CFP"):
            group = [(path, atoms.without_well(column)) for path, atoms in group]
    return group


def _read(group: list[tuple[str, Atoms]]) -> Kin:
    """Find out what varies in names of one shape."""
    paths, atoms = tuple(path for path, _ in group), [atoms for _, atoms in group]
    texts, kinds = atoms[0].shape
    columns = [tuple(one.values[column] for one in atoms) for column in range(len(kinds))]
    varying = [column for column, values in enumerate(columns) if len(set(values)) > 1]
    said = {column: meaning_of(texts[column], kinds[column]) for column in varying}
    time_is_said = any(meaning in ("t", "time") for meaning in said.values())
    is_one_time = not time_is_said and any(meaning_of(texts[column], kind) in ("t", "time") for column, kind in enumerate(kinds))
    meanings, assumed, unsure = _meanings(paths, columns, said, texts, is_one_time)
    parts: list[Part] = [texts[0]]
    for column, text in enumerate(texts[1:]):
        if column not in meanings:
            parts[-1] = f"{parts[-1]}{columns[column][0]}{text}"
        else:
            meaning = meanings[column]
            parts += [Anything() if meaning is None else Field(meaning), text]
    values = tuple({meaning: one.values[column] for column, meaning in meanings.items() if meaning is not None} for one in atoms)
    pattern = NamePattern(tuple(part for part in parts if part != ""))
    return Kin(pattern, paths, values, tuple(assumed), unsure, time_is_said)


def _meanings(
    paths: tuple[str, ...], columns: list[tuple[str, ...]], said: dict[int, str | None], texts: tuple[str, ...], is_one_time: bool
) -> tuple[dict[int, str | None], list[str], str | None]:
    """Give each part that varies a meaning; None where it means nothing."""
    assumed: list[str] = []
    meanings = _once_each(dict(said), columns)
    open_ones = [column for column, meaning in said.items() if meaning is None]
    for column in open_ones:
        if "channel" not in meanings.values() and are_wavelengths(columns[column]) and len(said) > 1:
            meanings[column] = "channel"
            shown = ", ".join(sorted(set(columns[column])))
            assumed.append(f"the numbers {shown} in the names are taken as channels, because lasers have these wavelengths")
    open_ones = [column for column in open_ones if meanings[column] is None]
    needs_time = not is_one_time and not _has_time(meanings)
    for column in reversed(open_ones):  # what follows from the others means nothing
        known = [columns[other] for other in said if meanings[other] is not None]
        others = known + [columns[other] for other in open_ones if other != column]
        if _tell_apart(known, paths) or (len(open_ones) > needs_time and _tell_apart(others, paths)):
            open_ones.remove(column)
    first, last = (path.rpartition("/")[2] for path in (paths[0], paths[-1]))
    if needs_time and len(open_ones) > 1:
        return meanings, assumed, f"the names differ in {len(open_ones)} numbers ({first} to {last}): which one is time is not known"
    if needs_time and open_ones:
        meanings[open_ones.pop()] = "t"
        assumed.append(f"the number in the names ({first}) is taken as time")
    for column, meaning in zip(open_ones, (m for m in ("movie", "field", "plate") if m not in meanings.values()), strict=False):
        meanings[column] = meaning
        word = re.split(r"[-_/ ]", texts[column])[-1] + columns[column][0]
        assumed.append(f"the number in the names before or after that of the frame ({word}) is taken to tell movies apart")
    if any(meanings[column] is None for column in open_ones):
        return meanings, assumed, f"the names differ in {len(said)} numbers ({first} to {last}): what they mean is not known"
    return meanings, assumed, None


def _tell_apart(columns: Sequence[tuple[str, ...]], paths: tuple[str, ...]) -> bool:
    return bool(columns) and len(set(zip(*columns, strict=True))) == len(paths)


def _has_time(meanings: dict[int, str | None]) -> bool:
    return "t" in meanings.values() or "time" in meanings.values()


def _once_each(meanings: dict[int, str | None], columns: list[tuple[str, ...]]) -> dict[int, str | None]:
    """Keep of several parts with one meaning the one that says most; equal ones may stand several times."""
    kept = dict(meanings)
    if "time" in kept.values():  # a stamp says more than the number of the frame
        kept = {column: None if meaning == "t" else meaning for column, meaning in kept.items()}
    for meaning in {m for m in kept.values() if m is not None}:
        same = [column for column, one in kept.items() if one == meaning]
        best = max(same, key=lambda column: (len(set(columns[column])), not columns[column][0].isdigit(), -column))
        for column in same:
            if columns[column] != columns[best]:
                kept[column] = None
    return kept
