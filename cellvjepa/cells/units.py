"""Positions in micrometres become positions in pixels, where somebody says how large a pixel is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie

_PIXEL = ("", "pixel", "pixels", "px", "plane", "planes")
_IN_UM = {"micron": 1.0, "microns": 1.0, "um": 1.0, "µm": 1.0, "μm": 1.0, "micrometer": 1.0, "micrometers": 1.0, "micrometre": 1.0}
_IN_UM |= {"nm": 1e-3, "nanometer": 1e-3, "nanometers": 1e-3, "mm": 1e3, "millimeter": 1e3, "millimeters": 1e3}


def is_length(unit: str | None) -> bool:
    """Whether positions with this unit are lengths, not pixels."""
    return unit is not None and unit.strip("() ").lower() not in _PIXEL


def in_pixels(values: pd.Series[float], unit: str | None, axis: str, movie: Movie, where: Path) -> pd.Series[float]:
    """Return positions in native pixels.

    Parameters
    ----------
    values
        Positions along one axis.
    unit
        Their unit as the source says it; None or pixels: they are returned as they are.
    axis
        ``"z"``, ``"y"`` or ``"x"``.
    movie
        What knows its pixel size.
    where
        The source, for messages.

    Raises
    ------
    UserError
        If the unit is unknown, or the pixel size of the movie is.
    """
    if not is_length(unit):
        return values
    assert unit is not None
    factor = _IN_UM.get(unit.strip("() ").lower())
    if factor is None:
        raise UserError(f"positions are in {unit!r}, which is no length that is known", "give positions in pixels or um", where)
    size = None if movie.pixel_um is None else {"z": movie.pixel_um.z, "y": movie.pixel_um.y, "x": movie.pixel_um.x}[axis]
    if size is None and axis == "z" and movie.shape["Z"] == 1:
        return values * 0  # a single plane has no depth
    if size is None:
        raise UserError(
            f"positions are in {unit}, but the pixel size of {movie.name} is not known",
            "write positions in pixels, or save the movie with its pixel size (as OME-TIFF or OME-Zarr)",
            where,
        )
    return values * factor / size
