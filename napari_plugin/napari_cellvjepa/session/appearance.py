"""How a layer looks, as plain values: read from it, and given to it again."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Tracks
from napari.utils.colormaps import AVAILABLE_COLORMAPS, Colormap

_OF_ALL = ("visible", "opacity", "blending", "scale", "translate")
_OF_IMAGES = ("contrast_limits", "gamma", "interpolation2d", "rendering")
_OF_LABELS = ("contour", "selected_label", "show_selected_label")
_OF_TRACKS = ("tail_length", "tail_width", "head_length", "color_by", "display_id", "display_graph")
_MOST_COLOURS = 512


def appearance(layer: Layer) -> dict[str, Any]:
    """Return how a layer looks."""
    found = {name: getattr(layer, name) for name in _names(layer)}
    if isinstance(layer, Image | Tracks):
        found["colormap"] = _plain_colormap(layer.colormap)
    return {
        name: np.asarray(value).tolist() if isinstance(value, np.ndarray | tuple) else value for name, value in found.items() if value is not None
    }


def dress(layer: Layer, looks: dict[str, Any]) -> list[str]:
    """Give a layer its looks; returns the names of those that it does not take."""
    refused = []
    for name in (*_names(layer), *(["colormap"] if isinstance(layer, Image | Tracks) else [])):
        if name not in looks:
            continue
        try:
            setattr(layer, name, _colormap(looks[name]) if name == "colormap" else looks[name])
        except Exception:  # whatever napari thinks of a value that somebody wrote into a file, the layer can be seen without
            refused.append(name)
    return refused


def _plain(value: Any) -> Any:
    return np.asarray(value).tolist() if isinstance(value, np.ndarray | tuple) else value


def _names(layer: Layer) -> tuple[str, ...]:
    own = {Image: _OF_IMAGES, Labels: _OF_LABELS, Tracks: _OF_TRACKS}
    return (*next((names for kind, names in own.items() if isinstance(layer, kind)), ()), *_OF_ALL)


def _plain_colormap(colormap: Any) -> Any:
    name = colormap if isinstance(colormap, str) else colormap.name
    if name in AVAILABLE_COLORMAPS or isinstance(colormap, str):
        return str(name)
    if len(colormap.colors) > _MOST_COLOURS:
        return None
    return {"name": str(name), "colors": np.round(colormap.colors.astype(float), 4).tolist(), "controls": np.round(colormap.controls, 5).tolist()}


def _colormap(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return str(plain)
    return Colormap(np.asarray(plain["colors"][:_MOST_COLOURS], float), name=str(plain["name"]), controls=plain["controls"])
