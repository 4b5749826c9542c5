"""From the axes that a file names to T C Z Y X, saying what the file said and what was assumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import AXES, Origin, Problem

_NAME_THEM = "save it with named axes (OME-TIFF, OME-Zarr or an ImageJ hyperstack)"


@dataclass(frozen=True)
class Arrangement:
    """Which axis of a file is which of ours.

    Parameters
    ----------
    sources
        For each of T C Z Y X the index of the file's axis, or None where the file has no such axis.
    origins
        Whether the file said so or it was assumed, for each of T C Z Y X.
    problems
        What was assumed, for the user.
    """

    sources: tuple[int | None, int | None, int | None, int, int]
    origins: dict[str, Origin]
    problems: tuple[Problem, ...]

    def to_tczyx(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view with the axes T C Z Y X of an array that has the file's axes; axes of no use have length 1."""
        used = [source for source in self.sources if source is not None]
        unused = [axis for axis in range(array.ndim) if axis not in used]
        ordered = array.transpose(*used, *unused).reshape(*(array.shape[axis] for axis in used))
        return ordered[tuple(None if source is None else slice(None) for source in self.sources)]


def arrange(names: Sequence[str], lengths: Sequence[int], where: str, *, given: str | None = None, slices_may_be_time: bool = False) -> Arrangement:
    """Find T C Z Y X among the axes of a file.

    Parameters
    ----------
    names
        Upper-case names; what is none of T C Z Y X is an axis that the file does not explain.
    lengths
        As many lengths.
    where
        The file, for messages.
    given
        What the user says the axes are (:class:`cellvjepa.movies.readers.given.Given`); overrules the names.
    slices_may_be_time
        Whether a Z without T or C is taken as time: ImageJ calls the images of any plain stack slices.

    Raises
    ------
    UserError
        If Y or X is missing, an axis is there twice, more is unexplained than one axis that can be time, or what is given does not
        fit.
    """
    assert len(names) == len(lengths)
    if given is not None:
        return _as_given(names, lengths, where, given)
    found: dict[str, int] = {}
    unexplained = []
    for index, (name, length) in enumerate(zip(names, lengths, strict=True)):
        if name not in AXES:
            if length > 1:
                unexplained.append(index)
        elif name in found:
            raise UserError(f"the axis {name} is there twice ({' '.join(names)})", _NAME_THEM, where)
        else:
            found[name] = index
    if "Y" not in found or "X" not in found:
        raise UserError(f"there is no image plane: the axes are {' '.join(names)}", "save it with the axes Y and X", where)

    def length_of(axis: str) -> int:
        return lengths[found[axis]] if axis in found else 1

    origins: dict[str, Origin] = dict.fromkeys(AXES, "file")
    problems: list[Problem] = []
    if len(unexplained) == 1 and length_of("T") == 1:
        found["T"] = unexplained.pop()
        origins["T"] = "assumed"
        problems.append(
            Problem(
                f"the file does not say what its axis of {length_of('T')} planes is; it is taken as time",
                "if it is depth or channels, say so with --axes (--axes ZYX, --axes CYX)",
            )
        )
    elif slices_may_be_time and length_of("Z") > 1 and length_of("T") == length_of("C") == 1:
        found["T"] = found.pop("Z")
        origins["T"] = origins["Z"] = "assumed"
        problems.append(
            Problem(
                f"the file calls its {length_of('T')} planes slices and has no time; they are taken as time",
                "if they are a z-stack, say so with --axes ZYX",
            )
        )
    if unexplained:
        shown = " x ".join(str(n) for n in lengths)
        raise UserError(f"the file does not say what its axes are ({shown})", f"say it with --axes (as --axes TZYX), or {_NAME_THEM}", where)
    sources = (found.get("T"), found.get("C"), found.get("Z"), found["Y"], found["X"])
    return Arrangement(sources, origins, tuple(problems))


def _as_given(names: Sequence[str], lengths: Sequence[int], where: str, given: str) -> Arrangement:
    """Arrange axes as the user says, who names all of them, or those that are longer than 1."""
    named = list(range(len(lengths)))
    if len(given) != len(named):
        named = [index for index, length in enumerate(lengths) if length > 1]
    if len(given) != len(named):
        shown = " x ".join(str(n) for n in lengths)
        raise UserError(f"the axes given ({given}) are {len(given)}, but the file has {len(lengths)} ({shown})", "give one letter for each", where)
    found = dict(zip(given, named, strict=True))
    origins: dict[str, Origin] = {axis: "given" if axis in found else "file" for axis in AXES}
    return Arrangement((found.get("T"), found.get("C"), found.get("Z"), found["Y"], found["X"]), origins, ())
