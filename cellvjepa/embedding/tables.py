"""Embeddings as tables for other programs: Parquet, CSV, h5ad, GEFF; window by window, or averaged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.embedding.aggregate import Aggregates, Level, aggregate
from cellvjepa.embedding.geff_out import write_geff
from cellvjepa.embedding.layout import quiet_zarr, storable
from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.errors import UserError
from cellvjepa.progress import Progress, silent
from cellvjepa.writing import atomic_path

SUFFIXES = (".parquet", ".csv", ".h5ad", ".geff")


def export(
    store: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    averaged: Level | None = None,
    columns: pd.DataFrame | None = None,
    vectors: bool = True,
    progress: Progress = silent,
) -> Path:
    """Write a store as one table; what it is, its suffix says.

    ``.parquet`` and ``.csv`` have a column for everything: those of the table, the projections (``pca000``, ..., ``umap000``,
    ``umap001``) and the vectors (``e000``, ...). ``.h5ad`` is the same AnnData as the store. ``.geff`` is a graph, or one for each
    movie: windows are its nodes, with the vectors as the property ``embedding`` (:mod:`cellvjepa.embedding.geff_out`). No more than one
    chunk of vectors is in memory, and what has that name is replaced only when the new one is complete.

    Parameters
    ----------
    store
        A finished store.
    path
        Where to write to.
    averaged
        Average over a track, a well, or the steps of a trajectory (:func:`cellvjepa.embedding.aggregate.aggregate`): means stand in the
        columns ``e000``, ..., standard deviations in ``e000_sd``, ... (in h5ad: ``X`` and the layer ``sd``). None: as it is.
    columns
        More columns, one line per row of the store, e.g. its labels (:func:`cellvjepa.probing.label_counts.label_column`); not where rows are
        averaged.
    vectors
        With the vectors and projections; without them only where the table is ``.csv`` or ``.parquet``.
    progress
        Told of each chunk; may cancel.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    UserError
        If the suffix is unknown, the store cannot be read or averaged like that, or the file cannot be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"the suffix '{target.suffix}' is unknown", f"end the name with {', '.join(SUFFIXES)}", target)
    if averaged is not None and suffix == ".geff":
        raise UserError("a graph of tracks has no averages", "leave --aggregate out, or write .parquet, .csv or .h5ad", target)
    if averaged is not None and columns is not None:
        raise UserError("averages have no labels of windows", "leave --labels out, or --aggregate", target)
    if not vectors and (averaged is not None or suffix not in (".csv", ".parquet")):
        raise UserError("there is nothing but vectors in such a table", "write .csv or .parquet, window by window, or take the vectors along", target)
    _refuse_other_folder(target, suffix)
    embeddings = open_store(store)
    if columns is not None:
        assert len(columns) == len(embeddings), (len(columns), len(embeddings))
        embeddings = replace(embeddings, table=embeddings.table.assign(**{str(name): columns[name].to_numpy() for name in columns}))
    found = embeddings if averaged is None else aggregate(embeddings, averaged)
    with atomic_path(target) as part:
        if suffix == ".geff":
            write_geff(embeddings, part, progress)
        elif suffix == ".h5ad":
            _write_h5ad(found, part, progress)
        elif suffix == ".csv":
            _write_csv(_flat(found) if vectors else _without_numbers(embeddings), part, progress)
        else:
            _write_parquet(_flat(found) if vectors else _without_numbers(embeddings), part, progress)
    return target


@dataclass(frozen=True, eq=False)
class Flat:
    """A table that is written block by block.

    Parameters
    ----------
    rows
        How many.
    known
        The columns that are in memory, all rows: they decide the types.
    numbers
        Names of the columns of numbers (float32) that come after them, block by block.
    blocks
        Yields rows and their numbers, (n, len(numbers)).
    about
        What the table is, JSON values.
    """

    rows: int
    known: pd.DataFrame
    numbers: tuple[str, ...]
    blocks: Iterator[tuple[slice, npt.NDArray[np.float32]]]
    about: dict[str, Any]


def flat_table(embeddings: Embeddings, rows: slice, vectors_ND: npt.NDArray[np.float32]) -> pd.DataFrame:
    """Return some rows of a store as one flat table: table, projections, vectors.

    Raises
    ------
    UserError
        If the table has a column that is named like one of the numbers.
    """
    flat = _flat(embeddings)
    projected = [values[rows] for values in embeddings.projections.values()]
    return _joined(flat, rows, np.concatenate([*projected, vectors_ND], axis=1))


