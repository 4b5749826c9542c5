"""Writing one image: its pixels and its labels, shard by shard, at all resolutions."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Event, Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import Cancelled, UserError
from cellvjepa.movies.convert.coarser import mean_of_four, one_of_four
from cellvjepa.movies.convert.journal import Begun, Written
from cellvjepa.movies.convert.layout import Layout, layout_of
from cellvjepa.movies.convert.shard import File, OpenShard, crc_of
from cellvjepa.movies.convert.source import fingerprint
from cellvjepa.movies.movie import Movie, Shape5

Key = tuple[int, ...]


class SourceDamaged(Exception):  # noqa: N818 - it carries the error
    """Pixels of the source cannot be read; ``error`` says which and why."""

    def __init__(self, error: UserError) -> None:
        self.error = error
        super().__init__(error)


@dataclass(frozen=True, eq=False)
class Part:
    """Pixels to write: those of the movie, or of one of its label images.

    Parameters
    ----------
    movie
        Where they are read.
    folder
        Of the group within the image: ``""`` or ``"labels/NAME"``.
    layout
        How they are cut.
    coarser
        Halves rows and columns.
    """

    movie: Movie
    folder: str
    layout: Layout
    coarser: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ImagePlan:
    """An image to write.

    Parameters
    ----------
    movie
        What is converted.
    labels
        Its label images by name.
    target
        Where it goes, below the destination; ``""`` for the destination itself.
    """

    movie: Movie
    labels: Mapping[str, Movie]
    target: str

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Return what is to be written, the movie first."""
        labels = [_part(movie, f"labels/{name}", one_of_four) for name, movie in self.labels.items()]
        return _part(self.movie, "", mean_of_four), *labels

    @property
    def keys(self) -> Iterator[Key]:
        """Return what there is to be done, in order."""
        for number, part in enumerate(self.parts):
            for shard in part.layout.shards():
                yield number, *shard

    @property
    def decoded_bytes(self) -> int:
        """Return how much there is to be read."""
        return sum(math.prod(part.movie.pixels.shape) * part.movie.pixels.dtype.itemsize for part in self.parts)

    def shard_bytes(self, key: Key) -> int:
        """Return how much there is to be read for a shard."""
        layout = self.parts[key[0]].layout
        finest = layout.levels[0]
        extents = (min(size, length - i * size) for i, size, length in zip(key[1:], finest.shard, finest.shape, strict=True))
        return math.prod(extents) * layout.itemsize

    def begun(self) -> Begun:
        """Return what the journal says first."""
        sources = {"": fingerprint(self.movie)} | {name: fingerprint(movie) for name, movie in self.labels.items()}
        return Begun(self.target, sources, repr([(part.folder, part.movie.pixels.dtype.str, part.layout) for part in self.parts]))


class ShardWork:
    """One shard at all resolutions while it is made: slabs come in any order, from several threads, and the last one writes the files.

    Parameters
    ----------
    image
        What it is a part of.
    key
        One of ``image.keys``.
    folder
        Of the image.
    """

    def __init__(self, image: ImagePlan, key: Key, folder: Path) -> None:
        self._part, self._key, self._folder = image.parts[key[0]], key, folder
        self.slabs = tuple(self._part.layout.slabs_of(_shape5(key[1:])))
        self._shards = [OpenShard(level, _shape5(key[1:])) for level in self._part.layout.levels]
        self._crcs: dict[int, int] = {}
        self._lock = Lock()

    def decoded_bytes(self, number: int) -> int:
        """Return how much is read for a slab."""
        return math.prod(int(place.stop) - int(place.start) for place in self.slabs[number]) * self._part.layout.itemsize

    def add(self, number: int, stop: Event) -> Written | None:
        """Decode a slab of the source, make its coarser copies and compress them; the last one writes and checks the files.

        Parameters
        ----------
        number
            Which slab.
        stop
            When it is set, the work is given up.

        Returns
        -------
        Written
            By the last slab; None by the others.

        Raises
        ------
        SourceDamaged
            If the source cannot be read there.
        UserError
            If the shard cannot be written.
        Cancelled
            If the work is given up.
        """
        if stop.is_set():
            raise Cancelled("convert")
        slab = self.slabs[number]
        pixels = _read(self._part.movie, slab)
        crc = zlib.crc32(pixels.data.cast("B"))
        t, c, z, y, x = (place.start for place in slab)
        for k, shard in enumerate(self._shards):
            shard.add(pixels, (t, c, z, y >> k, x >> k))
            if k + 1 < len(self._shards):
                pixels = self._part.coarser(pixels)
        with self._lock:
            self._crcs[number] = crc
            if len(self._crcs) < len(self.slabs):
                return None
        files = []
        for k, shard in enumerate(self._shards):
            path = f"{self._part.folder}/{k}/c/{'/'.join(map(str, self._key[1:]))}".lstrip("/")
            files.append(File(path, *shard.write(self._folder / path)))
        return Written(self._key, tuple(self._crcs[number] for number in range(len(self.slabs))), tuple(files))


def is_intact(written: Written, folder: Path) -> bool:
    """Whether the files of a shard are what was written; their bytes are read, but not decoded."""
    return all(crc_of(folder / file.path) == (file.size, file.crc) for file in written.files)


def is_still_so(image: ImagePlan, written: Written) -> bool:
    """Whether the source still holds the pixels that the first slab of a shard was made of.

    Raises
    ------
    SourceDamaged
        If the source cannot be read there.
    """
    part = image.parts[written.key[0]]
    slab = next(part.layout.slabs_of(_shape5(written.key[1:])))
    return zlib.crc32(_read(part.movie, slab).data.cast("B")) == written.pixels_crcs[0]


def _part(movie: Movie, folder: str, coarser: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Part:
    pixels = movie.pixels
    return Part(movie, folder, layout_of(pixels.shape, pixels.dtype.itemsize, pixels.chunks), coarser)


def _read(movie: Movie, slab: tuple[slice, ...]) -> npt.NDArray[Any]:
    t, c, z, y, x = slab
    try:
        return np.ascontiguousarray(movie.pixels[t, c, z, y, x])
    except UserError as error:
        where = error.where if error.where and movie.uri in error.where else f"{movie.uri} (frames {t.start} to {t.stop - 1})"
        raise SourceDamaged(UserError(error.what, error.remedy, where)) from error


def _shape5(numbers: tuple[int, ...]) -> Shape5:
    t, c, z, y, x = numbers
    return t, c, z, y, x
