"""Embeddings on the nodes of tracks: GEFF, the Graph Exchange File Format (geff 1.1, on Zarr 2 as its specification advises).

Nodes are the windows of a store, edges lead from each window of a track to its next one, and from the last window of a mother to the
first of her daughters. A store of one movie becomes one graph; of several movies, a Zarr group with one graph for each:

    cells.geff/
      .zattrs                 {"geff": axes t, (z), y, x; properties; "extra": where it comes from}
      nodes/ids               int64 (N,): rows of the store
      nodes/props/embedding   float32 (N, D), beside t, y, x and every column of the table
      edges/ids               int64 (E, 2)
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.embedding.layout import CHUNK_ROWS
from cellvjepa.embedding.store import Embeddings
from cellvjepa.progress import Progress, silent

GEFF_VERSION = "1.1"
_NAMES_OF_ITS_OWN = ("t", "z", "y", "x", "embedding")
_POSITION = {"z": "z_px", "y": "y_px", "x": "x_px"}

Ints = npt.NDArray[np.int64]
_STORED: dict[str, Any] = {"compressors": None, "chunk_key_encoding": {"name": "v2", "separator": "/"}}


def write_geff(embeddings: Embeddings, path: Path, progress: Progress = silent) -> None:
    """Write a store as a graph (of one movie) or a group of graphs (of several); see the top of this file.

    Axes are frames and pixels; where the store knows them, ``scale`` leads to seconds and micrometres. ``t`` is the middle of the window.

    Parameters
    ----------
    embeddings
        An open store.
    path
        The folder to write; must not exist.
    progress
        Told of each chunk of vectors; may cancel.
    """
    table = embeddings.table
    movies = list(dict.fromkeys(table["movie"]))
    flat = bool(table["z_px"].nunique(dropna=False) <= 1)
    with _quiet():
        root = _new_group(path)
        graphs = [_begin_graph(root if len(movies) == 1 else root.create_group(name), embeddings, movie, flat) for movie, name in _names(movies)]
        if len(movies) > 1:
            root.attrs["cellvjepa"] = {"movies": {name: movie for movie, name in _names(movies)}, **_source(embeddings)}
        graph_N = pd.Categorical(table["movie"], categories=movies).codes
        filled = np.zeros(len(graphs), np.int64)
        for rows, vectors in embeddings.blocks():
            for i in np.unique(graph_N[rows]):
                here = vectors[graph_N[rows] == i]
                graphs[i][filled[i] : filled[i] + len(here)] = here
                filled[i] += len(here)
            progress("exporting", rows.stop, len(embeddings))


def track_edges(table: pd.DataFrame) -> Ints:
    """Return the edges between windows of one movie, int64 (E, 2): positions of an earlier and a later row of ``table``.

    Parameters
    ----------
    table
        ``track_id`` (-1: no track, no edge) and ``t_start``; optionally ``parent_track_id``.
    """
    tracked = np.flatnonzero(table["track_id"].to_numpy() >= 0)
    rows = tracked[np.lexsort((table["t_start"].to_numpy()[tracked], table["track_id"].to_numpy()[tracked]))]
    track = table["track_id"].to_numpy(np.int64)[rows]
    same = track[1:] == track[:-1]
    edges = [np.stack([rows[:-1][same], rows[1:][same]], axis=1)]
    if "parent_track_id" in table:
        first, last = rows[np.append(True, ~same)[: len(rows)]], rows[np.append(~same, True)[: len(rows)]]
        ends = dict(zip(table["track_id"].iloc[last], last, strict=True))
        parents = table["parent_track_id"].iloc[first].fillna(-1)
        born = [(ends[parent], row) for parent, row in zip(parents, first, strict=True) if parent in ends and ends[parent] != row]
        edges.append(np.array(born, np.int64).reshape(-1, 2))
    return np.concatenate(edges).astype(np.int64)


def _begin_graph(group: Any, embeddings: Embeddings, movie: str, flat: bool) -> Any:
    """Write all of one movie's graph but the vectors; return the array that they go to."""
    rows = np.flatnonzero((embeddings.table["movie"] == movie).to_numpy())
    table = embeddings.table.iloc[rows].reset_index(drop=True)
    dim = embeddings.vectors_ND.shape[1]
    axes = _axes(table, flat)
    positions = {"t": (table["t_start"] + table["t_stop"] - 1) // 2, **{name: table[_POSITION[name]] for name in axes if name != "t"}}
    props = {**{name: _storable(values) for name, values in positions.items()}, **_properties(table)}
    about = {name: {"identifier": name, "dtype": _dtype(values)} for name, (values, _) in props.items()}
    about["embedding"] = {"identifier": "embedding", "dtype": "float32", "description": f"{embeddings.provenance.pool} of the tokens"}
    group.attrs["geff"] = {
        "geff_version": GEFF_VERSION,
        "directed": True,
        "axes": list(axes.values()),
        "node_props_metadata": about,
        "edge_props_metadata": {},
        "display_hints": {"display_horizontal": "x", "display_vertical": "y", "display_time": "t"},
        "extra": {"cellvjepa": {"movie": movie, **_source(embeddings)}},
    }
    nodes = group.create_group("nodes")
    _array(nodes, "ids", rows.astype(np.int64))
    properties = nodes.create_group("props")
    for name, (values, missing) in props.items():
        prop = properties.create_group(name)
        _array(prop, "values", values)
        if missing is not None:
            _array(prop, "missing", missing)
    edges = group.create_group("edges")
    _array(edges, "ids", rows[track_edges(table)].astype(np.int64).reshape(-1, 2))
    edges.create_group("props")
    return properties.create_group("embedding").create_array(
        "values", shape=(len(rows), dim), chunks=(min(CHUNK_ROWS, len(rows)), dim), dtype="float32", **_STORED
    )


def _axes(table: pd.DataFrame, flat: bool) -> dict[str, dict[str, Any]]:
    """Return the axes by name, as GEFF describes them: values in frames and pixels, scaled to seconds and micrometres where known."""
    axes: dict[str, dict[str, Any]] = {"t": {"name": "t", "type": "time", "unit": "frame", **_scale(table, "time_s", "t_start", "second")}}
    for name in ("y", "x") if flat else ("z", "y", "x"):
        axes[name] = {"name": name, "type": "space", "unit": "pixel", **_scale(table, f"{name}_um", f"{name}_px", "micrometer")}
    return axes


def _scale(table: pd.DataFrame, known: str, native: str, unit: str) -> dict[str, Any]:
    """Return the factor from native to physical units; it follows from positions given in both."""
    if known not in table:
        return {}
    usable = table[known].notna() & (table[native].abs() > 1e-6)
    factor = float((table.loc[usable, known] / table.loc[usable, native]).median()) if usable.any() else np.nan
    return {"scale": factor, "scaled_unit": unit} if np.isfinite(factor) and factor > 0 else {}


def _properties(table: pd.DataFrame) -> dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]]:
    """Return every column of a table as a property; a name becomes a folder of the graph and must not leave it."""
    found: dict[str, tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]] = {}
    for column in table.columns.drop("movie"):
        name = re.sub(r"[^\w .-]", "_", str(column)).lstrip(".") or "column"
        while name in (*_NAMES_OF_ITS_OWN, *found):
            name += "_"
        found[name] = _storable(table[column])
    return found


