"""From the pages of a TIFF to where the pieces of its planes lie, believing nothing that the file's size contradicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Problem
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.tiff.codec import MOST_FROM_BYTE, PageKind, SegmentCodec, codec_of, refuse_another_picture
from cellvjepa.movies.readers.tiff.ifd import Page, TagFile, gather
from cellvjepa.movies.readers.tiff.layout import Layout, bare_start
from cellvjepa.movies.readers.tiff.planes import TiffPlanes

LARGEST_SEGMENT_BYTES = 2**30  # a strip or tile that claims to be larger is not believed
_MOST_EXPANDED = 4  # compressing makes nothing larger than that
_SAMPLED_ROWS, _SAMPLED_STRIPS = 16, 4
_OTHER_HUES = 0.03  # share of the variance that noise and compression may add to one hue
_COLOURS = (3, 4)  # values per pixel, the fourth is opacity

_OFFSETS, _COUNTS = (324, 273), (325, 279)


def planes_of(file: TagFile, layout: Layout) -> tuple[TiffPlanes, tuple[Problem, ...]]:
    """Find where the planes of a movie lie; grey that is stored as colour is taken as grey.

    Raises
    ------
    UserError
        If they are in colour, the file is shorter than they claim, or their compression is not known.
    """
    kind = layout.kind
    start = bare_start(file, layout.pages[0], kind) if len(layout.pages) == 1 else None
    if start is not None:
        return planes_in_a_row(file, kind, start, layout.number)
    if len(layout.pages) != layout.number:
        raise UserError("its planes have no pages of their own and are compressed", "save it as OME-TIFF or OME-Zarr", file.path)
    return planes_of_pages(file, kind, layout.pages)


def planes_in_a_row(file: TagFile, kind: PageKind, start: int, number: int) -> tuple[TiffPlanes, tuple[Problem, ...]]:
    """Find planes that lie bare, one after another.

    Raises
    ------
    UserError
        As :func:`planes_of`.
    """
    if number * kind.plane_bytes > file.size:
        raise _truncated(file, start + number * kind.plane_bytes)
    offsets = start + kind.plane_bytes * np.arange(number, dtype=np.int64)[:, None]
    if kind.samples == 1:
        return _bare(file, kind, offsets), ()
    value_bytes = kind.plane_bytes // kind.samples
    if kind.is_apart:
        return _as_grey(file, kind, [_bare(file, kind, offsets + i * value_bytes) for i in range(kind.samples)])
    return _as_grey(file, kind, [replace(_bare(file, kind, offsets), sample=i) for i in range(kind.samples)])


def planes_of_pages(file: TagFile, kind: PageKind, pages: Sequence[Page]) -> tuple[TiffPlanes, tuple[Problem, ...]]:
    """Find where planes lie that have a page each.

    Raises
    ------
    UserError
        As :func:`planes_of`.
    """
    groups = gather(pages)
    offsets, counts = (next((found for code in codes if (found := file.tables(groups, code)) is not None), None) for codes in (_OFFSETS, _COUNTS))
    if offsets is None:
        raise UserError("the file is damaged: its pages are not stored alike", COPY_AGAIN, file.path)
    return planes_at(file, kind, pages[0], offsets, counts)


def planes_at(
    file: TagFile, kind: PageKind, page: Page, offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64] | None
) -> tuple[TiffPlanes, tuple[Problem, ...]]:
    """Find planes by the tables of their pieces.

    Parameters
    ----------
    file
        The file.
    kind
        How pixels are stored.
    page
        The first page.
    offsets, counts
        ``(planes, pieces)``; pieces of all values of a pixel where these are stored apart.

    Raises
    ------
    UserError
        As :func:`planes_of`.
    """
    if (offsets <= 0).any() or (counts is not None and (counts <= 0).any() and kind.compression != 1):
        raise UserError("some pages were never written", "record or export the movie again", file.path)
    apart = kind.samples if kind.is_apart else 1
    if kind.compression == 1 and bare_start(file, page, kind) is not None and (apart == 1 or offsets.shape[1] % apart == 0):
        per_value = offsets.shape[1] // apart
        beside = np.diff(offsets.reshape(len(offsets), apart, per_value), axis=2)
        if counts is None or counts.shape != offsets.shape or (beside == counts.reshape(len(offsets), apart, per_value)[:, :, :-1]).all():
            found = [_bare(file, kind, offsets[:, i * per_value, None]) for i in range(apart)]
            if apart > 1 or kind.samples > 1:
                return _as_grey(file, kind, found if apart > 1 else [replace(found[0], sample=i) for i in range(kind.samples)])
            return found[0], ()
    if counts is None:
        raise UserError("the file is damaged: its pages are not stored alike", COPY_AGAIN, file.path)
    segments = kind.segments
    if offsets.shape[1] != segments * apart or counts.shape != offsets.shape:
        raise UserError(f"the file is damaged: it has {offsets.shape[1]} pieces per page instead of {segments * apart}", COPY_AGAIN, file.path)
    values = 1 if kind.is_apart else kind.samples
    segment_bytes = math.prod(kind.segment_px) * kind.stored.itemsize * values
    if segment_bytes > LARGEST_SEGMENT_BYTES:
        high, wide = kind.segment_px
        raise UserError(f"a piece of a page claims {high} x {wide} pixels", "save it in strips or tiles, or uncompressed", file.path)
    _check_end(file, offsets, counts)
    if counts.max() > _MOST_EXPANDED * segment_bytes + 2**16:
        raise UserError(f"the file is damaged: a piece of {segment_bytes:,} bytes claims {counts.max():,}", COPY_AGAIN, file.path)
    # The last strip has fewer rows than the others.
    first_bytes = segment_bytes // kind.segment_px[0] * min(kind.segment_px[0], kind.plane_px[0])
    if kind.compression in MOST_FROM_BYTE and counts[0, 0] * MOST_FROM_BYTE[kind.compression] + 2**10 < first_bytes:
        raise UserError(
            f"the file is damaged: {counts[0, 0]:,} bytes cannot be {kind.segment_px[0]} x {kind.segment_px[1]} pixels", COPY_AGAIN, file.path
        )
    codec = codec_of(kind, file, page)
    if codec.is_picture:
        _check_picture(file, kind, codec, int(offsets[0, 0]), int(counts[0, 0]))
    found = [
        _coded(file, kind, codec, offsets[:, i * segments : (i + 1) * segments], counts[:, i * segments : (i + 1) * segments]) for i in range(apart)
    ]
    if kind.samples == 1:
        return found[0], ()
    return _as_grey(file, kind, found if apart > 1 else [replace(found[0], sample=i) for i in range(kind.samples)])


def _check_picture(file: TagFile, kind: PageKind, codec: SegmentCodec, offset: int, count: int) -> None:
    """Make sure that pieces which say themselves how large they are say what the page says."""
    least_px = min(kind.segment_px[0], kind.plane_px[0]), min(kind.segment_px[1], kind.plane_px[1])
    try:
        refuse_another_picture(file.bytes_at(offset, count), codec.segment_px, least_px)
    except ValueError as error:
        raise UserError(f"the file is damaged: {error}", COPY_AGAIN, file.path) from error


def _bare(file: TagFile, kind: PageKind, offsets: npt.NDArray[np.int64]) -> TiffPlanes:
    samples = 1 if kind.is_apart else kind.samples
    counts = np.full_like(offsets, math.prod(kind.plane_px) * kind.stored.itemsize * samples)
    _check_end(file, offsets, counts)
    return TiffPlanes(file.path, kind.plane_px, kind.stored, kind.plane_px, offsets, counts, None, samples)


def _coded(file: TagFile, kind: PageKind, codec: SegmentCodec, offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> TiffPlanes:
    return TiffPlanes(file.path, kind.plane_px, kind.stored, kind.segment_px, offsets, counts, codec, 1 if kind.is_apart else kind.samples)


def _check_end(file: TagFile, offsets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> None:
    end = int(offsets.max()) if offsets.max() > file.size else int((offsets + np.minimum(counts, 2**62)).max())
    if end > file.size:
        raise _truncated(file, end)


def _truncated(file: TagFile, end: int) -> UserError:
    return UserError(f"the file is truncated: its pixels should end at byte {end:,}, but it has only {file.size:,}", COPY_AGAIN, file.path)


def _as_grey(file: TagFile, kind: PageKind, values: Sequence[TiffPlanes]) -> tuple[TiffPlanes, tuple[Problem, ...]]:
    """Return the value of each pixel that holds what there is to see, if the colours of a few rows are grey or of one hue."""
    if kind.samples in _COLOURS:
        sampled = _sample(values[:3])
        if (sampled == sampled[:, :1]).all():
            what = "its pixels are stored as colours, but red, green and blue are equal: it is read as grey"
            return values[0], (Problem(what, "nothing to do; saved in grey (in ImageJ: Image > Type > 8-bit), it would be a third as large"),)
        strongest = _one_hue(sampled)
        if strongest is not None:
            what = f"its pixels are stored as colours of one hue: only {('red', 'green', 'blue')[strongest]} is read"
            remedy = "if its colours are different channels, save each in grey (in ImageJ: Image > Color > Split Channels)"
            return values[strongest], (Problem(what, remedy),)
    shown = "a colour image (RGB)" if kind.is_colour else f"an image of {kind.samples} values per pixel"
    remedy = "save it in grey, one channel per image (in ImageJ: Image > Type > 16-bit, or Image > Color > Split Channels)"
    raise UserError(f"this is {shown}, not a grey one", remedy, file.path)


def _one_hue(sampled: npt.NDArray[Any]) -> int | None:
    """Return which of three values varies most, if the others follow it: grey that was coloured for the eye."""
    centred = sampled.astype(np.float64)
    centred -= centred.mean(axis=0)
    variance = centred.var(axis=0)
    strongest = int(variance.argmax())
    if not variance[strongest] > 0:
        return None
    main = centred[:, strongest]
    rest = centred - np.outer(main, centred.T @ main / (main @ main))
    return strongest if rest.var(axis=0).sum() <= _OTHER_HUES * variance.sum() else None


def _sample(values: Sequence[TiffPlanes]) -> npt.NDArray[Any]:
    """Read rows of the first plane and the middle one; all of these planes where the rows are of a single colour, which says nothing.

    Returns
    -------
    numpy.ndarray
        ``(pixels, 3)``.
    """
    high, wide = values[0].plane_px
    piece = 1 if values[0].codec is None else values[0].segment_px[0]
    number = math.ceil(high / piece)
    step = max(1, number // (_SAMPLED_ROWS if piece == 1 else _SAMPLED_STRIPS))
    some = [slice(i * piece, min((i + 1) * piece, high), 1) for i in range(step // 2, number, step)]
    planes = sorted({0, len(values[0].offsets) // 2})
    for rows in (some, [slice(0, high, 1)]):
        sampled = np.concatenate([_pixels(values, plane, part, wide) for plane in planes for part in rows])
        if (sampled != sampled[0]).any():
            break
    return sampled


def _pixels(values: Sequence[TiffPlanes], plane: int, rows: slice, wide: int) -> npt.NDArray[Any]:
    out = np.empty((len(values), rows.stop - rows.start, wide), values[0].stored.newbyteorder("="))
    for one, into in zip(values, out, strict=True):
        one.read([plane], rows, slice(0, wide, 1), [into])
    return out.reshape(len(values), -1).T
