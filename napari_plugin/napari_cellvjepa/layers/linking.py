"""Between the rows of a store and the layers of a viewer: which layers show them, and where the viewer goes to see one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels, Layer, Points, Tracks

import cellvjepa
from napari_cellvjepa.layers.maps import MAP_KEY, is_map
from napari_cellvjepa.layers.of_movies import MOVIE_KEY, LayerData, Space
from napari_cellvjepa.layers.points import ROW_COLUMN, STORE_KEY
from napari_cellvjepa.plot.palette import Colouring

_FILL_ALPHA = 0.35  # of selected points, whose rings stay
_FADED_ALPHA = 0.35  # of the rings of the others
_SMALLEST_SHARE, _LARGEST_SHARE = 0.06, 0.8  # of the canvas that a clip may take before the camera zooms


def stores_in(viewer: Any) -> dict[str, list[Any]]:
    """Return the Points layers of each store that is open, by the store's path."""
    found: dict[str, list[Any]] = {}
    for layer in viewer.layers:
        if isinstance(layer, Points) and STORE_KEY in layer.metadata and ROW_COLUMN in layer.features:
            found.setdefault(layer.metadata[STORE_KEY], []).append(layer)
    return found


def rows_of(layer: Any) -> npt.NDArray[np.int64]:
    """Return the rows of the store that the points of a layer are."""
    found: npt.NDArray[np.int64] = layer.features[ROW_COLUMN].to_numpy(np.int64)
    return found


def selected_rows(layer: Any) -> npt.NDArray[np.int64]:
    """Return the rows of the store that are selected in a layer."""
    return rows_of(layer)[np.fromiter(layer.selected_data, np.int64, len(layer.selected_data))]


def highlight(layer: Any, chosen_N: npt.NDArray[np.bool_]) -> None:
    """Select the points of a layer whose rows are chosen."""
    wanted = np.flatnonzero(chosen_N[rows_of(layer)]).tolist()
    if layer.selected_data != set(wanted):
        layer.selected_data = wanted


def paint_points(layer: Any, colouring: Colouring, chosen_N: npt.NDArray[np.bool_]) -> None:
    """Give the points of a layer the colours of the plot; selected ones are filled and the others fade."""
    rows = rows_of(layer)
    if not len(rows):
        return
    borders, chosen = colouring.rgba(rows), chosen_N[rows]
    faces = borders.copy()
    faces[:, 3] = np.where(chosen, _FILL_ALPHA, 0)
    if chosen_N.any():
        borders[~chosen, 3] = _FADED_ALPHA
    layer.border_color = borders
    layer.face_color = faces


def movie_layers(viewer: Any, movie: str) -> Iterator[Any]:
    """Yield the image layers that show a movie: those opened by this plugin, and others of its name."""
    for layer in viewer.layers:
        if isinstance(layer, Image) and _movie_name(layer) == movie:
            yield layer


def label_layers(viewer: Any, movie: str) -> Iterator[Any]:
    """Yield the label layers that belong to a movie: those opened with it, and others of its size."""
    shapes = {tuple(_shape(layer)) for layer in movie_layers(viewer, movie)}
    for layer in viewer.layers:
        if isinstance(layer, Labels) and (_movie_name(layer) == movie if MOVIE_KEY in layer.metadata else tuple(_shape(layer)) in shapes):
            yield layer


def tracks_layers(viewer: Any, movie: str) -> Iterator[Any]:
    """Yield the Tracks layers that belong to a movie: those opened with it, and others whose name begins with its name."""
    for layer in viewer.layers:
        if isinstance(layer, Tracks) and (_movie_name(layer) == movie or (MOVIE_KEY not in layer.metadata and layer.name.startswith(movie))):
            yield layer


def frame_of(viewer: Any, layer: Any) -> int:
    """Return the native frame at which the time slider stands, for an image or label layer."""
    space = Space.of_layer(layer)
    return int(np.rint((_world_time(viewer, len(space.scale)) - space.translate[0]) / space.scale[0]))


