"""MetaMorph stacks (.stk, and .tif with the same tags): planes one after another, and a table of their depths and times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cellvjepa.errors import UserError
from cellvjepa.movies.readers.remedies import COPY_AGAIN
from cellvjepa.movies.readers.scale import in_um
from cellvjepa.movies.readers.tiff.claims import Claims
from cellvjepa.movies.readers.tiff.codec import kind_of
from cellvjepa.movies.readers.tiff.ifd import Page, TagFile
from cellvjepa.movies.readers.tiff.layout import Layout

_UIC1, _UIC2 = 33628, 33629
_IS_CALIBRATED, _X_CALIBRATION, _Y_CALIBRATION, _UNIT = 3, 4, 5, 6  # entries of UIC1
_DAY_S = 86_400.0
_ROW_BYTES = 24  # of UIC2: depth as a fraction, date and time of creation, date and time of change
_ODD_STEP, _ODD_SHARE = 0.2, 0.2  # steps that differ by so much from the usual one; a share of them that leaves no usual one
_MOST_PLANES, _MOST_ENTRIES = 2**20, 4096


def is_stk(page: Page) -> bool:
    """Whether MetaMorph wrote a page."""
    return _UIC1 in page


def layout_of_stk(file: TagFile, first: Page) -> tuple[Layout, Claims]:
    """Find the planes of a stack.

    Planes with distances between them are a z-stack; without, and at different times, they are frames. Where the table says neither,
    the axis stays unexplained.

    Raises
    ------
    UserError
        If the table is damaged.
    """
    kind = kind_of(file, first)
    x_um, y_um = _calibration(file, first)
    depths, times_s = _table(file, first)
    number = len(depths)
    if number <= 1:
        return Layout((first,), kind, (), ()), Claims((), None, y_um, x_um, None)
    if (depths[1:] != 0).all():
        return Layout((first,), kind, ("Z",), (number,)), Claims((), _usual(np.abs(depths[1:])), y_um, x_um, None)
    steps = np.diff(times_s)
    if (depths == 0).all() and (steps > 0).all():
        return Layout((first,), kind, ("T",), (number,)), Claims((), None, y_um, x_um, _usual(steps))
    return Layout((first,), kind, ("Q",), (number,)), Claims((), None, y_um, x_um, None)


def _table(file: TagFile, first: Page) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Read the distance of each plane and when it was recorded [s]."""
    tag = first.tags[first.tags["code"] == _UIC2]
    number = int(tag["count"][0]) if len(tag) else 0  # it calls itself one fraction per plane, but holds three
    if number > _MOST_PLANES:
        raise UserError(f"the file is damaged: it claims {number:,} planes", COPY_AGAIN, file.path)
    data = file.bytes_at(int(tag["value"][0]), _ROW_BYTES * number) if number else b""
    if len(data) < _ROW_BYTES * number:
        raise file.cut_short()
    table = np.frombuffer(data, f"{file.order}u4").reshape(number, 6).astype(np.float64)
    depths = np.divide(table[:, 0], table[:, 1], out=np.zeros(number), where=table[:, 1] > 0)
    return depths, table[:, 2] * _DAY_S + table[:, 3] / 1e3


def _usual(steps: npt.NDArray[np.float64]) -> float | None:
    """Return the usual step, if most are so."""
    usual = float(np.median(steps))
    return usual if np.mean(np.abs(steps - usual) > _ODD_STEP * usual) <= _ODD_SHARE else None


def _calibration(file: TagFile, first: Page) -> tuple[float | None, float | None]:
    """Return the width and height of a pixel [um]."""
    tag = first.tags[first.tags["code"] == _UIC1][0]
    number = min(int(tag["count"]), _MOST_ENTRIES)
    data = file.bytes_at(int(tag["value"]), 8 * number)
    pairs = np.frombuffer(data, f"{file.order}u4", len(data) // 8 * 2).reshape(-1, 2)
    entries = {int(code): int(value) for code, value in pairs}
    if not entries.get(_IS_CALIBRATED) or not {_X_CALIBRATION, _Y_CALIBRATION, _UNIT} <= set(entries):
        return None, None
    length = np.frombuffer(file.bytes_at(entries[_UNIT], 4), f"{file.order}u4")
    unit = file.bytes_at(entries[_UNIT] + 4, min(int(length[0]), 32)).partition(b"\0")[0].decode("latin-1") if length.size else ""

    def length_um(place: int) -> float | None:
        fraction = np.frombuffer(file.bytes_at(place, 8), f"{file.order}u4")
        return in_um(int(fraction[0]) / int(fraction[1]), unit) if fraction.size == 2 and fraction[1] else None

    return length_um(entries[_X_CALIBRATION]), length_um(entries[_Y_CALIBRATION])
