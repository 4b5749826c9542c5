"""Label layers whose pixel values are track ids: coloured as the plot is, frame by frame, and asked which cell was clicked."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels, Points
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QObject, Signal

import cellvjepa
from napari_cellvjepa.layers.clicks import Clicks
from napari_cellvjepa.layers.linking import frame_of, label_layers, movie_layers, rows_of, stores_in
from napari_cellvjepa.plot.palette import Colouring, plain

COLOURS_KEY = "cellvjepa_colours_before"  # in a layer's metadata: the colours it had
_FADED_ALPHA = 0.25
_LARGEST_IN_TABLE = 2**24


class _Chart(DirectLabelColormap):  # type: ignore[misc]  # napari ships no types
    """Colours of labels as napari has them, but looked up in a table.

    napari looks up each pixel in a dictionary, twice: that took 120 ms for a frame of 2048 x 2048 px, and seconds the first time. Where it does
    not ask here for the colours of an array, or labels are too large for a table, all is as it was.
    """

    @cached_property
    def _tables(self) -> dict[Any, npt.NDArray[Any]]:
        return {}

    def _data_to_texture(self, values: Any) -> Any:
        known = [label for label in self.color_dict if label is not None]
        largest = max(known, default=0)
        table_fits = isinstance(values, np.ndarray) and values.itemsize > 2 and largest <= _LARGEST_IN_TABLE
        if not table_fits or not values.size or values.min() < 0:
            return super()._data_to_texture(values)
        if values.dtype not in self._tables:
            number = values.dtype.type
            table = np.full(largest + 2, super()._data_to_texture(number(largest + 1)))  # the last one stands for all that are not known
            for label in known:
                table[label] = super()._data_to_texture(number(label))
            self._tables[values.dtype] = table
        return self._tables[values.dtype][np.minimum(values, largest + 1)]


class Windows:
    """The rows of one movie by time, to find those whose window holds a frame.

    Parameters
    ----------
    found
        The store.
    movie
        Its name.
    """

    def __init__(self, found: cellvjepa.Embeddings, movie: str) -> None:
        rows = np.flatnonzero(found.table["movie"].to_numpy() == movie)
        start, stop, track = (found.table[name].to_numpy()[rows] for name in ("t_start", "t_stop", "track_id"))
        self._rows, self._start, self._stop, self._track = rows, start, stop, track

    def at(self, frame: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the rows whose window holds a frame, and their tracks; of several windows of a track, the one whose middle is nearest."""
        here = np.flatnonzero((self._start <= frame) & (frame < self._stop) & (self._track >= 0))
        distance = np.abs(self._start[here] + self._stop[here] - 1 - 2 * frame)
        here = here[np.argsort(-distance, kind="stable")]
        # Of equal tracks, unique keeps the first: so the nearest must come first.
        tracks, first = np.unique(self._track[here][::-1], return_index=True)
        return self._rows[here[::-1][first]], tracks