def _storable(values: pd.Series[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Return a column as GEFF has it: numbers or texts of fixed length, and which are missing."""
    missing = values.isna().to_numpy()
    if pd.api.types.is_bool_dtype(values):
        stored = values.to_numpy(bool)
    elif pd.api.types.is_integer_dtype(values):
        stored = values.to_numpy(np.int64)
    elif pd.api.types.is_numeric_dtype(values):
        stored = values.to_numpy(np.float64)
    else:
        stored = np.array(["" if gone else str(value) for value, gone in zip(values, missing, strict=True)], dtype=np.str_)
    return stored, missing if missing.any() else None


def _dtype(values: npt.NDArray[Any]) -> str:
    return "str" if values.dtype.kind == "U" else str(values.dtype)


def _array(group: Any, name: str, values: npt.NDArray[Any]) -> None:
    chunks = tuple(max(1, size) for size in values.shape)
    group.create_array(name, data=values, chunks=(min(chunks[0], 65_536), *chunks[1:]), **_STORED)


def _new_group(path: Path) -> Any:
    import zarr

    return zarr.open_group(path, mode="w-", zarr_format=2)


def _names(movies: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each movie with the name of its graph: safe as a folder, and no two the same."""
    taken: set[str] = set()
    for movie in movies:
        name = re.sub(r"[^\w.-]", "_", movie).lstrip("._") or "movie"
        while name in taken:
            name += "_"
        taken.add(name)
        yield movie, name


def _source(embeddings: Embeddings) -> Mapping[str, str]:
    provenance = embeddings.provenance
    return {"version": provenance.version, "checkpoint_sha256": provenance.source.checkpoint_sha256, "store": str(embeddings.path)}


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # Texts of fixed length have no final specification in Zarr 3; here it is Zarr 2.
        warnings.filterwarnings("ignore", message="The data type .* does not have a Zarr V3 specification")
        yield
