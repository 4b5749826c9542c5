"""Covering a whole movie with overlapping clips whose tokens lie on one grid, and blending what they say of each place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cellvjepa.model.grid import Grid, grid_of
from cellvjepa.movies.clip_shape import ClipShape, check_movie
from cellvjepa.movies.clips import Clip, clip_address
from cellvjepa.movies.movie import Movie

Shape4 = tuple[int, int, int, int]
Values = npt.NDArray[np.float32]
_LEAST = 1e-6  # weight below which a place counts as unseen


@dataclass(frozen=True)
class Tile:
    """A clip of a tiling, and the token of the movie's map at which its first token lies (t, y, x)."""

    clip: Clip
    corner: tuple[int, int, int]


@dataclass(frozen=True)
class Tiling:
    """Overlapping clips that cover a movie.

    Parameters
    ----------
    grid
        The tokens of the whole movie: its map. The last ones along y and x may reach beyond the image by less than one token, where
        pixels are reflected as in clips larger than their image; frames at the end that fill no token are left out.
    clip_grid
        The tokens of one clip.
    frames_per_token, planes_per_token
        Native frames and planes from one token to the next.
    pitch_px
        Native rows and columns from one token to the next; fractions where clips are resampled, and clips then begin at the nearest
        whole pixel.
    tiles
        Ordered by t, y, x.
    """

    grid: Grid
    clip_grid: Grid
    frames_per_token: int
    planes_per_token: int
    pitch_px: tuple[float, float]
    tiles: tuple[Tile, ...]


def tile_movie(movie: Movie, shape: ClipShape, tubelet: Shape4, overlap: float = 0.5) -> Tiling:
    """Cover a movie with clips of one shape.

    Parameters
    ----------
    tubelet
        Of the encoder. [frames, planes, px, px]
    overlap
        Share of a clip that it has in common with the next one, along each axis. [0-1)

    Raises
    ------
    UserError
        If the movie cannot give clips of this shape, or they cannot be cut into tubelets.
    """
    assert 0 <= overlap < 1, overlap
    found = check_movie(movie, shape)
    clip_grid = grid_of(shape.frames, found.planes, shape.size_px, shape.size_px, tubelet)
    frames = tubelet[0] * found.t_step
    # Whole tokens of the frames that are looked at, which are every t_step-th.
    steps = math.ceil(movie.shape["T"] / found.t_step) // tubelet[0]
    pitch_read = (found.read_px[0] / clip_grid.y, found.read_px[1] / clip_grid.x)
    rows, columns = (math.ceil(length / pitch) for length, pitch in zip(found.pixels.shape[3:], pitch_read, strict=True))
    tiles = [
        Tile(clip_address(movie, found, t * frames, round(y * pitch_read[0]), round(x * pitch_read[1])), (t, y, x))
        for t in _starts(steps, clip_grid.t, overlap)
        for y in _starts(rows, clip_grid.y, overlap)
        for x in _starts(columns, clip_grid.x, overlap)
    ]
    pitch_px = (pitch_read[0] * found.factor[0], pitch_read[1] * found.factor[1])
    return Tiling(Grid(steps, clip_grid.z, rows, columns), clip_grid, frames, tubelet[1], pitch_px, tuple(tiles))


def tiles_around(tiling: Tiling, step: int) -> tuple[Tiling, int, range]:
    """Return the tiles of one stretch of time, that in whose middle a step of the movie's map lies most nearly, as a tiling of its own.

    Returns
    -------
    Tiling
        Its step 0 is the first of its tiles.
    int
        Which step of the movie's map that is.
    range
        The steps of the movie's map that lie most nearly in the middle of these tiles; each step is in one such range.
    """
    starts = sorted({tile.corner[0] for tile in tiling.tiles})
    # Of two equally near, the earlier one.
    nearest = [min(starts, key=lambda start: (abs(2 * (one - start) - tiling.clip_grid.t + 1), start)) for one in range(tiling.grid.t)]
    first = nearest[step]
    tiles = tuple(Tile(tile.clip, (0, *tile.corner[1:])) for tile in tiling.tiles if tile.corner[0] == first)
    own = [one for one, start in enumerate(nearest) if start == first]
    grid = Grid(tiling.clip_grid.t, tiling.grid.z, tiling.grid.y, tiling.grid.x)
    return replace(tiling, grid=grid, tiles=tiles), first, range(own[0], own[-1] + 1)


def triangle(length: int) -> Values:
    """Return blending weights along one axis of a clip, (length,) float32: 1 in the middle, falling towards the ends, never 0."""
    rising = np.arange(1, length + 1)
    weights: Values = (np.minimum(rising, rising[::-1]) / math.ceil(length / 2)).astype(np.float32)
    return weights


def blended(tiling: Tiling, values: Iterable[tuple[Tile, Values]], numbers: int, steps_seen: Values | None = None) -> Iterator[tuple[int, Values]]:
    """Yield the map of a movie time step by time step: the weighted mean of what the clips say of each place.

    Parameters
    ----------
    values
        What each clip says, (t, z, y, x, numbers) float32, in the order of the tiles. In memory are sums for as many steps as one clip
        has.
    numbers
        How many at each place.
    steps_seen
        (t,) weights of the steps of a clip; 0 for those of which it says nothing. None: :func:`triangle`.

    Yields
    ------
    tuple
        The step, and (z, y, x, numbers) float32; NaN where no clip says anything.
    """
    grid, clip = tiling.grid, tiling.clip_grid
    along_t = triangle(clip.t) if steps_seen is None else steps_seen
    weight_tzyx = along_t[:, None, None, None] * (triangle(clip.y)[:, None] * triangle(clip.x))
    sums = np.zeros((clip.t, clip.z, grid.y, grid.x, numbers), np.float32)
    weights = np.zeros((clip.t, 1, grid.y, grid.x), np.float32)
    first = 0
    for tile, said_tzyxF in values:
        t, y, x = tile.corner
        if t > first:
            yield from _finished(sums, weights, first, t)
            _shift(sums, t - first)
            _shift(weights, t - first)
            first = t
        height, width = min(clip.y, grid.y - y), min(clip.x, grid.x - x)
        weight = weight_tzyx[:, :, :height, :width]
        # Not a product with the weights alone: what a clip does not say is NaN.
        sums[:, :, y : y + height, x : x + width] += np.where(weight[..., None] > 0, said_tzyxF[:, :, :height, :width] * weight[..., None], 0)
        weights[:, :, y : y + height, x : x + width] += weight
    yield from _finished(sums, weights, first, grid.t)


def _finished(sums: Values, weights: Values, first: int, stop: int) -> Iterator[tuple[int, Values]]:
    for step in range(first, stop):
        weight = weights[step - first][..., None]
        yield step, np.where(weight > _LEAST, sums[step - first] / np.maximum(weight, _LEAST), np.float32(np.nan)).astype(np.float32)


def _shift(sums: Values, steps: int) -> None:
    """Forget the first steps; those that come in are empty."""
    kept = max(0, len(sums) - steps)
    sums[:kept] = sums[steps:].copy()
    sums[kept:] = 0


def _starts(length: int, extent: int, overlap: float) -> list[int]:
    """Return the first tokens of clips that cover ``length``; the last one ends with it."""
    stride = max(1, round(extent * (1 - overlap)))
    if extent >= length:
        return [0]
    return [*range(0, length - extent, stride), length - extent]
