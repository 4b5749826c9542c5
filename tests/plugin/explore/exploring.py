"""What tests of the Explore dock do again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Points

from napari_cellvjepa.explore.dock import ExploreWidget

PATIENCE_MS = 120_000  # on a busy machine, opening a store for the first time imports for half a minute
Explored = tuple[Any, ExploreWidget]


def show(widget: ExploreWidget, store: Path, qtbot: Any) -> None:
    widget.open_store(store)
    qtbot.waitUntil(lambda: len(widget.link.chosen_N) > 0, timeout=PATIENCE_MS)


def at(widget: ExploreWidget, row: int, qtbot: Any) -> None:
    """Wait until the viewer is at a row."""
    qtbot.waitUntil(lambda: widget.shown_row == row, timeout=PATIENCE_MS)


def canvas(widget: ExploreWidget) -> Any:
    return widget.plot._canvas.native


def around(widget: ExploreWidget, row: int) -> list[tuple[float, float]]:
    x, y = widget.plot.position_px(row)
    return [(x - 12, y - 12), (x + 12, y - 12), (x + 12, y + 12), (x - 12, y + 12)]


def chosen(widget: ExploreWidget) -> list[int]:
    return np.flatnonzero(widget.link.chosen_N).tolist()


def points_of(viewer: Any) -> Any:
    (layer,) = (layer for layer in viewer.layers if isinstance(layer, Points))
    return layer


def image_of(viewer: Any) -> Any:
    (layer,) = (layer for layer in viewer.layers if isinstance(layer, Image))
    return layer


def only(*rows: int) -> np.ndarray:
    mask = np.zeros(8, bool)
    mask[list(rows)] = True
    return mask
