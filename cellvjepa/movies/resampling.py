"""From native pixels to the values a network sees: read, project, pad, scale, resample.

This is all the arithmetic there is on pixels before the network. Clips read one by one and clips cut from a decoded block both
go through it, which is why they are equal bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.movie import FillsMemory, LazyPixels

DARKEST, BRIGHTEST = -1.0, 3.0  # in units of the levels: one hot pixel must not rule a clip
_PIECE_PX = 2**24  # native pixels that a maximum projection holds at once


def read_native(
    pixels: LazyPixels, channel: int, frames: range, window: tuple[slice, slice, slice], project: bool, out: npt.NDArray[Any] | None = None
) -> npt.NDArray[Any]:
    """Read native pixels of one channel, T Z Y X.

    Parameters
    ----------
    pixels
        A movie's pixels, or a coarser copy of them.
    window
        Planes, rows and columns.
    project
        Take the maximum over the planes. It is made piece by piece: about 16 million pixels of a deep stack are in memory at once.
    out
        Where to put them, of the size and type of what is read; None: new memory.
    """
    key = (channel, *window)
    depth, rows, columns = (s.stop - s.start for s in window)
    if not project or depth == 1:
        whole = (slice(frames.start, frames.stop, frames.step), *key)
        if out is None:
            return pixels[whole]
        if isinstance(pixels, FillsMemory):
            pixels.read_into(whole, out)
        else:
            out[...] = pixels[whole]
        return out
    projected = np.empty((len(frames), 1, rows, columns), pixels.dtype) if out is None else out
    piece = max(1, pixels.chunks[0] // frames.step, _PIECE_PX // (depth * rows * columns))
    for first in range(0, len(frames), piece):
        part = frames[first : first + piece]
        stack = pixels[slice(part.start, part.stop, part.step), *key]
        # fmax: a missing (NaN) pixel of one plane does not hide those of the others.
        np.fmax.reduce(stack, axis=1, keepdims=True, out=projected[first : first + piece])
    return projected


def resample_and_scale(native_TZYX: npt.NDArray[Any], size_px: int, level: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Turn the native pixels of a clip into what the network sees.

    Values are scaled (:func:`scale`); then rows and columns are resampled by bilinear interpolation with antialiasing, which leaves
    a clip alone that has its size already. :func:`cellvjepa.movies.finishing.finish` does the same with a batch on any device.

    Parameters
    ----------
    native_TZYX
        The whole clip, any dtype.
    size_px
        Height and width to resample to.
    level
        The native values that map to 0 and 1.

    Returns
    -------
    ndarray
        float32 T Z Y X, contiguous.
    """
    values = scale(native_TZYX, level)
    if values.shape[2:] == (size_px, size_px):
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
    values: npt.NDArray[Any] = native.astype(np.float32 if is_exact(native.dtype) else np.float64, order="C")
    with np.errstate(invalid="ignore"):  # infinity times 0
        values -= low
        values *= 1 / (high - low) if high > low else 0.0
    if native.dtype.kind == "f":
        np.nan_to_num(values, copy=False, nan=0.0, posinf=BRIGHTEST, neginf=DARKEST)
    np.clip(values, DARKEST, BRIGHTEST, out=values)
    return values.astype(np.float32, copy=False)


def is_exact(dtype: np.dtype[Any]) -> bool:
    """Whether float32 holds every value of a type."""
    return dtype.itemsize <= 2 or dtype == np.float32
