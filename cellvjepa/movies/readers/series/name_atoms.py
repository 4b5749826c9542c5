"""What stands in the names of files: time stamps, wells, words for channels and numbers, and what programs mean by them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cellvjepa.movies.readers.series.name_pattern import STAMP

Kind = Literal["time", "channel", "well", "number"]

_ALONE = "(?<![A-Za-z0-9])"
_END = "(?![A-Za-z0-9])"
_CHANNEL_WORD = (
    "dapi|hoechst|[em]?gfp|y?[eb]?[ycbr]fp|fitc|tritc|rhodamine|cy[2357](?:[.]5)?|alexa ?[0-9]{3}|af[0-9]{3}|m?cherry|(?:td)?tomato|mscarlet|"
    "texas ?red|txred|sytox|draq5|sir[a-z]*|bf|brightfield|bright ?field|transmitted|trans|tl|phase|phasecontrast|ph[1-3]?|pc|dic|far-?red|"
    "red|green|blue|orange|nir"
)
_ATOM = re.compile(
    rf"(?<![0-9])(?P<time>{STAMP})"
    rf"|(?<=[_-]w)(?P<channel>[0-9][^_/.]*|{_CHANNEL_WORD}{_END})|{_ALONE}(?P<word>(?i:{_CHANNEL_WORD})){_END}"
    rf"|{_ALONE}(?P<well>[A-P][0-9]{{1,2}}){_END}|(?P<number>[0-9]+)"
)
_WORDS = {
    "t": "t|tp|time|timepoint|time point|frame|fr",
    "channel": "c|ch|chan|channel|w|wave|wavelength|lambda",
    "z": "z|slice|plane|focus",
    "field": "s|p|f|fov|fld|field|pos|position|site|series|xy|scene|tile",
    "well": "well",
    "plate": "plate",
}
_MEANS = {
    meaning: re.compile(rf"(?:(?:^|[^A-Za-z])(?i:{words})|[a-z](?:{words[0].upper()}|{words.split('|')[-1].title()}))[-_ =]*$")
    for meaning, words in _WORDS.items()
}
_LASERS_NM = frozenset(
    map(str, (405, 440, 445, 457, 458, 473, 476, 488, 491, 505, 514, 515, 532, 543, 546, 555, 559, 560, 561, 568, 587, 588, 594, 633, 635, 637))
) | frozenset(map(str, (638, 639, 640, 642, 646, 647, 658, 660, 685, 730, 750, 785, 808)))


@dataclass(frozen=True)
class Atoms:
    """A name taken apart.

    Parameters
    ----------
    texts
        What stands around the atoms; one more than atoms.
    values
        The atoms.
    kinds
        What each of them looks like.
    """

    texts: tuple[str, ...]
    values: tuple[str, ...]
    kinds: tuple[Kind, ...]

    @property
    def shape(self) -> tuple[tuple[str, ...], tuple[Kind, ...]]:
        """Return what names of one series have in common."""
        return self.texts, self.kinds

    def without_well(self, column: int) -> Atoms:
        """Take an atom that looked like a well for a letter and a number."""
        letter, number = self.values[column][0], self.values[column][1:]
        texts = (*self.texts[:column], self.texts[column] + letter, *self.texts[column + 1 :])
        values = (*self.values[:column], number, *self.values[column + 1 :])
        return Atoms(texts, values, (*self.kinds[:column], "number", *self.kinds[column + 1 :]))


def atoms_of(path: str) -> Atoms:
    """Take the path of a file, with ``/`` and its ending, apart."""
    stem = re.sub(r"(\.ome)?\.[^./]+$", "", path, flags=re.IGNORECASE)
    texts, values, kinds, at = [], [], [], 0
    for found in _ATOM.finditer(stem):
        kind = found.lastgroup
        assert kind is not None
        texts.append(stem[at : found.start(kind)])
        values.append(found[kind])
        kinds.append(_KIND[kind])
        at = found.end(kind)
    return Atoms((*texts, stem[at:] + path[len(stem) :]), tuple(values), tuple(kinds))


def meaning_of(text_before: str, kind: Kind) -> str | None:
    """Return what an atom means, one of the fields of a pattern, as far as its kind or the word before it says so."""
    if kind != "number":
        return kind
    return next((meaning for meaning, before in _MEANS.items() if before.search(text_before)), None)


def are_wavelengths(values: Sequence[str]) -> bool:
    """Whether numbers are lasers' wavelengths [nm]."""
    return len(set(values)) > 1 and set(values) <= _LASERS_NM


def is_part_of_series(folder: str) -> bool:
    """Whether a folder is named as folders of one channel or one time point are: ``ch0``, ``DAPI``, ``TimePoint_3``."""
    atoms = atoms_of(folder + "/")
    return (
        len(atoms.values) == 1
        and atoms.texts[1] == "/"
        and (atoms.kinds[0] == "channel" or (atoms.kinds[0] != "time" and _names_part(atoms)))
        and (atoms.kinds[0] != "channel" or not atoms.texts[0])
    )


def _names_part(atoms: Atoms) -> bool:
    if atoms.kinds[0] == "well":
        if atoms.values[0][0] != "C":  # C1 is a channel as often as a well: the files decide
            return False
        atoms = atoms.without_well(0)
    return re.fullmatch(r"[A-Za-z ]+[-_ ]?", atoms.texts[0]) is not None and meaning_of(atoms.texts[0], "number") in ("t", "channel")


_KIND: dict[str, Kind] = {"time": "time", "channel": "channel", "word": "channel", "well": "well", "number": "number"}
