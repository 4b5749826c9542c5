"""Whether the pages of a TIFF are complete and of one kind: tifffile looks at a few of them and goes on with what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from cellvjepa.errors import UserError

COPY_AGAIN = "copy the file again from where it was recorded"

_WIDTH, _HEIGHT, _BITS, _ROWS_PER_STRIP, _TILE_WIDTH = 256, 257, 258, 278, 322
# Besides these: compression, samples per pixel, predictor, tile height, sample format.
_WHAT_MAKES_A_KIND = (_WIDTH, _HEIGHT, _BITS, _ROWS_PER_STRIP, _TILE_WIDTH, 259, 277, 317, 323, 339)
_MOST_TAGS = 4096
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def check_complete(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, where: str) -> None:
    """Make sure that the file goes on to where it says it ends.

    Raises
    ------
    UserError
        If pages are missing, or the description does not fit the pages.
    """
    for described, kind in ((file.is_ome, "ome"), (file.is_imagej and not file.is_ome, "imagej"), (file.is_shaped, "shaped")):
        if described and series.kind != kind:
            raise UserError("the description of its axes does not fit its pages: it is truncated, or was edited", COPY_AGAIN, where)
    chain_matters = series.kind not in ("imagej", "shaped") or len(series) == 1
    if _tags_end(file) > file.filehandle.size or (chain_matters and _chain_is_cut(file)):
        raise UserError("the file is truncated: pages are missing at its end", COPY_AGAIN, where)


def check_alike(file: tifffile.TiffFile, pages: Sequence[tifffile.TiffPage | tifffile.TiffFrame], expected: int, where: str) -> None:
    """Make sure that as many pages as expected are there, and are stored alike.

    Raises
    ------
    UserError
        If pages are missing or one is of another kind.
    """
    if len(pages) != expected or _chain_is_cut(file):
        raise UserError("the file is truncated: pages are missing at its end", COPY_AGAIN, where)
    first = _tags_of(file, pages[0].offset, _WHAT_MAKES_A_KIND)
    for index, page in enumerate(pages):
        tags = _tags_of(file, page.offset, _WHAT_MAKES_A_KIND)
        if tags.tobytes() != first.tobytes() and (kind := _values(tags)) != (usual := _values(first)):
            raise UserError(f"its pages differ: page {index} is {_shown(kind)}, the first is {_shown(usual)}", "save pages of one kind only", where)


def _chain_is_cut(file: tifffile.TiffFile) -> bool:
    """Whether the list of pages ends without saying so."""
    end = None if file.is_scanimage else file.pages.next_page_offset
    if end is None:
        return False
    file.filehandle.seek(end)
    return any(file.filehandle.read(file.tiff.offsetsize))


def _tags_end(file: tifffile.TiffFile) -> int:
    """Return where the last of the first page's tags ends; tifffile leaves out what it cannot read."""
    tags = _tags_of(file, file.pages.first.offset)
    sizes = [int(count) * _BYTES_OF_TYPE.get(int(kind), 0) for kind, count in zip(tags["type"], tags["count"], strict=True)]
    inline = tags.dtype["value"].itemsize
    return max((int(at) + size for at, size in zip(tags["value"], sizes, strict=True) if size > inline), default=0)


def _tags_of(file: tifffile.TiffFile, offset: int, codes: Sequence[int] | None = None) -> npt.NDArray[Any]:
    """Read the tags of a page without their values, which is a hundred times faster than with them."""
    order, size = file.byteorder, 8 if file.is_bigtiff else 4
    entry = np.dtype([("code", f"{order}u2"), ("type", f"{order}u2"), ("count", f"{order}u{size}"), ("value", f"{order}u{size}")])
    file.filehandle.seek(offset)
    number = int.from_bytes(file.filehandle.read(8 if file.is_bigtiff else 2), "little" if order == "<" else "big")
    data = file.filehandle.read(min(number, _MOST_TAGS) * entry.itemsize)
    tags = np.frombuffer(data, entry, len(data) // entry.itemsize)
    return tags if codes is None else tags[np.isin(tags["code"], codes)]


def _values(tags: npt.NDArray[Any]) -> dict[int, int]:
    """Return the values of tags that hold one number."""
    values = {}
    for tag in tags:
        kept = _BYTES_OF_TYPE.get(int(tag["type"]), tags.dtype["value"].itemsize)
        raw = tag["value"].tobytes()[:kept]
        values[int(tag["code"])] = int.from_bytes(raw, "little" if tags.dtype["value"].byteorder in "<=" else "big")
    return values


def _shown(kind: dict[int, int]) -> str:
    pieces = "tiles" if _TILE_WIDTH in kind else f"strips of {kind.get(_ROWS_PER_STRIP, 0)} rows"
    return f"{kind.get(_HEIGHT, 0)} x {kind.get(_WIDTH, 0)} px of {kind.get(_BITS, 1)} bit, {pieces}"
