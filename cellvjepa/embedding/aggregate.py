"""From windows to tracks, wells and trajectories: means and spreads for statistics, a part of the store in memory at a time.

A cell counts once. A track's row is the mean of its windows; a well's row is the mean of the means of its cells, and its spread is
that between cells: neighbouring windows of one cell are no independent observations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.embedding.layout import CHUNK_ROWS
from cellvjepa.embedding.store import Embeddings
from cellvjepa.errors import UserError
from cellvjepa.progress import Progress, silent

Level = Literal["track", "well", "trajectory"]
LEVELS: tuple[Level, ...] = ("track", "well", "trajectory")

_OF_A_CELL = ("movie", "track_id", "parent_track_id", "plate", "well", "field")
_OF_A_WELL = ("plate", "well")
_IDS = ("clip_id", "label")
_SPAN = ("t_start", "t_stop", "time_s")  # of a group: from its first window to its last
_MOST_VALUES = 50  # a text with more values than this is no category

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Aggregates:
    """Groups of the rows of a store.

    Parameters
    ----------
    level
        What a group is.
    table
        One row per group. Names are those of the store's table: of a number, ``NAME`` is its mean and ``NAME_sd`` its standard deviation
        (NaN where there is one only); ``t_start``, ``t_stop`` [native frames] and ``time_s`` span the group; ``n`` counts what is averaged
        (windows; cells for wells, and ``n_windows`` beside it). A text is kept where it is the same in every group, else
        ``share_NAME_VALUE`` says how often each value occurs.
    codes_N
        int64 (N,): the group of each row of the store.
    cells_N
        int64 (N,): the cell of each row; rows without a track (-1) belong to their place.
    embeddings
        The store.
    step
        Of the common time axis: ``"900 s"`` or ``"16 frames"``; empty where there is none.
    """

    level: Level
    table: pd.DataFrame
    codes_N: Ints
    cells_N: Ints
    embeddings: Embeddings
    step: str = ""

    def __len__(self) -> int:
        """Return the number of groups."""
        return len(self.table)

    def blocks(self, progress: Progress = silent) -> Iterator[tuple[slice, npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Yield means and standard deviations of the vectors, (n, D) float32 each, with the groups that they are."""
        if self.level == "well":
            yield self._wells(progress)
            return
        for groups, mean, sd, _ in _moments(self.embeddings, self.codes_N, len(self), progress):
            yield groups, mean.astype(np.float32), sd.astype(np.float32)

    def _wells(self, progress: Progress) -> tuple[slice, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        dim, cells = self.embeddings.vectors_ND.shape[1], int(self.cells_N.max()) + 1
        well_of_cell = np.zeros(cells, np.int64)
        well_of_cell[self.cells_N] = self.codes_N
        count, mean, squares = np.zeros((len(self), 1)), np.zeros((len(self), dim)), np.zeros((len(self), dim))
        for some, means_of_cells, _, _ in _moments(self.embeddings, self.cells_N, cells, progress):
            for well in np.unique(well_of_cell[some]):
                # Two sets of cells joined: Chan, Golub and LeVeque, 1983, equation 2.1.
                here = means_of_cells[well_of_cell[some] == well]
                joined = count[well] + len(here)
                apart = here.mean(axis=0) - mean[well]
                squares[well] += ((here - here.mean(axis=0)) ** 2).sum(axis=0) + apart**2 * count[well] * len(here) / joined
                mean[well] += apart * len(here) / joined
                count[well] = joined
        with np.errstate(invalid="ignore", divide="ignore"):
            sd = np.sqrt(np.where(count > 1, squares / (count - 1), np.nan))
        return slice(0, len(self)), mean.astype(np.float32), sd.astype(np.float32)


def aggregate(embeddings: Embeddings, level: Level) -> Aggregates:
    """Group the rows of a store; the vectors are read later (:meth:`Aggregates.blocks`).

    Parameters
    ----------
    embeddings
        An open store.
    level
        ``"track"``: one row per cell. ``"well"``: one row per well (of each plate), every cell counts once. ``"trajectory"``: one row per cell
        and step of a time axis that all movies share; its step is the usual one between two windows of a cell, and a window belongs
        to the step in which it begins. Time is not interpolated: a step without a window has no row.

    Raises
    ------
    UserError
        If the level is unknown, or the store knows no wells.
    """
    if level not in LEVELS:
        raise UserError(f"there is no aggregate named '{level}'", f"choose {', '.join(LEVELS)}", "--aggregate")
    table = embeddings.table
    cells_N = cells_of(table)
    if level == "track":
        return Aggregates(level, _described(table, cells_N), cells_N, cells_N, embeddings)
    if level == "well":
        if "well" not in table or table["well"].isna().all():
            raise UserError(
                "the movies of this store belong to no wells",
                "read a plate (OME-Zarr), or name the wells of files with --pattern '{well}/...' when you embed",
                embeddings.path,
            )
        known = table["well"].notna().to_numpy()
        if not known.all():
            raise UserError(
                f"{int((~known).sum())} of {len(table)} rows belong to no well",
                "embed movies with and without wells into two stores",
                embeddings.path,
            )
        keys = table[[name for name in ("plate", "well") if name in table]].fillna("")
        wells_N = keys.groupby(list(keys.columns), sort=True).ngroup().to_numpy().astype(np.int64)
        return Aggregates(level, _wells_described(table, wells_N, cells_N), wells_N, cells_N, embeddings)
    step, bins_N, axis = _time_axis(table, cells_N)
    steps_N = _ordered(pd.DataFrame({"cell": cells_N, "bin": bins_N}))
    found = _described(table, steps_N)
    bin_of_group = np.zeros(len(found), np.int64)
    bin_of_group[steps_N] = bins_N
    found.insert(_place(found, "t_start"), "step", bin_of_group)
    found.insert(_place(found, "t_start"), axis, bin_of_group * step)
    if axis == "axis_s":
        found = found.drop(columns="time_s").rename(columns={"axis_s": "time_s"})
    return Aggregates(level, found, steps_N, cells_N, embeddings, f"{step:g} {'s' if axis == 'axis_s' else 'frames'}")


def cells_of(table: pd.DataFrame) -> Ints:
    """Return the cell that each row of a store's table shows, int64 (N,), numbered as they appear; without a track it is the place."""
    place = [table[name].where(table["track_id"] < 0, 0.0) for name in ("y_px", "x_px")]
    return _ordered(pd.concat([table["movie"], table["track_id"], *place], axis="columns", keys=["movie", "track", "y", "x"]))


def _moments(embeddings: Embeddings, codes_N: Ints, groups: int, progress: Progress) -> Iterator[tuple[slice, Floats, Floats, Ints]]:
    """Yield mean, standard deviation and number of the vectors of consecutive groups, some chunks' worth of rows at a time."""
    order = np.argsort(codes_N, kind="stable")
    ends = np.cumsum(np.bincount(codes_N, minlength=groups))
    first = 0
    while first < groups:
        begin = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, begin + CHUNK_ROWS, side="right")), first + 1)
        rows = order[begin : ends[last - 1]]
        vectors = embeddings.vectors_at(rows).astype(np.float64)
        counts = np.diff(ends[first:last], prepend=begin)
        starts = np.cumsum(counts) - counts
        mean = np.add.reduceat(vectors, starts, axis=0) / counts[:, None]
        squares = np.add.reduceat((vectors - np.repeat(mean, counts, axis=0)) ** 2, starts, axis=0)
        yield slice(first, last), mean, np.sqrt(squares / np.where(counts > 1, counts - 1, np.nan)[:, None]), counts
        progress("averaging", int(ends[last - 1]), len(codes_N))
        first = last


