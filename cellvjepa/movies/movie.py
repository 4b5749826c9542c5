"""A Movie: lazily readable pixels with names and units, always in the order T C Z Y X."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Any, Literal, Protocol, SupportsIndex, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError

AXES = ("T", "C", "Z", "Y", "X")

Origin: TypeAlias = Literal["file", "assumed", "given"]
Shape5: TypeAlias = tuple[int, int, int, int, int]
Key: TypeAlias = SupportsIndex | slice | EllipsisType | tuple[SupportsIndex | slice | EllipsisType, ...]


@dataclass(frozen=True)
class PixelSize:
    """Extent of one pixel [um]; ``z`` is None where there is one plane or the file does not say."""

    z: float | None
    y: float
    x: float


@dataclass(frozen=True)
class Problem:
    """Something a user should know about a movie, and what can be done about it."""

    what: str
    remedy: str


class LazyPixels(Protocol):
    """Pixels that are read when they are indexed.

    Indexing takes ints and slices with positive steps for T, C, Z, Y, X, as numpy does: an int drops its axis. Reading from
    several threads at once is safe, no file stays open between reads, and pickling is re-opening.

    Attributes
    ----------
    shape
        Lengths of T, C, Z, Y, X; axes of length 1 are kept.
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

    def __getitem__(self, key: Key, /) -> npt.NDArray[Any]: ...


@runtime_checkable
class FillsMemory(Protocol):
    """Pixels that can be read into memory that is there already: whoever reads much need not ask the system for new memory each time."""

    def read_into(self, key: Key, out: npt.NDArray[Any], /) -> None:
        """Read a part.

        Parameters
        ----------
        key
            As for indexing.
        out
            As large as what indexing returns, of the native type, C-contiguous.
        """
        ...


@dataclass(frozen=True, eq=False)
class Resolution:
    """A coarser copy of a movie's pixels, as pyramids have them.

    Parameters
    ----------
    pixels
        T C Z Y X, of the movie's type; T and C are those of the movie.
    factor
        Native planes, rows and columns that one pixel of the copy stands for.
    """

    pixels: LazyPixels
    factor: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Movie:
    """One recording: its pixels, their names and their units.

    Parameters
    ----------
    uri
        What :func:`cellvjepa.movies.readers.open_movie` opens: the absolute path of a file, a folder of frames, or the group of an
        image inside a Zarr store; a pattern of frames (``/data/exp/{channel}_t{t}.tif``); or the address of a remote group.
    name
        The ``movie`` of every table: the path relative to the archive's root with ``/``, or its own file name.
    pixels
        The lazy array, T C Z Y X, native dtype.
    channels
        One distinct name per channel.
    pixel_um
        Pixel size [um], or None where it is unknown.
    interval_s
        Time between frames [s], or None where it is unknown.
    axes
        Where the meaning of each axis comes from: said by the file, assumed, or given by the user.
    codec
        How the pixels are compressed, for people: ``"zstd"``, ``"lzw"``, ``"none"``.
    size_bytes
        Bytes of all pixels when decoded.
    problems
        What is unknown or was assumed, with remedies.
    levels
        ``(C, 2)`` float64: the native values that map to 0 and 1; None until measured (:mod:`cellvjepa.movies.levels`).
    groups
        What the movie belongs to, as far as its place in the archive says so: ``{"plate": "day1.zarr", "well": "B3", "field": "0"}``.
    pyramid
        Coarser copies of the pixels, the finest first; empty where there are none.
    """

    uri: str
    name: str
    pixels: LazyPixels
    channels: tuple[str, ...]
    pixel_um: PixelSize | None
    interval_s: float | None
    axes: Mapping[str, Origin]
    codec: str
    size_bytes: int
    problems: tuple[Problem, ...] = ()
    levels: npt.NDArray[np.float64] | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    pyramid: tuple[Resolution, ...] = ()

    def __post_init__(self) -> None:
        """Hold the axis contract."""
        assert len(self.pixels.shape) == 5, self.pixels.shape
        assert min(self.pixels.shape) > 0, self.pixels.shape
        assert len(set(self.channels)) == len(self.channels) == self.pixels.shape[1], (self.channels, self.pixels.shape)
        assert tuple(self.axes) == AXES, self.axes
        assert self.levels is None or self.levels.shape == (len(self.channels), 2)

    @property
    def shape(self) -> dict[str, int]:
        """Return the lengths of the axes by name: ``{"T": 481, "C": 1, "Z": 1, "Y": 615, "X": 615}``."""
        return dict(zip(AXES, self.pixels.shape, strict=True))


