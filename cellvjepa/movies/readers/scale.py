"""Pixel sizes and intervals as files give them: any unit, and not always to be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cellvjepa.movies.movie import PixelSize, Problem

_UM = {
    "pm": 1e-6,
    "picometer": 1e-6,
    "a": 1e-4,
    "å": 1e-4,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "micrometer": 1.0,
    "micron": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "meter": 1e6,
}  # fmt: skip; no inches: they come from printers' defaults (72 dpi), never from microscopes
_S = {
    "ns": 1e-9, "nanosecond": 1e-9, "us": 1e-6, "microsecond": 1e-6, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3,
    "s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0,
    "d": 86_400.0, "day": 86_400.0,
}  # fmt: skip

_SMALLEST_UM, _LARGEST_UM = 1e-3, 1e3  # from electron to stereo microscopes
_SHORTEST_S, _LONGEST_S = 1e-6, 30 * 86_400.0  # from the fastest cameras to a month

_NO_PIXEL_SIZE = "clips are cut in native pixels; to mix magnifications, save the movie with its pixel size and unit (in ImageJ: Image > Properties)"
_NO_INTERVAL = "clips take every frame; to mix frame rates, save the movie with its frame interval and unit (in ImageJ: Image > Properties)"


@dataclass(frozen=True)
class Scale:
    """What is believed of a file's pixel size [um] and interval [s], and what is to be said about it."""

    pixel_um: PixelSize | None
    interval_s: float | None
    problems: tuple[Problem, ...]


def in_um(value: float | None, unit: str | None) -> float | None:
    """Convert a length to um; None where there is none or the unit is no length ("pixel")."""
    return _converted(value, unit, _UM)


def in_s(value: float | None, unit: str | None) -> float | None:
    """Convert a time to s; None where there is none or the unit is no time."""
    return _converted(value, unit, _S)


def believed(z_um: float | None, y_um: float | None, x_um: float | None, interval_s: float | None, *, frames: int, planes: int) -> Scale:
    """Believe a scale only where it can be right: not 0, negative, NaN or absurd.

    Parameters
    ----------
    z_um, y_um, x_um
        Pixel size as the file gives it [um]; None where it does not.
    interval_s
        Time between frames as the file gives it [s]; None where it does not.
    frames, planes
        Lengths of T and Z: a single frame needs no interval, a single plane no distance.
    """
    problems = []
    pixel_um = None
    if y_um is None or x_um is None:
        problems.append(Problem("the pixel size is unknown", _NO_PIXEL_SIZE))
    elif not (_can_be_size(y_um) and _can_be_size(x_um)):
        problems.append(Problem(f"the pixel size cannot be {y_um:g} x {x_um:g} um as the file says; it is taken as unknown", _NO_PIXEL_SIZE))
    else:
        plausible_z = z_um is not None and _can_be_size(z_um)
        if planes > 1 and not plausible_z:
            said = "is unknown" if z_um is None else f"cannot be {z_um:g} um as the file says; it is taken as unknown"
            problems.append(Problem(f"the distance between planes {said}", "planes are used as they are; save the movie with its z step"))
        pixel_um = PixelSize(z_um if planes > 1 and plausible_z else None, y_um, x_um)
    if frames == 1:
        return Scale(pixel_um, None, tuple(problems))
    if interval_s is None:
        problems.append(Problem("the time between frames is unknown", _NO_INTERVAL))
    elif not _SHORTEST_S <= interval_s <= _LONGEST_S:  # NaN is not either
        problems.append(Problem(f"the time between frames cannot be {interval_s:g} s as the file says; it is taken as unknown", _NO_INTERVAL))
        interval_s = None
    return Scale(pixel_um, interval_s, tuple(problems))


def _can_be_size(um: float) -> bool:
    return _SMALLEST_UM <= um <= _LARGEST_UM


def _converted(value: float | None, unit: str | None, factors: dict[str, float]) -> float | None:
    if value is None or unit is None:
        return None
    # Two different characters are used for micro, and ImageJ writes one of them as an escape.
    plain = unit.strip().replace("\\u00B5", "u").replace("\u00b5", "u").replace("\u03bc", "u").lower()
    factor = factors.get(plain) or factors.get(plain.removesuffix("s")) or factors.get(plain.replace("metre", "meter").removesuffix("s"))
    return None if factor is None else value * factor


def number(text: object) -> float | None:
    """Read a number out of metadata; None where there is none. NaN and infinity are numbers nobody will believe."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        return None
    try:
        return float(text)
    except (ValueError, OverflowError):
        return math.nan if isinstance(text, int) else None
