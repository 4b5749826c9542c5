"""Bringing a movie of an archive into the viewer, and hiding the others."""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Labels

import cellvjepa
from napari_cellvjepa.layers.linking import add_movie
from napari_cellvjepa.layers.of_movies import MOVIE_KEY, LayerData
from napari_cellvjepa.layers.opening import layers_of
from napari_cellvjepa.layers.points import STORE_KEY


def read_layers(found: cellvjepa.Archive, movie: cellvjepa.Movie, ahead: int, progress: cellvjepa.Progress) -> list[LayerData]:
    """Return the layers of a movie with its labels and tracks (in another thread)."""
    (levelled,) = cellvjepa.levelled([movie], progress=progress)
    progress("reading the first frame, labels and tracks", 0, 0)
    return layers_of(levelled, found, ahead=ahead)


def layers_in(viewer: Any, movie: cellvjepa.Movie) -> list[Any]:
    """Return the layers that show a movie or what belongs to it."""
    return [layer for layer in viewer.layers if getattr(layer.metadata.get(MOVIE_KEY), "uri", None) == movie.uri]


def bring_in(viewer: Any, layers: list[LayerData]) -> None:
    """Add the layers of a movie."""
    empty = not len(viewer.layers)
    add_movie(viewer, layers)
    if empty:
        viewer.reset_view()


def show(viewer: Any, movie: cellvjepa.Movie, *, alone: bool) -> None:
    """Show the images and tracks of a movie that is open, and make its first image the active layer.

    Parameters
    ----------
    alone
        Whether the layers of other movies are hidden, points of stores among them.
    """
    size_before = _size_seen(viewer)
    own = layers_in(viewer, movie)
    for layer in viewer.layers:
        if layer in own:
            layer.visible = layer.visible or not isinstance(layer, Labels)
        elif alone and _other_movie(layer, movie):
            layer.visible = False
    image = next((layer for layer in own if isinstance(layer, Image) and not isinstance(layer, Labels)), None)
    if image is not None:
        viewer.layers.selection.active = image
        if alone and size_before not in (None, _size(image)):
            viewer.reset_view()


def _other_movie(layer: Any, movie: cellvjepa.Movie) -> bool:
    """Tell whether a layer belongs to another movie; layers that belong to none stay as they are."""
    if STORE_KEY in layer.metadata and "movie" in layer.features:
        return bool(len(layer.features)) and str(layer.features["movie"].iloc[0]) != movie.name
    return isinstance(layer.metadata.get(MOVIE_KEY), cellvjepa.Movie)


def _size_seen(viewer: Any) -> tuple[float, ...] | None:
    seen = [layer for layer in viewer.layers if layer.visible and MOVIE_KEY in layer.metadata and isinstance(layer, Image)]
    return _size(seen[0]) if seen else None


def _size(image: Any) -> tuple[float, ...]:
    return tuple(float(length) for length in image.extent.world[1][-2:])
