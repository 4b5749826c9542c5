"""TIFF: OME-TIFF, ImageJ, MetaMorph STK and plain multipage files."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie, Problem
from cellvjepa.movies.readers.axes import arrange
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.given import NOTHING, Given
from cellvjepa.movies.readers.scale import believed
from cellvjepa.movies.readers.tiff_metadata import Claims, claims_of, companions_of
from cellvjepa.movies.readers.tiff_pages import COPY_AGAIN
from cellvjepa.movies.readers.tiff_planes import TiffPixels, TiffPlanes, planes_of

SUFFIXES = (".tif", ".tiff", ".stk", ".lsm", ".btf", ".tf8")

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_LARGEST_THUMBNAIL = 1 / 4  # of the area of the image

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
    """Whether this is to be read as one TIFF."""
    return path.name.lower().endswith(SUFFIXES) and not path.is_dir()


def open_tiff(path: Path, name: str, given: Given = NOTHING) -> Movie:
    """Open one TIFF as a movie.

    Raises
    ------
    UserError
        If it is empty, truncated, a pointer to a file that is elsewhere, in colour, or not to be understood.
    """
    uri = str(path)
    contents = read_contents(path)
    if given.axes is not None and not given.axes.endswith("YX"):
        raise UserError(f"the axes given ({given.axes}) do not end with Y and X, as the planes of a TIFF do", "give --axes TZYX, for instance", uri)
    lengths = (*contents.lengths, *contents.planes.plane_px)
    arrangement = arrange((*contents.names, "Y", "X"), lengths, uri, given=given.axes, slices_may_be_time=contents.calls_any_stack_slices)
    table = arrangement.to_tczyx(np.arange(contents.number, dtype=np.int64).reshape(*contents.lengths, 1, 1))[..., 0, 0]
    pixels = TiffPixels(uri, partial(reopen_pixels, uri, given), (contents.planes,), np.stack([np.zeros_like(table), table], axis=-1))
    claims = contents.claims
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
        codec=contents.codec,
        size_bytes=math.prod(pixels.shape) * pixels.dtype.itemsize,
        problems=(*contents.problems, *arrangement.problems, *scale.problems),
    )


def reopen_pixels(uri: str, given: Given) -> TiffPixels:
    """Open the pixels of one TIFF again."""
    pixels = open_tiff(Path(uri), uri, given).pixels
    assert isinstance(pixels, TiffPixels)
    return pixels


def read_contents(path: Path) -> TiffContents:
    """Read what a TIFF holds, without its pixels.

    Raises
    ------
    UserError
        As :func:`open_tiff`.
    """
    where = str(path)
    _refuse_what_is_no_tiff(path)
    try:
        # Files of a set are not opened: their names come from the file, and may lead anywhere.
        with tifffile.TiffFile(path, _multifile=False) as file:
            companions = companions_of(file)
            if companions:
                raise UserError(
                    f"the file belongs to a set of {len(companions) + 1} ({companions[0]}, ...)",
                    "export the movie as one file, or as OME-Zarr",
                    where,
                )
            series, index, problems = _main_series(file, where)
            planes = planes_of(series, where)
            names, lengths = _leading_axes(series, where)
            return TiffContents(planes, names, lengths, series.kind == "imagej", claims_of(file, index), _codec(series.keyframe), problems)
    except UserError:
        raise
    except PermissionError as error:
        raise UserError("reading is not permitted", "ask for the right to read it", where) from error
    except Exception as error:  # tifffile raises whatever it meets in damaged files
        raise UserError(f"this cannot be read as a TIFF ({str(error) or type(error).__name__})", COPY_AGAIN, where) from error


def _refuse_what_is_no_tiff(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise UserError("this is a link to a file that is not here", "fetch it first (for git-annex: git annex get)", path)
    try:
        with path.open("rb") as file:
            start = file.read(200)
    except OSError as error:
        raise UserError(f"the file cannot be opened ({error.strerror})", "check its permissions and the disk it is on", path) from error
    if not start:
        raise UserError("the file is empty (0 bytes)", COPY_AGAIN, path)
    if start.startswith(b"version https://git-lfs"):
        raise UserError("this is only a pointer of Git LFS, not the image", "fetch the image with: git lfs pull", path)
    if b"annex/objects/" in start and b"\0" not in start:
        raise UserError("this is only a pointer of git-annex, not the image", "fetch the image with: git annex get", path)
    if not start.startswith(_MAGIC):
        raise UserError(f"this is not a TIFF: it begins with {start[:8]!r}", "check what the file really is", path)


def _main_series(file: tifffile.TiffFile, where: str) -> tuple[tifffile.TiffPageSeries, int, tuple[Problem, ...]]:
    """Return the image a file was written for, its index, and what was left out."""
    series = [s for s in file.series if math.prod(s.shape)]
    if not series:
        raise UserError("the file holds no image", COPY_AGAIN, where)
    index = max(range(len(series)), key=lambda i: (math.prod(series[i].shape), -i))
    main = series[index]
    area = main.keyframe.imagewidth * main.keyframe.imagelength
    others = [s for s in series if s is not main and s.keyframe.imagewidth * s.keyframe.imagelength > area * _LARGEST_THUMBNAIL]
    if not others:
        return main, index, ()
    if main.kind == "ome":
        left_out = Problem(f"the file holds {len(others) + 1} images; only the largest is read", "export each position to a file of its own")
        return main, index, (left_out,)
    odd = others[0].keyframe
    raise UserError(
        f"its pages differ: page {odd.index} is {odd.imagelength} x {odd.imagewidth} {odd.dtype}, "
        f"the others are {main.keyframe.imagelength} x {main.keyframe.imagewidth} {main.keyframe.dtype}",
        "save pages of one kind only",
        where,
    )


def _leading_axes(series: tifffile.TiffPageSeries, where: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    # By default tifffile drops axes of length 1, and with them what they were called.
    names, lengths = series.get_axes(False), tuple(int(n) for n in series.get_shape(False))
    if names.endswith("S"):
        assert lengths[-1] == 1, "planes_of lets grey images pass only"
        names, lengths = names[:-1], lengths[:-1]
    if not names.endswith("YX"):
        raise UserError(f"its axes {names} do not end with Y and X", "save it with one plane per page", where)
    return tuple(names[:-2]), lengths[:-2]


def _codec(page: tifffile.TiffPage) -> str:
    try:
        name = tifffile.COMPRESSION(page.compression).name.lower()
    except ValueError:
        return str(page.compression)
    return {"adobe_deflate": "deflate"}.get(name, name)
