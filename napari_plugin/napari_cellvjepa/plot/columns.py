"""What a store can be plotted by: its projections, the columns of its table, and the dimensions of its vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import cellvjepa
from napari_cellvjepa.plot.axes import Axis, titled

_TITLES = {"X_umap": "UMAP", "X_pca": "PCA"}
_FIRST_COMPONENTS = 10  # offered before the table; the others come after it
_NEVER_AN_AXIS = ("parent_track_id",)


class Columns:
    """The columns of a store by the names that people read; what is on disk is read when it is first asked for.

    Parameters
    ----------
    found
        The store.
    """

    def __init__(self, found: cellvjepa.Embeddings) -> None:
        self.found = found
        self._read: dict[str, npt.NDArray[Any]] = {}
        self._projected = {f"{_TITLES.get(key, key)} {k + 1}": (key, k) for key in sorted(found.projections) for k in range(self._width(key))}
        self._table = [str(name) for name in found.table.columns]
        self._movies: tuple[npt.NDArray[np.int64], int] | None = None
        self._beside: dict[str, tuple[npt.NDArray[Any], Mapping[str, str]]] = {}
        self._dimensions = {str(name): d for d, name in enumerate(found.features.index)}

    def axes(self) -> tuple[str, ...]:
        """Return the names of all columns that are numbers: maps first, then the table, then single dimensions of the vectors."""
        maps = [name for name, (key, k) in self._projected.items() if key != "X_pca" or k < _FIRST_COMPONENTS]
        maps.sort(key=lambda name: self._projected[name][0] != "X_umap")
        numbers = [name for name in self._table if _is_number(self._column(name)) and name not in _NEVER_AN_AXIS]
        return tuple(dict.fromkeys([*maps, *numbers, *self._projected, *self._dimensions]))

    def colours(self) -> tuple[str, ...]:
        """Return the names of all columns that points can be coloured by: what was found out about cells first."""
        own = [name for name in self._table if name != "clip_id"]
        own.sort(key=lambda name: (name != "cluster", _is_number(self._column(name))))
        return tuple(dict.fromkeys([*self._beside, *own, *self.axes()]))

    def lay_beside(self, name: str, values_N: npt.NDArray[Any], colours: Mapping[str, str]) -> None:
        """Take in a column that is not in the store, e.g. labels given by hand, whose kinds have colours already."""
        self._beside[name] = values_N, colours

    def given(self, name: str) -> Mapping[str, str]:
        """Return the colours that the kinds of a column have already."""
        return self._beside[name][1] if name in self._beside else {}

    def first_axes(self) -> tuple[str, str]:
        """Return the two columns to begin with: UMAP, else principal components, else places."""
        for title in ("UMAP", "PCA"):
            if f"{title} 2" in self._projected:
                return f"{title} 1", f"{title} 2"
        return "x_px", "y_px"

    def alike(self, x: str, y: str) -> bool:
        """Tell whether two columns have the same unit, so that the plot should not stretch one of them."""
        if x in self._projected and y in self._projected:
            # Distances on a UMAP mean little: it may as well fill the plot.
            return self._projected[x][0] == self._projected[y][0] != "X_umap"
        return {x, y} in ({"x_px", "y_px"}, {"x_um", "y_um"})

    def axis(self, name: str) -> Axis:
        """Return what an axis of this column says: its name and unit; no numbers for a UMAP, whose distances and directions mean nothing."""
        key, _ = self._projected.get(name, ("", 0))
        return Axis(name if key or name in self._dimensions else titled(name), numbers=key != "X_umap")

    def at_hand(self, name: str) -> bool:
        """Tell whether a column is in memory."""
        return name in self._beside or name in self._table or name in self._read

    def values(self, name: str, progress: cellvjepa.Progress | None = None) -> npt.NDArray[Any]:
        """Return a column: (N,), numbers or objects. One that is not at hand is read, which may take long."""
        if name in self._beside:
            return self._beside[name][0]
        if name in self._table and name not in self._projected:
            return self._column(name).to_numpy()
        if name not in self._read:
            if name in self._projected:
                key, k = self._projected[name]
                self._read[name] = np.ascontiguousarray(self.found.projections[key][:, k])
            else:
                self._read[name] = self._dimension(self._dimensions[name], progress or _silent)
        return self._read[name]

    def movies(self) -> tuple[npt.NDArray[np.int64], int]:
        """Return the number of each row's movie, (N,), and how many movies there are: counted once, for texts of a million rows are slow."""
        if self._movies is None:
            codes, names = pd.factorize(self.found.table["movie"].to_numpy())
            self._movies = codes.astype(np.int64), len(names)
        return self._movies

    def _dimension(self, d: int, progress: cellvjepa.Progress) -> npt.NDArray[np.float32]:
        values = np.empty(len(self.found), np.float32)
        for rows, vectors_ND in self.found.blocks():
            values[rows] = vectors_ND[:, d]
            progress("reading vectors", rows.stop, len(values))
        return values

    def _column(self, name: str) -> pd.Series[Any]:
        return self.found.table[str(name)]

    def _width(self, key: str) -> int:
        step = self.found.steps.get(key, {})
        # The number of components is noted in the store; to count them, all would have to be read.
        return int(step.get("components") or (2 if key == "X_umap" else self.found.projections[key].shape[1]))


def _is_number(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def _silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def read_store(path: Path, progress: cellvjepa.Progress) -> Columns:
    """Open a store and read what its first plot needs (in the other thread)."""
    progress("reading the table", 0, 0)
    columns = Columns(cellvjepa.open_store(path))
    for name in columns.first_axes():
        columns.values(name, progress)
    return columns


def read_columns(columns: Columns, names: list[str], progress: cellvjepa.Progress) -> None:
    """Read columns that are not at hand (in the other thread)."""
    for name in names:
        columns.values(name, progress)
