"""What the files of a series hold, as a few of them say: a folder may have 100,000."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Problem
from cellvjepa.movies.readers.series.file_series import Series
from cellvjepa.movies.readers.series.series_pixels import REPLACE, FrameKind
from cellvjepa.movies.readers.series.series_places import Places
from cellvjepa.movies.readers.tiff import tiff
from cellvjepa.movies.readers.tiff.tiff import TiffContents

_LOOKED_AT = 16  # of all files of a movie, spread over it; an archive may have 10,000 such movies, and a look takes 0.2 ms
_LOOKED_AT_BARE = 3  # where pixels lie bare, the number of bytes tells most
_ODD_LOOKED_AT = 64  # of those whose number of bytes is odd
_MUCH_SMALLER = 0.5  # of the usual bytes, where compression makes them differ


@dataclass(frozen=True)
class SeriesContents:
    """What the files of a series hold.

    Parameters
    ----------
    places
        The files in their order, without those that are left out.
    frames
        For each channel what one of its files holds.
    problems
        What is left out.
    are_all_seen
        Whether every file was looked into, or has as many bytes as one that was and holds bare pixels.
    """

    places: Places
    frames: tuple[TiffContents, ...]
    problems: tuple[Problem, ...]
    are_all_seen: bool


def contents_of(series: Series, places: Places) -> SeriesContents:
    """Look into some files: the first and the last of each channel, some in between, and those whose number of bytes is odd.

    The others are looked into when they are read.

    Raises
    ------
    UserError
        If a file cannot be read, or is not like the others of its channel. At the end of the series such files are left out: the
        recording may have been stopped, or goes on.
    """
    found: dict[int, TiffContents] = {}
    places, problems = _without_damaged_end(series, places, found)
    frames = []
    are_all_seen = True
    for channel in range(len(places.channels)):
        files = np.unique(places.table[:, channel]).tolist()
        last = found[int(places.table[-1, channel, 0])]
        odd = _odd(_sizes(series, files), last)
        sizes_tell = last.codec == "none" and not odd
        number = (_LOOKED_AT_BARE if sizes_tell else _LOOKED_AT) // len(places.channels)
        for index in (*_spread(files, max(2, number)), *odd):
            if index not in found:
                found[index] = tiff.read_contents(series.path_of(index))
        are_all_seen = are_all_seen and (sizes_tell or set(files) <= set(found))
        mine = [index for index in files if index in found]
        _refuse_odd_ones(series, {index: found[index] for index in mine})
        frames.append(found[mine[0]])
    kept = _alike(frames)
    for channel in sorted(set(range(len(frames))) - set(kept)):
        name, other = places.channels[channel], places.channels[kept[0]]
        what = f"channel {name} is left out: it is {FrameKind.of(frames[channel])}, but channel {other} is {FrameKind.of(frames[kept[0]])}"
        problems.append(Problem(what, f'read it alone with --pattern "{series.pattern.fixed({"channel": name}).text}"'))
    return SeriesContents(places.with_channels(kept), tuple(frames[channel] for channel in kept), tuple(problems), are_all_seen)


def _without_damaged_end(series: Series, places: Places, found: dict[int, TiffContents]) -> tuple[Places, list[Problem]]:
    """Leave out the last frames if their files cannot be read; what was read is noted in ``found``."""
    frames, first_error = len(places.times), None
    while frames:
        try:
            for index in _indices(places, frames - 1):
                found[index] = tiff.read_contents(series.path_of(index))
            break
        except UserError as error:
            first_error = error
            frames -= 1
            if frames == 0 or len(places.times) - frames > _ODD_LOOKED_AT:
                raise
    if first_error is None:
        return places, []
    for index in _indices(places, 0):
        found[index] = tiff.read_contents(series.path_of(index))
    left_out = len(places.times) - frames
    which = "the last frame is" if left_out == 1 else f"the last {left_out} frames are"
    what = f"{which} left out: {Path(first_error.where or '').name}: {first_error.what}"
    return places.until(frames), [Problem(what, first_error.remedy)]


def _indices(places: Places, frame: int) -> list[int]:
    return [int(index) for index in np.unique(places.table[frame])]


def _spread(files: Sequence[int], number: int) -> list[int]:
    """Return the first and the last of some files, and some in between."""
    return [files[at] for at in np.unique(np.linspace(0, len(files) - 1, number).astype(np.int64)).tolist()]


def _sizes(series: Series, files: Sequence[int]) -> dict[int, int]:
    """Return the bytes of each file; 0 where that cannot be told, so that the file is looked into."""
    sizes = {}
    for index in files:
        try:
            sizes[index] = os.stat(os.path.join(series.folder, series.paths[index])).st_size  # noqa: PTH116, PTH118 - called for every file
        except OSError:
            sizes[index] = 0
    return sizes


def _odd(sizes: dict[int, int], one: TiffContents) -> list[int]:
    """Return the files whose number of bytes is odd, the smallest first."""
    if one.codec == "none":
        usual = Counter(sizes.values()).most_common(1)[0][0]
        odd = [index for index, size in sizes.items() if size != usual]
    else:
        usual = sorted(sizes.values())[len(sizes) // 2]
        odd = [index for index, size in sizes.items() if size < usual * _MUCH_SMALLER]
    return sorted(odd, key=sizes.__getitem__)[:_ODD_LOOKED_AT]


def _refuse_odd_ones(series: Series, frames: dict[int, TiffContents]) -> None:
    kinds = {index: FrameKind.of(frame) for index, frame in frames.items()}
    usual = Counter(kinds.values()).most_common(1)[0][0]
    for index, kind in kinds.items():
        if kind != usual:
            raise UserError(f"this frame is {kind}, but the others of its folder are {usual}", REPLACE, series.path_of(index))


def _alike(frames: list[TiffContents]) -> list[int]:
    """Return the channels whose images are as large as those of most; types may differ."""
    sizes = [(FrameKind.of(frame).lengths, frame.planes.plane_px) for frame in frames]
    usual = Counter(sizes).most_common(1)[0][0]
    return [channel for channel, size in enumerate(sizes) if size == usual]