class LabelColours(QObject):
    """Colours the label layers of the movies that are shown, as long as it is asked to.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._found: cellvjepa.Embeddings | None = None
        self._windows: dict[str, Windows] = {}
        self._colouring, self._chosen_N = plain(0), np.zeros(0, bool)
        self._shown: dict[int, bytes] = {}
        viewer.dims.events.current_step.connect(self.refresh)
        viewer.layers.events.inserted.connect(self.refresh)

    def follow(self, found: cellvjepa.Embeddings | None) -> None:
        """Colour the labels of a store's movies; None: give all their own colours back."""
        self._found, self._windows, self._shown = found, {}, {}
        if found is None:
            self.restore()

    def paint(self, colouring: Colouring, chosen_N: npt.NDArray[np.bool_]) -> None:
        """Use these colours; where rows are selected the others fade."""
        self._colouring, self._chosen_N = colouring, chosen_N
        self._shown = {}
        self.refresh()

    def refresh(self, event: object = None) -> None:
        """Colour what is shown at this time."""
        if self._found is None or len(self._colouring.index_N) != len(self._found):
            return
        for movie in dict.fromkeys(_movies_of(self._viewer, str(self._found.path))):
            for layer in label_layers(self._viewer, movie):
                if movie not in self._windows:
                    self._windows[movie] = Windows(self._found, movie)
                rows, tracks = self._windows[movie].at(frame_of(self._viewer, layer))
                self._colour(layer, rows, tracks)

    def row_at(self, layer: Any, label: int) -> int:
        """Return the row of a cell at this time, or -1."""
        for movie, windows in self._windows.items():
            if any(layer is other for other in label_layers(self._viewer, movie)):
                rows, tracks = windows.at(frame_of(self._viewer, layer))
                found = rows[tracks == label]
                return int(found[0]) if len(found) else -1
        return -1

    def restore(self) -> None:
        """Give labels the colours they had."""
        for layer in self._viewer.layers:
            if isinstance(layer, Labels) and COLOURS_KEY in layer.metadata:
                layer.colormap = layer.metadata.pop(COLOURS_KEY)

    def close(self) -> None:
        """Give labels their colours back and let go of the viewer."""
        self.follow(None)
        self._viewer.dims.events.current_step.disconnect(self.refresh)
        self._viewer.layers.events.inserted.disconnect(self.refresh)

    def _colour(self, layer: Any, rows: npt.NDArray[np.int64], tracks: npt.NDArray[np.int64]) -> None:
        colours = self._colouring.rgba(rows)
        if self._chosen_N.any():
            colours[~self._chosen_N[rows], 3] = _FADED_ALPHA
        state = colours.tobytes() + tracks.tobytes()
        if self._shown.get(id(layer)) == state:
            return  # the same cells in the same colours as a frame before
        self._shown[id(layer)] = state
        layer.metadata.setdefault(COLOURS_KEY, layer.colormap)
        none = np.array([0.55, 0.55, 0.55, _FADED_ALPHA], np.float32)  # cells without a row at this time
        chart: defaultdict[int | None, npt.NDArray[np.float32]] = defaultdict(lambda: none)
        chart.update({0: np.zeros(4, np.float32), None: none})
        chart.update(zip(tracks.tolist(), colours, strict=True))
        layer.colormap = _Chart(color_dict=chart)


class ImageClicks(QObject):
    """Tells which cell was clicked in the image, on the labels or the points that are active.

    Parameters
    ----------
    viewer
        The viewer.
    labels
        Knows the rows of labels.

    Attributes
    ----------
    pointed
        Signal ``(row, how)``: ``"new"``, or ``"add"`` with Shift held.
    """

    pointed = Signal(int, str)

    def __init__(self, viewer: Any, labels: LabelColours) -> None:
        super().__init__()
        self._viewer, self._labels = viewer, labels
        self._store = ""
        self._clicks = Clicks(viewer, self._click)

    def follow(self, found: cellvjepa.Embeddings | None) -> None:
        """Listen for the cells of a store."""
        self._store = "" if found is None else str(found.path)

    def close(self) -> None:
        """Let go of the viewer."""
        self._clicks.close()

    def _click(self, event: Any, world: object) -> None:
        row = self._row_at(event)
        if row >= 0:
            self.pointed.emit(row, "add" if "Shift" in event.modifiers else "new")

    def _row_at(self, event: Any) -> int:
        """Return the row under the mouse, of what is on top; -1 where there is none."""
        for layer in reversed(self._viewer.layers):
            if not layer.visible or not isinstance(layer, Labels | Points):
                continue
            value = layer.get_value(event.position, view_direction=event.view_direction, dims_displayed=list(event.dims_displayed), world=True)
            if isinstance(layer, Labels) and value:
                row = self._labels.row_at(layer, int(value[1] if isinstance(value, tuple) else value))
                if row >= 0:
                    return row
            elif isinstance(layer, Points) and value is not None and any(layer is mine for mine in stores_in(self._viewer).get(self._store, [])):
                return int(rows_of(layer)[value])
        return -1


def _movies_of(viewer: Any, store: str) -> list[str]:
    layers = [(layer, str(layer.features["movie"].iloc[0])) for layer in stores_in(viewer).get(store, []) if len(layer.features)]
    return [movie for layer, movie in layers if layer.visible or any(image.visible for image in movie_layers(viewer, movie))]