def _described(table: pd.DataFrame, codes_N: Ints, kept: tuple[str, ...] = _OF_A_CELL) -> pd.DataFrame:
    """Return one row per group: what its rows have in common (``kept`` for sure), their number, and means of their numbers."""
    grouped = table.groupby(codes_N, sort=True)
    columns: dict[str, pd.Series[float]] = {}
    for name in map(str, table.columns):
        values = table[name]
        if name in kept:
            columns[name] = grouped[name].first()
        elif name in _SPAN:
            columns[name] = grouped[name].max() if name == "t_stop" else grouped[name].min()
        elif name in (*_IDS, *_OF_A_CELL):
            continue
        elif pd.api.types.is_numeric_dtype(values):  # Booleans, too: their mean is a share
            numbers = values.astype(np.float64).groupby(codes_N, sort=True)
            columns[name], columns[f"{name}_sd"] = numbers.mean(), numbers.std(ddof=1)
        elif (grouped[name].nunique(dropna=False) == 1).all():
            columns[name] = grouped[name].first()
        else:
            columns |= _shares(values, name, codes_N)
    found = pd.DataFrame(columns)
    found.insert(_place(found, "t_start"), "n", grouped.size())
    return found.reset_index(drop=True)


def _wells_described(table: pd.DataFrame, wells_N: Ints, cells_N: Ints) -> pd.DataFrame:
    """Return one row per well: means over its cells, each of which is the mean of its windows."""
    cells = _described(table, cells_N)
    of_windows = ["n", *(name for name in cells if str(name).endswith("_sd"))]
    found = _described(cells.drop(columns=of_windows), wells_N[np.unique(cells_N, return_index=True)[1]], kept=_OF_A_WELL)
    found.insert(_place(found, "n") + 1, "n_windows", np.bincount(wells_N, minlength=len(found)))
    return found


def _shares(values: pd.Series[float], name: str, codes_N: Ints) -> dict[str, pd.Series[float]]:
    texts = values.astype(object).where(values.notna(), None).map(lambda value: "none" if value is None else str(value))
    if texts.nunique() > _MOST_VALUES:
        return {}
    return {f"share_{name}_{value}": (texts == value).groupby(codes_N, sort=True).mean() for value in sorted(texts.unique())}


def _time_axis(table: pd.DataFrame, cells_N: Ints) -> tuple[float, Ints, str]:
    """Return the step of an axis that all movies share, the step in which each window begins, and whether it is in seconds or frames."""
    in_seconds = bool(table["time_s"].notna().all())
    begins = table["time_s" if in_seconds else "t_start"].to_numpy(np.float64)
    order = np.lexsort((begins, cells_N))
    gaps = np.diff(begins[order])[np.diff(cells_N[order]) == 0]
    gaps = gaps[gaps > 0]
    if not len(gaps):  # one window each: the axis is one step long
        return 1.0, np.zeros(len(table), np.int64), "axis_s" if in_seconds else "axis_frames"
    step = float(np.median(gaps))
    # The tiny allowance: 3 x 0.1 / 0.1 is 3, whatever floating point makes of it.
    return step, np.floor(begins / step + 1e-6).astype(np.int64), "axis_s" if in_seconds else "axis_frames"


def _ordered(keys: pd.DataFrame) -> Ints:
    """Return group numbers in the order in which groups appear, so that those of a movie stand together as its rows do."""
    return keys.groupby(list(keys.columns), sort=False, dropna=False).ngroup().to_numpy().astype(np.int64)


def _place(table: pd.DataFrame, column: str) -> int:
    return list(table.columns).index(column)
