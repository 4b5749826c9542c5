"""A movie at a glance: its middle frame, small, its channels in colour over each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import LazyPixels, Movie

_TRANSMITTED = ("phase", "bright", "bf", "dic", "trans", "qpi")
_FLUORESCENT = ((0, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 1))  # green and magenta first: colour-blind people tell them apart
_GRAY_SHARE = 0.7  # of the light of a picture in colour: what fluoresces must stand out
_MOST_CHANNELS = 6


def thumbnail(movie: Movie, size_px: int) -> npt.NDArray[np.uint8]:
    """Return the middle plane of the middle frame; of a pyramid the coarsest copy that is large enough is read, and nothing else.

    Parameters
    ----------
    movie
        With measured levels: they are black and full brightness.
    size_px
        The longer side of the picture; a smaller movie stays as small as it is.

    Returns
    -------
    ndarray
        ``(Y, X, 3)`` uint8: red, green, blue.

    Raises
    ------
    UserError
        If the pixels cannot be read.
    """
    if movie.levels is None:
        raise UserError("its levels have not been measured", "use levelled() or with_levels() first", movie.name)
    pixels = _just_large_enough(movie, size_px)
    frames, channels, planes, height, width = pixels.shape
    factor = -(-max(height, width) // size_px)
    picture = np.zeros((-(-height // factor), -(-width // factor), 3), np.float32)
    fluorescent = iter(_FLUORESCENT)
    for c in range(min(channels, _MOST_CHANNELS)):
        image = pixels[frames // 2, c, planes // 2]
        low, high = movie.levels[c]
        gray = np.clip((_smaller(image, factor) - low) / (high - low), 0, 1)
        colour: npt.NDArray[np.float64] | tuple[int, int, int] = np.ones(3)
        if channels > 1:
            colour = np.full(3, _GRAY_SHARE) if movie.channels[c].lower().startswith(_TRANSMITTED) else next(fluorescent)
        picture += gray[..., None] * np.asarray(colour, np.float32)
    return (np.minimum(picture, 1) * 255 + 0.5).astype(np.uint8)


def _just_large_enough(movie: Movie, size_px: int) -> LazyPixels:
    enough = [copy.pixels for copy in movie.pyramid if max(copy.pixels.shape[3:]) >= size_px]
    return min(enough, key=lambda pixels: pixels.shape[3] * pixels.shape[4], default=movie.pixels)


def _smaller(image: npt.NDArray[np.generic], factor: int) -> npt.NDArray[np.float32]:
    """Return means of factor x factor pixels, of what is left at the ends as well; pixels that are not finite count as 0."""
    values = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    if factor == 1:
        return values
    rows, columns = np.arange(0, values.shape[0], factor), np.arange(0, values.shape[1], factor)
    summed = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    counts = np.diff(np.append(rows, values.shape[0]))[:, None] * np.diff(np.append(columns, values.shape[1]))
    return np.asarray(summed / counts, np.float32)
