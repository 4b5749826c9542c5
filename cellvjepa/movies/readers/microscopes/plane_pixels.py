"""Pixels that are read plane by plane: what the readers of most formats share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Key, LazyPixels, Problem, Region, Shape5, region_of, reopened
from cellvjepa.movies.readers.axes import Arrangement, arrange
from cellvjepa.movies.readers.given import Given
from cellvjepa.movies.readers.microscopes.mapped_file import MappedFile
from cellvjepa.movies.readers.remedies import COPY_AGAIN

LARGEST_PLANE_BYTES = 2**32  # a plane that claims to be larger is not believed

Place = tuple[int, int, int]


class Planes(Protocol):
    """The planes of a movie in their file.

    Attributes
    ----------
    shape
        Lengths of T, C, Z, Y, X.
    dtype
        The native type, in the byte order of this machine.
    chunks
        What a read decodes at the least, as lengths along T, C, Z, Y, X.
    """

    @property
    def shape(self) -> Shape5: ...  # noqa: D102

    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102

    @property
    def chunks(self) -> Shape5: ...  # noqa: D102

    def read(self, places: Sequence[Place], rows: slice, columns: slice) -> Iterator[npt.NDArray[Any]]:
        """Yield the same part of planes, each given by frame, channel and depth; files are closed at the end."""
        ...


@dataclass(frozen=True, eq=False)
class PlanePixels:
    """:class:`~cellvjepa.movies.movie.LazyPixels` made of planes.

    Parameters
    ----------
    uri
        Where they are, for messages.
    reopen
        Makes these pixels again; pickling is calling it elsewhere (:func:`cellvjepa.movies.movie.reopened`).
    planes
        The planes.
    """

    uri: str
    reopen: Callable[[], LazyPixels]
    planes: Planes

    @property
    def shape(self) -> Shape5:
        """Return the lengths of T, C, Z, Y, X."""
        return self.planes.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the native type, in the byte order of this machine."""
        return self.planes.dtype

    @property
    def chunks(self) -> Shape5:
        """Return what a read decodes at the least."""
        return self.planes.chunks

    def __getitem__(self, key: Key, /) -> npt.NDArray[Any]:
        """Return a part, as numpy indexing does it.

        Raises
        ------
        UserError
            If the file cannot be read or decoded (any more).
        """
        region = region_of(key, self.shape)
        out = np.empty(region.shape, self.dtype)
        self._fill(region, out)
        return np.squeeze(out, axis=region.dropped)

    def read_into(self, key: Key, out: npt.NDArray[Any], /) -> None:
        """Read a part into memory that is there already (:class:`cellvjepa.movies.movie.FillsMemory`).

        Raises
        ------
        UserError
            As indexing.
        """
        region = region_of(key, self.shape)
        self._fill(region, out.reshape(region.shape))

    def __reduce__(self) -> tuple[Callable[..., LazyPixels], tuple[Callable[[], LazyPixels], str, Shape5, str]]:
        """Pickle by re-opening."""
        return reopened, (self.reopen, self.uri, self.shape, self.dtype.str)

    def _fill(self, region: Region, out: npt.NDArray[Any]) -> None:
        t, c, z, rows, columns = region.slices
        if out.size:
            places = [(i, j, k) for i in _steps(t) for j in _steps(c) for k in _steps(z)]
            parts = self.planes.read(places, rows, columns)
            for place, into in zip(places, out.reshape(-1, *out.shape[3:]), strict=True):
                try:
                    into[...] = next(parts)
                except UserError:
                    raise
                except Exception as error:  # libraries raise whatever they meet in damaged files
                    at = f"frame {place[0]}, channel {place[1]}, plane {place[2]}"
                    raise UserError(f"the pixels cannot be read at {at} ({str(error) or type(error).__name__})", COPY_AGAIN, self.uri) from error


