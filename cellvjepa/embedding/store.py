"""Embeddings on disk: AnnData on Zarr, opened, read in pieces, and changed so that the old store stays until the new one is complete.

A store is a folder that ``anndata.read_zarr`` opens. What is in it: :mod:`cellvjepa.embedding.layout`; how it comes into being:
:mod:`cellvjepa.embedding.unfinished`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import zarr
from anndata.io import read_elem, write_elem

from cellvjepa.embedding.adding import sharing
from cellvjepa.embedding.layout import CHUNK_ROWS, OBS_COLUMNS, Frame, quiet_zarr, read_frame, storable
from cellvjepa.embedding.provenance import Provenance
from cellvjepa.embedding.unfinished import unfinished_rows
from cellvjepa.embedding.vectors import vectors_at
from cellvjepa.errors import UserError
from cellvjepa.writing import atomic_path


class Vectors(Protocol):
    """Vectors that are read when they are sliced, (N, D) float32; ``np.asarray`` reads them all."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def __getitem__(self, rows: slice, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Embeddings:
    """One vector per clip, and what is known about it.

    Parameters
    ----------
    path
        The store.
    vectors_ND
        float32 (N, D), read when sliced.
    table
        One row per vector, index 0..N-1: clip_id, movie, track_id, t_start, t_stop [native frames, half open], time_s,
        z_px, y_px, x_px, y_um, x_um (NaN where unknown), then whatever else the cells had and later steps added.
        Texts are plain objects, missing ones None.
    features
        One row per dimension of a vector: its name (index), channel and statistic.
    projections
        ``{"X_pca": (N, K), "X_umap": (N, 2)}`` float32, as far as computed; read when asked for.
    provenance
        Where the vectors come from.
    steps
        How projections, clusters and predictions were made: parameters by name.
    additions
        What was added after the store was first complete, in this order: ``rows`` (first, and one after the last), ``date``, ``version``,
        ``model``, ``archives``.
    """

    path: Path
    vectors_ND: Vectors
    table: pd.DataFrame
    features: pd.DataFrame
    projections: Mapping[str, npt.NDArray[np.float32]]
    provenance: Provenance
    steps: Mapping[str, Mapping[str, Any]]
    additions: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self.table)

    def blocks(self) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Yield all vectors, one chunk at a time, with the rows that they are."""
        for start in range(0, len(self), CHUNK_ROWS):
            rows = slice(start, min(start + CHUNK_ROWS, len(self)))
            yield rows, np.asarray(self.vectors_ND[rows], np.float32)

    def vectors_at(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the vectors of any rows, in any order, (len(rows), D): of a large store, only these are read."""
        return vectors_at(self.vectors_ND, self.path / "X", rows)


