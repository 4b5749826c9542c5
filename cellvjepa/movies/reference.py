"""The sampling an encoder knows, and how far apart the samples of another movie are beside it.

Positions inside the network are counted in samples of the reference; a clip at another pixel size or interval is put at the
right distances by a factor for each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cellvjepa.movies.clip_shape import ClipShape, sampling
from cellvjepa.movies.movie import Movie, PixelSize


@dataclass(frozen=True)
class Reference:
    """The sampling at which an encoder's positions are whole numbers; None where it is unknown."""

    interval_s: float | None = None
    pixel_um: PixelSize | None = None


UNKNOWN = Reference()


def reference_sampling(movies: Sequence[Movie], shape: ClipShape) -> Reference:
    """Return what training on these movies makes the reference: of each quantity the first that is known."""
    found = [sampling(movie, shape) for movie in movies]
    return Reference(
        next((one.interval_s for one in found if one.interval_s), None),
        next((one.pixel_um for one in found if one.pixel_um), None),
    )


def position_scale(movie: Movie, shape: ClipShape, reference: Reference) -> tuple[float, float, float, float]:
    """Return how much farther apart (t, z, y, x) samples of a movie's clips are than those of the reference; 1 where unknown."""
    found = sampling(movie, shape)
    t = found.interval_s / reference.interval_s if found.interval_s and reference.interval_s else 1.0
    if not (found.pixel_um and reference.pixel_um):
        return t, 1.0, 1.0, 1.0
    there, known = found.pixel_um, reference.pixel_um
    return t, there.z / known.z if there.z and known.z else 1.0, there.y / known.y, there.x / known.x
