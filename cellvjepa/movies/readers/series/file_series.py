"""Series of files that are one movie: finding them in a folder, and what they are called."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Problem
from cellvjepa.movies.readers.names import natural_key
from cellvjepa.movies.readers.series.name_atoms import is_part_of_series
from cellvjepa.movies.readers.series.name_pattern import GROUPING, NamePattern, parse_pattern
from cellvjepa.movies.readers.series.series_name import distinct_movie_names
from cellvjepa.movies.readers.series.series_names import Kin, kin_among, pattern_of_both
from cellvjepa.movies.readers.tiff import tiff
from cellvjepa.movies.readers.tiff.sets import set_of
from cellvjepa.movies.readers.tiff.tiff import TiffContents
from cellvjepa.movies.readers.zarr.folder import printable

_GIVE_PATTERN = "say it with --pattern"
_ROWS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MOST_PROBED = 5  # of files that cannot be read, before the folder is taken as it looks
_THUMBNAIL = re.compile(r"_thumb(?=_|\.)", re.IGNORECASE)  # MetaMorph writes one beside each image


@dataclass(frozen=True)
class Series:
    """Files that are the frames, channels and planes of one movie.

    Parameters
    ----------
    folder
        What the paths are relative to.
    pattern
        How the paths are put together; what tells the movie from others is fixed in it.
    paths
        The files.
    values
        For each of them what the fields of the pattern are.
    groups
        What the movie belongs to: well, field, ...
    name
        The movie's name, relative to the folder; empty where it is the only one there.
    assumed
        What the names do not say and is taken from how they vary.
    axes_given
        Whether the user said what the names mean.
    time_is_said
        Whether the names say that a number is time.
    """

    folder: Path
    pattern: NamePattern
    paths: tuple[str, ...]
    values: tuple[dict[str, str], ...]
    groups: dict[str, str] = field(default_factory=dict)
    name: str = ""
    assumed: tuple[Problem, ...] = ()
    axes_given: bool = False
    time_is_said: bool = True

    @property
    def uri(self) -> str:
        """Return what :func:`cellvjepa.movies.readers.open_movie` opens: the folder, or the folder and the pattern."""
        return str(self.folder) if not self.name and not self.axes_given else uri_of(self.folder, self.pattern)

    def name_below(self, root: Path) -> str:
        """Return what tables call the movie in the archive of a folder."""
        below = "" if self.folder == root else self.folder.relative_to(root).as_posix()
        return "/".join(part for part in (below, self.name) if part) or root.name

    def path_of(self, index: int) -> Path:
        """Return the path of a file."""
        return self.folder / self.paths[index]


@dataclass(frozen=True)
class Sorted:
    """The TIFFs of a folder, and of the folders in it that are parts of a movie.

    Parameters
    ----------
    series
        Movies of several files.
    loose
        Files that are movies by themselves.
    unsure
        Files that look like frames, but it is not known what varies in their names.
    sets
        Those loose files that stand for others too, because their OME-XML says so.
    """

    series: tuple[Series, ...]
    loose: tuple[str, ...]
    unsure: tuple[Kin, ...] = ()
    sets: tuple[str, ...] = ()

    @property
    def doubts(self) -> tuple[UserError, ...]:
        """Return what is not known about the unsure ones, and what helps."""
        return tuple(UserError(kin.unsure or "", f'{_GIVE_PATTERN}, as --pattern "{kin.example}"') for kin in self.unsure)


def uri_of(folder: Path, pattern: NamePattern) -> str:
    """Return the uri of a series: a pattern from the root of the file system on, or a path where nothing varies."""
    if pattern.literal is not None:
        return str(folder / pattern.literal)
    return str(folder).replace("{", "{{").replace("}", "}}").rstrip("/\\") + "/" + pattern.text


def parted_uri(uri: str) -> tuple[Path, NamePattern]:
    """Part the uri of a series into the folder and the pattern below it.

    Raises
    ------
    UserError
        If it is none.
    """
    parts = PurePath(uri).as_posix().split("/")
    plain = [part.replace("{{", "").replace("}}", "") for part in parts]
    first = next((i for i, part in enumerate(plain) if "{" in part or "}" in part), len(parts) - 1)
    starred = [i for i in range(first) if "*" in parts[i] and not os.path.lexists("/".join(parts[: i + 1]))]
    first = min([first, *starred])
    folder = Path("/".join(parts[:first]).replace("{{", "{").replace("}}", "}") or "/")
    return folder, parse_pattern("/".join(parts[first:]))


def tiffs_in(folder: Path) -> list[str]:
    """Return the names of the TIFFs of a folder, without hidden files and thumbnails.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if is_frame_name(entry.name) and printable(entry.name) == entry.name and not is_folder(entry)]


def is_frame_name(name: str) -> bool:
    """Whether a file is to be read as TIFF, as its name says."""
    return name.lower().endswith(tiff.SUFFIXES) and not name.startswith(".") and not _THUMBNAIL.search(name)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether this is a folder, or a link to one; links that lead round in a circle are none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def parts_of_series(folders: Iterable[str]) -> list[str]:
    """Return which folders within one are named as those of one channel or time point are, if there are several."""
    parts = [name for name in folders if is_part_of_series(name)]
    return parts if len(parts) > 1 else []