def _flat(found: Embeddings | Aggregates) -> Flat:
    embeddings = found.embeddings if isinstance(found, Aggregates) else found
    features = [str(name) for name in embeddings.features.index]
    about: dict[str, Any] = {"store": str(embeddings.path), "checkpoint_sha256": embeddings.provenance.source.checkpoint_sha256}
    if isinstance(found, Aggregates):
        numbers = (*features, *(f"{name}_sd" for name in features))
        blocks: Iterator[Any] = ((groups, np.concatenate([mean, sd], axis=1)) for groups, mean, sd in found.blocks())
        about |= {"aggregate": found.level} | ({"time_step": found.step} if found.step else {})
    else:
        numbers = (*(f"{n.removeprefix('X_')}{i:03d}" for n, v in found.projections.items() for i in range(v.shape[1])), *features)
        projected = list(found.projections.values())
        blocks = ((rows, np.concatenate([*(values[rows] for values in projected), vectors], axis=1)) for rows, vectors in found.blocks())
    if twice := [name for name in found.table.columns if name in numbers]:
        raise UserError(f"the column '{twice[0]}' of its table has the name of a number of the vectors", "rename that column", embeddings.path)
    return Flat(len(found), found.table, numbers, blocks, about)


def _without_numbers(embeddings: Embeddings) -> Flat:
    """Return the table of a store alone."""
    about = {"store": str(embeddings.path), "checkpoint_sha256": embeddings.provenance.source.checkpoint_sha256}
    rows = len(embeddings)
    return Flat(rows, embeddings.table, (), iter([(slice(0, rows), np.zeros((rows, 0), np.float32))]), about)


def _joined(flat: Flat, rows: slice, numbers: npt.NDArray[np.float32]) -> pd.DataFrame:
    return pd.concat([flat.known.iloc[rows].reset_index(drop=True), pd.DataFrame(numbers, columns=list(flat.numbers))], axis="columns")


def _write_parquet(flat: Flat, path: Path, progress: Progress) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Types are those of the whole table: a column may be empty in one chunk and hold text in the next.
    known = [
        field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in pa.Schema.from_pandas(flat.known, preserve_index=False)
    ]
    numbers = [pa.field(name, pa.float32()) for name in flat.numbers]
    schema = pa.schema([*known, *numbers]).with_metadata({"cellvjepa": json.dumps(flat.about)})
    texts = [field.name for field in known if pa.types.is_string(field.type)]
    # Numbers of a vector hardly ever repeat: a dictionary of them costs time and space.
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, use_dictionary=texts) as writer:
        for rows, values in flat.blocks:
            part = pa.Table.from_pandas(flat.known.iloc[rows], schema=pa.schema(known), preserve_index=False)
            columns = np.ascontiguousarray(values.T)
            writer.write_table(pa.table([*part.columns, *map(pa.array, columns)], schema=schema))
            progress("exporting", rows.stop, flat.rows)


def _write_csv(flat: Flat, path: Path, progress: Progress) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for rows, values in flat.blocks:
            _joined(flat, rows, values).to_csv(file, index=False, header=rows.start == 0)
            progress("exporting", rows.stop, flat.rows)


def _write_h5ad(found: Embeddings | Aggregates, path: Path, progress: Progress) -> None:
    import anndata
    import h5py
    import zarr
    from anndata.io import read_elem

    embeddings = found.embeddings if isinstance(found, Aggregates) else found
    group: Any = zarr.open_group(embeddings.path, mode="r", zarr_format=3)
    var, uns = read_elem(group["var"]), read_elem(group["uns"])
    if isinstance(found, Aggregates):
        uns["cellvjepa"]["aggregate"] = {"level": found.level, "time_step": found.step}
        obs = storable(found.table.set_axis([str(i) for i in range(len(found))], axis="index"))
        frame = anndata.AnnData(obs=obs, var=var, uns=uns)
    else:
        frame = anndata.AnnData(obs=read_elem(group["obs"]), var=var, obsm=dict(embeddings.projections), uns=uns)
    with quiet_zarr():
        frame.write_h5ad(path)
    shape = (len(found), len(var))
    with h5py.File(path, "r+") as file:
        file.pop("X", None)
        if isinstance(found, Aggregates):
            means, spreads = _h5_array(file, "X", shape), _h5_array(file, "layers/sd", shape)
            for groups, mean, sd in found.blocks():
                means[groups], spreads[groups] = mean, sd
                progress("exporting", groups.stop, len(found))
            return
        vectors = _h5_array(file, "X", shape)
        for rows, block in embeddings.blocks():
            vectors[rows] = block
            progress("exporting", rows.stop, len(embeddings))


def _h5_array(file: Any, name: str, shape: tuple[int, int]) -> Any:
    array = file.create_dataset(name, shape=shape, dtype="float32")
    array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    return array


def _refuse_other_folder(target: Path, suffix: str) -> None:
    """Refuse to put a file where a folder is, or a graph where something else is: replacing it would lose it."""
    if suffix != ".geff" and target.is_dir():
        raise UserError("this is a folder", "give the name of a file", target)
    if suffix == ".geff" and target.exists() and not any((target / name).is_file() for name in (".zgroup", "zarr.json")):
        raise UserError("this exists and is no graph", "give another name", target)
