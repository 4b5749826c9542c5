"""OME-TIFF: movies in one file or in a set of files, put together from what the OME-XML says lies where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Problem
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.several import chosen, each_of
from cellvjepa.movies.readers.tiff.codec import PageKind, kind_of
from cellvjepa.movies.readers.tiff.ifd import Page, TagFile
from cellvjepa.movies.readers.tiff.layout import check_alike
from cellvjepa.movies.readers.tiff.ome import Ome, OmeImage, is_ome, parse_ome
from cellvjepa.movies.readers.tiff.planes import TiffPlanes
from cellvjepa.movies.readers.tiff.pyramid import Coarser, coarser_copies
from cellvjepa.movies.readers.tiff.tables import planes_of_pages
from cellvjepa.movies.readers.tiff_start import refuse_what_is_no_tiff

DESCRIPTION = 270
_LARGEST_COMPANION_BYTES = 2**29


@dataclass(frozen=True, eq=False)
class OmeMovie:
    """A movie that an OME-XML describes.

    Parameters
    ----------
    image
        Which image it is.
    files
        The files it lies in, the first plane's first; names that are not there too.
    file_of
        For each frame, channel and plane the index of its file, ``(T, C, Z)``; -1 where the XML names none.
    page_of
        And the index of its page there.
    """

    image: OmeImage
    files: tuple[Path, ...]
    file_of: npt.NDArray[np.int64]
    page_of: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class OmeContents:
    """The planes of such a movie.

    Parameters
    ----------
    files
        The planes of each file.
    table
        ``(T, C, Z, 2)``: for each frame, channel and plane the index of the file and of the plane in it.
    codec
        The compression, for people.
    coarser
        Coarser copies: the planes of each file, and rows and columns that one pixel stands for.
    problems
        What is missing.
    """

    files: tuple[TiffPlanes, ...]
    table: npt.NDArray[np.int64]
    codec: str
    coarser: tuple[tuple[tuple[TiffPlanes, ...], tuple[int, int]], ...]
    problems: tuple[Problem, ...]


def set_of(path: Path) -> tuple[Path, ...] | None:
    """Return the files of the set that a file belongs to, those that are there, the first one first; None where it is on its own.

    Only this file's tags are read, and the file that has its OME-XML.
    """
    try:
        movies = movies_at(path)
    except (UserError, OSError):
        return None
    mine = [movie for movie in movies if path in movie.files]
    files = list(dict.fromkeys(file for movie in mine for file in movie.files if file == path or file.exists()))
    return tuple(files) if len(files) > 1 or any(len(movie.files) > 1 for movie in mine) else None


def movies_in(path: Path) -> list[Path]:
    """Return the uris of the movies that begin in a file: none where it is a later part of a set.

    Raises
    ------
    UserError
        If its OME-XML cannot be understood.
    """
    try:
        movies = [movie for movie in movies_at(path) if movie.files[0] == path]
    except OSError:
        return [path]  # opening it says what is wrong
    if not movies:
        return [path] if set_of(path) is None else []
    return each_of(path, len(movies))


def movies_at(path: Path) -> list[OmeMovie]:
    """Return the movies that the OME-XML of a file describes; none where it has no OME-XML.

    Images of another size than the largest (labels, overviews) are none.

    Raises
    ------
    UserError
        If the OME-XML cannot be understood, or leads out of the file's folder.
    OSError
        If the file cannot be read.
    """
    refuse_what_is_no_tiff(path)
    with TagFile(str(path)) as file:
        xml = next((text for text in file.texts(file.first_page(), DESCRIPTION) if is_ome(text)), None)
    return [] if xml is None else movies_of(xml, path)


def movies_of(xml: str, path: Path) -> list[OmeMovie]:
    """Return the movies that the OME-XML of a file describes.

    Raises
    ------
    UserError
        If it cannot be understood, or leads out of the file's folder.
    """
    ome, holder = parse_ome(xml, str(path)), path
    if not ome.images and ome.master is not None:
        ome, holder = _master(path, ome.master)
    return _movies(ome, holder)


def _master(path: Path, name: str) -> tuple[Ome, Path]:
    """Read the OME-XML of a set from the file that has it."""
    holder = _beside(path, name)
    if not holder.exists():
        raise UserError(f"it is a part of a set whose description is in {name}, which is not here", "copy all files of the set into one folder", path)
    with holder.open("rb") as opened:
        start = opened.read(2)
    if start in (b"II", b"MM"):
        with TagFile(str(holder)) as file:
            texts = [text for text in file.texts(file.first_page(), DESCRIPTION) if is_ome(text)]
        xml = texts[0] if texts else ""
    elif holder.stat().st_size > _LARGEST_COMPANION_BYTES:
        raise UserError("the description of the set is too large", COPY_AGAIN, holder)
    else:
        xml = holder.read_text("utf-8", "replace")
    return parse_ome(xml, str(holder)), holder


def _beside(path: Path, name: str) -> Path:
    """Return a file of a name in the same folder; other places are refused."""
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise UserError(f"its OME-XML names a file in another folder ({name!r})", "export the movie again, or save it as OME-Zarr", path)
    return path.parent / name


def _movies(ome: Ome, holder: Path) -> list[OmeMovie]:
    if not ome.images:
        return []
    sizes = [image.plane_px for image in ome.images]
    largest = max(ome.images, key=lambda image: image.plane_px[0] * image.plane_px[1] * image.positions().size)
    marks = {block.uuid for image in ome.images for block in image.blocks}
    # A file that was renamed names its former self, and only that.
    is_renamed = len(marks) == 1 and ome.uuid in (None, *marks)
    return [_placed(image, ome, holder, is_renamed=is_renamed) for image, size in zip(ome.images, sizes, strict=True) if size == largest.plane_px]


def _placed(image: OmeImage, ome: Ome, holder: Path, *, is_renamed: bool) -> OmeMovie:
    """Find the file and page of every plane."""
    number = int(np.prod(image.lengths))
    file_of, page_of = np.full(number, -1, np.int64), np.zeros(number, np.int64)
    files: dict[Path, int] = {}
    for block in image.blocks:
        is_own = block.file is None or is_renamed or (block.uuid is not None and block.uuid == ome.uuid)
        file = holder if is_own or block.file is None else _beside(holder, block.file)
        count = number - block.first if block.count is None else min(block.count, number - block.first)
        if count > 0 and block.page >= 0:
            file_of[block.first : block.first + count] = files.setdefault(file, len(files))
            page_of[block.first : block.first + count] = block.page + np.arange(count)
    if not image.blocks:  # the planes are the pages
        files[holder] = 0
        file_of[:], page_of[:] = 0, np.arange(number)
    at = image.positions()
    first = next((int(i) for i in file_of if i >= 0), 0)
    ordered = list(files) or [holder]
    # The set has the name of the file of its first plane.
    order = sorted(range(len(ordered)), key=lambda i: (i != first, i))
    rank = np.empty(len(order) + 1, np.int64)
    rank[order], rank[-1] = np.arange(len(order)), -1
    return OmeMovie(image, tuple(ordered[i] for i in order), rank[file_of][at], page_of[at])


def chosen_movie(movies: Sequence[OmeMovie], path: Path, which: int | None) -> OmeMovie:
    """Return the movie that a file stands for, or that of a number among those that begin in it.

    A later part of a set stands for its movie as well.

    Raises
    ------
    UserError
        If there are several, or none of that number.
    """
    mine = [movie for movie in movies if movie.files[0] == path] or [movie for movie in movies if path in movie.files]
    if not mine:
        raise UserError("its OME-XML does not mention this file: it was renamed", "give it its old name, or export the movie again", path)
    return mine[chosen(path if which is None else Path(f"{path}#{which}"), which, len(mine))]


def read_ome(movie: OmeMovie) -> OmeContents:
    """Look where the planes of a movie lie.

    Raises
    ------
    UserError
        If files of the set are missing, or cannot be read, or differ. Where only frames at the end are missing these are left out.
    """
    where = movie.files[0]
    there = [file.exists() or file.is_symlink() for file in movie.files]
    pages: dict[int, list[Page]] = {}
    for index, file in enumerate(movie.files):
        if there[index]:
            refuse_what_is_no_tiff(file)
            with TagFile(str(file)) as opened:
                pages[index] = opened.pages(opened.first_page())
    available = np.array([len(pages.get(index, ())) for index in range(len(movie.files))], np.int64)
    has_plane = (movie.file_of >= 0) & (movie.page_of < available[np.maximum(movie.file_of, 0)])
    frames, problems = _complete_frames(movie, has_plane, there, where)
    file_of, page_of = movie.file_of[:frames], movie.page_of[:frames]
    table = np.empty((*file_of.shape, 2), np.int64)
    found, kinds = [], []
    for number, index in enumerate(np.unique(file_of).tolist()):
        mine = file_of == index
        used, table[mine, 1] = np.unique(page_of[mine], return_inverse=True)
        table[mine, 0] = number
        one, kind, left_out = _planes_in(movie.files[index], [pages[index][i] for i in used], movie.image.plane_px)
        found.append(one)
        kinds.append(kind)
        problems += [problem for problem in left_out if problem not in problems]
        if kind.stored.newbyteorder("=") != kinds[0].stored.newbyteorder("="):
            raise UserError(
                f"its pixels are {kind.stored.name}, but those of {where.name} are {kinds[0].stored.name}",
                "export the movie again",
                movie.files[index],
            )
    factors = [copy.factor for copy in found[0][1] if all(copy.factor in [other.factor for other in one[1]] for one in found)]
    coarser = tuple((tuple(next(copy.planes for copy in one[1] if copy.factor == factor) for one in found), factor) for factor in factors)
    return OmeContents(tuple(one[0] for one in found), table, kinds[0].codec, coarser, tuple(problems))


def _planes_in(
    path: Path, pages: list[Page], plane_px: tuple[int, int]
) -> tuple[tuple[TiffPlanes, tuple[Coarser, ...]], PageKind, tuple[Problem, ...]]:
    with TagFile(str(path)) as file:
        file.check_tags(pages[0])
        kind = kind_of(file, pages[0])
        if kind.plane_px != plane_px:
            shown = "{} x {}".format(*kind.plane_px)
            raise UserError(f"its pages are {shown} px, but its OME-XML says {plane_px[0]} x {plane_px[1]}", COPY_AGAIN, path)
        check_alike(file, pages)
        planes, problems = planes_of_pages(file, kind, pages)
        return (planes, coarser_copies(file, kind, pages)), kind, problems


def _complete_frames(movie: OmeMovie, has_plane: npt.NDArray[np.bool_], there: list[bool], where: Path) -> tuple[int, list[Problem]]:
    """Return how many frames are complete, and what to say about those at the end that are not."""
    complete = np.asarray(has_plane.all(axis=(1, 2)))
    frames = len(complete) if complete.all() else int(np.argmin(complete))
    if frames == len(complete):
        return frames, []
    missing = [file.name for file, is_there in zip(movie.files, there, strict=True) if not is_there]
    if missing:
        what = f"{len(missing)} of the {len(there)} files of the set {'is' if len(missing) == 1 else 'are'} missing, first {missing[0]}"
        remedy = "copy them into the folder of the others, under the names they were recorded with"
    else:
        what = f"{int((~has_plane).sum())} of its {has_plane.size} planes are missing"
        remedy = "copy the file again, or record or export the movie again"
    if frames == 0 or complete[frames:].any():
        raise UserError(what, remedy, where)
    return frames, [
        Problem(
            f"only the first {frames} of {len(complete)} frames are complete: {what}", f"the others are left out; if there should be more, {remedy}"
        )
    ]
