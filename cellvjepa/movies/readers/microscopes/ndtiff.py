"""Micro-Manager NDTiff: a folder with stacks of planes and an index that says where each lies."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, Problem
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.microscopes.interval import kept_interval_s
from cellvjepa.movies.readers.microscopes.ndtiff_index import NAME, Entry, read_index
from cellvjepa.movies.readers.microscopes.plane_pixels import BarePlanes, PlanePixels, placed, refuse_large, refuse_short
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.scale import believed, number
from cellvjepa.movies.readers.several import chosen, each_of, parted

_STACK = re.compile(r"(.*_)?NDTiffStack(_[0-9]+)?\.tif", re.IGNORECASE)
_FULL = "Full resolution"  # beside it lie coarser copies, in which each tile is four
_OURS = {"time": "T", "channel": "C", "z": "Z"}
_OF_MOVIES = ("position", "row", "column")  # each place of the stage is a movie of its own
_EIGHT_BIT, _COLOUR, _SIXTEEN_BIT = 0, 2, (1, 3, 4, 5, 6)
_MOST_SPARSE = 64  # a data set that claims more planes than this per plane there is not believed
_SUMMARY_MARK = 2355492
_LONGEST_JSON = 2**26
_WHOLE_FOLDER = "copy the whole folder again from where it was recorded"


@dataclass(frozen=True)
class NdtiffContents:
    """What a data set holds.

    Parameters
    ----------
    folder
        Where the index is.
    entries
        Its planes.
    summary
        What was said about the recording.
    movies
        The places of the stage, each as values of the axes that tell them apart.
    problems
        What is wrong with the index.
    """

    folder: Path
    entries: list[Entry]
    summary: dict[str, Any]
    movies: list[tuple[int | str, ...]]
    problems: tuple[Problem, ...]


def recognises(path: Path) -> bool:
    """Whether this is the folder of a data set, one movie of it, or one of its stacks."""
    folder = parted(path)[0]
    if _STACK.fullmatch(folder.name):
        return (folder.parent / NAME).is_file()
    return folder.is_dir() and (_folder_of(folder) is not None or _has_stacks(folder))


def movies_in(path: Path) -> list[Path]:
    """Return the uris of the movies in a data set.

    Raises
    ------
    UserError
        As :func:`open_ndtiff`.
    """
    return each_of(path, len(_read_contents(path).movies))


def open_ndtiff(path: Path, name: str, given: Given = NOTHING) -> Movie:
    """Open one place of the stage as a movie.

    Raises
    ------
    UserError
        If the index or a stack is missing or damaged, or planes are not alike.
    """
    uri = str(path)
    folder, which = parted(path)
    contents = _read_contents(folder)
    which = chosen(path, which, len(contents.movies))
    entries = [entry for entry in contents.entries if _place(entry) == contents.movies[which]]
    axes, values = _axes_of(entries, uri)
    numbers = np.full([len(v) for v in values], -1, np.int64)
    where = [{value: index for index, value in enumerate(v)} for v in values]
    for index, entry in enumerate(entries):
        numbers[tuple(at[entry.axes.get(axis, 0)] for axis, at in zip(axes, where, strict=True))] = index
    first = entries[0]
    place = placed(numbers, [_OURS.get(axis, axis) for axis in axes], (first.height, first.width), uri, given)
    planes = _bare_planes(contents.folder, entries, place.table)
    pixels = PlanePixels(uri, partial(reopen_pixels, uri, given), planes)
    frames, channels, depths, *_ = pixels.shape
    of_plane = _metadata_of(contents.folder, entries[int(place.table[0, 0, 0])])
    last = _metadata_of(contents.folder, entries[int(place.table[-1, 0, 0])])
    size_um = _first_positive(of_plane.get("PixelSizeUm"), contents.summary.get("PixelSizeUm"), contents.summary.get("PixelSize_um"))
    z_um = _first_positive(contents.summary.get("z-step_um"), contents.summary.get("ZStepUm"))
    interval_s = kept_interval_s(_seconds(contents.summary.get("Interval_ms")), _measured_s(of_plane, last, frames))
    scale = believed(z_um and abs(z_um), size_um, size_um, interval_s, frames=frames, planes=depths)
    return Movie(
        uri=uri,
        name=name,
        pixels=pixels,
        channels=distinct_names(_channel_names(axes, values, contents.summary), channels),
        pixel_um=scale.pixel_um,
        interval_s=scale.interval_s,
        axes=place.arrangement.origins,
        codec="none",
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
        problems=(*contents.problems, *place.problems, *scale.problems),
        groups={"field": _shown(contents.movies[which])} if len(contents.movies) > 1 else {},
    )


def reopen_pixels(uri: str, given: Given) -> PlanePixels:
    """Open the pixels of one place again."""
    pixels = open_ndtiff(Path(uri), uri, given).pixels
    assert isinstance(pixels, PlanePixels)
    return pixels


def _folder_of(folder: Path) -> Path | None:
    """Return where the index is: in the folder, or with the finest of several resolutions."""
    return next((place for place in (folder, folder / _FULL) if (place / NAME).is_file()), None)


def _has_stacks(folder: Path) -> bool:
    try:
        with os.scandir(folder) as inside:
            return any(_STACK.fullmatch(entry.name) for entry in inside)
    except OSError:
        return False


def _read_contents(path: Path) -> NdtiffContents:
    if not path.is_dir():
        raise UserError("this is one stack of an NDTiff data set", "give the folder that it is in", path)
    folder = _folder_of(path)
    if folder is None:
        raise UserError(f"{NAME} is missing beside the stacks of this NDTiff data set", _WHOLE_FOLDER, path)
    entries, problems = read_index(folder / NAME)
    kinds = {(e.height, e.width, e.pixel_type, e.compression) for e in entries}
    height, width, pixel_type, compression = kinds.pop()
    if kinds:
        shown = " and ".join(f"{w} x {h} px of type {kind}" for h, w, kind, _ in ((height, width, pixel_type, compression), kinds.pop()))
        raise UserError(f"its planes differ: {shown}", "record planes of one kind only", path)
    if compression or pixel_type == _COLOUR or pixel_type not in (_EIGHT_BIT, *_SIXTEEN_BIT):
        what = "colour" if pixel_type == _COLOUR else f"of a kind that is not read (pixel type {pixel_type}, compression {compression})"
        raise UserError(f"its planes are {what}", "record it in grey and uncompressed, or export it as OME-TIFF", path)
    bytes_per_pixel = 1 if pixel_type == _EIGHT_BIT else 2
    refuse_large((height, width), bytes_per_pixel, str(path))
    ends: dict[str, int] = {}
    for entry in entries:
        ends[entry.file] = max(ends.get(entry.file, 0), entry.offset + height * width * bytes_per_pixel)
    for name, end in ends.items():
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            raise UserError(f"the stack {name} is missing ({error.strerror})", _WHOLE_FOLDER, path) from error
        refuse_short(end, size, str(folder / name))
    movies = sorted(
        {_place(entry) for entry in entries}, key=lambda place: [(isinstance(v, str), 0 if isinstance(v, str) else v, str(v)) for v in place]
    )
    return NdtiffContents(folder, entries, _summary_of(folder / entries[0].file), movies, problems)


def _place(entry: Entry) -> tuple[int | str, ...]:
    return tuple(entry.axes.get(axis, 0) for axis in _OF_MOVIES)


def _shown(place: tuple[int | str, ...]) -> str:
    position, row, column = place
    return str(position) if row == column == 0 else f"{position}, row {row}, column {column}"


def _axes_of(entries: list[Entry], where: str) -> tuple[list[str], list[list[int | str]]]:
    """Return the axes within a movie, and the values along each in their order."""
    named = {axis: None for entry in entries for axis in entry.axes if axis not in _OF_MOVIES}
    axes = sorted(named, key=lambda axis: list(_OURS).index(axis) if axis in _OURS else -1)
    values = [_values_along(axis, entries) for axis in axes]
    if math.prod(map(len, values)) > _MOST_SPARSE * (len(entries) + _MOST_SPARSE):
        raise UserError("the index is damaged: most of the planes that it should name are not there", COPY_AGAIN, where)
    return axes, values


def _values_along(axis: str, entries: list[Entry]) -> list[int | str]:
    found = list(dict.fromkeys(entry.axes.get(axis, 0) for entry in entries))
    whole = [value for value in found if isinstance(value, int)]
    if len(whole) < len(found):
        return found  # names: in the order of recording
    if axis == "time" and max(whole) - min(whole) < _MOST_SPARSE * len(whole):
        return list(range(min(whole), max(whole) + 1))  # a frame that is missing is noticed
    return sorted(whole)


def _bare_planes(folder: Path, entries: list[Entry], table: npt.NDArray[np.int64]) -> BarePlanes:
    first = entries[0]
    stored = np.dtype("u1" if first.pixel_type == _EIGHT_BIT else "<u2")
    names = list(dict.fromkeys(entry.file for entry in entries))
    numbered = {name: index for index, name in enumerate(names)}
    files = np.array([numbered[entry.file] for entry in entries], np.int64)
    offsets = np.array([entry.offset for entry in entries], np.int64)
    strides = (first.width * stored.itemsize, stored.itemsize)
    paths = tuple(str(folder / name) for name in names)
    return BarePlanes(paths, (first.height, first.width), stored, strides, files[table], offsets[table])


def _channel_names(axes: list[str], values: list[list[int | str]], summary: dict[str, Any]) -> list[str | None]:
    found = values[axes.index("channel")] if "channel" in axes else [0]
    said = summary.get("ChNames")
    said = said if isinstance(said, list) else []
    names: list[str | None] = []
    for value in found:
        name = value if isinstance(value, str) else said[value] if 0 <= value < len(said) else None
        names.append(name if isinstance(name, str) else None)
    return names


def _summary_of(stack: Path) -> dict[str, Any]:
    """Read what the first bytes of a stack say about the recording; nothing where they say nothing."""
    try:
        with stack.open("rb") as file:
            start = file.read(28)
    except OSError:
        return {}
    mark, length = int.from_bytes(start[20:24], "little"), int.from_bytes(start[24:28], "little")
    return _json_at(stack, 28, length) if mark == _SUMMARY_MARK else {}


def _metadata_of(folder: Path, entry: Entry) -> dict[str, Any]:
    return _json_at(folder / entry.file, *entry.metadata)


def _json_at(path: Path, offset: int, length: int) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            there = file.seek(0, 2) - offset
            file.seek(offset)
            found = json.loads(file.read(max(0, min(length, _LONGEST_JSON, there))))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _measured_s(first: dict[str, Any], last: dict[str, Any], frames: int) -> float | None:
    begin, end = number(first.get("ElapsedTime-ms")), number(last.get("ElapsedTime-ms"))
    return None if begin is None or end is None or frames < 2 else (end - begin) / 1000 / (frames - 1)


def _seconds(milliseconds: object) -> float | None:
    value = number(milliseconds)
    return None if value is None else value / 1000


def _first_positive(*values: object) -> float | None:
    """Return the first number that is none of those that mean "unknown": Micro-Manager writes 0 for it."""
    found = [value for value in map(number, values) if value is not None]
    return next((value for value in found if value > 0), found[0] if found else None)
