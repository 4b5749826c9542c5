"""Coarser copies of a TIFF's planes, as pyramids keep them beside each page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.tiff.codec import PageKind, kind_of
from cellvjepa.movies.readers.tiff.ifd import Page, TagFile, gather
from cellvjepa.movies.readers.tiff.layout import check_alike
from cellvjepa.movies.readers.tiff.planes import TiffPlanes
from cellvjepa.movies.readers.tiff.tables import planes_of_pages

_SUB_IFDS = 330
_MOST_LEVELS = 16


@dataclass(frozen=True, eq=False)
class Coarser:
    """A coarser copy of planes, and how many rows and columns one of its pixels stands for."""

    planes: TiffPlanes
    factor: tuple[int, int]


def coarser_copies(file: TagFile, kind: PageKind, pages: Sequence[Page]) -> tuple[Coarser, ...]:
    """Find the coarser copies of pages, the finest first; none where they cannot be read, because nobody needs them."""
    if _SUB_IFDS not in pages[0] or kind.samples > 1:
        return ()
    found = []
    try:
        table = file.tables(gather(pages), _SUB_IFDS)
        for level in range(0 if table is None else min(table.shape[1], _MOST_LEVELS)):
            assert table is not None
            copies = [file.page_at(int(offset)) for offset in table[:, level]]
            check_alike(file, copies)
            smaller = kind_of(file, copies[0])
            factor = _factor(kind.plane_px[0], smaller.plane_px[0]), _factor(kind.plane_px[1], smaller.plane_px[1])
            if factor[0] is None or factor[1] is None or factor == (1, 1) or smaller.samples > 1 or smaller.stored != kind.stored:
                continue
            found.append(Coarser(planes_of_pages(file, smaller, copies)[0], (factor[0], factor[1])))
    except UserError:
        return ()
    return tuple(sorted(found, key=lambda copy: copy.factor))


def _factor(fine: int, coarse: int) -> int | None:
    """Return how many pixels one stands for, if that is a whole number but for the edge."""
    factor = round(fine / coarse)
    return factor if factor >= 1 and fine // factor <= coarse <= -(-fine // factor) else None
