"""What looks and behaves like this: the rows of a store that are most similar to one of them, exactly, in milliseconds.

Similarity is the cosine of standardised vectors, as in the kNN probe. A vector u of length 1 has coordinates p along the first K
principal axes of all of them, and a rest of length r. For two of them, by Cauchy and Schwarz,

    u · v  <=  p_u · p_v + r_u r_v,

so one product of an (N, K + 1) table with (p, r) of the clip in question bounds all similarities from above. The true ones are
computed for the rows with the highest bounds, read from the store, until no other row can be among the nearest. Where few directions
do not tell the vectors apart, that may take all rows: then the search ends early and says that it is not proven exact.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.errors import UserError
from cellvjepa.progress import Progress, silent
from cellvjepa.writing import atomic_path

_COMPONENTS = 63  # with the rest, rows of 256 bytes; half as many took 5 times as long: more rows had to be looked at
_CANDIDATES = 4096  # 15 ms; real embeddings need 256, workflows/benchmarks/store.md
_LOOKED_AT_ONCE = 256
_SAME_WINDOW = ("movie", "track_id", "t_start", "t_stop", "y_px", "x_px")
_BEYOND_ROUNDING = 1e-5

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The rows most similar to one.

    Parameters
    ----------
    row
        The row in question.
    table
        One row per neighbour, the most similar first: ``similarity`` (cosine, -1 to 1), ``row`` (of the store), then the store's columns.
    exact
        Whether it is proven that no other row is more similar than these.
    """

    row: int
    table: pd.DataFrame
    exact: bool


@dataclass(frozen=True, eq=False)
class Bounds:
    """What is kept beside a store: how vectors are turned, and the table of bounds.

    Parameters
    ----------
    mean_D, scale_D
        Standardisation, float32.
    axes_DK
        Principal axes of the standardised vectors of length 1, float32.
    turned_NE
        Coordinates along these axes, and the length of the rest: E = K + 1, float32.
    """

    mean_D: Numbers
    scale_D: Numbers
    axes_DK: Numbers
    turned_NE: Numbers

    def unit(self, vectors_ND: Numbers) -> Numbers:
        """Return vectors standardised and of length 1."""
        standard = (vectors_ND - self.mean_D) / self.scale_D
        found: Numbers = standard / np.maximum(np.linalg.norm(standard, axis=1, keepdims=True), 1e-12)
        return found

    def turned(self, unit_ND: Numbers) -> Numbers:
        """Return coordinates and the length of the rest."""
        along = unit_ND @ self.axes_DK
        rest = np.sqrt(np.maximum(np.square(unit_ND).sum(axis=1) - np.square(along).sum(axis=1), 0))
        return np.concatenate([along, rest[:, None]], axis=1)


