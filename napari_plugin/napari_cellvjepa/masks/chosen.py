"""The chosen labels as values that hold nothing of a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Tracks

import cellvjepa
from napari_cellvjepa.layers.cell_sources import LabelImage
from napari_cellvjepa.layers.of_movies import LABEL_IMAGE_KEY, MOVIE_KEY, Shown, cells_from
from napari_cellvjepa.masks.history import strokes
from napari_cellvjepa.masks.steps import STEP_KEY


def labels_of(layer: Any | None, shown: Shown) -> cellvjepa.Movie:
    """Return the label image of a layer as it is now: from its file, if nothing was painted that is not there.

    Raises
    ------
    UserError
        If there is no layer, or its axes cannot be those of a movie.
    """
    if layer is None:
        raise cellvjepa.UserError("there are no labels", "outline cells, paint or import some first", "Labels")
    if isinstance(layer.data, cellvjepa.LabelCanvas):
        return cellvjepa.open_movie(layer.data.path)  # every stroke is there
    path = str(layer.metadata.get(LABEL_IMAGE_KEY, ""))
    if path and Path(path).exists() and isinstance(layer.metadata.get(MOVIE_KEY), cellvjepa.Movie) and not strokes(layer):
        return cellvjepa.open_movie(path)
    source = cells_from(layer, shown)
    assert isinstance(source, LabelImage), layer
    return source.movie


def mothers_in(viewer: Any, layer: Any) -> dict[int, int]:
    """Return the mother of each track that has one, as the Tracks layer of the same step says it."""
    step = layer.metadata.get(STEP_KEY)
    tracks = [other for other in viewer.layers if isinstance(other, Tracks) and step and other.metadata.get(STEP_KEY) == step]
    return {int(track): int(mothers[0]) for other in tracks for track, mothers in other.graph.items()}
