"""A session as layers: everything that is still there is opened (in another thread), and brought back into a viewer (in the window's)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer

import cellvjepa
from napari_cellvjepa.layers.of_movies import CHANNEL_KEY, LayerData, Space, image_layers, labels_layer, tracks_layer
from napari_cellvjepa.layers.points import ROW_COLUMN, points_layer
from napari_cellvjepa.session.appearance import dress
from napari_cellvjepa.session.file import read_session
from napari_cellvjepa.session.saving import same_source
from napari_cellvjepa.session.values import Unpacking, unpacked_rows

_MOST_SELECTIONS = 64


@dataclass(frozen=True, eq=False)
class Opened:
    """What a session holds, opened.

    Parameters
    ----------
    path
        The file.
    layers
        For each layer its data, its looks, and what it remembers.
    view, docks
        As the file has them.
    unpacking
        For what docks keep.
    problems
        A line for each thing that could not be brought back.
    """

    path: Path
    layers: list[tuple[LayerData, dict[str, Any], dict[str, Any]]]
    view: dict[str, Any]
    docks: list[dict[str, Any]]
    unpacking: Unpacking
    problems: list[str]


def open_session(path: Path, progress: cellvjepa.Progress) -> Opened:
    """Open what a session holds; what is not there any more, or cannot be read, is named and does not keep the rest from being opened.

    Raises
    ------
    UserError
        If the file is no session.
    """
    found = read_session(path)
    problems: list[str] = []
    try:
        packed = list(found.get("selections") or [])[:_MOST_SELECTIONS]
        unpacking = Unpacking(path.absolute().parent, tuple(unpacked_rows(one) for one in packed))
    except (ValueError, TypeError, KeyError) as error:
        unpacking = Unpacking(path.absolute().parent, ())
        problems.append(f"the selections are damaged ({error})")
    sources = _Sources(unpacking, progress, _looked_at_first(found))
    layers = []
    for number, entry in enumerate(found["layers"]):
        progress("opening layers", number, len(found["layers"]))
        name = str(entry.get("name", ""))
        try:
            layer = sources.layer(entry)
            remembered = {key: unpacking.value(value) for key, value in _mapping(entry.get("remembers")).items() if str(key).startswith("cellvjepa_")}
        except cellvjepa.UserError as error:
            problems.append(f"'{name}': {error}")
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
            problems.append(f"'{name}' is damaged in the file ({type(error).__name__})")
        else:
            layers.append(((layer[0], {**layer[1], "name": name}, layer[2]), _mapping(entry.get("looks")), remembered))
    docks = [dock for dock in found.get("docks") or [] if isinstance(dock, dict)] if isinstance(found.get("docks"), list) else []
    return Opened(path, layers, _mapping(found.get("viewer")), docks, unpacking, problems)


@dataclass
class _Sources:
    """Opens each movie and each store once."""

    unpacking: Unpacking
    progress: cellvjepa.Progress
    frame_s: float
    movies: dict[str, cellvjepa.Movie | cellvjepa.UserError] = field(default_factory=dict)
    images: dict[str, dict[str, LayerData]] = field(default_factory=dict)
    stores: dict[str, cellvjepa.Embeddings | cellvjepa.UserError] = field(default_factory=dict)

    def layer(self, entry: dict[str, Any]) -> LayerData:
        """Return a layer as it was opened first."""
        kind = entry["kind"]
        if kind == "points":
            return self._points(entry)
        movie = self._movie(entry)
        if kind == "image":
            return self._image(movie, str(entry["channel"]))
        if kind == "labels":
            return labels_layer(self._fitting(cellvjepa.open_movie(self.unpacking.path(entry["labels"])), movie), movie)
        if kind != "tracks":
            raise cellvjepa.UserError(f"layers of the kind '{kind}' are not known", "update cellvjepa")
        path = self.unpacking.path(entry["cells"])
        cells = cellvjepa.cells_of_movie(Path(path), movie, progress=self.progress)
        if not len(cells.table):
            raise cellvjepa.UserError(f"it has no tracks of the movie '{movie.name}' any more", "open the tracks that belong to it", path)
        return tracks_layer(cells, movie, path)

    def _movie(self, entry: dict[str, Any]) -> cellvjepa.Movie:
        uri = self.unpacking.path(entry["movie"])
        if uri not in self.movies:
            try:
                self.progress("measuring grey levels", 0, 0)
                self.movies[uri] = cellvjepa.levelled([cellvjepa.open_movie(uri, str(entry["movie_name"]))])[0]
            except cellvjepa.UserError as error:
                self.movies[uri] = error
        movie: cellvjepa.Movie = _there(self.movies[uri])
        return movie

    def _image(self, movie: cellvjepa.Movie, channel: str) -> LayerData:
        if movie.uri not in self.images:
            frame = round(self.frame_s / movie.interval_s) if movie.interval_s else round(self.frame_s)
            self.images[movie.uri] = {data[1]["metadata"][CHANNEL_KEY]: data for data in image_layers(movie, max(0, frame))}
        if channel not in self.images[movie.uri]:
            raise cellvjepa.UserError(f"there is no channel '{channel}'", f"the channels are {', '.join(movie.channels)}", movie.uri)
        return self.images[movie.uri][channel]

    def _points(self, entry: dict[str, Any]) -> LayerData:
        path, movie = self.unpacking.path(entry["store"]), str(entry["movie_name"])
        if path not in self.stores:
            try:
                self.progress("opening the store", 0, 0)
                self.stores[path] = cellvjepa.open_store(path)
            except cellvjepa.UserError as error:
                self.stores[path] = error
        found = _there(self.stores[path])
        if not (found.table["movie"] == movie).any():
            raise cellvjepa.UserError(f"it has no rows of the movie '{movie}' any more", "open it again with File > Open", path)
        space = next((Space.of_movie(known) for known in self.movies.values() if isinstance(known, cellvjepa.Movie) and known.name == movie), None)
        data, settings, kind = points_layer(found, movie, space)
        shown = self.unpacking.value(entry.get("rows"))
        if not isinstance(shown, np.ndarray):
            return data, settings, kind
        rows = settings["features"][ROW_COLUMN].to_numpy()
        kept = (rows >= len(shown)) | shown[np.minimum(rows, len(shown) - 1)]  # the store may have grown
        return (
            (data, settings, kind) if kept.all() else (data[kept], {**settings, "features": settings["features"][kept].reset_index(drop=True)}, kind)
        )

    @staticmethod
    def _fitting(labels: cellvjepa.Movie, movie: cellvjepa.Movie) -> cellvjepa.Movie:
        if any(labels.shape[axis] != movie.shape[axis] for axis in "TZYX"):
            raise cellvjepa.UserError(f"its size is not that of {movie.name}", "open the labels that belong to the movie", labels.uri)
        return labels


def bring_back(viewer: Any, opened: Opened) -> list[str]:
    """Bring a session into a viewer; returns what could not be brought back.

    Layers that are there already are replaced, and all others are hidden.
    """
    problems = list(opened.problems)
    for layer in viewer.layers:
        layer.visible = False
    made: dict[str, Any] = {}
    for (data, settings, kind), looks, remembered in opened.layers:
        layer = Layer.create(data, {**settings, "metadata": {**settings["metadata"], **remembered}}, kind)
        if refused := dress(layer, looks):
            problems.append(f"'{layer.name}' does not take its {', '.join(refused)}")
        for before in [other for other in viewer.layers if same_source(other, layer)]:
            viewer.layers.remove(before)
        viewer.add_layer(layer)
        made[settings["name"]] = layer
    for dock in opened.docks:
        _open_dock(viewer, dock, opened.unpacking, problems)
    try:
        _look(viewer, opened.view, made)
    except (ValueError, TypeError, KeyError, IndexError):
        problems.append("where one looked is damaged in the file")
    return problems


def _look(viewer: Any, view: dict[str, Any], made: dict[str, Any]) -> None:
    ndim = viewer.dims.ndim
    if not view:
        return
    if len(view["order"]) == ndim:
        viewer.dims.order = tuple(int(axis) for axis in view["order"])
    viewer.dims.ndisplay = int(view["ndisplay"])
    for axis, place in enumerate(view["point"][-ndim:], start=max(0, ndim - len(view["point"]))):
        viewer.dims.set_point(axis, float(place))
    viewer.scene.camera.center = tuple(float(place) for place in view["center"])
    viewer.scene.camera.zoom = float(view["zoom"])
    viewer.scene.camera.angles = tuple(float(angle) for angle in view["angles"])
    if view.get("active") in made:
        viewer.layers.selection.active = made[view["active"]]


def _open_dock(viewer: Any, dock: dict[str, Any], unpacking: Unpacking, problems: list[str]) -> None:
    window = getattr(viewer, "window", None)
    if window is None:
        return
    name = str(dock.get("name", ""))
    try:
        _, widget = window.add_plugin_dock_widget("cellvjepa", name, tabify=True)
        if "state" in dock:
            widget.take_state(unpacking.value(dock["state"]))
    except Exception:  # whatever a dock thinks of a state that somebody wrote into a file
        problems.append(f"the dock '{name}' could not be opened as it was")


def _looked_at_first(found: dict[str, Any]) -> float:
    point = _mapping(found.get("viewer")).get("point")
    return float(point[0]) if isinstance(point, list) and point and isinstance(point[0], int | float) else 0.0


def _there(found: Any) -> Any:
    if isinstance(found, cellvjepa.UserError):
        raise found
    return found


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