@dataclass(frozen=True, eq=False)
class Index:
    """A store that can be asked for what is similar.

    Parameters
    ----------
    embeddings
        The store.
    bounds
        Of all its rows.
    """

    embeddings: Embeddings
    bounds: Bounds

    def row_of(self, clip_id: str) -> int:
        """Return the row of a clip, the first if several cells share it.

        Raises
        ------
        UserError
            If there is none.
        """
        if clip_id not in self._rows:
            example = self.embeddings.table["clip_id"].iloc[0]
            raise UserError(f"there is no clip '{clip_id}' in this store", f"give one of its column clip_id, e.g. '{example}'", self.embeddings.path)
        return self._rows[clip_id]

    def similar(self, row: int, count: int = 10, *, overlapping: bool = False, exact: bool = False) -> Neighbours:
        """Return the rows most similar to one of them.

        Parameters
        ----------
        row
            The row.
        count
            How many neighbours; fewer if there are no more.
        overlapping
            Keep windows of the same track (without tracks: of the same place) that overlap in time with the one in question: they show
            the same frames, so they are nearly always the nearest.
        exact
            Look on until the answer is proven exact, at all rows if need be: at a million rows that can take seconds. Without it some thousand
            of the most promising rows are looked at; :attr:`Neighbours.exact` says whether that was proof enough.
        """
        rows = len(self.embeddings)
        query_1D = self.bounds.unit(self.embeddings.vectors_at(np.array([row])))
        bound_N = self.bounds.turned_NE @ self.bounds.turned(query_1D)[0]
        asked = min(rows, _CANDIDATES + count)
        nearest, similarity, proven = self._nearest(query_1D[0], bound_N, row, count, asked, overlapping)
        while not proven and (exact or len(nearest) < count):
            asked = min(rows, 4 * asked)
            nearest, similarity, proven = self._nearest(query_1D[0], bound_N, row, count, asked, overlapping)
        table = self.embeddings.table.iloc[nearest].reset_index(drop=True)
        found = pd.DataFrame({"similarity": similarity.astype(float).clip(-1, 1), "row": nearest})
        return Neighbours(row, pd.concat([found, table.drop(columns=["similarity", "row"], errors="ignore")], axis="columns"), proven)

    def _nearest(
        self, query_D: Numbers, bound_N: Numbers, row: int, count: int, asked: int, overlapping: bool
    ) -> tuple[npt.NDArray[np.int64], Numbers, bool]:
        """Look at the rows of the highest bounds, the highest first, until no other can be among the nearest."""
        candidates, rest = _highest(bound_N, asked)
        candidates = candidates[np.argsort(-bound_N[candidates], kind="stable")]
        nearest, similarity = np.empty(0, np.int64), np.empty(0, np.float32)
        start, at_once = 0, _LOOKED_AT_ONCE
        while start < asked:
            if len(nearest) == count and similarity[-1] >= bound_N[candidates[start]] + _BEYOND_ROUNDING:
                return nearest, similarity, True
            some = candidates[start : start + at_once]
            # Twice as many the next time: each look opens many files.
            start, at_once = start + at_once, min(2 * at_once, _CANDIDATES)
            some = some[self._others(row, some, overlapping)]
            nearest = np.concatenate([nearest, some])
            similarity = np.concatenate([similarity, self.bounds.unit(self.embeddings.vectors_at(some)) @ query_D])
            order = np.lexsort((nearest, -similarity))[:count]
            nearest, similarity = nearest[order], similarity[order]
        return nearest, similarity, asked == len(bound_N) or (len(nearest) == count and bool(similarity[-1] >= rest + _BEYOND_ROUNDING))

    @cached_property
    def _rows(self) -> dict[str, int]:
        ids = self.embeddings.table["clip_id"].tolist()
        return dict(zip(reversed(ids), range(len(ids) - 1, -1, -1), strict=True))

    def _others(self, row: int, candidates: npt.NDArray[np.int64], overlapping: bool) -> npt.NDArray[np.bool_]:
        others: npt.NDArray[np.bool_] = candidates != row
        if overlapping:
            return others
        movie, track, start, stop, y, x = self._places
        same = (movie[candidates] == movie[row]) & (track[candidates] == track[row])
        if track[row] < 0:
            same &= (y[candidates] == y[row]) & (x[candidates] == x[row])
        same &= (start[candidates] < stop[row]) & (stop[candidates] > start[row])
        apart: npt.NDArray[np.bool_] = others & ~same
        return apart

    @cached_property
    def _places(self) -> tuple[npt.NDArray[Any], ...]:
        # Of a table, pandas would copy whole columns for every look: at a million rows that took longer than the search.
        return tuple(self.embeddings.table[name].to_numpy() for name in _SAME_WINDOW)


def open_index(store: str | os.PathLike[str], *, progress: Progress = silent) -> Index:
    """Open a store to ask it for what is similar; what that needs is computed once and kept beside the store, in ``<store>.similar``.

    It is computed again when vectors were added or made anew. Where nothing can be written there, it is computed each time.

    Parameters
    ----------
    store
        A finished store.
    progress
        Told of each chunk that is looked at; may cancel.

    Raises
    ------
    UserError
        If the store cannot be read, or all its vectors are the same.
    """
    embeddings = open_store(store)
    folder = embeddings.path.with_name(f"{embeddings.path.name}.similar")
    state = _state(embeddings)
    if (bounds := _kept_bounds(folder, state, embeddings)) is None:
        bounds = compute_bounds(embeddings, progress)
        try:
            with atomic_path(folder) as part:
                part.mkdir()
                for field in fields(bounds):
                    np.save(part / f"{field.name}.npy", getattr(bounds, field.name))
                (part / "of.json").write_text(json.dumps({"vectors": state}))
        except UserError:
            pass  # a store on a read-only share: the next command computes it again
    return Index(embeddings, bounds)


