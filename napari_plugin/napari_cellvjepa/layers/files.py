"""The files behind layers, for commands that do the same without a window."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from napari.layers import Labels, Tracks

from napari_cellvjepa.layers.of_movies import CELLS_KEY, LABEL_IMAGE_KEY, MOVIE_KEY


def movie_file(layer: Any) -> str:
    """Return the file, folder or address behind an image layer, or ``""``."""
    movie = layer.metadata.get(MOVIE_KEY)
    return _there(movie.uri if movie is not None else layer.source.path)


def cells_file(layer: Any) -> str:
    """Return the file with the cells that a Labels or Tracks layer shows, or ``""``."""
    if isinstance(layer, Labels):
        # What this plugin opens says which label image it is; its source is the movie that it was opened with.
        return _there(layer.metadata.get(LABEL_IMAGE_KEY) or (None if MOVIE_KEY in layer.metadata else layer.source.path))
    return _there(layer.metadata.get(CELLS_KEY)) if isinstance(layer, Tracks) else ""


def _there(path: Any) -> str:
    return os.fspath(path) if path and ("://" in str(path) or Path(path).exists()) else ""
