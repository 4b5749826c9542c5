"""New columns of a store, told to its layers: whoever follows the layers (Explore) then reads the store again."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

import cellvjepa
from napari_cellvjepa.layers.linking import paint_points, stores_in
from napari_cellvjepa.layers.points import ROW_COLUMN
from napari_cellvjepa.layers.selection import SELECTION_KEY
from napari_cellvjepa.plot.palette import colouring
from napari_cellvjepa.plot.plotted import PLOT_KEY


def show_columns(viewer: Any, found: cellvjepa.Embeddings, columns: Collection[str], colour: str) -> int:
    """Give the Points layers of a store columns that are new in it, and colour them by one of these.

    Layers note what their plot is coloured by, so that a plot of them takes the colour, now or when it is opened.

    Parameters
    ----------
    viewer
        The viewer.
    found
        The store as it is now.
    columns
        Names of columns that are new, or have changed.
    colour
        The column to colour by.

    Returns
    -------
    int
        How many layers have got them.
    """
    layers = stores_in(viewer).get(str(found.path), [])
    colours = colouring(colour, found.table[colour].to_numpy())
    for layer in layers:
        x, y, _ = layer.metadata.get(PLOT_KEY, ("", "", ""))
        layer.metadata[PLOT_KEY] = [x, y, colour]
        rows = found.table.iloc[layer.features[ROW_COLUMN].to_numpy()]
        chosen = layer.metadata.get(SELECTION_KEY)
        paint_points(layer, colours, chosen if chosen is not None and len(chosen) == len(found) else np.zeros(len(found), bool))
        # Last, because it is what others hear of.
        layer.features = layer.features.assign(**{name: rows[name].to_numpy() for name in columns})
    return len(layers)
