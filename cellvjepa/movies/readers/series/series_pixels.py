"""Pixels of a series of files: each file is looked into when it is first read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Key, LazyPixels, Region, Shape5, region_of, reopened
from cellvjepa.movies.readers.series.series_headers import Headers
from cellvjepa.movies.readers.tiff import tiff
from cellvjepa.movies.readers.tiff.planes import TiffPlanes
from cellvjepa.movies.readers.tiff.tiff import TiffContents

REPLACE = "replace it, or take it out of the folder"


@dataclass(frozen=True)
class FrameKind:
    """What the files of a series have in common.

    Parameters
    ----------
    lengths
        Of the axes before Y and X in each file.
    plane_px
        Rows and columns.
    dtype
        The type of the pixels, in the byte order of this machine.
    """

    lengths: tuple[int, ...]
    plane_px: tuple[int, int]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, contents: TiffContents) -> FrameKind:
        """Return the kind of a file."""
        return cls(tuple(n for n in contents.lengths if n > 1), contents.planes.plane_px, contents.planes.stored.newbyteorder("="))

    def __str__(self) -> str:
        """Return it as people read it: ``5x512x512 uint16``."""
        return f"{'x'.join(map(str, (*self.lengths, *self.plane_px)))} {self.dtype.name}"


@dataclass(frozen=True, eq=False)
class SeriesPixels:
    """:class:`~cellvjepa.movies.movie.LazyPixels` made of the planes of many files.

    Parameters
    ----------
    uri
        Where they are, for messages.
    reopen
        Makes these pixels again; pickling is calling it elsewhere (:func:`cellvjepa.movies.movie.reopened`).
    files
        The paths.
    table
        ``(T, C, Z, 2)`` int64: for each frame, channel and plane the index of the file and of the plane in it.
    kinds
        What the files of each channel are like.
    dtype
        What all channels are promoted to.
    segment_px
        Rows and columns of what a read decodes at the least; None where planes lie bare.
    headers
        What is known of the files.
    """

    uri: str
    reopen: Callable[[], LazyPixels]
    files: tuple[str, ...]
    table: npt.NDArray[np.int64]
    kinds: tuple[FrameKind, ...]
    dtype: np.dtype[Any]
    segment_px: tuple[int, int] | None
    headers: Headers

    @property
    def shape(self) -> Shape5:
        """Return the lengths of T, C, Z, Y, X."""
        t, c, z, _ = self.table.shape
        return t, c, z, *self.kinds[0].plane_px

    @property
    def chunks(self) -> Shape5:
        """Return the size of a strip or tile; 1 everywhere where nothing has to be decoded."""
        return (1, 1, 1, *self.segment_px) if self.segment_px else (1, 1, 1, 1, 1)

    def __getitem__(self, key: Key, /) -> npt.NDArray[Any]:
        """Return a part, as numpy indexing does it.

        Raises
        ------
        UserError
            If a file cannot be read or decoded (any more), or is of another kind than the others.
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
            for index, channel in enumerate(range(c.start, c.stop, c.step)):
                planes = self.table[t, channel, z].reshape(-1, 2)
                outs = [out[i, index, k] for i in range(out.shape[0]) for k in range(out.shape[2])]
                for file in np.unique(planes[:, 0]).tolist():
                    mine = np.flatnonzero(planes[:, 0] == file)
                    self._planes_of(file, channel).read(planes[mine, 1].tolist(), rows, columns, (outs[i] for i in mine))

    def _planes_of(self, file: int, channel: int) -> TiffPlanes:
        known = self.headers.planes(file, self.files[file])
        if known is not None:
            return known
        contents = tiff.read_contents(Path(self.files[file]))
        kind = FrameKind.of(contents)
        if kind != self.kinds[channel]:
            raise UserError(f"this frame is {kind}, but the others of its folder are {self.kinds[channel]}", REPLACE, self.files[file])
        self.headers.keep(file, contents.planes)
        return contents.planes
