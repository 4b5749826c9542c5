"""How much coarser one level of an image is than another."""

from __future__ import annotations

from collections.abc import Sequence

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import LazyPixels

_REMEDY = "write it again with a current OME-Zarr writer"


def factor_of(coarse: LazyPixels, full: LazyPixels, ratios: Sequence[float | None] = (None, None, None)) -> tuple[int, int, int] | None:
    """Return how many planes, rows and columns of the full resolution one pixel of a copy stands for.

    Parameters
    ----------
    coarse, full
        T C Z Y X.
    ratios
        The same for Z, Y, X as the scales of both say it: 18 rows may stand for 300 by 16 or by 17.

    Returns
    -------
    factor
        None for a copy that is none by whole numbers, or that is no coarser.

    Raises
    ------
    UserError
        If it can be no copy: it is of another type, has other frames or channels, or is larger.
    """
    if coarse.dtype != full.dtype:
        raise UserError(f"its pixels are {coarse.dtype}, those of the full resolution {full.dtype}", _REMEDY)
    if coarse.shape[:2] != full.shape[:2]:
        raise UserError(f"it has {coarse.shape[0]} frames and {coarse.shape[1]} channels instead of {full.shape[0]} and {full.shape[1]}", _REMEDY)
    if any(few > many for few, many in zip(coarse.shape[2:], full.shape[2:], strict=True)):
        raise UserError("it is larger than the full resolution", _REMEDY)
    z, y, x = (_whole(many, few, ratio) for many, few, ratio in zip(full.shape[2:], coarse.shape[2:], ratios, strict=True))
    return None if z is None or y is None or x is None or z * y * x == 1 else (z, y, x)


def _whole(many: int, few: int, ratio: float | None) -> int | None:
    """Return the factor that gives one length out of another, rounded either way: the one that was said, or the likeliest."""
    said = [round(ratio)] if ratio is not None and 1 <= ratio <= many else []
    nearest = round(many / few)
    halvings = [power for power in (1 << (nearest.bit_length() - 1), 1 << nearest.bit_length()) if abs(power - many / few) < 1]
    return next((f for f in (*said, *halvings, nearest, nearest + 1, nearest - 1) if f > 0 and few in (many // f, -(-many // f))), None)
