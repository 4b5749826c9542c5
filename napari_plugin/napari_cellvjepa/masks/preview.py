"""The outlines of the shown frame, as the form would make them: a layer that follows the form and the time slider."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels

import cellvjepa

PREVIEW_KEY = "cellvjepa_masks_preview"  # in a layer's metadata
_MOST_PX = 2**20  # of a frame that is outlined at once, so that the preview keeps up with the form
_LEAST_SIDE_PX = 64
_NAME = "preview of outlines"


@dataclass(frozen=True)
class Part:
    """A part of a frame."""

    t: int
    rows: slice
    columns: slice
    whole: bool


@dataclass(frozen=True, eq=False)
class Previewed:
    """The outlines of a part of a frame, [Z] Y X, and what was measured for it."""

    part: Part
    labels: npt.NDArray[np.int32]
    diameter_um: float | None


class Outliner:
    """Outlines frames one after the other, and measures cells or reads a model only when that has changed (in other threads)."""

    def __init__(self) -> None:
        self._finders: dict[Any, cellvjepa.CellFinder] = {}
        self._diameters: dict[Any, float | None] = {}

    def outline(self, movie: cellvjepa.Movie, channel: str | None, config: Any, part: Part, progress: cellvjepa.Progress) -> Previewed:
        """Outline a part of a frame.

        Raises
        ------
        UserError
            As :func:`cellvjepa.cell_finder`.
        """
        progress("outlining the shown frame", 0, 0)
        finder = self._finder(movie, channel, config, progress)
        labels = finder(part.t, part.rows, part.columns)
        progress("outlining the shown frame", 1, 1)
        return Previewed(part, labels, finder.diameter_um)

    def _finder(self, movie: cellvjepa.Movie, channel: str | None, config: Any, progress: cellvjepa.Progress) -> cellvjepa.CellFinder:
        key = (id(movie.pixels), channel, config)
        if key not in self._finders:
            # Only these change what cells measure across; the others need not have it measured again.
            measured = (id(movie.pixels), channel, config.cells, config.threshold, config.threshold_factor)
            known = self._diameters.get(measured) if config.method == "threshold" and config.diameter_um is None else config.diameter_um
            found = cellvjepa.cell_finder(movie, config.model_copy(update={"diameter_um": known}), channel, progress=progress)
            if config.method == "threshold" and config.diameter_um is None:
                self._diameters[measured] = found.diameter_um
            self._finders = {key: found}  # one, for it may hold a network
        return self._finders[key]


def part_in_view(layer: Any, movie: cellvjepa.Movie, viewer: Any) -> Part:
    """Return the frame of an image layer that is shown, or where it is large the part around the middle of what is in view."""
    frame = int(np.clip(round(float(layer.world_to_data(viewer.dims.point)[0])), 0, movie.shape["T"] - 1))
    height, width, planes = movie.shape["Y"], movie.shape["X"], movie.shape["Z"]
    if height * width * planes <= _MOST_PX:
        return Part(frame, slice(0, height), slice(0, width), whole=True)
    side = max(_LEAST_SIDE_PX, int(math.sqrt(_MOST_PX / planes)))
    middle = layer.world_to_data(_centre(layer, viewer))[-2:]
    rows, columns = (_around(float(at), side, length) for at, length in zip(middle, (height, width), strict=True))
    return Part(frame, rows, columns, whole=rows == slice(0, height) and columns == slice(0, width))


def preview_layer(viewer: Any) -> Any | None:
    """Return the layer of the preview, if there is one."""
    return next((layer for layer in viewer.layers if PREVIEW_KEY in layer.metadata), None)


def show_preview(viewer: Any, found: Previewed, settings: dict[str, Any]) -> None:
    """Show outlines above all other layers, at the place of their part of the frame.

    Parameters
    ----------
    viewer
        The viewer.
    found
        The outlines.
    settings
        Scale, place and units of the movie's layer.
    """
    start = [found.part.t, *([0] if found.labels.ndim == 3 else []), found.part.rows.start, found.part.columns.start]
    place = [offset + first * step for offset, first, step in zip(settings["translate"], start, settings["scale"], strict=True)]
    layer = preview_layer(viewer)
    if layer is not None and layer.ndim == found.labels.ndim + 1 and tuple(layer.scale) == tuple(settings["scale"]):
        layer.data = found.labels[None]
        layer.translate = place
        return
    active = viewer.layers.selection.active
    remove_preview(viewer)
    layer = viewer.add_labels(found.labels[None], **{**settings, "translate": place, "name": _NAME, "opacity": 0.9, "metadata": {PREVIEW_KEY: True}})
    layer.contour = 2
    layer.editable = False
    assert isinstance(layer, Labels)
    if active is not None and active in viewer.layers:
        viewer.layers.selection.active = active


def remove_preview(viewer: Any) -> None:
    """Remove the layer of the preview."""
    layer = preview_layer(viewer)
    if layer is not None:
        viewer.layers.remove(layer)


def put_frame(layer: Any, found: Previewed, movie: cellvjepa.Movie) -> None:
    """Put outlines into a Labels layer in the place of what stands there, as one stroke that napari takes back.

    Raises
    ------
    UserError
        If the layer cannot be painted, or is not as large as the movie.
    """
    wanted = (movie.shape["T"], *found.labels.shape[:-2], movie.shape["Y"], movie.shape["X"])
    if getattr(layer, "multiscale", False) or tuple(layer.data.shape) != wanted or not isinstance(layer.data, np.ndarray | cellvjepa.LabelCanvas):
        raise cellvjepa.UserError("these labels cannot be painted, or are not as large as the movie", "make new empty labels first", layer.name)
    rows, columns = found.part.rows, found.part.columns
    planes = found.labels.ndim - 2
    key: Any = (found.part.t, *[slice(None)] * planes, rows, columns)
    before = np.asarray(layer.data[key])
    inside = np.nonzero(before != found.labels)
    if inside[0].size:
        starts = [0] * planes + [rows.start, columns.start]
        indices = (np.full(inside[0].size, found.part.t), *(at + start for at, start in zip(inside, starts, strict=True)))
        layer.data_setitem(indices, found.labels[inside].astype(before.dtype))


def _centre(layer: Any, viewer: Any) -> list[float]:
    point = list(viewer.dims.point)
    for axis, at in zip(viewer.dims.displayed[-2:], list(viewer.scene.camera.center)[-2:], strict=True):
        point[axis] = float(at)
    return point


def _around(middle: float, side: int, length: int) -> slice:
    start = int(np.clip(middle - side / 2, 0, max(0, length - side)))
    return slice(start, min(length, start + side))