@dataclass(frozen=True, eq=False)
class BarePlanes:
    """:class:`Planes` that lie bare in files and are mapped.

    Parameters
    ----------
    paths
        The files.
    plane_px
        Rows and columns of every plane.
    stored
        The type of the pixels, in the files' byte order.
    strides
        Bytes from a row to the next and from a pixel to the next.
    files, offsets
        ``(T, C, Z)`` int64: the index of the file of each plane, and where in it the plane starts [byte].
    """

    paths: tuple[str, ...]
    plane_px: tuple[int, int]
    stored: np.dtype[Any]
    strides: tuple[int, int]
    files: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    @property
    def shape(self) -> Shape5:
        """Return the lengths of T, C, Z, Y, X."""
        t, c, z = self.offsets.shape
        return t, c, z, *self.plane_px

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the native type, in the byte order of this machine."""
        return self.stored.newbyteorder("=")

    @property
    def chunks(self) -> Shape5:
        """Return 1 everywhere: nothing has to be decoded."""
        return 1, 1, 1, 1, 1

    def read(self, places: Sequence[Place], rows: slice, columns: slice) -> Iterator[npt.NDArray[Any]]:
        """Yield the same part of planes."""
        mapped: dict[int, MappedFile] = {}
        for place in places:
            file = int(self.files[place])
            if file not in mapped:
                mapped[file] = MappedFile(self.paths[file])
            yield bare_part(mapped[file], int(self.offsets[place]), self.stored, self.strides, rows, columns)


def bare_part(mapped: MappedFile, start: int, stored: np.dtype[Any], strides: tuple[int, int], rows: slice, columns: slice) -> npt.NDArray[Any]:
    """Return a part of a plane that lies bare in a file.

    Parameters
    ----------
    mapped
        The file.
    start
        Where the plane starts [byte].
    stored
        The type of its pixels.
    strides
        Bytes from a row to the next and from a pixel to the next.
    rows, columns
        The part, not empty; start, stop and step given.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or ends before.
    """
    shape = len(_steps(rows)), len(_steps(columns))
    steps = strides[0] * rows.step, strides[1] * columns.step
    length = (shape[1] - 1) * steps[1] + stored.itemsize
    data = mapped.scattered(start + rows.start * strides[0] + columns.start * strides[1], steps[0], length, shape[0])
    return np.ndarray(shape, stored, data, 0, steps)


@dataclass(frozen=True)
class Placed:
    """The planes of a file as frames, channels and depths.

    Parameters
    ----------
    table
        ``(T, C, Z)`` int64: the number of each plane in the file's own order.
    arrangement
        Where the axes come from.
    problems
        What was assumed or is missing.
    """

    table: npt.NDArray[np.int64]
    arrangement: Arrangement
    problems: tuple[Problem, ...]


def placed(numbers: npt.NDArray[np.int64], names: Sequence[str], plane_px: tuple[int, int], where: str, given: Given) -> Placed:
    """Find T, C and Z among the axes of a file's planes, and leave out frames that are not complete.

    Parameters
    ----------
    numbers
        One axis per name: the number of each plane in the file; -1 where it is missing.
    names
        What the axes before Y and X are called.
    plane_px
        Rows and columns.
    where
        The file, for messages.
    given
        What the user says about the axes.

    Raises
    ------
    UserError
        If the axes cannot be understood, or no frame is complete.
    """
    if given.axes is not None and not given.axes.endswith("YX"):
        raise UserError(
            f"the axes given ({given.axes}) do not end with Y and X, as the planes of this file do", "give --axes TZYX, for instance", where
        )
    arrangement = arrange((*names, "Y", "X"), (*numbers.shape, *plane_px), where, given=given.axes)
    table = arrangement.to_tczyx(numbers[..., None, None])[..., 0, 0]
    complete: npt.NDArray[np.bool_] = np.all(table >= 0, axis=(1, 2))
    if not complete.any():
        raise UserError("no frame is complete: each lacks a channel or a plane", "record or export the movie again", where)
    return Placed(table[complete], arrangement, (*arrangement.problems, *_left_out(complete)))


def refuse_large(plane_px: tuple[int, int], bytes_per_pixel: int, where: str) -> None:
    """Refuse planes that cannot be.

    Raises
    ------
    UserError
        If a plane has no pixels, or claims more than a camera makes.
    """
    if min(plane_px) < 1 or math.prod(plane_px) * bytes_per_pixel > LARGEST_PLANE_BYTES:
        raise UserError(f"the file is damaged: its planes claim {plane_px[0]:,} x {plane_px[1]:,} pixels", COPY_AGAIN, where)


def refuse_short(end: int, size: int, where: str) -> None:
    """Refuse a file that ends before its pixels do.

    Raises
    ------
    UserError
        If it is too short.
    """
    if end > size:
        raise UserError(f"the file is truncated: its pixels should end at byte {end:,}, but it has only {size:,}", COPY_AGAIN, where)


def _steps(part: slice) -> range:
    return range(part.start, part.stop, part.step)


def _left_out(complete: npt.NDArray[np.bool_]) -> tuple[Problem, ...]:
    """Say which frames are not there: at the end, where a recording was stopped, or in between, where time jumps."""
    last = int(np.flatnonzero(complete)[-1])
    problems = []
    if last + 1 < len(complete):
        what = f"the recording was stopped early: {last + 1} of {len(complete)} frames are complete"
        problems.append(Problem(what, "the others are left out; nothing to do if you know that"))
    missing = np.flatnonzero(~complete[:last])
    if missing.size:
        what = f"frames lack a channel or a plane and are left out: {missing.size}, the first is {missing[0]}"
        problems.append(Problem(what, "record every channel in every frame: clips across a gap see a jump in time"))
    return tuple(problems)