class Projections(Mapping[str, npt.NDArray[np.float32]]):
    """Projections of a store, each read when it is first asked for.

    Parameters
    ----------
    group
        ``obsm`` of the store.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self._names = sorted(group)
        self._read: dict[str, npt.NDArray[np.float32]] = {}

    def __getitem__(self, name: str) -> npt.NDArray[np.float32]:
        """Return the points, (N, K)."""
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = np.asarray(read_elem(self._group[name]), np.float32)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Yield their names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._names)


def open_store(path: str | os.PathLike[str]) -> Embeddings:
    """Open a store; vectors and projections are read later, the table now.

    Raises
    ------
    UserError
        If there is none, it is unfinished, incomplete, or was not written by cellvjepa.
    """
    folder = Path(path)
    if (rows := unfinished_rows(folder)) is not None:
        what = f"these embeddings are unfinished ({rows[0]} of {rows[1]} rows are done)"
        raise UserError(what, "run the same `cellvjepa embed` command again: it continues where it stopped", folder)
    if not folder.is_dir():
        raise UserError("there is no such store of embeddings", "make one with `cellvjepa embed`, or check the path", folder)
    frame = read_frame(folder)
    group: Any = zarr.open_group(folder, mode="r", zarr_format=3)
    if not isinstance(vectors := group.get("X"), zarr.Array):
        raise UserError("the vectors are missing", "copy the whole folder again, or make the store again with `cellvjepa embed`", folder)
    _refuse_incomplete(folder, frame, vectors)
    return Embeddings(folder, vectors, frame.table, frame.features, Projections(group["obsm"]), frame.provenance, frame.steps, frame.additions)


def revise_store(
    path: str | os.PathLike[str],
    *,
    columns: pd.DataFrame | None = None,
    projections: Mapping[str, npt.NDArray[np.float32]] | None = None,
    steps: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Add or replace columns, projections and notes on how they were made.

    A new store is built beside the old one, sharing the vectors' files where the disk can do that, and takes its place when
    it is complete: a crash leaves the old store as it was.

    Parameters
    ----------
    columns
        One row per row of the store, in its order.
    projections
        ``{"X_umap": (N, 2)}``: for ``obsm``.
    steps
        Parameters by name, values as JSON has them.

    Raises
    ------
    UserError
        If the disk is full, the folder cannot be written to, or the store has got other rows since these values were computed.
    """
    with atomic_path(path) as new:
        shutil.copytree(path, new, copy_function=sharing)
        group = zarr.open_group(new, mode="r+", use_consolidated=False)
        _refuse_other_rows(path, group, [*([] if columns is None else [columns]), *(projections or {}).values()])
        with quiet_zarr():
            if columns is not None:
                added = storable(columns)
                order: Any = group["obs"].attrs["column-order"]
                kept = [name for name in order if name not in added]
                for name in added:
                    column = added[name]
                    write_elem(group["obs"], name, column.to_numpy() if isinstance(column.dtype, np.dtype) else column.array)
                group["obs"].attrs["column-order"] = [*kept, *added.columns]
            for name, values in (projections or {}).items():
                write_elem(group["obsm"], name, values)
            for name, parameters in (steps or {}).items():
                write_elem(group["uns/cellvjepa/steps"], name, json.dumps(dict(parameters)))
            zarr.consolidate_metadata(new)


def add_columns(path: str | os.PathLike[str], table: pd.DataFrame, name: str, parameters: Mapping[str, Any]) -> None:
    """Add columns to the table of a store, e.g. predictions and their probabilities; those of the same name are replaced.

    Parameters
    ----------
    path
        A finished store.
    table
        One row per row of the store, in its order; the index plays no part.
    name
        Under which ``parameters`` are kept in the store's ``steps``.
    parameters
        How the columns were made, values as JSON has them.

    Raises
    ------
    UserError
        If the number of rows differs, a column belongs to the store itself, or the store cannot be written.
    """
    rows = len(open_store(path))
    if len(table) != rows:
        raise UserError(f"{len(table)} rows cannot be added to a store of {rows}", "make the table from this store", path)
    if own := [column for column in table.columns if column in OBS_COLUMNS]:
        raise UserError(f"the column '{own[0]}' belongs to the store itself", "give the new column another name", path)
    revise_store(path, columns=table, steps={name: parameters})


def _refuse_other_rows(path: str | os.PathLike[str], group: Any, values: Sequence[Sized]) -> None:
    rows = int(group["X"].shape[0])
    if other := [len(value) for value in values if len(value) != rows]:
        what = f"the store has {rows} rows, but what is to be added to it has {other[0]}: another process has changed it meanwhile"
        raise UserError(what, "run it again", path)


def _refuse_incomplete(folder: Path, frame: Frame, vectors: zarr.Array[Any]) -> None:
    if vectors.shape != (len(frame.table), len(frame.features)):
        rows = " x ".join(map(str, vectors.shape))
        what = f"the vectors ({rows}) do not fit the table ({len(frame.table)} rows) and its {len(frame.features)} features"
        raise UserError(what, "the store is damaged: make it again with `cellvjepa embed`", folder)
    if (lost := vectors.nchunks - vectors.nchunks_initialized) > 0:
        raise UserError(f"{lost} of {vectors.nchunks} pieces of the vectors are missing", "copy the whole folder again", folder)
