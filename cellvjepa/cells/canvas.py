"""A label image on disk that can be painted: as large as a movie, however large that is, and saved with every stroke."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.cells.label_writing import is_ours, new_array
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.writing import atomic_path, readable_write_errors


class LabelCanvas:
    """The array of a painted label image, T Y X, or T Z Y X where there are several planes.

    It is indexed as numpy arrays are, by ints and slices, or by one array of indices for each axis; what is assigned is on the disk when the
    assignment returns. Places that nobody has painted take no space, neither on the disk nor in memory.

    Parameters
    ----------
    folder
        The OME-Zarr label image; :func:`new_canvas` makes one.

    Raises
    ------
    UserError
        If it is no label image of cellvjepa, or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        import zarr

        if not is_ours(folder):
            raise UserError("this is no label image that was made here", "make a new one, or open this one as a movie's labels", folder)
        try:
            self._array: Any = zarr.open_array(folder / "0", mode="r+", zarr_format=3)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"the label image cannot be opened ({type(error).__name__}: {error})", "make a new one", folder) from None
        self.path = folder
        t, _, z, y, x = self._array.shape
        self.shape: tuple[int, ...] = (t, z, y, x) if z > 1 else (t, y, x)
        self._largest: int | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the pixels."""
        found: np.dtype[Any] = np.dtype(self._array.dtype)
        return found

    @property
    def ndim(self) -> int:
        """3 or 4."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many pixels there are."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """What all of it would take in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.shape[0]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return all of it in memory."""
        return np.asarray(self[...], dtype)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return a part, in memory."""
        if _is_fancy(key):
            indices = np.broadcast_arrays(*key)
            found = np.zeros(indices[0].shape, self.dtype)
            for rows, place, inside in _by_frame(indices):
                found[rows] = self._read(place)[inside]
            return found
        return np.asarray(self._array[self._five(key)])

    def __setitem__(self, key: Any, values: Any) -> None:
        """Paint a part."""
        with readable_write_errors(self.path):
            self._note(np.asarray(values))
            if not _is_fancy(key):
                self._array[self._five(key)] = np.asarray(values, self.dtype)
                return
            indices = np.broadcast_arrays(*key)
            given = np.broadcast_to(np.asarray(values, self.dtype), indices[0].shape)
            for rows, place, inside in _by_frame(indices):
                part = self._read(place)
                part[inside] = given[rows]
                self._array[self._five(place)] = part

    def largest(self) -> int:
        """Return the largest number that any cell has, or has had since this was opened; only what was ever painted is looked at."""
        if self._largest is None:
            lengths = self._array.chunks
            painted = [tuple(map(int, file.parts[-5:])) for file in (self.path / "0" / "c").glob("*/*/*/*/*") if file.name.isdigit()]
            boxes = [tuple(slice(i * length, (i + 1) * length) for i, length in zip(at, lengths, strict=True)) for at in painted]
            self._largest = max((int(np.max(self._array[box])) for box in boxes), default=0)
        return self._largest

    def _note(self, values: npt.NDArray[Any]) -> None:
        if self._largest is not None and values.size:
            self._largest = max(self._largest, int(values.max()))

    def _read(self, place: tuple[slice, ...]) -> npt.NDArray[Any]:
        return np.array(self._array[self._five(place)])

    def _five(self, key: Any) -> tuple[Any, ...]:
        """Return a key for T C Z Y X."""
        parts = list(key) if isinstance(key, tuple) else [key]
        if any(part is Ellipsis for part in parts):
            at = next(i for i, part in enumerate(parts) if part is Ellipsis)
            parts[at : at + 1] = [slice(None)] * (self.ndim + 1 - len(parts))
        parts += [slice(None)] * (self.ndim - len(parts))
        if len(parts) > self.ndim:
            raise IndexError(f"too many indices: {len(parts)} for {self.ndim} axes")
        plain = [part if isinstance(part, slice) else int(part) for part in parts]
        return (plain[0], 0, *([0] if self.ndim == 3 else []), *plain[1:])


def new_canvas(path: str | os.PathLike[str], movie: Movie) -> LabelCanvas:
    """Make an empty label image for a movie, to be painted.

    Parameters
    ----------
    path
        ``NAME.zarr``.
    movie
        Whose labels they will be: size, pixel size and interval are its.

    Raises
    ------
    UserError
        If something stands there, or it cannot be written.
    """
    folder = Path(os.path.abspath(path))  # noqa: PTH100 - a link keeps its name
    if folder.suffix.lower() != ".zarr":
        raise UserError("labels that are painted are OME-Zarr", f"call it {folder.stem or 'labels'}.zarr", folder)
    if os.path.lexists(folder):
        raise UserError("something is here already", "choose another name, or open it", folder)
    with atomic_path(folder) as part:
        new_array(part, movie, np.uint16)[0, 0, 0] = 0
    return LabelCanvas(folder)


def _is_fancy(key: Any) -> bool:
    return isinstance(key, tuple) and any(isinstance(part, np.ndarray | list) for part in key)


def _by_frame(indices: Any) -> Any:
    """Yield, for each frame that pixels lie in, which ones, the box around them, and where in it they are."""
    indices = [np.asarray(index) for index in indices]
    frames = indices[0]
    for t in np.unique(frames):
        rows = np.nonzero(frames == t)
        own = [index[rows] for index in indices[1:]]
        starts = [int(index.min()) for index in own]
        place = (slice(int(t), int(t) + 1), *(slice(start, int(index.max()) + 1) for start, index in zip(starts, own, strict=True)))
        yield rows, place, (0, *(index - start for start, index in zip(starts, own, strict=True)))
