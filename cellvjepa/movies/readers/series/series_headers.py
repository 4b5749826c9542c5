"""Where the planes of many files lie, as far as it is known: all of it for bare planes, the latest for others."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

import numpy as np

from cellvjepa.movies.readers.tiff.planes import TiffPlanes

_MOST_KINDS = 8  # of bare planes: two byte orders, some types
_KEPT = 64  # files of compressed planes, at some kB each: a stream has thousands of movies


class Headers:
    """What was read of the headers of files; safe to use from several threads.

    Of files with bare planes, which mostly are alike, only the place of the first plane is kept: 8 bytes each.

    Parameters
    ----------
    number
        How many files there are.
    """

    def __init__(self, number: int) -> None:
        self._starts = np.full(number, -1, np.int64)
        self._likes = np.zeros(number, np.int8)
        self._kinds: list[TiffPlanes] = []
        self._latest: OrderedDict[int, TiffPlanes] = OrderedDict()
        self._one_at_a_time = threading.Lock()

    def planes(self, file: int, path: str) -> TiffPlanes | None:
        """Return where the planes of a file lie, or None where it is not known."""
        with self._one_at_a_time:
            start = int(self._starts[file])
            if start >= 0:
                like = self._kinds[int(self._likes[file])]
                return replace(like, path=path, offsets=like.offsets - like.offsets[0, 0] + start)
            if file in self._latest:
                self._latest.move_to_end(file)
            return self._latest.get(file)

    def keep(self, file: int, planes: TiffPlanes) -> None:
        """Keep where the planes of a file lie."""
        with self._one_at_a_time:
            if planes.codec is None:
                index = next((index for index, kind in enumerate(self._kinds) if _are_alike(kind, planes)), len(self._kinds))
                if index < _MOST_KINDS:
                    self._kinds[index:] = self._kinds[index:] or [planes]
                    self._starts[file], self._likes[file] = planes.offsets[0, 0], index
                    return
            self._latest[file] = planes
            while len(self._latest) > _KEPT:
                self._latest.popitem(last=False)


def _are_alike(one: TiffPlanes, two: TiffPlanes) -> bool:
    """Whether the planes of two files differ in where the first starts only."""
    if one.offsets.shape != two.offsets.shape or not np.array_equal(one.offsets - one.offsets[0, 0], two.offsets - two.offsets[0, 0]):
        return False
    return (one.plane_px, one.stored, one.samples, one.sample) == (two.plane_px, two.stored, two.samples, two.sample)
