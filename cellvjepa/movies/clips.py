"""Clips: addresses of short pieces of movies, chosen at random, on a grid or around a point, and read as the network sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.clip_shape import ClipShape, Sampling, channel_indices, check_movie, nearest, sampling
from cellvjepa.movies.movie import LazyPixels, Movie
from cellvjepa.movies.resampling import read_native, resample_and_scale
from cellvjepa.movies.window import Window, inside, padded, window_between

__all__ = ["Clip", "ClipShape", "Hidden", "Sampling", "clip_at", "grid_clips", "random_clip", "read_clip", "sampling"]


_WIDEST = 4  # a clip that moves is read at once if all its places together are at most so many times as large as one


@dataclass(frozen=True)
class Clip:
    """An address in a movie.

    Parameters
    ----------
    movie
        The movie's name.
    t0, t_step
        First native frame, and native frames from one frame of the clip to the next.
    z0, y0, x0
        First native plane, row and column; rows and columns are negative where an image smaller than the clip is padded.
    extent
        Native planes, rows and columns.
    clip_id
        Names the clip; unique in a store.
    drift
        Native rows and columns by which the crop has moved in the last frame, in a straight line and at steady speed; (0, 0): it stands still.
    cell_values
        Values of its cell's pixels in the movie's label image: one for all frames, or one for each (0 where the cell is not there);
        empty where the clip is not of a cell.
    """

    movie: str
    t0: int
    t_step: int
    z0: int
    y0: int
    x0: int
    extent: tuple[int, int, int]
    clip_id: str
    drift: tuple[int, int] = (0, 0)
    cell_values: tuple[int, ...] = ()


def clip_at(movie: Movie, shape: ClipShape, t0: int, y: float, x: float, drift_px: tuple[float, float] = (0.0, 0.0)) -> Clip:
    """Return the clip that starts at frame ``t0`` and is centred at ``(y, x)``, shifted so that it lies inside the image.

    Where the image is smaller than the clip, it stands in the clip's middle.

    Parameters
    ----------
    t0
        First native frame.
    y, x
        Centre [native px]; whole numbers are the centres of pixels. Of a clip that moves: half way in time.
    drift_px
        Rows and columns by which the centre moves from the first frame to the last [native px].

    Raises
    ------
    UserError
        If the clip does not lie inside the movie in time, or :func:`check_movie` finds something.
    """
    found = check_movie(movie, shape)
    last = movie.shape["T"] - found.span_frames
    if not 0 <= t0 <= last:
        raise UserError(
            f"a clip of {found.span_frames} frames cannot start at frame {t0} of {movie.shape['T']}",
            f"start it between 0 and {last} (frames count from 0)",
            movie.uri,
        )
    (y0, x0), (y1, x1) = (
        [
            inside(nearest((centre + part * way + 0.5) / factor - extent / 2), extent, length)
            for centre, way, factor, extent, length in zip((y, x), drift_px, found.factor, found.read_px, found.pixels.shape[3:], strict=True)
        ]
        for part in (-0.5, 0.5)
    )
    # Both ends lie inside the image, and so does the straight line between them.
    return replace(clip_address(movie, found, t0, y0, x0), drift=((y1 - y0) * found.factor[0], (x1 - x0) * found.factor[1]))


def random_clip(movie: Movie, shape: ClipShape, rng: np.random.Generator) -> Clip:
    """Draw a clip uniformly among all that lie inside the movie.

    Raises
    ------
    UserError
        If :func:`check_movie` finds something.
    """
    found = check_movie(movie, shape)
    lengths = (movie.shape["T"], *found.pixels.shape[3:])
    extents = (found.span_frames, *found.read_px)
    t0, y0, x0 = (draw_start(rng, 0, length, extent) for length, extent in zip(lengths, extents, strict=True))
    return clip_address(movie, found, t0, y0, x0)


def grid_clips(movie: Movie, shape: ClipShape, stride_frames: int | None = None) -> list[Clip]:
    """Return clips that cover the movie side by side, in the order t, y, x; the last of a row may overlap the one before.

    Parameters
    ----------
    stride_frames
        Native frames between the starts of clips at one place; None: clips do not overlap in time.

    Raises
    ------
    UserError
        If :func:`check_movie` finds something.
    """
    found = check_movie(movie, shape)
    height, width = found.read_px
    rows, columns = found.pixels.shape[3:]
    stride = stride_frames or shape.frames * found.t_step
    return [
        clip_address(movie, found, t0, y0, x0)
        for t0 in _tiles(movie.shape["T"], found.span_frames, stride)
        for y0 in _tiles(rows, height, height)
        for x0 in _tiles(columns, width, width)
    ]


def clip_address(movie: Movie, found: Sampling, t0: int, y0: int, x0: int) -> Clip:
    """Return the clip whose first native frame, and first row and column where it is read, are given; its name is made of them."""
    y0, x0 = y0 * found.factor[0], x0 * found.factor[1]
    clip_id = f"{movie.name}#t{t0}_z{found.z0}_y{y0}_x{x0}"
    return Clip(movie.name, t0, found.t_step, found.z0, y0, x0, found.extent_px, clip_id)


def draw_start(rng: np.random.Generator, start: int, stop: int, extent: int) -> int:
    """Draw where a piece of ``extent`` begins between ``start`` and ``stop``; centred there where it does not fit."""
    if extent >= stop - start:
        return start + inside(0, extent, stop - start)
    return int(rng.integers(start, stop - extent, endpoint=True))


@dataclass(frozen=True, eq=False)
class Hidden:
    """Pixels of a clip that are not to be seen.

    Parameters
    ----------
    pixels_TZYX
        bool, as large as the clip before it is resampled: which.
    background_TZYX
        bool, likewise: where the value is found that they get, which is the median of these pixels (each channel's own); the
        movie's low level where there are none.
    """

    pixels_TZYX: npt.NDArray[np.bool_]
    background_TZYX: npt.NDArray[np.bool_]


def read_clip(movie: Movie, clip: Clip, shape: ClipShape, hidden: Hidden | None = None) -> npt.NDArray[np.float32]:
    """Read a clip as the network sees it.

    Parameters
    ----------
    movie
        A movie whose levels have been measured.
    clip
        An address in this movie, made for this shape.
    hidden
        Pixels that are replaced by the background.

    Returns
    -------
    ndarray
        float32 C T Z Y X: the chosen channels, ``shape.frames`` frames, ``shape.size_px`` rows and columns. The movie's levels
        are 0 and 1, and values are cut off at -1 and 3.

    Raises
    ------
    UserError
        If the movie's levels have not been measured, or it lacks a wanted channel.
    """
    assert clip.movie == movie.name, (clip.movie, movie.name)
    levels = known_levels(movie)
    found = sampling(movie, shape)
    planes = slice(clip.z0, clip.z0 + clip.extent[0])
    channels = []
    for c in channel_indices(movie, shape):
        native_TZYX = cut_clip(found.pixels, c, clip, shape.frames, planes, found.factor, shape.z == "max")
        if hidden is not None:
            seen = native_TZYX[hidden.background_TZYX]
            value = float(np.nanmedian(seen)) if seen.size and not np.isnan(seen).all() else levels[c, 0]
            native_TZYX = np.where(hidden.pixels_TZYX, np.asarray(value).astype(native_TZYX.dtype), native_TZYX)
        channels.append(resample_and_scale(native_TZYX, shape.size_px, levels[c]))
    return np.stack(channels)


def cut_clip(
    pixels: LazyPixels, channel: int, clip: Clip, frames: int, planes: slice, factor: tuple[int, int], project: bool = False
) -> npt.NDArray[Any]:
    """Read one channel of a clip from the movie's pixels, or from others of the same place and time: whole, T Z Y X, as they are.

    Parameters
    ----------
    frames
        Frames of the clip.
    planes
        To read.
    factor
        Native rows and columns that one of these pixels stands for.
    project
        Take the maximum over the planes.
    """
    times = range(clip.t0, clip.t0 + frames * clip.t_step, clip.t_step)
    extent = clip.extent[1] // factor[0], clip.extent[2] // factor[1]
    starts_T2 = frame_starts(clip, frames) // factor
    first, last = starts_T2.min(axis=0), starts_T2.max(axis=0)
    if np.prod(last - first + extent) > _WIDEST * np.prod(extent):
        alone = [replace(clip, t0=t, y0=int(y), x0=int(x), drift=(0, 0)) for t, (y, x) in zip(times, starts_T2 * factor, strict=True)]
        return np.concatenate([cut_clip(pixels, channel, one, 1, planes, factor, project) for one in alone])
    window = window_between(planes, first, last - first + extent, pixels.shape[3:])
    whole = padded(read_native(pixels, channel, times, window.there, project), window)
    if (first == last).all():
        return whole
    return np.stack([frame[:, y : y + extent[0], x : x + extent[1]] for frame, (y, x) in zip(whole, starts_T2 - first, strict=True)])


def frame_starts(clip: Clip, frames: int) -> npt.NDArray[np.int64]:
    """Return the first native row and column of a clip in each of its frames, (T, 2)."""
    passed = np.arange(frames) / max(1, frames - 1)
    return np.array([clip.y0, clip.x0]) + np.floor(passed[:, None] * clip.drift + 0.5).astype(np.int64)


def known_levels(movie: Movie) -> npt.NDArray[np.float64]:
    """Return a movie's levels, ``(C, 2)``.

    Raises
    ------
    UserError
        If they have not been measured.
    """
    if movie.levels is None:
        raise UserError("the movie's intensity levels have not been measured", "call with_levels(movie) first and use what it returns", movie.uri)
    return movie.levels


def window_of(clip: Clip, found: Sampling) -> Window:
    """Return where a clip that stands still is read; ``found`` is how clips of its shape sample its movie."""
    start = clip.y0 // found.factor[0], clip.x0 // found.factor[1]
    return window_between(slice(clip.z0, clip.z0 + clip.extent[0]), start, found.read_px, found.pixels.shape[3:])


def _tiles(length: int, extent: int, stride: int) -> list[int]:
    """Return the starts of pieces that cover ``length``; the last is shifted back so that it ends with it."""
    if extent >= length:
        return [inside(0, extent, length)]
    return [*range(0, length - extent, stride), length - extent]
