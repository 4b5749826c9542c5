"""Cells from GEFF, the graph exchange file format: a Zarr group with nodes, edges, and what is known of them.

Specification: https://liveimagetrackingtools.org/geff. Read without the reference library, which would load all properties.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cellvjepa.cells.label_images import check_labels
from cellvjepa.cells.lineage import ordered_links, tracks_of
from cellvjepa.cells.names import stem_of
from cellvjepa.cells.table import Cells, checked_cells, movie_of
from cellvjepa.cells.tracks import with_numbers
from cellvjepa.cells.units import in_pixels
from cellvjepa.errors import UserError
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie
from cellvjepa.movies.readers.zarr.array import StoredArray, array_at
from cellvjepa.movies.readers.zarr.folder import LocalFolder, parts_within
from cellvjepa.movies.readers.zarr.metadata import Node, array_node, node_at
from cellvjepa.progress import Progress

_LOG = logging.getLogger(__name__)
_AGAIN = "write it again with a current version of geff"
_MOST_BYTES = 2**31  # of one array
_MOST_FILES = 100_000
_IN_SECONDS = {"millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_MOST_FOLDERS = 200  # of a store, to look for a graph in


def recognises(path: Path) -> bool:
    """Whether this is such a group, or a Zarr store that holds one at its top."""
    return path.is_dir() and _graph_in(path) is not None


def read_geff(path: Path, movies: Sequence[Movie], strict: bool, progress: Progress) -> Cells:
    """Read nodes as cells, and edges as tracks; where the graph divides, tracks begin.

    Axes in micrometres or seconds are brought to pixels and frames by what the movie says of itself. A label image that the graph names
    comes along, where it is as large as the movie.

    Raises
    ------
    UserError
        If the graph cannot be read, says no time or place, or belongs to no movie here.
    """
    node = _graph_in(path)
    assert node is not None
    where = Path(node.folder.address)
    movie = movie_of(path, movies, stem_of(path.parent.name) if path.parent.suffix == ".zarr" else None)
    graph = _Graph(node, _said(node))
    ids = graph.array("nodes/ids")
    if ids is None or ids.ndim != 1 or not len(ids):
        raise UserError("the graph has no nodes", "give a GEFF with tracks in it", where)
    progress("reading tracks", 0, 1)
    table = pd.DataFrame({"t": _frames(graph, movie, len(ids))})
    for axis in ("z", "y", "x"):
        values = _along(graph, axis, len(ids))
        if values is not None:
            table[f"{axis}_px"] = in_pixels(pd.Series(values), graph.unit(axis), axis, movie, where)
    missing = [axis for axis in ("y", "x") if f"{axis}_px" not in table]
    if missing:
        raise UserError(f"the graph does not say where its nodes are along {', '.join(missing)}", "name y and x in the axes of its metadata", where)
    area = graph.prop("area", len(ids))
    if area is not None:
        table["area_px"] = area
    table.index = pd.Index(ids, name="node")
    table = with_numbers(_with_tracks(table, ids, graph), where, strict=strict)
    table, images = _with_labels(table, ids, graph, movie)
    progress("reading tracks", 1, 1)
    return Cells(checked_cells(table.assign(movie=movie.name), movies, where, strict=strict).table, images)


@dataclass(frozen=True)
class _Graph:
    """A GEFF group, and what its metadata say."""

    node: Node
    said: Mapping[str, Any]

    @property
    def where(self) -> str:
        return self.node.folder.address

    def axis(self, letter: str) -> Mapping[str, Any] | None:
        """Return what is said of the axis t, z, y or x, by its name or else by its role."""
        found = self.said.get("axes")
        axes: list[dict[str, Any]] = [axis for axis in found if isinstance(axis, dict)] if isinstance(found, list) else []
        axes = [axis for axis in axes if isinstance(axis.get("name"), str)]
        hints = self.said.get("display_hints")
        role = {"t": "display_time", "z": "display_depth", "y": "display_vertical", "x": "display_horizontal"}[letter]
        hinted = hints.get(role) if isinstance(hints, dict) else None
        for axis in axes:
            if axis["name"].lower() in (letter, {"t": "time"}.get(letter, letter)) or axis["name"] == hinted:
                return axis
        return next((axis for axis in axes if letter == "t" and axis.get("type") == "time"), None)

    def unit(self, letter: str) -> str | None:
        unit = (self.axis(letter) or {}).get("unit")
        return unit if isinstance(unit, str) else None

    def array(self, inner: str, rows: int | None = None) -> npt.NDArray[Any] | None:
        """Read an array of numbers, if it is there; no size is believed that the files contradict.

        Parameters
        ----------
        inner
            Its path in the group.
        rows
            How many rows it must have; None: as many as it says, but then all of it must be there. (Of properties, chunks of zeros need not be.)
        """
        import zarr

        folder = self.node.folder.child(inner)
        metadata = array_node(folder, self.node.zarr_format)
        if metadata is None:
            return None
        shape = metadata.metadata.get("shape")
        if isinstance(shape, list) and 0 in shape:
            return np.zeros([n if isinstance(n, int) and 0 <= n < 8 else 0 for n in shape], np.int64)
        stored = array_at(self.node, inner)
        size, claimed = float(np.prod(stored.shape, dtype=np.float64)) * stored.dtype.itemsize, _files(stored)
        if size > _MOST_BYTES or claimed > _MOST_FILES:
            raise UserError(f"{inner} claims {size:,.0f} bytes in {claimed:,} files", _AGAIN, self.where)
        if rows is not None and stored.shape[0] != rows:
            raise UserError(f"{inner:.80} has {stored.shape[0]} values for {rows} nodes", _AGAIN, self.where)
        there = folder.count_files(claimed) if rows is None else None
        if there is not None and there < claimed:
            raise UserError(f"{inner} claims {claimed:,} files, but {there:,} are there", "copy it again", self.where)
        try:
            return np.asarray(zarr.open_array(folder.address, mode="r", zarr_format=3 if stored.zarr_format == 3 else 2)[...])
        except Exception as error:  # zarr and its codecs raise whatever they run into
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise UserError(f"{inner} cannot be read ({reason})", "copy it again", self.where) from None

    def prop(self, name: str, count: int) -> npt.NDArray[np.float64] | None:
        """Read a property of nodes: one number each, NaN where it is missing; None where there is no such property."""
        found = self.array(f"nodes/props/{'/'.join(parts_within(name, self.where))}/values", count)
        return None if found is None or found.ndim != 1 else found.astype(np.float64)


def _files(array: StoredArray) -> int:
    return math.prod(math.ceil(n / c) for n, c in zip(array.shape, array.files, strict=True))


def _graph_in(path: Path) -> Node | None:
    """Return the group of a graph: this one, or one right below in a Zarr store."""
    try:
        top = node_at(LocalFolder(path))
        if top is None or isinstance(top.attributes.get("geff"), dict):
            return top
        below = sorted(LocalFolder(path).children())[:_MOST_FOLDERS] if not top.is_array and not top.is_image else []
        nodes = (node_at(LocalFolder(path / name)) for name in below)
        return next((node for node in nodes if node is not None and isinstance(node.attributes.get("geff"), dict)), None)
    except UserError:
        return None  # whoever reads it as something else says what is wrong


def _said(node: Node) -> Mapping[str, Any]:
    said = node.attributes["geff"]
    assert isinstance(said, dict)
    return said


def _along(graph: _Graph, letter: str, count: int) -> npt.NDArray[np.float64] | None:
    axis = graph.axis(letter)
    name = letter if axis is None else str(axis["name"])
    return graph.prop(name, count)


def _frames(graph: _Graph, movie: Movie, count: int) -> npt.NDArray[np.float64]:
    times = _along(graph, "t", count)
    if times is None:
        raise UserError("the graph does not say when its nodes are", "name the axis t in its metadata", graph.where)
    seconds = _IN_SECONDS.get((graph.unit("t") or "").lower().removesuffix("s"))
    if seconds is None:
        return times
    if movie.interval_s is None:
        what = f"times are in {graph.unit('t')}, but the interval of {movie.name} is not known"
        raise UserError(what, "write times in frames, or save the movie with its interval", graph.where)
    frames = times * seconds / movie.interval_s
    near = np.rint(frames)
    return np.where(np.abs(frames - near) < 0.01, near, frames)


def _with_tracks(table: pd.DataFrame, ids: npt.NDArray[Any], graph: _Graph) -> pd.DataFrame:
    if len(np.unique(ids)) != len(ids):
        raise UserError("several nodes have the same id", _AGAIN, graph.where)
    t = table["t"].to_numpy(np.float64)
    if not (np.isfinite(t) & (t == np.floor(t)) & (np.abs(t) < 2**31)).all():
        raise UserError("some nodes are between two frames", "write their times in frames", graph.where)
    edges = graph.array("edges/ids")
    pairs = np.zeros((0, 2), np.int64)
    if edges is not None and edges.size:
        if edges.ndim != 2 or edges.shape[1] != 2:
            raise UserError(f"its edges have the shape {edges.shape}", _AGAIN, graph.where)
        pairs = pd.Index(ids).get_indexer(edges.ravel()).reshape(-1, 2).astype(np.int64)
    known = (pairs >= 0).all(axis=1)
    frames = t.astype(np.int64)
    links, within = ordered_links(frames, pairs[known])
    if lost := int((~known).sum()) + within:
        _LOG.warning("%s: %d of %d edges are left out: they join nodes that are not there, or of the same frame", graph.where, lost, len(pairs))
    found = tracks_of(frames, links)
    if found.merged:
        _LOG.warning("%s: %d tracks merge; they begin anew there, as children of one of them", graph.where, found.merged)
    return table.assign(track_id=found.track_id_N, parent_track_id=found.parent_track_id_N)


def _with_labels(table: pd.DataFrame, ids: npt.NDArray[Any], graph: _Graph, movie: Movie) -> tuple[pd.DataFrame, dict[str, Movie]]:
    """Add the pixel values of a label image that the graph names, and open it."""
    related = graph.said.get("related_objects")
    labels = [one for one in related if isinstance(one, dict) and one.get("type") == "labels"] if isinstance(related, list) else []
    if not labels or not isinstance(labels[0].get("path"), str):
        return table, {}
    try:
        image = open_movie(_inside(Path(graph.where), labels[0]["path"]))
        check_labels(image, movie)
        name = labels[0].get("label_prop")
        values = graph.prop(name, len(ids)) if isinstance(name, str) else ids.astype(np.float64)
        if values is None:
            raise UserError(f"the graph has no property {name!r:.60}, which should be the pixel values", _AGAIN, graph.where)
    except UserError as error:
        _LOG.warning("the label image of the graph is not used: %s", error)
        return table, {}
    found = pd.Series(values, index=pd.Index(ids)).reindex(table.index).to_numpy()
    if not (np.isfinite(found) & (found == np.floor(found))).all():
        _LOG.warning("the label image of the graph is not used: some nodes have no label in it")
        return table, {}
    return table.assign(label=found.astype(np.int64)), {movie.name: image}


def _inside(graph: Path, relative: str) -> Path:
    """Return where a path leads that starts at the graph: into the store or folder that holds the graph, and no further."""
    place = Path(os.path.normpath(graph / relative))
    if Path(relative).is_absolute() or not Path(os.path.realpath(place)).is_relative_to(os.path.realpath(graph.parent)):
        raise UserError(f"it points out of the folder that it lies in, to {relative[:80]!r}", "move the label image beside the graph", graph)
    return place
