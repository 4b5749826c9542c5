"""Where the tokens of a clip, or of a whole movie, lie in native frames and pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.embedding.tiles import Shape4, Tiling
from cellvjepa.model.grid import Grid, grid_of
from cellvjepa.movies.clip_shape import ClipShape, sampling
from cellvjepa.movies.clips import Clip, frame_starts
from cellvjepa.movies.movie import Movie

Place = tuple[float, float, float, float]


@dataclass(frozen=True)
class TokenPlaces:
    """A grid of tokens upon a movie. A token covers the native frames, planes and pixels from where it begins to where the next one does.

    Parameters
    ----------
    grid
        The tokens.
    start
        Where the first one begins along t, z, y, x: native frame, plane, row, column; a pixel reaches from its number to the next.
    pitch
        Native frames, planes, rows and columns from one token to the next.
    """

    grid: Grid
    start: Place
    pitch: Place

    @property
    def centre(self) -> Place:
        """Where the middle of the first token is, in coordinates in which whole numbers are the centres of pixels."""
        return _four(start + pitch / 2 - 0.5 for start, pitch in zip(self.start, self.pitch, strict=True))

    @property
    def shape(self) -> Shape4:
        """Tokens along t, z, y, x."""
        return self.grid.t, self.grid.z, self.grid.y, self.grid.x

    def token_at(self, place: Place) -> Shape4 | None:
        """Return the token that covers a place, by its index along t, z, y, x; None beside the grid.

        Parameters
        ----------
        place
            Native t, z, y, x; whole numbers are the centres of pixels.
        """
        t, z, y, x = (math.floor((at + 0.5 - start) / pitch) for at, start, pitch in zip(place, self.start, self.pitch, strict=True))
        return (t, z, y, x) if all(0 <= at < length for at, length in zip((t, z, y, x), self.shape, strict=True)) else None

    def middle_of(self, token: Shape4) -> Place:
        """Return where the middle of a token is, in coordinates in which whole numbers are the centres of pixels."""
        return _four(centre + index * pitch for centre, index, pitch in zip(self.centre, token, self.pitch, strict=True))

    def without_time(self) -> TokenPlaces:
        """Return the same places with one step that lasts as long as all of them."""
        return TokenPlaces(Grid(1, self.grid.z, self.grid.y, self.grid.x), self.start, (self.pitch[0] * self.grid.t, *self.pitch[1:]))


def places_in_clip(movie: Movie, clip: Clip, shape: ClipShape, tubelet: Shape4) -> TokenPlaces:
    """Return where the tokens of a clip lie; of one that moves: in its first frame.

    Where frames are left out between those of a clip, they belong to the token before them; a projection stands for all its planes.

    Raises
    ------
    UserError
        If the clip cannot be cut into whole tubelets.
    """
    grid = grid_of(shape.frames, sampling(movie, shape).planes, shape.size_px, shape.size_px, tubelet)
    pitch = (tubelet[0] * clip.t_step, *(extent / count for extent, count in zip(clip.extent, (grid.z, grid.y, grid.x), strict=True)))
    return TokenPlaces(grid, (clip.t0, clip.z0, clip.y0, clip.x0), _four(pitch))


def places_in_movie(movie: Movie, shape: ClipShape, tiling: Tiling) -> TokenPlaces:
    """Return where the tokens of a movie's map lie (:func:`cellvjepa.embedding.tiles.tile_movie`)."""
    found = sampling(movie, shape)
    pitch = (tiling.frames_per_token, found.extent_px[0] / tiling.grid.z, *tiling.pitch_px)
    return TokenPlaces(tiling.grid, (0.0, float(found.z0), 0.0, 0.0), pitch)


def on_pixels(
    values: npt.NDArray[Any], movie: Movie, clip: Clip, shape: ClipShape, tubelet: Shape4, fill: float
) -> tuple[npt.NDArray[Any], TokenPlaces]:
    """Lay values of the tokens of a clip that moves with its cell upon the pixels that it shows, frame by frame.

    Parameters
    ----------
    values
        (t, z, y, x, ...): one for each token.
    movie, clip, shape, tubelet
        As for :func:`places_in_clip`.
    fill
        Value of pixels that the clip does not show at a time.

    Returns
    -------
    ndarray
        (T, z, Y, X, ...) of the same type: each frame of the clip, and the native pixels that it shows at some time.
    TokenPlaces
        Where they lie.
    """
    whole = places_in_clip(movie, clip, shape, tubelet)
    starts_T2, (height, width) = frame_starts(clip, shape.frames), clip.extent[1:]
    first = starts_T2.min(axis=0)
    size = starts_T2.max(axis=0) - first + np.array([height, width])
    rows, columns = (np.floor((np.arange(extent) + 0.5) / pitch).astype(int) for extent, pitch in zip((height, width), whole.pitch[2:], strict=True))
    laid = np.full((shape.frames, whole.grid.z, *size, *values.shape[4:]), fill, values.dtype)
    for frame, (y, x) in enumerate(starts_T2 - first):
        laid[frame, :, y : y + height, x : x + width] = values[frame // tubelet[0]][:, rows][:, :, columns]
    grid = Grid(shape.frames, whole.grid.z, int(size[0]), int(size[1]))
    return laid, TokenPlaces(grid, (clip.t0, clip.z0, float(first[0]), float(first[1])), (clip.t_step, whole.pitch[1], 1.0, 1.0))


def _four(values: Iterable[float]) -> Place:
    t, z, y, x = map(float, values)
    return t, z, y, x
