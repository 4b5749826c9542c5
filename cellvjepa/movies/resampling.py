"""From native pixels to the values a network sees: read, project, pad, scale, resample.

This is all the arithmetic there is on pixels before the network. Clips read one by one and clips cut from a decoded block both
go through it, which is why they are equal bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.movie import Movie

DARKEST, BRIGHTEST = -1.0, 3.0  # in units of the levels: one hot pixel must not rule a clip
_PIECE_PX = 2**24  # native pixels that a maximum projection holds at once


def read_native(movie: Movie, channel: int, frames: range, window: tuple[slice, slice, slice], project: bool) -> npt.NDArray[Any]:
    """Read native pixels of one channel, T Z Y X.

    Parameters
    ----------
    window
        Planes, rows and columns.
    project
        Take the maximum over the planes. It is made piece by piece: about 16 million pixels of a deep stack are in memory at once.
    """
    key = (channel, *window)
    depth, rows, columns = (s.stop - s.start for s in window)
    if not project or depth == 1:
        return movie.pixels[slice(frames.start, frames.stop, frames.step), *key]
    projected = np.empty((len(frames), 1, rows, columns), movie.pixels.dtype)
    piece = max(1, movie.pixels.chunks[0] // frames.step, _PIECE_PX // (depth * rows * columns))
    for first in range(0, len(frames), piece):
        part = frames[first : first + piece]
        stack = movie.pixels[slice(part.start, part.stop, part.step), *key]
        # fmax: a missing (NaN) pixel of one plane does not hide those of the others.
        np.fmax.reduce(stack, axis=1, keepdims=True, out=projected[first : first + piece])
    return projected


def resample_and_scale(
    native_TZYX: npt.NDArray[Any], missing: tuple[int, int], extent: tuple[int, int], size_px: int, level: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Turn the native pixels of a clip into what the network sees.

    In this order: an image smaller than the clip is padded by reflection; values are scaled (:func:`scale`); rows and columns are
    resampled by bilinear interpolation with antialiasing, which leaves a clip alone that has its size already.

    Parameters
    ----------
    native_TZYX
        The part of the clip that exists in the image, any dtype.
    missing
        Rows above and columns left of it that the clip has and the image has not; none where negative.
    extent
        Native rows and columns of the whole clip.
    size_px
        Height and width to resample to.
    level
        The native values that map to 0 and 1.

    Returns
    -------
    ndarray
        float32 T Z Y X, contiguous.
    """
    before = [max(0, count) for count in missing]
    after = [full - first - there for full, first, there in zip(extent, before, native_TZYX.shape[2:], strict=True)]
    if any(before) or any(after):
        native_TZYX = np.pad(native_TZYX, ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1])), mode="reflect")
    values = scale(native_TZYX, level)
    if extent == (size_px, size_px):
        return values
    # Heavy, and needed only by those who resample.
    import torch

    resampled: npt.NDArray[np.float32] = torch.nn.functional.interpolate(
        torch.from_numpy(values), size=(size_px, size_px), mode="bilinear", antialias=True
    ).numpy()
    return resampled


def scale(native: npt.NDArray[Any], level: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Map the two levels to 0 and 1 and missing values (NaN) to 0, and cut off what lies outside -1..3.

    It is computed in float32 where that holds every native value exactly, else in float64. Where the levels are equal, all is 0.
    """
    low, high = float(level[0]), float(level[1])
    exact = native.dtype.itemsize <= 2 or native.dtype == np.float32
    values: npt.NDArray[Any] = native.astype(np.float32 if exact else np.float64, order="C")
    values -= low
    values *= 1 / (high - low) if high > low else 0.0
    if native.dtype.kind == "f":
        np.nan_to_num(values, copy=False, nan=0.0, posinf=BRIGHTEST, neginf=DARKEST)
    np.clip(values, DARKEST, BRIGHTEST, out=values)
    return values.astype(np.float32, copy=False)
