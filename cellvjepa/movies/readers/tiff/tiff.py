"""TIFF: OME-TIFF, ImageJ, MetaMorph STK and plain multipage files."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import LazyPixels, Movie, Problem, Resolution
from cellvjepa.movies.readers.axes import arrange
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.scale import believed
from cellvjepa.movies.readers.several import parted
from cellvjepa.movies.readers.tiff.claims import Claims, claims_of_imagej, claims_of_incucyte, claims_of_nikon
from cellvjepa.movies.readers.tiff.ifd import Page, TagFile
from cellvjepa.movies.readers.tiff.layout import layout_of
from cellvjepa.movies.readers.tiff.ome import is_ome
from cellvjepa.movies.readers.tiff.planes import TiffPixels, TiffPlanes
from cellvjepa.movies.readers.tiff.private import is_private, read_private
from cellvjepa.movies.readers.tiff.pyramid import Coarser, coarser_copies
from cellvjepa.movies.readers.tiff.sets import DESCRIPTION, chosen_movie, movies_of, read_ome
from cellvjepa.movies.readers.tiff.stk import is_stk, layout_of_stk
from cellvjepa.movies.readers.tiff.tables import planes_of
from cellvjepa.movies.readers.tiff_start import refuse_what_is_no_tiff

SUFFIXES = (".tif", ".tiff", ".stk", ".lsm", ".btf", ".tf8")

_SOFTWARE = 305

# What tifffile finds odd we check ourselves and say in our words; without a handler it would write to the terminal.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class TiffContents:
    """What one file holds, as it says.

    Parameters
    ----------
    planes
        The planes of its main image.
    names, lengths
        The axes before Y and X, in the order of the planes; names that are none of T C Z are unexplained.
    calls_any_stack_slices
        Whether the program that wrote it (ImageJ) calls the images of any stack slices.
    claims
        Names and scale.
    codec
        The compression, for people.
    problems
        What was left out.
    """

    planes: TiffPlanes
    names: tuple[str, ...]
    lengths: tuple[int, ...]
    calls_any_stack_slices: bool
    claims: Claims
    codec: str
    problems: tuple[Problem, ...]

    @property
    def number(self) -> int:
        """Return the number of planes."""
        return math.prod(self.lengths)


def recognises(path: Path) -> bool:
    """Whether this is to be read as one TIFF, or as an image in one (``movie.ome.tif#2``)."""
    file, _ = parted(path)
    return file.name.lower().endswith(SUFFIXES) and not file.is_dir()


def holds_several(path: Path) -> bool:
    """Whether this may hold several movies, or be a later part of one, as its name says."""
    return ".ome." in path.name.lower() and recognises(path)


def open_tiff(path: Path, name: str, given: Given = NOTHING) -> Movie:
    """Open one TIFF, or a set of them, as a movie.

    Parameters
    ----------
    path
        The file; any file of an OME-TIFF set; or the file, ``#`` and the number of one of its images.
    name
        What tables call the movie.
    given
        What the user says about the file.

    Raises
    ------
    UserError
        If it is empty, truncated, a pointer to a file that is elsewhere, in colour, or not to be understood.
    """
    if given.axes is not None and not given.axes.endswith("YX"):
        raise UserError(f"the axes given ({given.axes}) do not end with Y and X, as the planes of a TIFF do", "give --axes TZYX, for instance", path)
    parts = _parts_of(path)
    uri = parts.uri
    lengths = (*parts.table.shape[:-1], *parts.files[0].plane_px)
    arrangement = arrange((*parts.names, "Y", "X"), lengths, uri, given=given.axes, slices_may_be_time=parts.calls_any_stack_slices)
    table = np.stack([arrangement.to_tczyx(parts.table[..., i, None, None])[..., 0, 0] for i in range(2)], axis=-1)
    pixels = TiffPixels(uri, partial(reopen_pixels, uri, given, 0), parts.files, table)
    pyramid = tuple(
        Resolution(TiffPixels(uri, partial(reopen_pixels, uri, given, level), files, table), (1, *factor))
        for level, (files, factor) in enumerate(parts.coarser, 1)
    )
    claims = parts.claims
    frames, channels, planes, *_ = pixels.shape
    scale = believed(claims.z_um, claims.y_um, claims.x_um, claims.interval_s, frames=frames, planes=planes)
    return Movie(
        uri=uri,
        name=name,
        pixels=pixels,
        channels=distinct_names(claims.channels, channels),
        pixel_um=scale.pixel_um,
        interval_s=scale.interval_s,
        axes=arrangement.origins,
        codec=parts.codec,
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
        problems=(*parts.problems, *arrangement.problems, *scale.problems),
        pyramid=pyramid,
    )


def reopen_pixels(uri: str, given: Given, level: int) -> LazyPixels:
    """Open the pixels of one TIFF again: level 0, or a coarser copy."""
    movie = open_tiff(Path(uri), uri, given)
    return movie.pixels if level == 0 else movie.pyramid[level - 1].pixels


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a movie is made of: as :class:`TiffContents`, of one or more files."""

    uri: str
    files: tuple[TiffPlanes, ...]
    table: npt.NDArray[np.int64]
    names: tuple[str, ...]
    calls_any_stack_slices: bool
    claims: Claims
    codec: str
    coarser: tuple[tuple[tuple[TiffPlanes, ...], tuple[int, int]], ...]
    problems: tuple[Problem, ...]


def _parts_of(path: Path) -> _Parts:
    file, which = parted(path)
    with _in_our_words(file):
        refuse_what_is_no_tiff(file)
        with TagFile(str(file)) as opened:
            first = opened.first_page()
            descriptions = opened.texts(first, DESCRIPTION)
            xml = next(filter(is_ome, descriptions), None)
            if xml is None:
                if which is not None:
                    raise UserError("there is only one movie in this file", "give the file without a number", path)
                contents, coarser = _read_file(opened, first, descriptions)
        if xml is not None:
            movie = chosen_movie(movies_of(xml, file), file, which)
            found = read_ome(movie)
            uri = str(movie.files[0]) if which is None else str(path)
            return _Parts(uri, found.files, found.table, ("T", "C", "Z"), False, movie.image.claims, found.codec, found.coarser, found.problems)
    table = np.arange(contents.number, dtype=np.int64).reshape(contents.lengths)
    return _Parts(
        str(path),
        (contents.planes,),
        np.stack([np.zeros_like(table), table], axis=-1),
        contents.names,
        contents.calls_any_stack_slices,
        contents.claims,
        contents.codec,
        tuple(((copy.planes,), copy.factor) for copy in coarser),
        contents.problems,
    )


def read_contents(path: Path) -> TiffContents:
    """Read what a single TIFF holds, without its pixels.

    Raises
    ------
    UserError
        As :func:`open_tiff`; also if it is a part of a set.
    """
    with _in_our_words(path):
        refuse_what_is_no_tiff(path)
        with TagFile(str(path)) as file:
            first = file.first_page()
            descriptions = file.texts(first, DESCRIPTION)
            xml = next(filter(is_ome, descriptions), None)
            if xml is None:
                return _read_file(file, first, descriptions)[0]
        movie = chosen_movie(movies_of(xml, path), path, None)
        if len(movie.files) > 1:
            raise UserError(f"the file belongs to a set of {len(movie.files)} ({movie.files[0].name}, ...)", "open the first file of the set", path)
        found = read_ome(movie)
    order = found.table[..., 1].ravel()
    planes = replace(found.files[0], offsets=found.files[0].offsets[order], counts=found.files[0].counts[order])
    return TiffContents(planes, ("T", "C", "Z"), found.table.shape[:3], False, movie.image.claims, found.codec, found.problems)


@contextmanager
def _in_our_words(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except PermissionError as error:
        raise UserError("reading is not permitted", "ask for the right to read it", path) from error
    except OSError as error:
        raise UserError(f"the file cannot be read ({error.strerror or error})", "check the disk or share it is on", path) from error
    except Exception as error:  # tifffile and damaged numbers raise whatever they meet
        raise UserError(f"this cannot be read as a TIFF ({str(error) or type(error).__name__})", COPY_AGAIN, path) from error


def _read_file(file: TagFile, first: Page, descriptions: list[str]) -> tuple[TiffContents, tuple[Coarser, ...]]:
    """Read a file that is no OME-TIFF."""
    description = next(iter(descriptions), "")
    coarser: tuple[Coarser, ...] = ()
    if is_stk(first):
        layout, claims = layout_of_stk(file, first)
        planes, problems = planes_of(file, layout)
    elif is_private(first):
        layout, planes, claims = read_private(file, first)
        problems = ()
    else:
        layout = layout_of(file, first, description)
        planes, problems = planes_of(file, layout)
        claims = _claims(file, first, description)
        if len(layout.pages) == layout.number:
            coarser = coarser_copies(file, layout.kind, layout.pages)
    found = TiffContents(
        planes, layout.names, layout.lengths, layout.calls_any_stack_slices, claims, layout.kind.codec, (*layout.problems, *problems)
    )
    return found, coarser


def _claims(file: TagFile, first: Page, description: str) -> Claims:
    if description.startswith("ImageJ="):
        return claims_of_imagej(file, first, description)
    software = next(iter(file.texts(first, _SOFTWARE)), "")
    if software.lower().startswith("incucyte"):
        return claims_of_incucyte(file, file.pages(first))
    # The resolution of a plain TIFF is a printer's, usually 72 dpi.
    return claims_of_nikon(file, first)
