"""Embeddings as tables for other programs: Parquet, CSV, h5ad."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.embedding.store import Embeddings, open_store
from cellvjepa.errors import UserError
from cellvjepa.progress import Progress, silent
from cellvjepa.writing import atomic_path


def export(store: str | os.PathLike[str], path: str | os.PathLike[str], *, progress: Progress = silent) -> Path:
    """Write a store as one file; what it is, its suffix says.

    ``.parquet`` and ``.csv`` have a column for everything: those of the table, the projections (``pca000``, ..., ``umap000``,
    ``umap001``) and the vectors (``e000``, ...). ``.h5ad`` is the same AnnData as the store. No more than one chunk of vectors is in
    memory, and a file of that name is replaced only when the new one is complete.

    Parameters
    ----------
    store
        A finished store.
    path
        Where to write to.
    progress
        Told of each chunk; may cancel.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    UserError
        If the suffix is unknown, the store cannot be read, or the file cannot be written.
    """
    writers = {".parquet": _write_parquet, ".csv": _write_csv, ".h5ad": _write_h5ad}
    target = Path(path)
    if target.suffix.lower() not in writers:
        raise UserError(f"the suffix '{target.suffix}' is unknown", f"end the name with {', '.join(writers)}", target)
    if target.is_dir():
        raise UserError("this is a folder", "give the name of a file", target)
    embeddings = open_store(store)
    with atomic_path(target) as part:
        writers[target.suffix.lower()](embeddings, part, progress)
    return target


def flat_table(embeddings: Embeddings, rows: slice, vectors_ND: npt.NDArray[np.float32]) -> pd.DataFrame:
    """Return some rows of a store as one flat table: table, projections, vectors.

    Raises
    ------
    UserError
        If the table has a column that is named like one of the numbers.
    """
    projections = [
        pd.DataFrame(values[rows], columns=[f"{name.removeprefix('X_')}{i:03d}" for i in range(values.shape[1])])
        for name, values in embeddings.projections.items()
    ]
    vectors = pd.DataFrame(vectors_ND, columns=list(embeddings.features.index))
    flat = pd.concat([embeddings.table.iloc[rows].reset_index(drop=True), *projections, vectors], axis="columns")
    if flat.columns.has_duplicates:
        twice = flat.columns[flat.columns.duplicated()][0]
        raise UserError(f"the column '{twice}' of its table has the name of a number of the vectors", "rename that column", embeddings.path)
    return flat


def _blocks(embeddings: Embeddings, progress: Progress) -> Iterator[pd.DataFrame]:
    for rows, vectors in embeddings.blocks():
        yield flat_table(embeddings, rows, vectors)
        progress("exporting", rows.stop, len(embeddings))


def _write_parquet(embeddings: Embeddings, path: Path, progress: Progress) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Types are those of the whole table: a column may be empty in one chunk and hold text in the next.
    known = pa.Schema.from_pandas(embeddings.table, preserve_index=False)
    about = {"cellvjepa": json.dumps({"store": str(embeddings.path), "checkpoint_sha256": embeddings.provenance.source.checkpoint_sha256})}
    writer = None
    try:
        for block in _blocks(embeddings, progress):
            if writer is None:
                numbers = [pa.field(str(name), pa.float32()) for name in block.columns[len(known) :]]
                writer = pq.ParquetWriter(path, pa.schema([*known, *numbers]).with_metadata(about))
            writer.write_table(pa.Table.from_pandas(block, schema=writer.schema, preserve_index=False))
    finally:
        if writer is not None:
            writer.close()


def _write_csv(embeddings: Embeddings, path: Path, progress: Progress) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, block in enumerate(_blocks(embeddings, progress)):
            block.to_csv(file, index=False, header=number == 0)


def _write_h5ad(embeddings: Embeddings, path: Path, progress: Progress) -> None:
    import anndata
    import h5py
    import zarr
    from anndata.io import read_elem

    group: Any = zarr.open_group(embeddings.path, mode="r", zarr_format=3)
    frame = anndata.AnnData(obs=read_elem(group["obs"]), var=read_elem(group["var"]), obsm=dict(embeddings.projections), uns=read_elem(group["uns"]))
    frame.write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file.pop("X", None)
        vectors = file.create_dataset("X", shape=embeddings.vectors_ND.shape, dtype="float32")
        vectors.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        for rows, block in embeddings.blocks():
            vectors[rows] = block
            progress("exporting", rows.stop, len(embeddings))