def sort_folder(folder: Path, names: Sequence[str], inner: Sequence[str] = ()) -> Sorted:
    """Sort the TIFFs of a folder; of each kind one file is opened, to see whether it holds a frame or a movie.

    Parameters
    ----------
    folder
        The folder.
    names
        Of its TIFFs.
    inner
        Relative paths of TIFFs in those folders within it that may be parts of a movie (:func:`parts_of_series`).
    """
    # Folders that do not fit together are movies of their own.
    whole = [kin for kin in kin_among(inner) if kin.unsure is None and _varies_between_folders(kin)]
    loose: list[str] = []
    kins: list[Kin] = []
    unsure: list[Kin] = []
    sets, alone = _without_sets(folder, names)
    for kin in (*whole, *kin_among(alone)):
        if len(kin.paths) < 2 or not kin.has_series or not _hold_frames(folder, kin):
            loose += [path for path in kin.paths if "/" not in path]
        elif kin.unsure is not None:
            unsure.append(kin)
        else:
            kins.append(kin)
    series = series_of(folder, kins, only=not (unsure or sets))
    return Sorted(tuple(series), tuple(sorted([*sets, *loose], key=natural_key)), tuple(unsure), tuple(sets))


def _without_sets(folder: Path, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the first file of each set that says in its OME-XML which files belong to it, and the files that are in no set."""
    left = dict.fromkeys(names)
    firsts = []
    for kin in kin_among(names):
        for name in kin.paths if len(kin.paths) > 1 else ():
            if name in left:
                files = set_of(folder / name)
                if files is None:
                    break  # its kin are most likely alike
                firsts.append(files[0].name)
                for file in files:
                    left.pop(file.name, None)
    return firsts, list(left)


def series_of(folder: Path, kins: Sequence[Kin], *, only: bool = True, axes_given: bool = False) -> list[Series]:
    """Make a series of the files that have the same well, field, ...

    Parameters
    ----------
    folder
        What the paths of the files are relative to.
    kins
        The files.
    only
        Whether there is nothing else in the folder, so that a single movie has the folder's name.
    axes_given
        Whether the user gave the pattern.
    """
    found: list[Series] = []
    patterns, fixed = [], []
    for kin in kins:
        groups: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
        for index, values in enumerate(kin.values):
            groups[tuple(values.get(meaning) for meaning in GROUPING)].append(index)
        assumed = [Problem(what, f'if it is not so, {_GIVE_PATTERN}, as --pattern "{kin.pattern.text}"') for what in kin.assumed]
        together = None if axes_given else pattern_of_both(kin, kins)
        if together is not None:
            what = f"its folder holds others named alike ({together.text}); each is taken as a movie"
            assumed.append(Problem(what, f'if they are channels of one, say it with --pattern "{together.text}"'))
        for key, members in groups.items():
            patterns.append(kin.pattern)
            fixed.append({meaning: value for meaning, value in zip(GROUPING, key, strict=True) if value is not None})
            paths, values_of = tuple(kin.paths[index] for index in members), tuple(kin.values[index] for index in members)
            pattern = kin.pattern.fixed(fixed[-1])
            found.append(Series(folder, pattern, paths, values_of, _groups(fixed[-1]), "", tuple(assumed), axes_given, kin.time_is_said))
    if not found or (len(found) == 1 and only):
        return found
    return [replace(one, name=name) for one, name in zip(found, distinct_movie_names(patterns, fixed), strict=True)]


def first_readable(folder: Path, paths: Sequence[str]) -> TiffContents | None:
    """Return what the first file that can be read holds; None where none of a few can."""
    for path in paths[:_MOST_PROBED]:
        try:
            return tiff.read_contents(folder / path)
        except UserError:
            continue
    return None


def _hold_frames(folder: Path, kin: Kin) -> bool:
    """Whether files are frames rather than movies of their own, as one of them says.

    Where a file has several planes and does not say what they are, the names must say that a number is time. Channels may be movies:
    ImageJ splits ``title.tif`` into ``C1-title.tif``, ``C2-title.tif``.
    """
    contents = first_readable(folder, kin.paths)
    if contents is None or contents.number == 1:
        return True
    frames = contents.lengths[contents.names.index("T")] if "T" in contents.names else 1
    if kin.time_is_said:
        return frames == 1
    is_split = kin.pattern.text.startswith("C{channel}-") or ("/" in kin.pattern.text and "*" not in kin.pattern.text)
    return "channel" in kin.pattern.meanings and is_split


def _varies_between_folders(kin: Kin) -> bool:
    first = kin.pattern.text.partition("/")[0]
    return any(f"{{{meaning}}}" in first for meaning in ("t", "channel", "z", "time"))


def _groups(fixed: dict[str, str]) -> dict[str, str]:
    """Return what a movie belongs to; where the row and the column of a well are numbers, also what the well is called: B3."""
    groups = {meaning: value for meaning, value in fixed.items() if meaning != "movie"}
    row, column = groups.get("row", ""), groups.get("column", "")
    if "well" in groups or not (row.isdecimal() and column.isdecimal() and 1 <= int(row) <= len(_ROWS)):
        return groups
    return {**groups, "well": f"{_ROWS[int(row) - 1]}{int(column)}"}
