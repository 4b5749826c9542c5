"""What stands in the maps of a viewer, and where."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_cellvjepa.layers.maps import MAP_KEY, world_place
from napari_cellvjepa.layers.of_movies import Space
from napari_cellvjepa.see.dock import SeeWidget
from napari_cellvjepa.see.where import CLICKED


def value_at(layer: Any, world: np.ndarray) -> Any:
    """Return what napari shows of a layer at a place; None beside it."""
    index = np.rint((world - layer.translate) / layer.scale).astype(int)
    inside = (index >= 0) & (index < layer.data.shape[: len(index)])
    return layer.data[tuple(index)] if inside.all() else None


def world_of(viewer: Any, frame: float, y: float, x: float) -> np.ndarray:
    return world_place(Space.of_layer(viewer.layers[0]), (frame, 0.0, y, x))


def place_clip(widget: SeeWidget, viewer: Any, frame: float, y: float, x: float) -> None:
    widget.where.take_click(world_of(viewer, frame, y, x))
    assert widget.where.clip.currentText() == CLICKED


def of_kind(viewer: Any, what: str) -> list[Any]:
    return [layer for layer in viewer.layers if layer.metadata.get(MAP_KEY, {}).get("what") == what]
