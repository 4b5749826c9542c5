"""Which pages of a TIFF are its movie, and what their order means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Problem
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.tiff.codec import PageKind, kind_of
from cellvjepa.movies.readers.tiff.ifd import Page, TagFile, gather

_WIDTH, _HEIGHT, _BITS, _ROWS_PER_STRIP, _TILE_WIDTH = 256, 257, 258, 278, 322
# Besides these: compression, samples per pixel, predictor, tile height, sample format.
_WHAT_MAKES_A_KIND = (_WIDTH, _HEIGHT, _BITS, _ROWS_PER_STRIP, _TILE_WIDTH, 259, 277, 317, 323, 339)
_NEW_SUBFILE_TYPE = 254
_LARGEST_THUMBNAIL = 1 / 16  # of the area of the image
_MOST_PLANES = 2**31
_IMAGEJ_ORDERS = {"czt": "TZC", "ctz": "ZTC", "zct": "TCZ", "ztc": "CTZ", "tcz": "ZCT", "tzc": "CZT"}


@dataclass(frozen=True, eq=False)
class Layout:
    """The pages of a movie.

    Parameters
    ----------
    pages
        One per plane; only the first where planes follow each other without pages of their own.
    kind
        How their pixels are stored.
    names, lengths
        The axes before Y and X, in the order of the planes; names that are none of T C Z are unexplained.
    calls_any_stack_slices
        Whether the program that wrote it (ImageJ) calls the images of any stack slices.
    problems
        What was left out.
    """

    pages: tuple[Page, ...]
    kind: PageKind
    names: tuple[str, ...]
    lengths: tuple[int, ...]
    calls_any_stack_slices: bool = False
    problems: tuple[Problem, ...] = ()

    @property
    def number(self) -> int:
        """Return the number of planes."""
        return math.prod(self.lengths)


def layout_of(file: TagFile, first: Page, description: str) -> Layout:
    """Find the movie in a file, by its first description: tifffile's, ImageJ's, or none.

    Raises
    ------
    UserError
        If pages are missing, differ, or do not fit the description.
    """
    if description.startswith('{"shape":'):
        return _of_tifffile(file, first, description)
    if description.startswith("ImageJ="):
        return _of_imagej(file, first, description)
    pages, problems = main_pages(file, file.pages(first))
    return Layout(tuple(pages), kind_of(file, pages[0]), ("Q",) if len(pages) > 1 else (), (len(pages),) if len(pages) > 1 else (), False, problems)


def _of_tifffile(file: TagFile, first: Page, description: str) -> Layout:
    try:
        metadata = tifffile.tifffile.shaped_description_metadata(description)
        shape = tuple(int(n) for n in metadata["shape"])
    except (ValueError, TypeError, KeyError) as error:
        raise _does_not_fit(file) from error
    kind = kind_of(file, first)
    axes = metadata.get("axes")
    names = axes if isinstance(axes, str) and len(axes) == len(shape) else "Q" * len(shape)
    tail = plane_axes(kind)
    for dropped in range(len(tail) - 2 if kind.samples == 1 else 0, -1, -1):
        end = tail[: len(tail) - dropped]
        if shape[len(shape) - len(end) :] == end:
            names, lengths = names[: len(shape) - len(end)], shape[: len(shape) - len(end)]
            break
    else:
        raise _does_not_fit(file)
    return _described(file, first, kind, tuple(names), lengths)


def plane_axes(kind: PageKind) -> tuple[int, ...]:
    """Return the shape of one plane, with the values of its pixels where they are."""
    if kind.samples == 1:
        return (*kind.plane_px, 1)
    return (kind.samples, *kind.plane_px) if kind.is_apart else (*kind.plane_px, kind.samples)


def _of_imagej(file: TagFile, first: Page, description: str) -> Layout:
    try:
        metadata = tifffile.tifffile.imagej_description_metadata(description)
        counts = {axis: int(metadata.get(name, 1)) for axis, name in (("T", "frames"), ("Z", "slices"), ("C", "channels"))}
        images = int(metadata.get("images", 1))
    except (ValueError, TypeError, OverflowError) as error:
        raise _does_not_fit(file) from error
    kind = kind_of(file, first)
    if kind.samples > 1 and counts["C"] == kind.samples:  # its colours are called channels
        counts["C"] = 1
    if min(counts.values()) < 1:
        raise _does_not_fit(file)
    names = _IMAGEJ_ORDERS.get(str(metadata.get("order", "czt")).lower(), "TZC")
    lengths = tuple(counts[axis] for axis in names)
    if math.prod(lengths) == 1 and first.following:
        number = len(main_pages(file, file.pages(first))[0])
        names, lengths = "Q" + names, (number, *lengths)
    elif math.prod(lengths) == 1 < images:
        names, lengths = "Q" + names, (images, *lengths)
    return _described(file, first, kind, tuple(names), lengths, calls_any_stack_slices=True)


def _described(
    file: TagFile, first: Page, kind: PageKind, names: tuple[str, ...], lengths: tuple[int, ...], *, calls_any_stack_slices: bool = False
) -> Layout:
    """Find the pages of a movie that says how many planes it has."""
    number = math.prod(lengths)
    if not 0 < number <= _MOST_PLANES:
        raise _does_not_fit(file)
    if number == 1:
        return Layout((first,), kind, names, lengths, calls_any_stack_slices)
    start = bare_start(file, first, kind)
    if start is not None and not start < first.following < start + number * kind.plane_bytes:
        # Planes follow each other, whatever pages come after them.
        end = start + number * kind.plane_bytes
        if end > file.size and first.following == 0:
            raise UserError(f"the file is truncated: its pixels should end at byte {end:,}, but it has only {file.size:,}", COPY_AGAIN, file.path)
        if end <= file.size:
            pages = file.pages(first)
            own = number if len(pages) >= number else 1
            return Layout((first,), kind, names, lengths, calls_any_stack_slices, _left_out(file, pages, list(range(own))))
    pages = file.pages(first)
    if len(pages) < number:
        raise _does_not_fit(file) if start is not None else file.cut_short()
    check_alike(file, pages[:number])
    return Layout(tuple(pages[:number]), kind, names, lengths, calls_any_stack_slices, _left_out(file, pages, list(range(number))))


def bare_start(file: TagFile, page: Page, kind: PageKind) -> int | None:
    """Return where the pixels of a page start [byte] if they lie bare in one piece, else None."""
    if kind.compression != 1 or kind.predictor != 1 or kind.is_tiled or kind.is_reversed or kind.bits != 8 * kind.stored.itemsize:
        return None
    groups = gather([page])
    offsets = file.tables(groups, 273)
    if offsets is None or not offsets.size or offsets[0, 0] <= 0:
        return None
    if offsets.shape[1] == 1:
        return int(offsets[0, 0])
    counts = file.tables(groups, 279)
    side_by_side = counts is not None and counts.shape == offsets.shape and bool((offsets[0, :-1] + counts[0, :-1] == offsets[0, 1:]).all())
    return int(offsets[0, 0]) if side_by_side else None


def main_pages(file: TagFile, pages: Sequence[Page]) -> tuple[list[Page], tuple[Problem, ...]]:
    """Return the pages that are the stack, and what to say about the rest: thumbnails, labels, macros.

    Raises
    ------
    UserError
        If pages between those of the stack are of another kind.
    """
    kinds = file.scalars(gather(pages), _WHAT_MAKES_A_KIND)
    if len(pages) == 1 or (kinds == kinds[0]).all():
        return list(pages), ()
    _, first_of, which = np.unique(kinds, axis=0, return_index=True, return_inverse=True)
    which = which.ravel()
    areas = np.maximum(kinds[first_of, 0], 0) * np.maximum(kinds[first_of, 1], 0)
    totals = areas * np.bincount(which)
    main = min(range(len(areas)), key=lambda i: (-totals[i], first_of[i]))
    mine = np.flatnonzero(which == main).tolist()
    problems = _left_out(file, pages, mine, areas[which], kinds)
    return [pages[i] for i in mine], problems


def _left_out(
    file: TagFile, pages: Sequence[Page], mine: list[int], areas: np.ndarray | None = None, kinds: np.ndarray | None = None
) -> tuple[Problem, ...]:
    others = sorted(set(range(len(pages))) - set(mine))
    if not others:
        return ()
    if kinds is None:
        kinds = file.scalars(gather(pages), _WHAT_MAKES_A_KIND)
    areas = np.maximum(kinds[:, 0], 0) * np.maximum(kinds[:, 1], 0)
    reduced = file.scalars(gather(pages), (_NEW_SUBFILE_TYPE,))[:, 0]
    large = [i for i in others if areas[i] > areas[mine[0]] * _LARGEST_THUMBNAIL and not (reduced[i] > 0 and reduced[i] & 1)]
    if not large:
        return ()
    first = large[0]
    if mine[0] < first < mine[-1]:
        raise UserError(
            f"its pages differ: page {first} is {_shown(kinds[first])}, the first is {_shown(kinds[mine[0]])}",
            "save pages of one kind only",
            file.path,
        )
    pages_are = "a page that is" if len(large) == 1 else f"{len(large)} pages that are"
    what = f"{pages_are} no part of the movie {'is' if len(large) == 1 else 'are'} left out (page {first}: {_shown(kinds[first])})"
    return (Problem(what, "nothing to do if it is a label or an overview; else save pages of one kind only"),)


def check_alike(file: TagFile, pages: Sequence[Page]) -> None:
    """Make sure that pages are stored alike.

    Raises
    ------
    UserError
        If one is of another kind.
    """
    kinds = file.scalars(gather(pages), _WHAT_MAKES_A_KIND)
    odd = np.flatnonzero((kinds != kinds[0]).any(axis=1))
    if odd.size:
        page = int(odd[0])
        raise UserError(
            f"its pages differ: page {page} is {_shown(kinds[page])}, the first is {_shown(kinds[0])}", "save pages of one kind only", file.path
        )


def _shown(kind: np.ndarray) -> str:
    width, height, bits, rows_per_strip, tile_width = (int(n) for n in kind[:5])
    pieces = "tiles" if tile_width >= 0 else f"strips of {max(rows_per_strip, 0)} rows"
    colours = " and several values" if bits < -1 else ""
    return f"{height} x {width} px of {max(bits, 1) if bits >= 0 else 8} bit{colours}, {pieces}"


def _does_not_fit(file: TagFile) -> UserError:
    return UserError("the description of its axes does not fit its pages: it is truncated, or was edited", COPY_AGAIN, file.path)