@dataclass(frozen=True, eq=False)
class ArrayPixels:
    """An array in memory as :class:`LazyPixels`.

    Parameters
    ----------
    array
        T C Z Y X.
    """

    array: npt.NDArray[Any]

    def __post_init__(self) -> None:
        """Hold the axis contract."""
        assert self.array.ndim == 5, self.array.shape

    @property
    def shape(self) -> Shape5:
        """Return the lengths of T, C, Z, Y, X."""
        t, c, z, y, x = self.array.shape
        return t, c, z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the native type."""
        return self.array.dtype

    @property
    def chunks(self) -> Shape5:
        """Return 1 everywhere: nothing has to be decoded."""
        return 1, 1, 1, 1, 1

    def __getitem__(self, key: Key, /) -> npt.NDArray[Any]:
        """Return a copy of a part, as numpy indexing does it."""
        return np.array(self.array[key])


@dataclass(frozen=True)
class Region:
    """A key of :class:`LazyPixels`, made plain.

    Parameters
    ----------
    slices
        One slice with non-negative start and stop and a positive step per axis.
    dropped
        The axes that were indexed by an int and are to be dropped.
    """

    slices: tuple[slice, slice, slice, slice, slice]
    dropped: tuple[int, ...]

    @property
    def shape(self) -> Shape5:
        """Return the lengths of the region before axes are dropped."""
        t, c, z, y, x = (len(range(s.start, s.stop, s.step)) for s in self.slices)
        return t, c, z, y, x


def region_of(key: Key, shape: Shape5) -> Region:
    """Make a key plain: fill in missing axes and open ends, count negative indices from the end.

    Raises
    ------
    IndexError
        If an int is out of range, a step is not positive, or there are more than five axes.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    if ... in parts:
        at = parts.index(...)
        parts[at : at + 1] = [slice(None)] * (len(shape) + 1 - len(parts))
    if len(parts) > len(shape):
        raise IndexError(f"too many indices: {len(parts)} for axes {''.join(AXES)}")
    parts += [slice(None)] * (len(shape) - len(parts))
    slices, dropped = [], []
    for axis, (part, length) in enumerate(zip(parts, shape, strict=True)):
        if isinstance(part, slice):
            start, stop, step = part.indices(length)
            if step < 1:
                raise IndexError(f"the step along {AXES[axis]} must be positive, not {step}")
            slices.append(slice(start, max(start, stop), step))
        else:
            assert not isinstance(part, EllipsisType)
            index = operator.index(part)
            if not -length <= index < length:
                raise IndexError(f"index {index} is out of range for axis {AXES[axis]} of length {length}")
            slices.append(slice(index % length, index % length + 1, 1))
            dropped.append(axis)
    t, c, z, y, x = slices
    return Region((t, c, z, y, x), tuple(dropped))


def reopened(reopen: Callable[[], LazyPixels], uri: str, shape: Shape5, dtype: str) -> LazyPixels:
    """Open pixels again: what pickled :class:`LazyPixels` turn into.

    Parameters
    ----------
    reopen
        Opens them; must itself pickle, as a ``functools.partial`` of a function of a module does.
    uri
        Where they are, for the message.
    shape, dtype
        What they were.

    Raises
    ------
    UserError
        If what lies there has changed its shape or type, or cannot be read any more.
    """
    pixels = reopen()
    if pixels.shape != shape or pixels.dtype.str != dtype:
        raise UserError(
            f"the movie has changed: it was {shape} {np.dtype(dtype)} and is now {pixels.shape} {pixels.dtype}",
            "start again, and leave the files alone while they are in use",
            uri,
        )
    return pixels
