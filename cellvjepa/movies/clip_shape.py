"""What every clip of a run is, and what that means for one movie: how many native frames and pixels.

Space is resampled, time never: a larger interval is reached by leaving out whole frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import LazyPixels, Movie, PixelSize

if TYPE_CHECKING:
    from cellvjepa.config import ClipConfig

_AS_GOOD_AS_WANTED = 1.05  # a pixel size is rarely known better than that


@dataclass(frozen=True)
class ClipShape:
    """What every clip of a run is, whatever movie it comes from.

    Parameters
    ----------
    frames
        Frames in a clip.
    interval_s
        Wanted time between frames [s]; None: every frame.
    size_px
        Height and width after resampling [px].
    pixel_um
        Wanted pixel size [um]; None: pixels as they are.
    channels
        Channels to use, by name; None: all.
    z
        What becomes of a z-stack: maximum projection, middle plane, one plane by index, or all planes.
    """

    frames: int
    interval_s: float | None
    size_px: int
    pixel_um: float | None
    channels: tuple[str, ...] | None
    z: Literal["max", "middle", "stack"] | int

    @classmethod
    def of(cls, config: ClipConfig) -> ClipShape:
        """Return the shape that a configuration asks for."""
        return cls(config.frames, config.interval_s, config.size_px, config.pixel_um, config.channels, config.z)


@dataclass(frozen=True)
class Sampling:
    """How clips of one shape sample one movie.

    Parameters
    ----------
    t_step
        Native frames from one frame of a clip to the next.
    span_frames
        Native frames from a clip's first to its last, both counted.
    z0
        First native plane.
    extent_px
        Native planes, rows and columns of a clip; rows and columns are whole multiples of ``factor``.
    planes
        Planes of a clip when it is read: 1, except for ``z="stack"``.
    interval_s, pixel_um
        What a clip has after sampling, or None where the movie does not say.
    pixels
        Where clips are read: the movie's pixels, or the coarser copy of them that suits the wanted pixel size.
    factor
        Native rows and columns that one pixel read stands for.
    """

    t_step: int
    span_frames: int
    z0: int
    extent_px: tuple[int, int, int]
    planes: int
    interval_s: float | None
    pixel_um: PixelSize | None
    pixels: LazyPixels
    factor: tuple[int, int]

    @property
    def read_px(self) -> tuple[int, int]:
        """Return the rows and columns of a clip where it is read."""
        return self.extent_px[1] // self.factor[0], self.extent_px[2] // self.factor[1]


def sampling(movie: Movie, shape: ClipShape) -> Sampling:
    """Return how clips sample a movie; a movie without interval or pixel size is used as it is.

    Raises
    ------
    UserError
        If the movie has no plane of the wanted index.
    """
    depth = movie.shape["Z"]
    if isinstance(shape.z, int) and not 0 <= shape.z < depth:
        raise UserError(
            f"there is no plane {shape.z}: the movie has {depth} plane{'s' * (depth != 1)}, counted from 0",
            "set clip.z to an existing plane, or to max, middle or stack",
            movie.uri,
        )
    whole = shape.z in ("max", "stack")
    z0 = 0 if whole else depth // 2 if shape.z == "middle" else int(shape.z)
    t_step, interval_s = 1, movie.interval_s
    if shape.interval_s and movie.interval_s:
        t_step = max(1, nearest(shape.interval_s / movie.interval_s))
        interval_s = movie.interval_s * t_step
    height = width = shape.size_px
    pixel_um = movie.pixel_um
    pixels, factor = movie.pixels, (1, 1)
    if shape.pixel_um and pixel_um:
        pixels, factor = _resolution(movie, pixel_um, shape.pixel_um)
        height = max(1, nearest(shape.size_px * shape.pixel_um / pixel_um.y / factor[0])) * factor[0]
        width = max(1, nearest(shape.size_px * shape.pixel_um / pixel_um.x / factor[1])) * factor[1]
        pixel_um = PixelSize(pixel_um.z, pixel_um.y * height / shape.size_px, pixel_um.x * width / shape.size_px)
    return Sampling(
        t_step=t_step,
        span_frames=(shape.frames - 1) * t_step + 1,
        z0=z0,
        extent_px=(depth if whole else 1, height, width),
        planes=depth if shape.z == "stack" else 1,
        interval_s=interval_s,
        pixel_um=pixel_um,
        pixels=pixels,
        factor=factor,
    )


def _resolution(movie: Movie, pixel_um: PixelSize, wanted_um: float) -> tuple[LazyPixels, tuple[int, int]]:
    """Return the coarsest copy of a movie's pixels that is no coarser than wanted, and its factor along rows and columns.

    What a coarser copy has lost cannot be brought back, so the next finer one is read and resampled. Copies that are coarser in
    depth as well are not used: planes are not resampled.
    """
    chosen: tuple[LazyPixels, tuple[int, int]] = movie.pixels, (1, 1)
    for copy in movie.pyramid:
        z, y, x = copy.factor
        if z == 1 and max(pixel_um.y * y, pixel_um.x * x) <= wanted_um * _AS_GOOD_AS_WANTED and y * x > chosen[1][0] * chosen[1][1]:
            chosen = copy.pixels, (y, x)
    return chosen


def check_movie(movie: Movie, shape: ClipShape) -> Sampling:
    """Return how clips sample a movie, once it is sure that they can.

    Raises
    ------
    UserError
        If the movie is too short for one clip, lacks a wanted channel, or has no plane of the wanted index.
    """
    found = sampling(movie, shape)
    channel_indices(movie, shape)
    frames = movie.shape["T"]
    if frames < found.span_frames:
        every = f" (every {found.t_step} frames)" if found.t_step > 1 else ""
        longest = (frames - 1) // found.t_step + 1
        raise UserError(
            f"the movie has {frames} frame{'s' * (frames != 1)}, but a clip of {shape.frames} frames{every} needs {found.span_frames}",
            f"take shorter clips (--set clip.frames={longest}, with a model.tubelet that divides it) or leave this movie out",
            movie.uri,
        )
    return found


def channel_indices(movie: Movie, shape: ClipShape) -> tuple[int, ...]:
    """Return the indices of the wanted channels, in the order wanted.

    Raises
    ------
    UserError
        If the movie lacks a wanted channel.
    """
    if shape.channels is None:
        return tuple(range(len(movie.channels)))
    unknown = [name for name in shape.channels if name not in movie.channels]
    if unknown or not shape.channels:
        raise UserError(
            f"there is no channel {', '.join(map(repr, unknown)) or 'chosen'}; the movie has {', '.join(map(repr, movie.channels))}",
            "name existing channels in clip.channels, or leave it empty to use all",
            movie.uri,
        )
    return tuple(movie.channels.index(name) for name in shape.channels)


def nearest(value: float) -> int:
    """Return the nearest whole number; halves go up."""
    return math.floor(value + 0.5)
