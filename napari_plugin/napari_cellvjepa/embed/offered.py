"""Which layers can be embedded, and which cells most likely belong to an image."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from napari.layers import Image, Labels, Points, Tracks

from napari_cellvjepa.embed.so_far import UNFINISHED_KEY
from napari_cellvjepa.layers.of_movies import MOVIE_KEY
from napari_cellvjepa.layers.points import STORE_KEY


def images_in(layers: list[Any]) -> list[Any]:
    """Return the images."""
    return [layer for layer in layers if isinstance(layer, Image)]


def cells_in(layers: list[Any]) -> list[Any]:
    """Return the layers that may say where cells are; those that show embeddings, done or not, do not."""
    kinds = (Tracks, Labels, Points)
    return [layer for layer in layers if isinstance(layer, kinds) and not {STORE_KEY, UNFINISHED_KEY} & set(layer.metadata)]


def likely_cells(image: Any | None, layers: list[Any]) -> Any | None:
    """Return the cells that most likely belong to an image: tracks, else labels, between it and the next movie above it."""
    if image is None:
        return None
    above = layers[layers.index(image) + 1 :]
    movie = image.metadata.get(MOVIE_KEY)
    same_movie = [layer for layer in above if movie is not None and layer.metadata.get(MOVIE_KEY) is movie]
    near = list(takewhile(lambda layer: not isinstance(layer, Image) or layer in same_movie, above))
    return next((layer for kind in (Tracks, Labels) for layer in cells_in(near) if isinstance(layer, kind)), None)