def frames_shown(viewer: Any, store: str) -> dict[str, int]:
    """Return the native frame at which the time slider stands, for each movie of a store that is open, be it as points only."""
    found = {}
    for layer in stores_in(viewer).get(store, []):
        if not len(layer.features):
            continue
        first = layer.features.iloc[0]
        # A step of the points is a whole window.
        interval = float(layer.scale[0]) / float(first["t_stop"] - first["t_start"])
        time = _world_time(viewer, layer.ndim) - float(layer.translate[0])
        found[str(first["movie"])] = int(np.rint(time / interval))
    return found


def show_movie(viewer: Any, store: str, movie: str) -> None:
    """Show the layers of a movie and hide those of other movies; labels and tracks stay as they are."""
    for layer in viewer.layers:
        if is_map(layer):
            layer.visible = layer.visible and layer.metadata[MAP_KEY]["movie"] == movie
            continue
        name = _points_movie(layer) if layer.metadata.get(STORE_KEY) == store else _movie_name(layer) if MOVIE_KEY in layer.metadata else None
        if name is None and isinstance(layer, Image):
            name = _movie_name(layer)
        if name is None:
            continue
        wanted = name == movie and (layer.visible or isinstance(layer, Image | Points))
        if layer.visible != wanted:  # napari draws a layer anew even if it is told what it knows
            layer.visible = wanted


def add_movie(viewer: Any, layers: list[LayerData]) -> None:
    """Add the layers of a movie, in this order, below whatever is there."""
    for number, (data, settings, kind) in enumerate(layers):
        viewer.layers.insert(number, Layer.create(data, settings, kind))


def go_to(viewer: Any, found: cellvjepa.Embeddings, row: int, layer: Any) -> None:
    """Move time, depth and camera of a viewer to a cell.

    Parameters
    ----------
    row
        Of the store.
    layer
        An image layer that shows its movie.
    """
    facts = found.table.iloc[row]
    space = Space.of_layer(layer)
    frame = (int(facts["t_start"]) + int(facts["t_stop"]) - 1) // 2
    place = [float(frame), *([float(np.nan_to_num(facts["z_px"]))] if len(space.scale) == 4 else []), float(facts["y_px"]), float(facts["x_px"])]
    world = np.array(place) * space.scale + np.array(space.translate)
    first = viewer.dims.ndim - len(world)
    for axis in range(len(world)):
        if first + axis not in viewer.dims.displayed:
            viewer.dims.set_point(first + axis, world[axis])
    viewer.scene.camera.center = tuple(world[-viewer.dims.ndisplay :]) if viewer.dims.ndisplay == 3 else (0, *world[-2:])
    _zoom_to(viewer, extent_px(found, facts) * space.scale[-1])


def extent_px(found: cellvjepa.Embeddings, facts: Any) -> float:
    """Return the native width of the clip behind a row [px]."""
    shape = found.provenance.clip_shape
    x_um = float(facts["x_um"]) / float(facts["x_px"]) if facts["x_px"] > 0 and np.isfinite(facts["x_um"]) else 0.0
    return float(shape.size_px * (shape.pixel_um / x_um if shape.pixel_um and x_um else 1.0))


def _zoom_to(viewer: Any, width: float) -> None:
    """Zoom only where the cell would else be a dot, or larger than the canvas."""
    smallest = min(viewer.canvas.size)
    share = width * viewer.scene.camera.zoom / smallest
    if not _SMALLEST_SHARE <= share <= _LARGEST_SHARE:
        viewer.scene.camera.zoom = 0.2 * smallest / width


def _world_time(viewer: Any, axes: int) -> float:
    """Return where the time slider stands, for a layer of so many axes."""
    return float(viewer.dims.point[viewer.dims.ndim - axes])


def _movie_name(layer: Any) -> str:
    movie = layer.metadata.get(MOVIE_KEY)
    return str(movie.name if isinstance(movie, cellvjepa.Movie) else layer.name)


def _points_movie(layer: Any) -> str | None:
    return str(layer.features["movie"].iloc[0]) if len(layer.features) else None


def _shape(layer: Any) -> tuple[int, ...]:
    return tuple((layer.data[0] if getattr(layer, "multiscale", False) else layer.data).shape)
