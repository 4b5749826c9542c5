"""The layout of a store on disk: AnnData on Zarr 3, everything but the vectors written and read here.

cells.zarr/
  X                     float32 (N, D), 8192 rows a chunk, not compressed: embeddings hardly shrink, and single rows can be read
  obs                   the table, one row per vector; texts as categories, or as texts where most of them differ (clip_id)
  var                   the features, one row per dimension of a vector
  obsm/X_pca, X_umap    projections
  uns/cellvjepa         provenance, what was added later, and how projections, clusters and predictions were made
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import zarr
from anndata.io import read_elem, write_elem

from cellvjepa.embedding.provenance import Provenance
from cellvjepa.errors import UserError

CHUNK_ROWS = 8192
OBS_COLUMNS = ("clip_id", "movie", "track_id", "t_start", "t_stop", "time_s", "z_px", "y_px", "x_px", "y_um", "x_um")


@dataclass(frozen=True, eq=False)
class Frame:
    """A store without its vectors and projections; see :class:`cellvjepa.embedding.store.Embeddings`."""

    table: pd.DataFrame
    features: pd.DataFrame
    provenance: Provenance
    steps: Mapping[str, Mapping[str, Any]]
    additions: tuple[Mapping[str, Any], ...] = ()


def write_frame(folder: Path, table: pd.DataFrame, features: pd.DataFrame, uns: Mapping[str, Any]) -> None:
    """Write a store whose vectors are yet to come; its metadata are not consolidated.

    Parameters
    ----------
    folder
        Where; must not exist.
    table, features
        One row per vector, and per dimension of a vector.
    uns
        ``uns["cellvjepa"]``.
    """
    assert not (missing := set(OBS_COLUMNS) - set(table.columns)), missing
    group = zarr.open_group(folder, mode="w-", zarr_format=3)
    obs = storable(table.set_axis([str(i) for i in range(len(table))], axis="index"))
    with quiet_zarr():
        write_elem(group, "/", anndata.AnnData(obs=obs, var=features, uns={"cellvjepa": dict(uns)}))
        vectors = group.create_array(
            "X",
            shape=(len(table), len(features)),
            chunks=(CHUNK_ROWS, len(features)),
            dtype="float32",
            compressors=None,
            overwrite=True,
        )
    vectors.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def read_frame(folder: Path) -> Frame:
    """Read table, features and provenance of a store.

    Raises
    ------
    UserError
        If this is not a store, or one that cellvjepa did not write.
    """
    try:
        # Zarr 3 only: metadata of Zarr 2 can ask for codecs that run code.
        group = zarr.open_group(folder, mode="r", zarr_format=3)
        uns = read_elem(group["uns/cellvjepa"])
        steps = {name: json.loads(str(text)) for name, text in uns["steps"].items()}
        additions = tuple(json.loads(str(uns.get("additions", "[]"))))
        return Frame(_read_table(group["obs"]), read_elem(group["var"]), Provenance.from_uns(uns), steps, additions)
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        what = f"this is not a store of embeddings written by cellvjepa ({type(error).__name__}: {error})"
        raise UserError(what, "make one with `cellvjepa embed`, or check the path", folder) from None


def read_channels(folder: Path) -> tuple[str, ...]:
    """Read the names of the channels of a store; none if this is not one."""
    try:
        return tuple(str(name) for name in read_elem(zarr.open_group(folder, mode="r", zarr_format=3)["uns/cellvjepa/channels"]))
    except (KeyError, TypeError, ValueError, AttributeError, OSError):
        return ()


def storable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as AnnData can store it: safe column names, texts as categories (or texts, if most differ), missing texts missing.

    Raises
    ------
    UserError
        If two columns have the same name.
    """
    # A column becomes a folder of the store: its name must not leave it, nor clash with the index ("_index").
    names = [re.sub(r"[/\\]", "_", str(name)) for name in table.columns]
    names = [f"x{name}" if not name or name[0] in "._" else name for name in names]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"the column '{twice[0]}' is there more than once", "rename one of them", "the table of cells")
    found = table.set_axis(names, axis="columns")
    for name in names:
        if not (pd.api.types.is_numeric_dtype(found[name]) or pd.api.types.is_bool_dtype(found[name])):
            found[name] = _storable_texts(found[name])
    return found


def open_to_write(array: Path) -> Any:
    """Open an array of a store to write to it; even a chunk of zeros will be written, so that a missing one is a lost one."""
    with zarr.config.set({"array.write_empty_chunks": True}):
        return zarr.open_array(array, mode="r+", zarr_format=3)


@contextmanager
def quiet_zarr() -> Iterator[None]:
    """Silence what anndata and zarr say to those who write Zarr 3: that its defaults will change, and that consolidated metadata are new."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="zarr v3 autosharding")
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        yield


def _storable_texts(column: pd.Series[Any]) -> pd.Series[Any]:
    texts = column.astype(object).where(column.notna(), None).map(str, na_action="ignore")
    if len(texts) and not texts.isna().any() and texts.nunique() > len(texts) // 2:
        return texts
    return pd.Series(pd.Categorical(texts), index=column.index)


def _read_table(obs: Any) -> pd.DataFrame:
    """Read the table without its index, which only counts rows: at a million rows that takes as long as everything else."""
    names = [str(name) for name in obs.attrs["column-order"]]
    return pd.DataFrame({name: _plain(read_elem(obs[name])) for name in names}, copy=False)


def _plain(column: Any) -> Any:
    """Return texts instead of categories, which pandas groups and compares in surprising ways."""
    if isinstance(column, pd.Categorical):
        # Code -1 is a missing text: the last of these.
        return np.array([*column.categories, None], dtype=object)[column.codes]
    if isinstance(column, np.ndarray) and column.dtype.kind not in "biufc":
        return column.astype(object)
    return column
