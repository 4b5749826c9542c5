"""The survey: everything known about an archive before a clip is read, for people and for scripts."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape, Sampling, check_movie
from cellvjepa.movies.movie import AXES, Movie, Problem
from cellvjepa.movies.readers import Archive

COLUMNS = ("movie", "T", "C", "Z", "Y x X", "type", "pixel [um]", "interval [s]", "compression", "MB", "MB per clip", "problems")

_WASTEFUL = 20.0  # random 16 x 224 x 224 clips from chunks of 16 x 256 x 256 decode 9 times what they use, from whole images of 2048 x 2048 84 times


def survey(archive: Archive, shape: ClipShape) -> dict[str, Any]:
    """Describe every movie of an archive, as ``cellvjepa inspect --json`` prints it. No pixels are read.

    Parameters
    ----------
    archive
        The archive.
    shape
        The clips that are to be cut from it.

    Returns
    -------
    dict
        ``movies``: per movie uri, shape, axes (file, assumed or given), dtype, channels, pixel_um [um], interval_s [s], chunks,
        codec, bytes, problems, ``read_amplification`` (bytes decoded per byte used, for a random clip of one channel) and
        ``mb_per_clip`` (decoded for such a clip [MB]); the last two are None where the movie yields no clip.
        ``skipped``: path, what and remedy of what is not used.
    """
    return {"movies": [_describe(movie, shape) for movie in archive.movies], "skipped": [asdict(skipped) for skipped in archive.skipped]}


def table_rows(archive: Archive, found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return what :func:`survey` found as rows of text, one per movie, below :data:`COLUMNS`.

    Parameters
    ----------
    archive
        The archive.
    found
        What :func:`survey` says about it.
    """
    return [_row(movie.name, one) for movie, one in zip(archive.movies, found["movies"], strict=True)]


def _describe(movie: Movie, shape: ClipShape) -> dict[str, Any]:
    problems = list(movie.problems)
    amplification = mb_per_clip = None
    try:
        found = check_movie(movie, shape)
    except UserError as error:
        problems.append(Problem(error.what, error.remedy))
    else:
        problems += _too_small(movie, found)
        decoded_px, used_px = _decoded_and_used(movie, shape, found)
        amplification = decoded_px / used_px
        mb_per_clip = decoded_px * movie.pixels.dtype.itemsize / 1e6
        problems += _wasteful(movie, amplification)
    return {
        "uri": movie.uri,
        "shape": movie.shape,
        "axes": dict(movie.axes),
        "dtype": movie.pixels.dtype.name,
        "channels": list(movie.channels),
        "pixel_um": None if movie.pixel_um is None else asdict(movie.pixel_um),
        "interval_s": movie.interval_s,
        "chunks": dict(zip(AXES, movie.pixels.chunks, strict=True)),
        "codec": movie.codec,
        "bytes": movie.size_bytes,
        "read_amplification": None if amplification is None else float(f"{amplification:.4g}"),
        "mb_per_clip": None if mb_per_clip is None else float(f"{mb_per_clip:.4g}"),
        "problems": [asdict(problem) for problem in problems],
    }


def _decoded_and_used(movie: Movie, shape: ClipShape, found: Sampling) -> tuple[float, int]:
    """Return the pixels that a random clip of one channel makes a reader decode, on average, and those it uses."""
    lengths, chunks = movie.shape, dict(zip(AXES, movie.pixels.chunks, strict=True))
    depth, height, width = found.extent_px
    decoded: float = chunks["C"]
    used = 1
    for axis, count, step in (("T", shape.frames, found.t_step), ("Z", depth, 1), ("Y", height, 1), ("X", width, 1)):
        there = min(count, lengths[axis])
        decoded *= _decoded(lengths[axis], chunks[axis], there, step)
        used *= there
    return decoded, used


def _decoded(length: int, chunk: int, count: int, step: int) -> float:
    """Return the extent of the chunks that ``count`` indices, ``step`` apart, fall into, on average over all places where they fit."""
    first = np.arange(length - (count - 1) * step)
    if step < chunk:  # every chunk between the first and the last index is touched
        return float(np.mean(_end_of_chunk(first + (count - 1) * step, chunk, length) - first // chunk * chunk))
    each = first[:, None] + step * np.arange(count)
    return float(np.mean(np.sum(_end_of_chunk(each, chunk, length) - each // chunk * chunk, axis=1)))


def _end_of_chunk(index: npt.NDArray[np.int64], chunk: int, length: int) -> npt.NDArray[np.int64]:
    return np.minimum((index // chunk + 1) * chunk, length)


def _too_small(movie: Movie, found: Sampling) -> list[Problem]:
    _, height, width = found.extent_px
    there_y, there_x = movie.shape["Y"], movie.shape["X"]
    if height <= there_y and width <= there_x:
        return []
    what = f"the image ({there_y} x {there_x}) is smaller than a clip ({height} x {width} native px); clips are padded"
    return [Problem(what, "choose a smaller clip.size_px or clip.pixel_um")]


def _wasteful(movie: Movie, amplification: float) -> list[Problem]:
    if amplification < _WASTEFUL:
        return []
    shown = " x ".join(str(n) for n in movie.pixels.chunks if n > 1)
    what = f"reading is slow: a random clip decodes {amplification:.0f} times what it uses (pieces of {shown})"
    return [Problem(what, "save the movie as OME-Zarr with chunks of about 16 frames x 256 x 256, or as uncompressed TIFF")]


def _row(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    shape, pixel_um, interval_s, mb = one["shape"], one["pixel_um"], one["interval_s"], one["mb_per_clip"]
    return (
        name,
        *(f"{shape[axis]}{'' if one['axes'][axis] == 'file' else ' (' + one['axes'][axis] + ')'}" for axis in "TCZ"),
        f"{shape['Y']} x {shape['X']}",
        one["dtype"],
        "unknown" if pixel_um is None else _size(pixel_um),
        "unknown" if interval_s is None and shape["T"] > 1 else "" if interval_s is None else f"{interval_s:g}",
        one["codec"],
        f"{one['bytes'] / 1e6:,.1f}",
        "no clip" if mb is None else f"{mb:.2g} ({one['read_amplification']:.2g}x)",
        "\n".join(f"{problem['what']}; {problem['remedy']}" for problem in one["problems"]),
    )


def _size(pixel_um: dict[str, float | None]) -> str:
    y, x, z = pixel_um["y"], pixel_um["x"], pixel_um["z"]
    assert y is not None
    assert x is not None
    plane = f"{y:.3g}" if math.isclose(y, x, rel_tol=1e-3) else f"{y:.3g} x {x:.3g}"
    return plane if z is None else f"{plane}, z {z:.3g}"