def compute_bounds(embeddings: Embeddings, progress: Progress = silent) -> Bounds:
    """Compute what :func:`open_index` keeps, from one chunk of vectors at a time, in three passes.

    Raises
    ------
    UserError
        If all vectors are the same.
    """
    rows, dim = len(embeddings), int(embeddings.vectors_ND.shape[1])
    shift_D = np.asarray(embeddings.vectors_ND[slice(0, 1)], np.float64)[0]
    total_D, square_D, moment_DD = np.zeros(dim), np.zeros(dim), np.zeros((dim, dim))
    for chunk, vectors in embeddings.blocks():
        shifted = vectors - shift_D
        total_D += shifted.sum(axis=0)
        square_D += np.square(shifted).sum(axis=0)
        progress("looking for similarities", chunk.stop, 3 * rows)
    mean_D = total_D / rows
    scale_D = np.sqrt(np.maximum(square_D / rows - np.square(mean_D), 0))
    mean_D += shift_D
    # Relative to their size: the spread of equal numbers is a rounding error, which must not be blown up to 1.
    varies = scale_D > 1e-6 * np.abs(mean_D) + 1e-12
    if not varies.any() and rows > 1:
        raise UserError("all vectors are the same", "the encoder has collapsed: look at rankme in the run's report and train again", embeddings.path)
    scale_D = np.where(varies, scale_D, 1.0)
    bounds = Bounds(mean_D.astype(np.float32), scale_D.astype(np.float32), np.empty((dim, 0), np.float32), np.empty((0, 1), np.float32))
    for chunk, vectors in embeddings.blocks():
        unit = bounds.unit(vectors)
        moment_DD += unit.T @ unit
        progress("looking for similarities", rows + chunk.stop, 3 * rows)
    axes_DK = np.linalg.eigh(moment_DD)[1][:, ::-1][:, :_COMPONENTS].astype(np.float32)
    bounds = Bounds(bounds.mean_D, bounds.scale_D, axes_DK, np.empty((rows, axes_DK.shape[1] + 1), np.float32))
    for chunk, vectors in embeddings.blocks():
        bounds.turned_NE[chunk] = bounds.turned(bounds.unit(vectors))
        progress("looking for similarities", 2 * rows + chunk.stop, 3 * rows)
    return bounds


def _highest(bound_N: Numbers, count: int) -> tuple[npt.NDArray[np.int64], float]:
    """Return the rows of the highest bounds, and the highest bound of the others."""
    if count == len(bound_N):
        return np.arange(count), -np.inf
    # Looking through a sample first, for where the highest begin, saves sorting all.
    step = max(1, len(bound_N) // 16_384)
    sample = np.sort(bound_N[::step])
    start = sample[max(0, len(sample) - 1 - int(1.5 * count / step) - 16)]
    above = np.flatnonzero(bound_N >= start)
    if len(above) <= count:
        above = np.arange(len(bound_N))
    place = len(above) - count
    order = np.argpartition(bound_N[above], [place - 1])
    return above[order[place:]], float(bound_N[above[order[place - 1]]])


def _state(embeddings: Embeddings) -> str:
    """Return what changes when vectors do; copies that keep the times of files, and later steps, leave it as it is."""
    about: list[Any] = [embeddings.vectors_ND.shape, embeddings.provenance.date, embeddings.provenance.source.checkpoint_sha256]
    chunks = sorted((str(f.relative_to(embeddings.path)), f.stat()) for f in (embeddings.path / "X" / "c").rglob("*") if f.is_file())
    about += [(name, stat.st_size, stat.st_mtime_ns) for name, stat in chunks]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


def _kept_bounds(folder: Path, state: str, embeddings: Embeddings) -> Bounds | None:
    """Read what was computed before; None if it is not there, damaged, or of other vectors."""
    try:
        if json.loads((folder / "of.json").read_text())["vectors"] != state:
            return None
        # Read, not mapped: every query goes through all of it, and the first would wait for the disk.
        arrays = {field.name: np.load(folder / f"{field.name}.npy", allow_pickle=False) for field in fields(Bounds)}
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    (rows, dim), width = embeddings.vectors_ND.shape, min(_COMPONENTS, embeddings.vectors_ND.shape[1])
    shapes = {"mean_D": (dim,), "scale_D": (dim,), "axes_DK": (dim, width), "turned_NE": (rows, width + 1)}
    if any(array.shape != shapes[name] or array.dtype != np.float32 for name, array in arrays.items()):
        return None
    return Bounds(**arrays)
