"""Coarser copies: half as many rows and columns, the same frames and planes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_SUM_OF_FOUR = {"u1": "u2", "i1": "i2", "u2": "u4", "i2": "i4", "u4": "u8", "i4": "i8"}  # types that hold four times a value


def mean_of_four(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the mean of each 2 x 2 pixels in the type they have; whole numbers are rounded, halves to even.

    Parameters
    ----------
    pixels
        ``(..., Y, X)``; a last odd row or column stands for two.

    Returns
    -------
    ndarray
        ``(..., ceil(Y / 2), ceil(X / 2))``.
    """
    kind = pixels.dtype.str[1:]
    even = _even_sides(pixels)
    corners = [even[..., y::2, x::2] for y in (0, 1) for x in (0, 1)]
    if kind not in _SUM_OF_FOUR:
        mean = sum(corner.astype(np.float64) / 4 for corner in corners)
        if pixels.dtype.kind == "f":
            return np.asarray(mean, pixels.dtype)
        return np.clip(np.rint(mean), *_ends(pixels.dtype)).astype(pixels.dtype)
    total = corners[0].astype(_SUM_OF_FOUR[kind])
    for corner in corners[1:]:
        total += corner
    # Half to even in whole numbers: np.rint of the mean, at a fraction of its cost.
    total += 1 + ((total >> 2) & 1)
    total >>= 2
    return total.astype(pixels.dtype)


def one_of_four(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the first of each 2 x 2 pixels: what is left of labels, whose mean would be another label.

    Parameters
    ----------
    pixels
        ``(..., Y, X)``.

    Returns
    -------
    ndarray
        ``(..., ceil(Y / 2), ceil(X / 2))``.
    """
    return np.ascontiguousarray(pixels[..., ::2, ::2])


def _even_sides(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    odd = [length % 2 for length in pixels.shape[-2:]]
    if not any(odd):
        return pixels
    return np.pad(pixels, [(0, 0)] * (pixels.ndim - 2) + [(0, more) for more in odd], mode="edge")


def _ends(dtype: np.dtype[Any]) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.nextafter(float(np.iinfo(dtype).max), 0))
