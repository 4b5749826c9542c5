"""Cells are found by track, by time and by place; what is not tracked is passed over."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_cellvjepa.label.cells import Cell, CellIndex


@pytest.fixture
def index() -> CellIndex:
    """Rows out of order; track 7 of b overlaps itself.

    a  track 2   rows 3 (0-8), 0 (8-16)
    b  track 7   rows 1 (0-8), 4 (4-12)
       no track  row 2
    """
    rows = [("a", 2, 8, 16, 10, 20), ("b", 7, 0, 8, 5, 5), ("b", -1, 0, 8, 6, 6), ("a", 2, 0, 8, 10, 10), ("b", 7, 4, 12, 9, 5)]
    return CellIndex(pd.DataFrame(rows, columns=["movie", "track_id", "t_start", "t_stop", "y_px", "x_px"]))


def test_a_cell_has_rows_and_a_span(index: CellIndex) -> None:
    assert index.movies == ("a", "b")
    assert index.rows(Cell("a", 2)).tolist() == [3, 0]
    assert index.windows(Cell("b", 7)) == [(0, 8), (4, 12)]
    assert index.span(Cell("b", 7)) == (0, 12)
    assert index.span(Cell("a", 7)) is None
    assert index.span(Cell("c", 2)) is None
    assert [part.tolist() for part in index.spans("b")] == [[7], [0], [12]]
    assert [part.tolist() for part in index.spans("c")] == [[], [], []]


def test_of_several_windows_the_one_whose_middle_is_nearest_is_shown(index: CellIndex) -> None:
    assert [index.window(Cell("b", 7), frame) for frame in (0, 4, 7, 11, 12)] == [1, 1, 4, 4, -1]
    np.testing.assert_array_equal(index.place(Cell("b", 7), np.array([0, 11]))[:, 1:], [[5, 5], [9, 5]])


def test_the_nearest_cell_within_reach_is_found(index: CellIndex) -> None:
    assert index.near("a", 9, 11, 21, 3) == 2
    assert index.near("a", 0, 11, 21, 3) == -1
    assert index.near("b", 0, 6, 6, 3) == 7
    assert index.near("c", 0, 6, 6, 3) == -1
