"""The steps of the Masks dock, which are layers: each adds some and hides others; to take it back, they go and the others are seen again.

What is needed for that stands in the layers' metadata, so that it outlives the dock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Tracks

import cellvjepa
from napari_cellvjepa.layers.of_movies import LABEL_IMAGE_KEY, MOVIE_KEY, tracks_layer
from napari_cellvjepa.masks.request import Made

STEP_KEY = "cellvjepa_masks_step"  # in a layer's metadata: its number, what was done, and the layers that it hid, by name


@dataclass(frozen=True)
class Undone:
    """A step that was taken back: its layers, and those it had hidden."""

    layers: tuple[Any, ...]
    hidden: tuple[str, ...]


def add_step(viewer: Any, made: Made, movie: cellvjepa.Movie, space: dict[str, Any]) -> Any:
    """Show what a step made, hide the step before, and return the Labels layer.

    Parameters
    ----------
    viewer
        The viewer.
    made
        What was made.
    movie
        Whose labels they are.
    space
        Scale, place and units of the movie's layer.
    """
    hidden = [layer.name for layer in viewer.layers if isinstance(layer, Labels | Tracks) and layer.visible and _is_of(layer, movie)]
    for name in hidden:
        viewer.layers[name].visible = False
    step = {"number": _next_number(viewer), "kind": made.kind, "hides": hidden, "settings": dict(made.settings)}
    name = f"{Path(movie.name).name} {made.kind} {made.canvas.path.name.partition('_')[0]}"
    about = {MOVIE_KEY: movie, LABEL_IMAGE_KEY: str(made.canvas.path), STEP_KEY: step}
    if made.cells is not None:
        data, tracks, _ = tracks_layer(made.cells, movie, str(made.table))
        viewer.add_tracks(data, **{**tracks, **space, "name": f"{name} tracks", "metadata": {**tracks.get("metadata", {}), STEP_KEY: step}})
    layer = viewer.add_labels(made.canvas, **space, name=name, opacity=0.5, metadata=about)
    _bind_new_number(layer)
    viewer.layers.selection.active = layer
    return layer


def last_step(viewer: Any) -> list[Any]:
    """Return the layers of the step that was added last; none where there is no step."""
    steps = [layer for layer in viewer.layers if _step(layer)]
    newest = max((_step(layer)["number"] for layer in steps), default=0)
    return [layer for layer in steps if _step(layer)["number"] == newest]


def last_settings(viewer: Any, kind: str) -> dict[str, Any]:
    """Return the settings of the last step of a kind that is here; none where there is no such step."""
    found = [step for layer in viewer.layers if (step := _step(layer)) and step["kind"] == kind and isinstance(step.get("settings"), dict)]
    return dict(max(found, key=lambda step: int(step["number"]))["settings"]) if found else {}


def take_back(viewer: Any) -> Undone | None:
    """Remove the layers of the last step and show what it had hidden; its files stay."""
    layers = last_step(viewer)
    if not layers:
        return None
    hidden = tuple(str(name) for name in _step(layers[0])["hides"])
    for layer in layers:
        viewer.layers.remove(layer)
    for name in hidden:
        if name in viewer.layers:
            viewer.layers[name].visible = True
    shown = [viewer.layers[name] for name in hidden if name in viewer.layers and isinstance(viewer.layers[name], Labels)]
    if shown:
        viewer.layers.selection.active = shown[-1]
    return Undone(tuple(layers), hidden)


def bring_back(viewer: Any, undone: Undone) -> None:
    """Add the layers of a step that was taken back."""
    for name in undone.hidden:
        if name in viewer.layers:
            viewer.layers[name].visible = False
    for layer in undone.layers:
        viewer.add_layer(layer)


def make_paintable(layers: Iterable[Any]) -> None:
    """Let label images of steps that were opened for looking, as session files do it, be painted again."""
    for layer in layers:
        path = Path(str(layer.metadata.get(LABEL_IMAGE_KEY, "")))
        if _step(layer) and isinstance(layer, Labels) and not isinstance(layer.data, cellvjepa.LabelCanvas) and path.suffix == ".zarr":
            try:
                layer.data = cellvjepa.LabelCanvas(path)
                _bind_new_number(layer)
            except cellvjepa.UserError:
                continue  # it can still be looked at


def choose_new_number(layer: Any) -> None:
    """Choose a number that no cell of a label image has, for the next cell to be painted."""
    data = layer.data
    largest = data.largest() if isinstance(data, cellvjepa.LabelCanvas) else int(np.max(data))
    layer.selected_label = min(largest + 1, int(np.iinfo(data.dtype).max))


def _bind_new_number(layer: Any) -> None:
    layer.bind_key("m", choose_new_number, overwrite=True)  # napari's own looks through arrays in memory only


def _step(layer: Any) -> dict[str, Any]:
    found = layer.metadata.get(STEP_KEY)
    return found if isinstance(found, dict) and {"number", "kind", "hides"} <= set(found) else {}


def _is_of(layer: Any, movie: cellvjepa.Movie) -> bool:
    own = layer.metadata.get(MOVIE_KEY)
    return isinstance(own, cellvjepa.Movie) and own.uri == movie.uri


def _next_number(viewer: Any) -> int:
    return max((_step(layer)["number"] for layer in viewer.layers if _step(layer)), default=0) + 1
