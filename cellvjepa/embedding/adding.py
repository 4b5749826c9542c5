"""Adding rows to a finished store: which windows are new, and how the store with them comes to be.

The vectors that are there stay as they are, bit for bit and in their place; new rows follow them. What is known about the new
rows only (or about the old ones only, such as clusters) is missing in the others. Projections are left out: they were fitted to
the old rows, so they are made again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import zarr

from cellvjepa.embedding.layout import Frame, open_to_write, quiet_zarr, read_frame, storable, write_frame
from cellvjepa.embedding.provenance import Provenance, differences

_KEY = ["clip_id", "movie", "track_id", "t_start"]


def differences_of_rows(stored: Frame, now: Provenance, table: pd.DataFrame) -> list[str]:
    """Say why windows cannot be added to a store, or be those of it: the model or the clips differ, or its movies have other cells now.

    Movies that only one of both has are no difference.

    Returns
    -------
    list of str
        E.g. ``["clip.frames is 16 in the store and 8 now"]``; empty if nothing stands against it.
    """
    both = set(stored.table["movie"]) & set(table["movie"])
    there, here = (replace(p, levels=p.levels[p.levels["movie"].isin(both)].reset_index(drop=True)) for p in (stored.provenance, now))
    found = differences(there, here)
    if stored.provenance.source.given != now.source.given and not found:
        found = [f"what was said about the files is {stored.provenance.source.given} in the store and {now.source.given} now"]
    return found or _lost_rows(stored.table[stored.table["movie"].isin(both)], table) or _changed_values(stored.table, table)


def positions(rows: pd.DataFrame, table: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return where in a table each of some rows stands, (len(rows),) int64, -1 where it does not.

    Rows are the same if clip, movie, track and first frame are; of several that are, the first stands for the first.
    """
    left, right = (frame[_KEY].reset_index(drop=True) for frame in (rows, table))
    left["nth"], right["nth"] = (key.groupby(_KEY).cumcount() for key in (left, right))
    found = left.merge(right.assign(row=np.arange(len(right))), how="left", on=[*_KEY, "nth"])
    return found["row"].fillna(-1).to_numpy(np.int64)


def build_joined(old: Path, added: Path, into: Path, date: str) -> None:
    """Write a store with the rows of two: those of ``old``, then those of ``added``; memory holds one chunk of vectors.

    Parameters
    ----------
    old
        A finished store; its files are shared where the disk can do that.
    added
        A store with the vectors to add, finished or not.
    into
        Where; must not exist.
    date
        When the rows were added: ISO 8601, UTC.
    """
    frame, new = read_frame(old), read_frame(added)
    write_frame(into, _joined_table(frame.table, new.table), frame.features, _joined_uns(frame, new, date))
    shutil.rmtree(into / "X")
    shutil.copytree(old / "X", into / "X", copy_function=sharing)
    vectors: Any = open_to_write(into / "X")
    new_ND: Any = zarr.open_array(added / "X", mode="r", zarr_format=3)
    (rows, dim), chunk_rows, total = vectors.shape, vectors.chunks[0], len(frame.table) + len(new.table)
    vectors.resize((total, dim))
    for start in range(rows // chunk_rows * chunk_rows, total, chunk_rows):
        stop, kept = min(start + chunk_rows, total), max(rows - start, 0)
        block = np.empty((stop - start, dim), np.float32)
        if kept:
            block[:kept] = vectors[start:rows]
            # The last chunk of the old store has room left. It is written anew, so that its file in the old store stays as it is.
            (into / "X" / vectors.metadata.encode_chunk_key((start // chunk_rows, 0))).unlink()
        block[kept:] = new_ND[start + kept - rows : stop - rows]
        vectors[start:stop] = block
    with quiet_zarr():
        zarr.consolidate_metadata(into)


def sharing(source: str, target: str) -> str:
    """Copy a file, as a second name of the same one where the disk can do that; metadata, which change in place, are always copied."""
    if Path(source).name != "zarr.json":
        try:
            os.link(source, target)
            return target
        except OSError:
            pass  # this disk cannot do it
    return shutil.copy2(source, target)


def _lost_rows(stored: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Say which movies have cells in the store that they no longer have: they were tracked again, or looked at with another stride."""
    lost = stored["movie"][positions(stored, table) < 0]
    if lost.empty:
        return []
    name = str(lost.iloc[0])
    what = f"{int((lost == name).sum())} of the {int((stored['movie'] == name).sum())} windows of '{name}' in the store are not among those now"
    return [what + (f" (nor are some of {lost.nunique() - 1} more movies)" if lost.nunique() > 1 else "")]


def _changed_values(stored: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Say in what rows of the store differ from what they would be now; later steps may have added columns to the stored ones."""
    now = storable(table)
    where = positions(table, stored)
    pairs = pd.DataFrame({"now": np.flatnonzero(where >= 0), "stored": where[where >= 0]}).sort_values("stored")
    for name in now.columns:
        if name not in stored.columns:
            return [f"the column '{name}' is not in the store"]
        left, right = _comparable(stored[name].iloc[pairs["stored"]], now[name].iloc[pairs["now"]])
        unlike = (left != right) & ~(pd.isna(left) & pd.isna(right))
        if unlike.any():
            i = int(np.flatnonzero(unlike)[0])
            return [f"{name} of row {pairs['stored'].iloc[i]} is {left[i]} in the store and {right[i]} now"]
    return []


def _comparable(*columns: pd.Series[Any]) -> Sequence[npt.NDArray[Any]]:
    plain = all(isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf" for column in columns)
    return [column.to_numpy() if plain else column.astype(object).to_numpy() for column in columns]


def _joined_table(stored: pd.DataFrame, added: pd.DataFrame) -> pd.DataFrame:
    columns = {}
    for name in stored.columns:
        other = added[name] if name in added else _missing(stored[name], len(added))
        columns[name] = pd.concat([_with_room(stored[name]) if name not in added else stored[name], other], ignore_index=True)
    return pd.DataFrame(columns)


def _missing(like: pd.Series[Any], rows: int) -> pd.Series[Any]:
    return pd.Series([None] * rows, dtype=_with_room(like.iloc[:0]).dtype)


def _with_room(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return the column in a type that has missing values, the same numbers."""
    return column.convert_dtypes(convert_string=False, convert_floating=False) if column.dtype.kind in "biu" else column


def _joined_uns(stored: Frame, added: Frame, date: str) -> dict[str, Any]:
    levels = pd.concat([stored.provenance.levels, added.provenance.levels], ignore_index=True).drop_duplicates(
        ["movie", "channel"], ignore_index=True
    )
    archives = tuple(dict.fromkeys([*stored.provenance.source.archives, *added.provenance.source.archives]))
    source = replace(stored.provenance.source, archives=archives)
    images = {**added.provenance.label_images, **stored.provenance.label_images}
    addition = {
        "date": date,
        "version": added.provenance.version,
        "model": added.provenance.source.model,
        "archives": list(added.provenance.source.archives),
        "rows": [len(stored.table), len(stored.table) + len(added.table)],
    }
    return {
        **replace(stored.provenance, source=source, levels=levels, label_images=images).to_uns(),
        "additions": json.dumps([*stored.additions, addition]),
        # Projections are made again.
        "steps": {name: json.dumps(dict(values)) for name, values in stored.steps.items() if not name.startswith("X_")},
    }
