"""Which file of a series is which frame, channel and plane; what is missing is left out and said."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Problem
from cellvjepa.movies.readers.names import natural_key
from cellvjepa.movies.readers.series.file_series import Series

_STAMP = re.compile(r"(?:([0-9]{4})y([0-9]{1,2})m([0-9]{1,2})d_)?(?:([0-9]+)d)?([0-9]+)h([0-9]+)m(?:([0-9]+)s)?")
_METAMORPH = re.compile(r"[0-9]+[-_ ]*([A-Za-z].*)")

Place = tuple[int, str, int]


@dataclass(frozen=True)
class Places:
    """The files of a series in their order.

    Parameters
    ----------
    times
        The number of each frame; seconds where names have time stamps.
    are_s
        Whether they are seconds. [s]
    channels
        What the names call each channel; one empty text where they do not.
    depths
        The number of each plane; a single 0 where names have none.
    table
        ``(T, C, Z)`` int64: the index of the file in the series.
    problems
        What is missing.
    """

    times: tuple[int, ...]
    are_s: bool
    channels: tuple[str, ...]
    depths: tuple[int, ...]
    table: npt.NDArray[np.int64]
    problems: tuple[Problem, ...] = ()

    @property
    def step(self) -> int | None:
        """Return the usual distance between frames; None where there is one."""
        steps = [after - before for before, after in zip(self.times, self.times[1:], strict=False)]
        return Counter(steps).most_common(1)[0][0] if steps else None

    def until(self, frames: int) -> Places:
        """Return the first frames only."""
        return replace(self, times=self.times[:frames], table=self.table[:frames])

    def with_channels(self, kept: list[int]) -> Places:
        """Return some of the channels only."""
        return replace(self, channels=tuple(self.channels[index] for index in kept), table=self.table[:, kept])


def place(series: Series) -> Places:
    """Find the place of each file. No pixels are invented: a channel that lacks frames is left out, and so are frames that all lack.

    Raises
    ------
    UserError
        If two files are for the same place, or no frame is complete.
    """
    are_s = "time" in series.pattern.meanings
    files: dict[Place, int] = {}
    for index, values in enumerate(series.values):
        one = _place_of(values)
        if one in files:
            shown = " and ".join(PurePosixPath(series.paths[i]).name for i in (files[one], index))
            raise UserError(
                f"two files have the same number ({shown})", "remove one of them, or say what tells them apart with --pattern", series.uri
            )
        files[one] = index
    channels = sorted({channel for _, channel, _ in files}, key=natural_key)
    depths, problems = _depths(files)
    complete = {
        channel: sorted(t for t in {t for t, c, _ in files if c == channel} if all((t, channel, z) in files for z in depths)) for channel in channels
    }
    times, kept, left_out = _common(series, complete)
    problems += left_out
    if not times:
        raise UserError("no frame is complete: each lacks a channel or a plane", "add the missing files, or read fewer with --pattern", series.uri)
    table = np.array([[[files[t, c, z] for z in depths] for c in kept] for t in times], dtype=np.int64)
    found = Places(tuple(times), are_s, tuple(kept), tuple(depths), table, tuple(problems))
    partial = {t for t, _, _ in files}.difference(*complete.values())
    return replace(found, problems=(*found.problems, *_gaps(series, found, len(partial))))


def seconds_of(stamp: str) -> int:
    """Return the seconds of a time stamp: since its beginning, or since year 1 where it has a date."""
    found = _STAMP.fullmatch(stamp)
    assert found is not None, stamp
    year, month, day_of_month, days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    if year:
        try:
            days += datetime.date(year, month, day_of_month).toordinal()
        except ValueError as error:
            raise UserError(f"'{stamp}' in the names is no date", "rename the files, or read the number as {t} with --pattern", "") from error
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def channel_names(channels: tuple[str, ...]) -> tuple[str | None, ...]:
    """Return what channels are called: the words in the names of the files, or ``ch`` and the number; None where there is nothing."""
    words = tuple(found[1] if (found := _METAMORPH.fullmatch(channel)) else channel for channel in channels)  # w1DAPI is called DAPI
    words = words if len(set(words)) == len(words) else channels
    return tuple(f"ch{int(word)}" if word.isdecimal() else word or None for word in words)


def _place_of(values: Mapping[str, str]) -> Place:
    t = seconds_of(values["time"]) if "time" in values else int(values.get("t", 0))
    return t, values.get("channel", ""), int(values.get("z", 0))


def _depths(files: Mapping[Place, int]) -> tuple[list[int], list[Problem]]:
    """Return the planes that most frames have."""
    per_frame: dict[tuple[int, str], set[int]] = {}
    for t, channel, z in files:
        per_frame.setdefault((t, channel), set()).add(z)
    counts = Counter(frozenset(found) for found in per_frame.values())
    usual = sorted(max(counts.items(), key=lambda item: (item[1], len(item[0])))[0])
    others = {z for _, _, z in files} - set(usual)
    if not others:
        return usual, []
    number = f"{len(others)} planes are" if len(others) > 1 else "1 plane is"
    what = f"{number} left out, because only some frames have {'them' if len(others) > 1 else 'it'} (first z {min(others)})"
    return usual, [Problem(what, "add the missing files if you have them")]


def _common(series: Series, complete: Mapping[str, list[int]]) -> tuple[list[int], list[str], list[Problem]]:
    """Return the frames and channels that are kept: all frames of the most complete channel, and the channels that have them all."""
    channels = list(complete)
    everything = sorted(set().union(*complete.values()))
    shared = sorted(set(everything).intersection(*complete.values()))
    if len(shared) == len(everything):
        return everything, channels, []
    if everything[:-1] == shared and shared:  # a recording that was stopped
        lacking = [channel for channel in channels if everything[-1] not in complete[channel]]
        what = f"the last frame is left out: {_shown(lacking)} {'lacks' if len(lacking) == 1 else 'lack'} it"
        return shared, channels, [Problem(what, "add the missing file if you have it")]
    reference = max(channels, key=lambda channel: (len(complete[channel]), -channels.index(channel)))
    times = complete[reference]
    kept = [channel for channel in channels if set(times) <= set(complete[channel])]
    problems = []
    for channel in channels:
        missing = sorted(set(times) - set(complete[channel]))
        if channel not in kept:
            first = _file_at(series, missing[0], reference)
            alone = series.pattern.fixed({"channel": channel}).text
            what = f"channel {channel} is left out: it lacks {len(missing)} of {len(times)} frames, first where {first} is the frame of {reference}"
            problems.append(Problem(what, f'add the missing files, or read the channel alone with --pattern "{alone}"'))
    return times, kept, problems


def _file_at(series: Series, t: int, channel: str) -> str:
    for index, values in enumerate(series.values):
        found, name, _ = _place_of(values)
        if (found, name) == (t, channel):
            return PurePosixPath(series.paths[index]).name
    raise AssertionError(t)


def _gaps(series: Series, places: Places, partials: int) -> list[Problem]:
    problems = []
    if partials:
        what = f"{partials} frame{'s are' if partials > 1 else ' is'} left out, because {'they lack' if partials > 1 else 'it lacks'} a plane"
        problems.append(Problem(what, "add the missing files if you have them"))
    step = places.step
    jumps = [i for i, (before, after) in enumerate(zip(places.times, places.times[1:], strict=False)) if after - before != step]
    if jumps:
        before, after = (PurePosixPath(series.paths[places.table[i, 0, 0]]).name for i in (jumps[0], jumps[0] + 1))
        what = f"frames are missing in {len(jumps)} place{'s' * (len(jumps) > 1)}, first between {before} and {after}"
        problems.append(Problem(what, "add them if you have them: clips across a gap see a jump in time"))
    return problems


def _shown(channels: list[str]) -> str:
    return f"channel {channels[0]}" if len(channels) == 1 else f"the channels {', '.join(channels)}"
