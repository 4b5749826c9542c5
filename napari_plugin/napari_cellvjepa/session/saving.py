"""A viewer as a session: which movies and stores are open, how they look, what is selected and plotted, and where one looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Points, Tracks

import cellvjepa
from napari_cellvjepa.layers.of_movies import CELLS_KEY, CHANNEL_KEY, LABEL_IMAGE_KEY, MOVIE_KEY
from napari_cellvjepa.layers.points import ROW_COLUMN, STORE_KEY
from napari_cellvjepa.parts.docked import Docked
from napari_cellvjepa.session.appearance import appearance
from napari_cellvjepa.session.values import NOT_PLAIN, Packing

PREFIX = "cellvjepa_"
_SOURCES = (MOVIE_KEY, CHANNEL_KEY, LABEL_IMAGE_KEY, CELLS_KEY, STORE_KEY)


def session_of(viewer: Any, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return what a session file is to hold, and the names of layers that it cannot bring back.

    Parameters
    ----------
    viewer
        The viewer.
    folder
        Where the file will stand.
    """
    packing = Packing(folder)
    layers, left_out = [], []
    for layer in viewer.layers:
        source = _source(layer, packing)
        if source is None:
            left_out.append(str(layer.name))
            continue
        layers.append({"name": str(layer.name), **source, "looks": _looks(layer, packing), "remembers": _remembered(layer, packing)})
    content = {"layers": layers, "selections": packing.selections, "viewer": _view(viewer), "docks": _docks(viewer, packing)}
    return content, left_out


def _source(layer: Any, packing: Packing) -> dict[str, Any] | None:
    """Return where the pixels or rows of a layer come from, None where that is no file that we can open again."""
    movie = layer.metadata.get(MOVIE_KEY)
    if isinstance(layer, Points) and STORE_KEY in layer.metadata and ROW_COLUMN in layer.features:
        return _source_of_points(layer, packing)
    if not isinstance(movie, cellvjepa.Movie):
        return None
    source: dict[str, Any] = {"movie": packing.path(movie.uri), "movie_name": movie.name}
    if isinstance(layer, Image) and not isinstance(layer, Labels) and CHANNEL_KEY in layer.metadata:
        return {"kind": "image", **source, "channel": str(layer.metadata[CHANNEL_KEY])}
    if isinstance(layer, Labels) and LABEL_IMAGE_KEY in layer.metadata:
        return {"kind": "labels", **source, "labels": packing.path(str(layer.metadata[LABEL_IMAGE_KEY]))}
    if isinstance(layer, Tracks) and CELLS_KEY in layer.metadata:
        return {"kind": "tracks", **source, "cells": packing.path(str(layer.metadata[CELLS_KEY]))}
    return None


def same_source(layer: Any, other: Any) -> bool:
    """Tell whether two layers show the same thing out of the same file."""
    here = Packing(Path.cwd())
    source = _source(layer, here)
    return type(layer) is type(other) and source is not None and _without_rows(source) == _without_rows(_source(other, here))


def _without_rows(source: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if source is None else {key: value for key, value in source.items() if key != "rows"}


def _source_of_points(layer: Any, packing: Packing) -> dict[str, Any] | None:
    if not len(layer.features):
        return None
    rows = layer.features[ROW_COLUMN].to_numpy(np.int64)
    shown = np.zeros(int(rows.max()) + 1, bool)
    shown[rows] = True
    source = {"kind": "points", "store": packing.path(str(layer.metadata[STORE_KEY])), "movie_name": str(layer.features["movie"].iloc[0])}
    return {**source, "rows": packing.value(shown)}


def _remembered(layer: Any, packing: Packing) -> dict[str, Any]:
    """Return what a layer remembers for our docks, as far as it is plain."""
    ours = {key: packing.value(value) for key, value in layer.metadata.items() if str(key).startswith(PREFIX) and key not in _SOURCES}
    return {str(key): value for key, value in ours.items() if value is not NOT_PLAIN}


def _looks(layer: Any, packing: Packing) -> dict[str, Any]:
    looks = {name: packing.value(value) for name, value in appearance(layer).items()}
    return {name: value for name, value in looks.items() if value is not NOT_PLAIN}


def _view(viewer: Any) -> dict[str, Any]:
    camera, active = viewer.scene.camera, viewer.layers.selection.active
    return {
        "point": [float(place) for place in viewer.dims.point],
        "order": [int(axis) for axis in viewer.dims.order],
        "ndisplay": int(viewer.dims.ndisplay),
        "center": [float(place) for place in camera.center],
        "zoom": float(camera.zoom),
        "angles": [float(angle) for angle in camera.angles],
        "active": None if active is None else str(active.name),
    }


def _docks(viewer: Any, packing: Packing) -> list[dict[str, Any]]:
    """Return our docks that are open, with what they keep beside what stands in layers."""
    window = getattr(viewer, "window", None)
    if window is None:
        return []
    docks = []
    for title, widget in window.dock_widgets.items():
        if isinstance(widget, Docked):
            state = packing.value(widget.state())
            docks.append({"name": title.removesuffix(" (cellvjepa)"), **({} if state in (NOT_PLAIN, {}) else {"state": state})})
    return docks
