"""What embeddings should not tell, as far as a store's table knows it: plate, day, movie, well, place, time, brightness.

Texts are classes. Numbers become two classes, their lowest and their highest third, which are as far apart as phenotypes are; the middle
is left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

MOST_CLASSES = 12
_THIRDS = "lowest against highest third"
_WELL = re.compile(r"([A-Za-z]{1,2})[/_ -]?0*([1-9][0-9]?)")


@dataclass(frozen=True, eq=False)
class Target:
    """Something that may be read from embeddings.

    Parameters
    ----------
    name
        For people.
    classes_N
        The class of each row, a text; empty where the row has none.
    what
        What the classes are.
    of_a_movie
        Whether it tells which movie it is: then other cells of the same movies are held out, not other movies.
    reason
        Why it cannot be asked; empty where it can.
    """

    name: str
    classes_N: npt.NDArray[np.object_]
    what: str = ""
    of_a_movie: bool = False
    reason: str = ""


def nuisances_of(table: pd.DataFrame, columns: Sequence[str] = ()) -> tuple[Target, ...]:
    """Return what should not be read from embeddings, as far as a store's table knows it.

    Parameters
    ----------
    table
        Rows of a store's table. ``plate``, ``day`` or ``date``, ``well``, ``border_px`` and ``intensity...`` are used where they are
        there; of the names of movies, ``day2/pos4.tif``, the folder is a class.
    columns
        More columns; texts are classes, numbers are cut into thirds.
    """
    movie = table["movie"].astype(str)
    found = [_named(table, "plate")]
    found += [_named(table, name) for name in ("day", "date") if name in table] or [_folder(movie)]
    found += [Target("movie", movie.to_numpy(object), "", of_a_movie=True), *_well_position(table)]
    found += [_thirds(table, "t_start", "frame number"), _thirds(table, "border_px", "distance to the border")]
    intensities = [name for name in map(str, table.columns) if name == "intensity" or name.startswith("intensity_")]
    found += [_thirds(table, name, name.replace("_", " of ", 1)) for name in intensities or ["intensity"]]
    found += [_named(table, name) for name in ("padded", "shifted") if name in table]
    for name in columns:
        numeric = pd.api.types.is_numeric_dtype(table[name]) and not pd.api.types.is_bool_dtype(table[name])
        found.append(_thirds(table, name, name) if numeric else _named(table, name))
    return tuple(found)


def as_features(table: pd.DataFrame, targets: Sequence[Target]) -> npt.NDArray[np.float64]:
    """Return the nuisances themselves as features: numbers as they are (a missing one as the mean), classes as one column each.

    Parameters
    ----------
    table
        N rows of a store's table.
    targets
        What :func:`nuisances_of` made of it.

    Returns
    -------
    float64 (N, number of columns)
    """
    columns = [np.zeros(len(table))]
    for target in targets:
        if not target.reason and target.what != _THIRDS and not target.of_a_movie:
            names = np.unique(target.classes_N.astype(str))[:MOST_CLASSES]
            columns += [(target.classes_N == name).astype(np.float64) for name in names]
    for name in map(str, table.columns):
        if name in ("t_start", "border_px", "y_px", "x_px") or name.startswith("intensity"):
            values = table[name].to_numpy(np.float64)
            finite = np.isfinite(values)
            columns.append(np.where(finite, values, values[finite].mean() if finite.any() else 0.0))
    return np.stack(columns, axis=1)


def _named(table: pd.DataFrame, column: str) -> Target:
    if column not in table or table[column].isna().all():
        return Target(column, _nothing(table), reason=f"the store does not know it (no column '{column}')")
    texts = table[column].astype(object).where(table[column].notna(), "")
    return Target(column, texts.astype(str).to_numpy(object))


def _thirds(table: pd.DataFrame, column: str, name: str) -> Target:
    if column not in table:
        return Target(name, _nothing(table), reason=f"the store does not know it (no column '{column}')")
    values = table[column].to_numpy(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return Target(name, _nothing(table), reason="it is unknown in all rows")
    low, high = np.quantile(values[finite], [1 / 3, 2 / 3])
    # Where a third of all rows share a value (a first frame, say), the other class is all that is beyond it.
    lowest = values <= low if low < high else values < low
    highest = values >= high if low < high else values > high
    if low == high and not (lowest.any() and highest.any()):
        lowest, highest = values == low, values != low
    classes = np.where(finite & lowest, "low", np.where(finite & highest, "high", "")).astype(object)
    return Target(name, classes, _THIRDS)


def _folder(movie: pd.Series[str]) -> Target:
    """Return the folder that a movie lies in: where there are no columns, the day is most often there."""
    folders = movie.str.rpartition("/")[0].str.partition("/")[0]
    inside = folders.str.endswith(".zarr")  # a plate: its name is a column
    classes = folders.mask(inside, "").to_numpy(object)
    return Target(
        "folder of the movie", classes, "a day, as archives are often kept", reason="" if (classes != "").any() else "movies lie in no folders"
    )


def _well_position(table: pd.DataFrame) -> tuple[Target, ...]:
    well = _named(table, "well")
    if well.reason:
        return (Target("well position", _nothing(table), reason=well.reason),)
    parts = pd.Series(well.classes_N, dtype=object).astype(str).str.extract(rf"^{_WELL.pattern}$")
    letters, numbers = parts[0].fillna("").str.upper(), pd.to_numeric(parts[1])
    row = letters.map(lambda text: sum((ord(c) - 64) * 26**i for i, c in enumerate(reversed(text)))).where(letters != "", np.nan)
    places = pd.DataFrame({"row": row.astype(np.float64), "column": numbers.astype(np.float64)})
    return well, _thirds(places, "row", "well row"), _thirds(places, "column", "well column")


def _nothing(table: pd.DataFrame) -> npt.NDArray[np.object_]:
    return np.full(len(table), "", dtype=object)
