"""Labels in the colours of a plot: the table that makes it fast gives what napari gives."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_cellvjepa.layers import label_colours
from napari_cellvjepa.layers.label_colours import COLOURS_KEY, LabelColours, Windows, _Chart
from napari_cellvjepa.layers.points import ROW_COLUMN, STORE_KEY
from napari_cellvjepa.plot.palette import colouring

COLOURS = {0: (0, 0, 0, 0), 1: (1, 0, 0, 1), 7: (0, 1, 0, 1), 9: (1, 0, 0, 1), None: (0.5, 0.5, 0.5, 0.25)}


def chart(kind: type[DirectLabelColormap]) -> DirectLabelColormap:
    colours: defaultdict[int | None, np.ndarray] = defaultdict(lambda: np.array(COLOURS[None], np.float32))
    colours.update({label: np.array(colour, np.float32) for label, colour in COLOURS.items()})
    return kind(color_dict=colours)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32, np.int64])
@pytest.mark.parametrize("most", [0, 2**24])
def test_the_table_says_what_napari_says(dtype: Any, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_colours, "_LARGEST_IN_TABLE", most)
    labels = np.array([[0, 1, 7], [9, 8, 100]], dtype)
    np.testing.assert_array_equal(chart(_Chart)._data_to_texture(labels), chart(DirectLabelColormap)._data_to_texture(labels))


def test_negative_labels_and_no_labels_are_left_to_napari() -> None:
    for labels in (np.array([-3, 1], np.int32), np.empty((0, 2), np.int32)):
        np.testing.assert_array_equal(chart(_Chart)._data_to_texture(labels), chart(DirectLabelColormap)._data_to_texture(labels))


class Store:
    """As much of a store as colours need: two tracks, two windows each."""

    path = "somewhere.zarr"
    table = pd.DataFrame({"movie": "a", "track_id": [1, 1, 2, 2], "t_start": [0, 4, 0, 4], "t_stop": [4, 8, 4, 8]})

    def __len__(self) -> int:
        return len(self.table)


def test_of_windows_that_hold_a_frame_the_nearest_counts() -> None:
    found: Any = Store()
    found.table = found.table.assign(t_stop=[6, 8, 6, 8])
    windows = Windows(found, "a")
    assert windows.at(1)[0].tolist() == [0, 2]
    assert windows.at(5)[0].tolist() == [1, 3]
    assert windows.at(9)[0].tolist() == []


@pytest.mark.parametrize("points_seen", [True, False])
def test_labels_are_coloured_frame_by_frame_also_while_the_points_are_hidden(points_seen: bool) -> None:
    viewer, found = ViewerModel(), Store()
    viewer.add_image(np.zeros((8, 4, 4)), name="a")
    layer = viewer.add_labels(np.tile(np.array([0, 1, 2, 3], np.int32), (8, 4, 1)), name="a cells")
    features = found.table.assign(**{ROW_COLUMN: range(4)})
    points = np.column_stack([found.table["t_start"] + 2.0, np.ones(4), np.ones(4)])
    viewer.add_points(points, features=features, metadata={STORE_KEY: found.path}, visible=points_seen)
    before = layer.colormap
    colours = LabelColours(viewer)
    colours.follow(found)  # type: ignore[arg-type]
    kinds = colouring("kind", np.array(["a", "b", "b", "a"], dtype=object))
    colours.paint(kinds, np.zeros(4, bool))
    for frame, rows in ((1, [0, 2]), (6, [1, 3])):
        viewer.dims.set_current_step(0, frame)
        for track_id, row in zip((1, 2), rows, strict=True):
            np.testing.assert_allclose(layer.get_color(track_id), kinds.rgba()[row], atol=1e-6)
        assert layer.get_color(3)[3] < 0.3, "it is in no row"
    colours.close()
    assert layer.colormap is before
    assert COLOURS_KEY not in layer.metadata
    assert isinstance(layer, Labels)
