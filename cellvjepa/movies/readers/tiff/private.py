"""TIFFs with private tags, as far as tifffile knows them: Zeiss LSM, Olympus FluoView, NIH Image and others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Problem
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.scale import in_um, number
from cellvjepa.movies.readers.tiff.claims import Claims
from cellvjepa.movies.readers.tiff.codec import kind_of
from cellvjepa.movies.readers.tiff.ifd import Page, TagFile
from cellvjepa.movies.readers.tiff.layout import Layout
from cellvjepa.movies.readers.tiff.planes import TiffPlanes
from cellvjepa.movies.readers.tiff.tables import planes_at, planes_in_a_row

_LSM, _FLUOVIEW, _NIH, _SIS, _ANDOR, _TVIPS, _NDPI, _MDGEL = 34412, 34361, 43314, 33560, 4864, 37706, 65420, 33445
_PRIVATE = {_LSM, _FLUOVIEW, _NIH, _SIS, _ANDOR, _TVIPS, _NDPI, _MDGEL}
_SMALL = 1 / 4  # of the area of the image: a thumbnail


def is_private(page: Page) -> bool:
    """Whether a file needs more than the TIFF standard to be understood."""
    return not _PRIVATE.isdisjoint(page.tags["code"].tolist())


def read_private(file: TagFile, first: Page) -> tuple[Layout, TiffPlanes, Claims]:
    """Read the largest image of such a file.

    Raises
    ------
    UserError
        If it cannot be understood.
    """
    for page in file.pages(first):
        file.check_tags(page)  # tifffile believes them
    # Files that one names are not opened: their names come from the file, and may lead anywhere.
    with tifffile.TiffFile(file.path, _multifile=False) as opened:
        series = [s for s in opened.series if math.prod(s.shape)]
        if not series:
            raise UserError("the file holds no image", COPY_AGAIN, file.path)
        main = series[int(np.argmax([math.prod(s.shape) for s in series]))]
        claims = _of_lsm(opened.lsm_metadata) if opened.is_lsm and opened.lsm_metadata else Claims()
        page = file.page_at(main.keyframe.offset)
        kind = kind_of(file, page)
        names, lengths = main.get_axes(False), tuple(int(n) for n in main.get_shape(False))
        if names.endswith("S"):
            names, lengths = names[:-1], lengths[:-1]
        if not names.endswith("YX") or kind.plane_px != lengths[-2:]:
            raise UserError(f"its axes {names} do not end with Y and X", "save it with one plane per page", file.path)
        if main.dataoffset is not None:
            planes, problems = planes_in_a_row(file, kind, main.dataoffset, math.prod(lengths[:-2]))
        else:
            pages = [p for p in main if p is not None]
            if len(pages) != math.prod(lengths[:-2]):
                raise file.cut_short()
            planes, problems = planes_at(file, kind, page, _table(pages, "dataoffsets", file), _table(pages, "databytecounts", file))
        area = math.prod(kind.plane_px)
        others = sum(s is not main and s.keyframe.imagewidth * s.keyframe.imagelength > area * _SMALL for s in series)
    if others:
        what = f"{others} other image{'s' * (others > 1)} of the file {'are' if others > 1 else 'is'} left out"
        problems = (*problems, Problem(what, "export each to a file of its own"))
    return Layout((page,), kind, tuple(names[:-2]), lengths[:-2], False, problems), planes, claims


def _table(pages: list[Any], attribute: str, file: TagFile) -> npt.NDArray[np.int64]:
    rows = [getattr(page, attribute) for page in pages]
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise UserError("the file is damaged: its pages are not stored alike", COPY_AGAIN, file.path)
    return np.array(rows, dtype=np.int64)


def _of_lsm(metadata: dict[str, Any]) -> Claims:
    def um(axis: str) -> float | None:
        return in_um(number(metadata.get(f"VoxelSize{axis}")), "m")

    stamps = np.asarray(metadata.get("TimeStamps", ()), np.float64).ravel()
    steps = np.diff(stamps) if 1 < stamps.size < 2**20 else np.empty(0)
    interval_s = float(np.median(steps)) if steps.size and np.isfinite(steps).all() else number(metadata.get("TimeIntervall"))
    return Claims((), um("Z"), um("Y"), um("X"), interval_s)
