"""The pixels of one array of a Zarr store, as T C Z Y X."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Key, LazyPixels, Region, Shape5, region_of, reopened
from cellvjepa.movies.readers.axes import Arrangement
from cellvjepa.movies.readers.zarr.array import COPY_AGAIN, StoredArray
from cellvjepa.movies.readers.zarr.chunks import open_chunks
from cellvjepa.movies.readers.zarr.folder import LocalFolder
from cellvjepa.movies.readers.zarr.metadata import WRITE_AGAIN
from cellvjepa.movies.readers.zarr.remote import away, failure


@dataclass(frozen=True, eq=False)
class ZarrPixels:
    """:class:`~cellvjepa.movies.movie.LazyPixels` of one Zarr array.

    Parameters
    ----------
    uri
        The group of the image.
    reopen
        Makes these pixels again; pickling is calling it elsewhere (:func:`cellvjepa.movies.movie.reopened`).
    array
        The array, with whatever axes it has.
    arrangement
        Which of its axes is which.
    """

    uri: str
    reopen: Callable[[], LazyPixels]
    array: StoredArray
    arrangement: Arrangement

    def _tczyx(self, lengths: tuple[int, ...]) -> Shape5:
        t, c, z, y, x = (1 if source is None else lengths[source] for source in self.arrangement.sources)
        return t, c, z, y, x

    @property
    def shape(self) -> Shape5:
        """Return the lengths of T, C, Z, Y, X."""
        return self._tczyx(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the native type, in the byte order of this machine."""
        return self.array.dtype

    @property
    def chunks(self) -> Shape5:
        """Return the size of a chunk; in a sharded array that of a chunk within a shard."""
        return self._tczyx(self.array.chunks)

    @cached_property
    def _read(self) -> Callable[[tuple[slice, ...], npt.NDArray[Any] | None], npt.NDArray[Any]]:
        """Return what reads parts of the array, into memory if that is given; threads that come here at once do the same twice."""
        folder = self.array.folder
        chunks = open_chunks(folder.path, self.array.metadata) if isinstance(folder, LocalFolder) else None
        if chunks is not None:
            return chunks.read
        import zarr

        store, path = folder.store()
        try:
            opened = zarr.open_array(store=store, path=path, mode="r", zarr_format=self.array.zarr_format)  # type: ignore[arg-type]
        except Exception as error:  # as below
            raise UserError(f"the array {folder.name} cannot be opened ({_reason(error)})", WRITE_AGAIN, self.uri) from error
        return lambda part, out: _placed(np.asarray(opened[part]), out)

    def check_codecs(self) -> None:
        """Find out whether the array can be read, without reading pixels.

        Raises
        ------
        UserError
            If it cannot.
        """
        assert self._read is not None

    def __getitem__(self, key: Key, /) -> npt.NDArray[Any]:
        """Return a part, as numpy indexing does it.

        Raises
        ------
        UserError
            If a chunk cannot be read or decoded.
        """
        region = region_of(key, self.shape)
        found = self._of_array(region, None)
        # Of an axis that the array does not have, none may have been asked for.
        absent = tuple(part if source is None else slice(None) for source, part in zip(self.arrangement.sources, region.slices, strict=True))
        return np.squeeze(self.arrangement.to_tczyx(found)[absent].astype(self.dtype, copy=False), axis=region.dropped)

    def read_into(self, key: Key, out: npt.NDArray[Any], /) -> None:
        """Read a part into memory that is there already (:class:`cellvjepa.movies.movie.FillsMemory`).

        Raises
        ------
        UserError
            As indexing.
        """
        region = region_of(key, self.shape)
        sources = [source for source in self.arrangement.sources if source is not None]
        there = [part for source, part in zip(self.arrangement.sources, region.slices, strict=True) if source is None]
        if sources != sorted(sources) or any((part.start, part.stop) != (0, 1) for part in there):
            out[...] = self[key]
            return
        lengths = [1] * len(self.array.shape)
        for source, length in zip(self.arrangement.sources, region.shape, strict=True):
            if source is not None:
                lengths[source] = length
        self._of_array(region, out.reshape(lengths))

    def __reduce__(self) -> tuple[Callable[..., LazyPixels], tuple[Callable[[], LazyPixels], str, Shape5, str]]:
        """Pickle by re-opening."""
        return reopened, (self.reopen, self.uri, self.shape, self.dtype.str)

    def _of_array(self, region: Region, out: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
        wanted = [slice(0, 1)] * len(self.array.shape)
        for source, part in zip(self.arrangement.sources, region.slices, strict=True):
            if source is not None:
                wanted[source] = part
        try:
            return self._read(tuple(wanted), out)
        except UserError:
            raise
        except Exception as error:  # at damaged bytes codecs raise whatever they like: OSError, RuntimeError, zlib.error, EOFError, ...
            first = ", ".join(f"{axis}={part.start}" for axis, part in zip("TCZYX", region.slices, strict=True))
            if type(error).__module__.startswith("obstore"):
                lost = failure(error, self.uri)
                raise UserError(f"the pixels from {first} on cannot be read: {lost.what}", lost.remedy, self.uri) from away(error)
            raise UserError(f"the pixels from {first} on cannot be read ({_reason(error)})", COPY_AGAIN, self.uri) from error


def _placed(found: npt.NDArray[Any], out: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    if out is None:
        return found
    out[...] = found
    return out


def _reason(error: Exception) -> str:
    return str(error)[:300] or type(error).__name__
