"""A clip as people look at it: small, in bytes, and its channels in colour over each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.clip_shape import ClipShape, channel_indices
from cellvjepa.movies.clips import Clip, read_clip
from cellvjepa.movies.movie import Movie

_TRANSMITTED = ("phase", "bright", "bf", "dic", "trans", "qpi")
_FLUORESCENT = ((0, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 0), (1, 0, 0), (0, 0, 1))  # green and magenta first: colour-blind people tell them apart
_TRANSMITTED_SHARE = 0.7  # of the light of a picture in colour: what fluoresces must stand out


def read_pictures(movie: Movie, clip: Clip, shape: ClipShape, size_px: int | None = None) -> npt.NDArray[np.uint8]:
    """Read the frames of a clip as pictures; of a z-stack the maximum over its planes.

    Parameters
    ----------
    movie
        A movie whose levels have been measured: they are black and white.
    clip
        An address in this movie, made for this shape.
    shape
        The shape of the clip. Of several channels, those of transmitted light are grey and the others in colour, added up.
    size_px
        Height and width; None: those of the clips of this shape.

    Returns
    -------
    ndarray
        uint8 T Y X of one channel, T Y X 3 (red, green, blue) of several.

    Raises
    ------
    UserError
        If the movie's levels have not been measured, it lacks a wanted channel, or its pixels cannot be read.
    """
    # The maximum over the planes is made while they are read: a stack is never in memory as a whole.
    flat = replace(shape, size_px=size_px or shape.size_px, z="max" if shape.z == "stack" else shape.z)
    grey_CTYX = np.clip(read_clip(movie, clip, flat)[:, :, 0], 0, 1)
    if len(grey_CTYX) == 1:
        return _bytes(grey_CTYX[0])
    coloured_TYX3 = np.zeros((*grey_CTYX.shape[1:], 3), np.float32)
    fluorescent = iter(_FLUORESCENT * len(grey_CTYX))
    for grey_TYX, index in zip(grey_CTYX, channel_indices(movie, shape), strict=True):
        transmitted = movie.channels[index].lower().startswith(_TRANSMITTED)
        colour = np.full(3, _TRANSMITTED_SHARE) if transmitted else np.array(next(fluorescent))
        coloured_TYX3 += grey_TYX[..., None] * colour.astype(np.float32)
    return _bytes(np.minimum(coloured_TYX3, 1))


def _bytes(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return (values * 255 + 0.5).astype(np.uint8)
