"""A movie as a dask array, for programs that look at pixels rather than train on them, such as napari."""

from __future__ import annotations

import math

import dask.array
import numpy as np

from cellvjepa.movies.movie import Movie

_LARGEST_CHUNK_BYTES = 2**26


def lazy_array(movie: Movie) -> dask.array.Array:
    """Return the pixels as a dask array, T C Z Y X, native dtype; they are read when they are computed.

    A chunk of the array is a whole image of one channel, or a tile of one that is larger than 64 MiB. Along T and Z it has the frames
    and planes that one read decodes anyway, as far as they fit into that: whoever plays the movie then decodes each of them once.

    Parameters
    ----------
    movie
        The movie.
    """
    t, _, z, _, _ = movie.pixels.shape
    height, width = _tile(movie)
    image_bytes = height * width * movie.pixels.dtype.itemsize
    planes = _at_most(movie.pixels.chunks[2], z, image_bytes)
    frames = _at_most(movie.pixels.chunks[0], t, image_bytes * planes)
    meta = np.empty((0,) * 5, movie.pixels.dtype)
    # Two arrays of one name would be taken for the same one; a name made of the pixels themselves would read them all.
    array: dask.array.Array = dask.array.from_array(  # type: ignore[no-untyped-call]
        movie.pixels, chunks=(frames, 1, planes, height, width), name=False, fancy=False, meta=meta
    )
    return array


def _tile(movie: Movie) -> tuple[int, int]:
    """Return the height and width of a chunk: those of an image, or where it is too large, as many of the movie's own chunks as fit in."""
    *_, y, x = movie.pixels.shape
    *_, height, width = movie.pixels.chunks
    most = _LARGEST_CHUNK_BYTES // movie.pixels.dtype.itemsize
    if y * x <= most:
        return y, x
    across = min(x, width * max(1, math.isqrt(most) // width))
    return min(y, height * max(1, most // across // height)), across


def _at_most(decoded: int, there: int, each_bytes: int) -> int:
    """Return how many images a chunk holds along an axis."""
    return max(1, min(decoded, there, math.floor(_LARGEST_CHUNK_BYTES / each_bytes)))
