"""Tracks through the embedding, and in the layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.layers import Image

import cellvjepa
from napari_cellvjepa.explore import trajectories
from napari_cellvjepa.explore.trajectories import Tracks
from napari_cellvjepa.layers.of_movies import MOVIE_KEY, tracks_layer
from tests.plugin import mouse
from tests.plugin.explore.exploring import Explored, at, canvas, image_of, only

# Cell 1 divides into 2 and 3, 3 into 4; cell 1 of the other movie has nothing to do with them; the last row belongs to no track.
TABLE = pd.DataFrame(
    [
        ("a", 1, 8, -1),
        ("a", 1, 0, -1),
        ("a", 2, 16, 1),
        ("a", 3, 16, 1),
        ("a", 4, 24, 3),
        ("a", 3, 20, 1),
        ("b", 1, 0, -1),
        ("b", 1, 8, -1),
        ("a", -1, 0, -1),
    ],
    columns=["movie", "track_id", "t_start", "parent_track_id"],
).assign(t_stop=lambda table: table["t_start"] + 8)


def drawn(rows: list[int], table: pd.DataFrame = TABLE) -> dict[tuple[str, int], list[int]]:
    trails, _ = Tracks(table).trails(np.array(rows, np.int64))
    return {(trail.movie, trail.track_id): trail.rows_M.tolist() for trail in trails}


def test_a_track_is_drawn_in_time_order_with_its_daughters_which_begin_where_it_ends() -> None:
    assert drawn([1]) == {("a", 1): [1, 0], ("a", 2): [0, 2], ("a", 3): [0, 3, 5], ("a", 4): [5, 4]}
    assert drawn([3]) == {("a", 3): [3, 5], ("a", 4): [5, 4]}
    assert drawn([7, 6]) == {("b", 1): [6, 7]}
    assert drawn([8]) == {}
    assert drawn([5, 0], TABLE.drop(columns="parent_track_id")) == {("a", 3): [3, 5], ("a", 1): [1, 0]}


def test_no_more_tracks_than_the_most_are_drawn_and_it_is_said_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectories, "MOST_TRACKS", 2)
    trails, tracks = Tracks(TABLE).trails(np.arange(len(TABLE)))
    assert (len(trails), tracks) == (2, 5)


def test_a_place_lies_between_the_windows_before_and_after() -> None:
    points = np.column_stack([np.arange(9.0), 10 * np.arange(9.0)]).astype(np.float32)
    (trail,) = Tracks(TABLE).trails(np.array([6]))[0]
    assert trail.frames_M.tolist() == [3.5, 11.5]
    np.testing.assert_allclose(trail.place_at(5.5, points), (6.25, 62.5))
    np.testing.assert_allclose(trail.place_at(0, points), (6, 60))
    assert trail.place_at(16, points) is None
    daughter = next(trail for trail in Tracks(TABLE).trails(np.array([0]))[0] if trail.track_id == 2)
    assert daughter.place_at(15, points) is None, "it is not born yet"
    assert daughter.place_at(16, points) is not None


def test_selected_tracks_are_drawn_and_their_marks_move_with_the_time_slider(explored: Explored, qtbot: Any) -> None:
    viewer, widget = explored
    assert widget.plot.trails.trails == ()
    mouse.click(widget.toolbar.tracks, (5, 5))
    assert "select tracked cells, or click one" in widget.about.text()
    mouse.click(canvas(widget), widget.plot.position_px(6))
    at(widget, 6, qtbot)
    assert [trail.rows_M.tolist() for trail in widget.plot.trails.trails] == [[6, 7]]  # of the cell that was clicked
    widget.link.select(only(0, 3))
    assert [trail.rows_M.tolist() for trail in widget.plot.trails.trails] == [[0, 1], [2, 3]]
    assert widget.plot.trails._lines.visible
    points = widget.plot.dots.points_N2
    for frame, expected in ((0, points[[0, 2]]), (15, points[[1, 3]]), (7, 0.5625 * points[[0, 2]] + 0.4375 * points[[1, 3]])):
        viewer.dims.set_current_step(0, frame)
        np.testing.assert_allclose(widget.plot.trails.marked_M2, expected, atol=1e-5)
    mouse.click(widget.toolbar.tracks, (5, 5))
    assert widget.plot.trails.trails == ()
    assert len(widget.plot.trails.marked_M2) == 0


def test_marks_move_also_while_only_the_points_are_open(explored: Explored) -> None:
    viewer, widget = explored
    assert not [layer for layer in viewer.layers if isinstance(layer, Image)]
    widget.toolbar.tracks.click()
    widget.link.select(only(6))
    points = widget.plot.dots.points_N2
    viewer.dims.set_point(0, 12 * 60.0)  # frame 12, of 60 s each
    np.testing.assert_allclose(widget.plot.trails.marked_M2, points[[7]], atol=1e-5)


def test_tracks_that_are_not_selected_fade_and_get_their_colours_back(explored: Explored, toy: Any, qtbot: Any) -> None:
    viewer, widget = explored
    widget.go(0)
    at(widget, 0, qtbot)
    movie = image_of(viewer).metadata[MOVIE_KEY]
    cells = cellvjepa.read_cells(toy / "cells.csv", cellvjepa.open_archive(toy))
    data, settings, _ = tracks_layer(cells, movie)
    layer = viewer.add_tracks(data, **settings)
    own = np.array(layer.track_colors)
    widget.link.select(only(2, 3))
    chosen = layer.data[:, 0] == 2
    np.testing.assert_allclose(layer.track_colors[chosen], own[chosen])
    assert layer.track_colors[~chosen, 3].max() < 0.2
    widget.link.select(only())
    np.testing.assert_allclose(layer.track_colors, own)
    widget.link.select(only(7))
    assert layer.track_colors[layer.data[:, 0] != 4, 3].max() < 0.2
    viewer.window.remove_dock_widget(widget)
    np.testing.assert_allclose(layer.track_colors, own)
