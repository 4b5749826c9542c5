"""Colours of rows, and the density of many."""

from __future__ import annotations

import numpy as np
import pytest

from napari_cellvjepa.plot import density as density_of
from napari_cellvjepa.plot.density import above, density, squares
from napari_cellvjepa.plot.palette import GRAY, LIGHT, MISSING, PALETTE, colouring, kind_colours, plain
from napari_cellvjepa.plot.stamps import stamps


def test_texts_are_kinds_with_their_numbers_and_none_comes_last() -> None:
    found = colouring("cluster", np.array(["1", "0", "unassigned", "0", None], dtype=object))
    assert [(kind.label, kind.colour, kind.rows) for kind in found.kinds] == [
        ("0", PALETTE[0], 2),
        ("1", PALETTE[1], 1),
        ("unassigned", GRAY, 1),
        (MISSING, GRAY, 1),
    ]
    assert found.index_N.tolist() == [1, 0, 2, 0, 3]
    assert found.background().tolist() == [False, False, True, False, True]
    assert len(found.rgba()) == 5


def test_of_more_kinds_than_colours_the_largest_are_coloured() -> None:
    names = np.repeat([f"c{i:02}" for i in range(20)], np.arange(20, 0, -1)).astype(object)
    colours = {kind.label: kind.colour for kind in colouring("kind", names).kinds}
    assert len(PALETTE) + len(LIGHT) == 14
    assert len({colours[f"c{i:02}"] for i in range(14)}) == 14
    assert {colours[f"c{i:02}"] for i in range(14, 20)} == {GRAY}


def test_the_same_names_have_the_same_colours() -> None:
    assert kind_colours(["10", "2", "unassigned"]) == kind_colours(["unassigned", "2", "10", "2"])
    assert kind_colours(["2", "10"])["2"] == PALETTE[0]


def test_numbers_are_a_scale_whose_ends_are_not_those_of_outliers() -> None:
    values = np.concatenate([np.linspace(0, 1, 1000), [1000.0, np.nan]])
    found = colouring("speed", values)
    assert found.limits is not None
    assert found.limits[1] < 1.01
    assert found.index_N[500] == pytest.approx(127, abs=3)
    assert found.index_N[1000] == 255
    assert found.background().sum() == 1  # NaN
    assert np.ptp(found.colours_K4[found.index_N[-1], :3]) < 1e-6


@pytest.mark.parametrize(("values", "kinds"), [(np.arange(13), False), (np.arange(12), True), (np.array([True, False]), True)])
def test_few_whole_numbers_are_kinds(values: np.ndarray, kinds: bool) -> None:
    assert bool(colouring("n", values).kinds) is kinds


@pytest.mark.parametrize("values", [np.full(3, np.nan), np.full(3, 7.0), np.array([], float)])
def test_a_scale_without_width_is_still_drawn(values: np.ndarray) -> None:
    found = colouring("n", values)
    assert len(found.rgba()) == len(values)
    assert np.isfinite(found.rgba()).all()


BOX = (0, 0, 1, 1)


def test_density_counts_in_the_right_squares_and_fades_what_is_not_chosen() -> None:
    points = np.array([[0.1, 0.1], [0.1, 0.1], [0.9, 0.1], [5, 5], [np.nan, 0]], np.float32)
    colours, where = plain(5), squares(points, BOX, (2, 2))
    picture = density(where, colours.index_N, colours.colours_K4)
    assert (picture[..., 3] > 0).tolist() == [[True, True], [False, False]]
    assert picture[0, 0, 3] > picture[0, 1, 3]
    only = density(where, colours.index_N, colours.colours_K4, np.array([False, False, True, False, False]))
    assert (only[..., 3] > 0).tolist() == [[False, True], [False, False]]
    chosen = above(only, picture)
    assert chosen[0, 0, 3] < picture[0, 0, 3] / 4
    assert chosen[0, 1, 3] == 255


@pytest.mark.parametrize("most", [0, 10**6])  # counters: colours one after the other, or at once
def test_density_mixes_colours(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density_of, "_MOST_COUNTERS", most)
    colours = np.array([[1, 0, 0, 1], [0, 0, 1, 1]], np.float32)
    picture = density(squares(np.full((4, 2), 0.5, np.float32), BOX, (1, 1)), np.array([0, 0, 0, 1], np.int16), colours)
    assert picture[0, 0].tolist() == [191, 0, 63, 255]


def test_stamps_are_discs_at_their_places_and_the_last_is_above() -> None:
    points = np.array([[0.25, 0.5], [0.3, 0.5], [0.0, 1.0], [3, 3]], np.float32)
    colours = np.array([[1, 0, 0, 1], [0, 1, 0, 0.2], [0, 0, 1, 1], [1, 1, 1, 1]], np.float32)
    picture = stamps(points, colours, BOX, (20, 20), 4)
    assert picture[10, 6].tolist() == [0, 255, 0, 51]
    assert picture[10, 3].tolist() == [255, 0, 0, 255]
    assert picture[19, 0].tolist() == [0, 0, 255, 255]  # the first row is the lowest
    assert np.count_nonzero((picture == [0, 255, 0, 51]).all(axis=2)) == 12  # 4 x 4 without corners
    assert not (picture == [255, 255, 255, 255]).all(axis=2).any()
