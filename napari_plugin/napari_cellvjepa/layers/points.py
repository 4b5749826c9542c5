"""The rows of a store as Points layers: where each embedding was taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import cellvjepa
from napari_cellvjepa.layers.of_movies import LayerData, Space
from napari_cellvjepa.plot.palette import PALETTE, kind_colours

STORE_KEY = "cellvjepa_store"  # in a layer's metadata: the path of the store whose rows it shows
ROW_COLUMN = "store_row"  # in a layer's features: which row of the store a point is, whatever other points were taken away
MOST_LAYERS = 12


def points_layers(found: cellvjepa.Embeddings, space: Space | None = None) -> list[LayerData]:
    """Return the rows of a store as Points layers, one per movie (the first twelve); all but the first are hidden.

    The time axis of the layer counts windows, not frames, and its scale makes up for it: napari shows a point while the slider
    is within half a step of it, and so a point is seen through all frames of its window. The same holds for depth where clips
    span the whole stack. In napari's world the points lie where the cells are.

    Parameters
    ----------
    found
        The store.
    space
        Of the movie, where it is known; else it is taken from the table.
    """
    movies = found.table["movie"].unique()[:MOST_LAYERS]
    return [points_layer(found, movie, space, visible=not number) for number, movie in enumerate(movies)]


def points_layer(found: cellvjepa.Embeddings, movie: str, space: Space | None = None, *, visible: bool = True) -> LayerData:
    """Return the rows of one movie of a store as a Points layer; see :func:`points_layers`."""
    stem = found.path.name.removesuffix(".zarr")
    rows = found.table[found.table["movie"] == movie]
    here = space or _space_of_rows(rows)
    positions, scale = centres(rows, here, whole_stack=found.provenance.clip_shape.z in ("max", "stack"))
    features = _features(found, rows)
    settings = {
        **here.settings(),
        "scale": scale,
        "name": stem if len(rows) == len(found) else f"{stem}: {movie}",
        "features": features,
        "metadata": {STORE_KEY: str(found.path)},
        "visible": visible,
        **_marks(features, _extent_px(found, rows)),
    }
    return positions, settings, "points"


def _space_of_rows(rows: pd.DataFrame) -> Space:
    """Return the space of a movie as far as its rows tell: they hold positions in pixels and in um, in frames and in s."""
    interval_s = _ratio(rows["time_s"], rows["t_start"])
    y_um, x_um = _ratio(rows["y_um"], rows["y_px"]), _ratio(rows["x_um"], rows["x_px"])
    scale = [interval_s or 1.0, y_um or 1.0, x_um or 1.0]
    units = ["second" if interval_s else "pixel", *["micrometer" if y_um and x_um else "pixel"] * 2]
    if (rows["z_px"] > 0).any():
        scale.insert(1, scale[-1])
        units.insert(1, units[-1])
    return Space(tuple(scale), (0.0,) * len(scale), tuple(units))


def _ratio(values: pd.Series[float], natives: pd.Series[float]) -> float | None:
    largest = int(np.argmax(natives))
    value, native = float(values.iloc[largest]), float(natives.iloc[largest])
    return value / native if native > 0 and np.isfinite(value) and value > 0 else None


def centres(rows: pd.DataFrame, space: Space, whole_stack: bool) -> tuple[npt.NDArray[np.float64], tuple[float, ...]]:
    """Return positions whose steps are windows, and the scale that puts them where they belong."""
    frames = float((rows["t_stop"] - rows["t_start"]).iloc[0])
    columns = [(rows["t_start"] + rows["t_stop"] - 1) / 2 / frames, rows["y_px"], rows["x_px"]]
    scale = [space.scale[0] * frames, *space.scale[1:]]
    if len(scale) == 4:
        # A clip of the whole stack belongs to no plane. Its place in the table is the middle, which says how deep the stack is.
        planes = 2 * float(rows["z_px"].max()) + 1 if whole_stack else 1.0
        columns.insert(1, (rows["z_px"] * 0 + (planes - 1) / 2 if whole_stack else rows["z_px"]) / planes)
        scale[1] *= planes
    return np.column_stack(columns).astype(np.float64), tuple(scale)


def _features(found: cellvjepa.Embeddings, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the table and of UMAP; clusters are names, not numbers."""
    features = rows.reset_index(drop=True).assign(**{ROW_COLUMN: rows.index.to_numpy()})
    if "cluster" in features:
        features["cluster"] = features["cluster"].astype(str)
    if (umap := found.projections.get("X_umap")) is not None:
        features = features.assign(umap_1=umap[rows.index, 0], umap_2=umap[rows.index, 1])
    return features


def _extent_px(found: cellvjepa.Embeddings, rows: pd.DataFrame) -> float:
    """Return the native width of a clip [px]."""
    shape = found.provenance.clip_shape
    x_um = _ratio(rows["x_um"], rows["x_px"])
    return shape.size_px * (shape.pixel_um / x_um if shape.pixel_um and x_um else 1.0)


def _marks(features: pd.DataFrame, extent_px: float) -> dict[str, Any]:
    """Return how points look: rings around tracked cells, squares where a grid was laid; their colour is cluster or place on the UMAP."""
    grid = bool((features["track_id"] < 0).all())
    marks: dict[str, Any] = {
        "size": 0.92 * extent_px if grid else 0.45 * extent_px,
        "symbol": "square" if grid else "disc",
        "face_color": "transparent",
        "border_color": PALETTE[1],
        "border_width": 0.03 if grid else 0.07,
    }
    if "cluster" in features:
        return {**marks, "border_color": "cluster", "border_color_cycle": kind_colours(features["cluster"])}
    if "umap_1" in features:
        return {**marks, "border_color": "umap_1", "border_colormap": "viridis"}
    return marks


def renew_features(layer: Any, found: cellvjepa.Embeddings) -> None:
    """Give the points of a layer the columns that the store has now."""
    rows = found.table.iloc[layer.features[ROW_COLUMN].to_numpy()]
    now, before = _features(found, rows).drop(columns=ROW_COLUMN), layer.features
    if changed := [name for name in now.columns if name not in before or not now[name].equals(before[name].reset_index(drop=True))]:
        layer.features = before.assign(**{name: now[name].to_numpy() for name in changed})
