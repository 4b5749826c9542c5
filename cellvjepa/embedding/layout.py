"""The layout of a store on disk: AnnData on Zarr 3, everything but the vectors written and read here.

cells.zarr/
  X                     float32 (N, D), 8192 rows a chunk
  obs                   the table, one row per vector
  var                   the features, one row per dimension of a vector
  obsm/X_pca, X_umap    projections
  uns/cellvjepa         provenance, and how projections, clusters and predictions were made
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
            overwrite=True,
            config={"write_empty_chunks": True},  # so that a missing chunk is a lost one
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
        return Frame(_plain(read_elem(group["obs"])), read_elem(group["var"]), Provenance.from_uns(uns), steps)
    except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
        what = f"this is not a store of embeddings written by cellvjepa ({type(error).__name__}: {error})"
        raise UserError(what, "make one with `cellvjepa embed`, or check the path", folder) from None


def storable(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as AnnData can store it: safe column names, texts as categories, missing texts missing.

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
            found[name] = pd.Categorical([None if missing else str(value) for value, missing in zip(found[name], found[name].isna(), strict=True)])
    return found


@contextmanager
def quiet_zarr() -> Iterator[None]:
    """Silence what anndata and zarr say to those who write Zarr 3: that its defaults will change, and that consolidated metadata are new."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="zarr v3 autosharding")
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        yield


def _plain(obs: pd.DataFrame) -> pd.DataFrame:
    """Return the table with texts instead of categories, which pandas groups and compares in surprising ways."""
    table = obs.reset_index(drop=True)
    for name in table.columns[[isinstance(dtype, pd.CategoricalDtype) for dtype in table.dtypes]]:
        table[name] = table[name].astype(object).where(table[name].notna(), None)
    return table
