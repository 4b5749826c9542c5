"""Numbers of tokens as layers upon the movie they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

import cellvjepa
from napari_cellvjepa.layers.of_movies import LayerData, Space
from napari_cellvjepa.parts.choosers import MAP_KEY

__all__ = ["MAP_KEY", "go_to_place", "is_map", "map_layer", "maps_in", "native_place", "world_place"]


def map_layer(
    values: npt.NDArray[Any], places: cellvjepa.TokenPlaces, space: Space, about: Mapping[str, Any], kind: str, looks: Mapping[str, Any]
) -> LayerData:
    """Return a layer whose pixels are tokens, at the place and time of what they show.

    Parameters
    ----------
    values
        (t, z, y, x), or with colours behind.
    places
        Where the tokens lie in the movie.
    space
        Of the movie.
    about
        What is shown and of what; at least ``movie``, its name.
    kind
        ``"image"`` or ``"labels"``.
    looks
        What else the layer takes.
    """
    axes = [0, 2, 3] if len(space.scale) == 3 else [0, 1, 2, 3]
    pitch, centre = np.array(places.pitch)[axes], np.array(places.centre)[axes]
    settings = {
        **space.settings(),
        "scale": tuple(np.array(space.scale) * pitch),
        "translate": tuple(np.array(space.translate) + np.array(space.scale) * centre),
        "metadata": {MAP_KEY: dict(about)},
        **looks,
    }
    return (values[:, 0] if len(axes) == 3 else values), settings, kind


def maps_in(viewer: Any) -> Iterator[Any]:
    """Yield the layers that :func:`map_layer` made."""
    for layer in viewer.layers:
        if MAP_KEY in layer.metadata:
            yield layer


def is_map(layer: Any) -> bool:
    """Tell whether a layer shows tokens, and no movie or cells."""
    return MAP_KEY in layer.metadata


def native_place(space: Space, world: npt.NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return the native t, z, y, x of a point in napari's world, which may have more axes in front; z is 0 where the movie has one plane."""
    place = ((world[-len(space.scale) :] - np.array(space.translate)) / np.array(space.scale)).tolist()
    t, *z, y, x = place
    return t, z[0] if z else 0.0, y, x


def world_place(space: Space, place: tuple[float, float, float, float]) -> npt.NDArray[np.float64]:
    """Return the point in napari's world, T [Z] Y X, of a native t, z, y, x."""
    kept = place if len(space.scale) == 4 else (place[0], *place[2:])
    found: npt.NDArray[np.float64] = np.array(kept) * np.array(space.scale) + np.array(space.translate)
    return found


def go_to_place(viewer: Any, space: Space, place: tuple[float, float, float, float]) -> None:
    """Move time, depth and camera of a viewer to a native t, z, y, x."""
    world = world_place(space, place)
    first = viewer.dims.ndim - len(world)
    for axis in range(len(world)):
        if first + axis not in viewer.dims.displayed:
            viewer.dims.set_point(first + axis, world[axis])
    viewer.scene.camera.center = tuple(world[-viewer.dims.ndisplay :]) if viewer.dims.ndisplay == 3 else (0, *world[-2:])
