"""What a movie was converted from, in few bytes: enough to notice that it has changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers.memory.remembered import RememberedPixels
from cellvjepa.movies.readers.series.series_pixels import SeriesPixels
from cellvjepa.movies.readers.several import parted
from cellvjepa.movies.readers.tiff.planes import TiffPixels


def fingerprint(movie: Movie) -> str:
    """Return a digest of what is known of a movie without reading pixels: its metadata, and the sizes and times of its files.

    Of a remote movie there are the metadata only.
    """
    digest = hashlib.sha256()
    known = (movie.pixels.shape, movie.pixels.dtype.str, movie.channels, movie.pixel_um, movie.interval_s, sorted(movie.axes.items()))
    digest.update(repr(known).encode())
    for name, stat in sorted(_files_of(movie)):
        digest.update(f"{name!r} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files_of(movie: Movie) -> Iterator[tuple[str, os.stat_result]]:
    uri, path = movie.uri, parted(Path(movie.uri))[0]
    pixels = movie.pixels.opened() if isinstance(movie.pixels, RememberedPixels) else movie.pixels
    if "://" in uri:
        return
    if isinstance(pixels, TiffPixels):
        yield from _existing(sorted({planes.path for planes in pixels.files} - {""}))
    elif isinstance(pixels, SeriesPixels):
        yield from _existing(sorted(pixels.files))
    elif path.is_file():
        yield from _existing([str(path)])
    elif path.is_dir():
        yield from _below(str(path), re.compile(""))
    elif "{" in uri:
        # A pattern of frames: what is in braces stands for anything.
        above = uri[: uri.index("{")].rpartition("/")[0]
        parts = re.split(r"\{[^{}]*\}", uri)
        yield from _below(above or "/", re.compile(".*".join(map(re.escape, parts)) + "$"))


def _below(folder: str, wanted: re.Pattern[str]) -> Iterator[tuple[str, os.stat_result]]:
    for here, _, names in os.walk(folder):
        yield from _existing([place for name in names if wanted.match(place := f"{here}/{name}")])


def _existing(paths: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    for path in paths:
        with contextlib.suppress(OSError):  # reading the pixels will say what is wrong
            yield path, os.stat(path)  # noqa: PTH116 - there may be a million of them
