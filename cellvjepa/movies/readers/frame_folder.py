"""A folder with one TIFF per frame: ``t1.tif``, ``t2.tif``, ... ``t10.tif``."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, Origin, Problem
from cellvjepa.movies.readers import tiff
from cellvjepa.movies.readers.axes import Arrangement, arrange
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.names import looks_like_labels, natural_key
from cellvjepa.movies.readers.scale import believed
from cellvjepa.movies.readers.tiff import TiffContents
from cellvjepa.movies.readers.tiff_planes import TiffPixels

_NUMBER = re.compile(r"([0-9]+d[0-9]+h[0-9]+m|[0-9]+)", re.IGNORECASE)
_TIME_STAMP = re.compile(r"([0-9]+)d([0-9]+)h([0-9]+)m", re.IGNORECASE)  # IncuCyte: 00d04h30m
_MEANS_TIME = re.compile(r"(^|[^a-z])(t|tp|time|timepoint|frame)[-_ ]*$", re.IGNORECASE)
_OWN_FOLDERS = "put each series of frames into a folder of its own"


@dataclass(frozen=True)
class FrameNames:
    """Files whose names differ in one number.

    Parameters
    ----------
    files
        The files, in the order of their numbers.
    numbers
        The numbers; minutes where they are time stamps.
    are_minutes
        Whether they are time stamps.
    mean_time
        Whether the names say that the number is time: a time stamp, or ``t`` or ``frame`` before it.
    """

    files: tuple[Path, ...]
    numbers: tuple[int, ...]
    are_minutes: bool
    mean_time: bool


def tiffs_in(folder: Path) -> list[Path]:
    """Return the TIFFs of a folder in natural order, without label images and hidden files."""
    files = [path for path in folder.iterdir() if tiff.recognises(path) and not path.name.startswith(".")]
    return sorted((path for path in files if not looks_like_labels(path.name)), key=lambda path: natural_key(path.name))


def recognises(path: Path) -> bool:
    """Whether this is a folder of frames."""
    return path.is_dir() and hold_frames(tiffs_in(path))


def hold_frames(files: Sequence[Path]) -> bool:
    """Whether files of one folder are frames rather than movies of their own: numbered, and one frame in each.

    Where a file has several planes and does not say what they are, its name must say that the number is time.
    """
    numbered = [group for group in _by_name(files).values() if len(group) > 1 and _varying(group)]
    for group in sorted(numbered, key=len, reverse=True):
        texts = _texts(group[0])
        mean_time = any(_means_time(texts, column, group) for column in _varying(group))
        for file in group:
            try:
                contents = tiff.read_contents(file)
            except UserError:
                continue
            return contents.number == 1 or (mean_time and _length(contents, "T") == 1)
        return True  # none can be read: opening the folder says why
    return False


def open_frames(path: Path, name: str, given: Given = NOTHING) -> Movie:
    """Open a folder of frames as a movie.

    Raises
    ------
    UserError
        If the names do not give one series, a file cannot be read, or not all frames have the same shape and type.
    """
    uri = str(path)
    names = _in_order(tiffs_in(path), uri)
    frames = [tiff.read_contents(file) for file in names.files]
    _refuse_odd_ones(names.files, frames)
    arrangement = _arrangement_of_frame(frames[0], names, uri)
    one = arrangement.to_tczyx(np.arange(frames[0].number, dtype=np.int64).reshape(*frames[0].lengths, 1, 1))[0, :, :, 0, 0]
    pixels = TiffPixels(uri, partial(reopen_pixels, uri, given), tuple(frame.planes for frame in frames), _table(len(frames), one))
    claims = frames[0].claims
    step = Counter(np.diff(names.numbers).tolist()).most_common(1)[0][0]
    interval_s = 60.0 * step if names.are_minutes else claims.interval_s
    scale = believed(claims.z_um, claims.y_um, claims.x_um, interval_s, frames=len(frames), planes=one.shape[1])
    return Movie(
        uri=uri,
        name=name,
        pixels=pixels,
        channels=distinct_names(claims.channels, one.shape[0]),
        pixel_um=scale.pixel_um,
        interval_s=scale.interval_s,
        axes=arrangement.origins,
        codec=frames[0].codec,
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
        problems=(*frames[0].problems, *arrangement.problems, *_gaps(names, step), *scale.problems),
    )


def reopen_pixels(uri: str, given: Given) -> TiffPixels:
    """Open the pixels of a folder of frames again."""
    pixels = open_frames(Path(uri), uri, given).pixels
    assert isinstance(pixels, TiffPixels)
    return pixels


def _by_name(files: Sequence[Path]) -> dict[tuple[str, ...], list[Path]]:
    groups: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for file in files:
        groups[_texts(file)].append(file)
    return groups


def _stem(file: Path) -> str:
    return re.sub(r"(\.ome)?\.[^.]+$", "", file.name, flags=re.IGNORECASE)


def _texts(file: Path) -> tuple[str, ...]:
    """Return what stands around the numbers of a name."""
    return tuple(_NUMBER.split(_stem(file))[::2])


def _numbers(file: Path) -> list[str]:
    return _NUMBER.split(_stem(file))[1::2]


def _varying(group: Sequence[Path]) -> list[int]:
    """Return which numbers of the names differ."""
    return [column for column, values in enumerate(zip(*map(_numbers, group), strict=True)) if len(set(values)) > 1]


def _means_time(texts: tuple[str, ...], column: int, group: Sequence[Path]) -> bool:
    return bool(_MEANS_TIME.search(texts[column])) or bool(_TIME_STAMP.fullmatch(_numbers(group[0])[column]))


def _in_order(files: Sequence[Path], uri: str) -> FrameNames:
    groups = _by_name(files)
    if len(groups) > 1:
        shown = ", ".join(f"{len(group)} like {group[0].name}" for group in list(groups.values())[:3])
        raise UserError(f"the folder holds {len(groups)} kinds of files: {shown}", _OWN_FOLDERS, uri)
    group = next(iter(groups.values()))
    varying = _varying(group)
    if len(varying) > 1:
        raise UserError(
            f"the names differ in {len(varying)} numbers ({group[0].name} to {group[-1].name}): which one is time is not known", _OWN_FOLDERS, uri
        )
    column = varying[0]
    stamps = [_TIME_STAMP.fullmatch(_numbers(file)[column]) for file in group]
    are_minutes = all(stamps)
    numbers = [_minutes(stamp) for stamp in stamps if stamp] if are_minutes else [int(_numbers(file)[column]) for file in group]
    order = sorted(range(len(group)), key=lambda i: numbers[i])
    for before, after in itertools.pairwise(order):
        if numbers[before] == numbers[after]:
            raise UserError(f"two files have the same number ({group[before].name} and {group[after].name})", "remove one of them", uri)
    mean_time = _means_time(_texts(group[0]), column, group)
    return FrameNames(tuple(group[i] for i in order), tuple(numbers[i] for i in order), are_minutes, mean_time)


def _minutes(stamp: re.Match[str]) -> int:
    days, hours, minutes = map(int, stamp.groups())
    return (days * 24 + hours) * 60 + minutes


def _refuse_odd_ones(files: Sequence[Path], frames: Sequence[TiffContents]) -> None:
    kinds = [f"{'x'.join(map(str, (*frame.lengths, *frame.planes.plane_px)))} {frame.planes.stored.name}" for frame in frames]
    usual = Counter(kinds).most_common(1)[0][0]
    for file, kind in zip(files, kinds, strict=True):
        if kind != usual:
            raise UserError(f"this frame is {kind}, but the others of its folder are {usual}", "replace it, or take it out of the folder", file)


def _length(contents: TiffContents, axis: str) -> int:
    return contents.lengths[contents.names.index(axis)] if axis in contents.names else 1


def _arrangement_of_frame(frame: TiffContents, names: FrameNames, uri: str) -> Arrangement:
    """Find C and Z among the planes of a frame; time is in the names."""
    if _length(frame, "T") > 1:
        raise UserError(f"the files hold {_length(frame, 'T')} frames each", "give the folder as an archive of movies", uri)
    unexplained = [name for name, length in zip(frame.names, frame.lengths, strict=True) if name not in "TCZ" and length > 1]
    origins: dict[str, Origin] = {}
    problems = []
    if len(unexplained) == 1 and "Z" not in frame.names:
        frame = replace(frame, names=tuple("Z" if name in unexplained else name for name in frame.names))
        origins["Z"] = "assumed"
        problems.append(Problem(f"the files do not say what their {frame.number} planes are; they are taken as depth", "save them with named axes"))
    if not names.mean_time:
        origins["T"] = "assumed"
        problems.append(Problem(f"the number in the names ({names.files[0].name}) is taken as time", "write a t before it (t001.tif) to say so"))
    found = arrange((*frame.names, "Y", "X"), (*frame.lengths, *frame.planes.plane_px), uri)
    return replace(found, origins=found.origins | origins, problems=(*found.problems, *problems))


def _table(frames: int, one_CZ: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    files = np.arange(frames, dtype=np.int64)[:, None, None]
    return np.stack(np.broadcast_arrays(files, one_CZ[None]), axis=-1)


def _gaps(names: FrameNames, step: int) -> tuple[Problem, ...]:
    jumps = [i for i, found in enumerate(np.diff(names.numbers).tolist()) if found != step]
    if not jumps:
        return ()
    first = jumps[0]
    what = (
        f"frames are missing in {len(jumps)} place{'s' * (len(jumps) > 1)}, first between {names.files[first].name} and {names.files[first + 1].name}"
    )
    return (Problem(what, "add them if you have them: clips across a gap see a jump in time"),)
