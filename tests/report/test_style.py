"""Categories look the same in every picture, and different from each other also to colour-blind people."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from cellvjepa.report.style import GREY, PALETTE, in_order, legend_columns, marks_of

# Machado et al. 2009, severity 1, on linear RGB.
SIGHT = {
    "common": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
}


def seen(colour: str, sight: str) -> np.ndarray:
    """Return a colour in CIE L*a*b* as an eye sees it."""
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(SIGHT[sight] @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHT)
def test_the_first_six_colours_differ_to_every_eye(sight: str) -> None:
    distances = [np.linalg.norm(seen(one, sight) - seen(other, sight)) for one, other in itertools.combinations(PALETTE[:6], 2)]
    assert min(distances) > 10  # 2.3 is a just noticeable difference


@given(st.lists(st.text(max_size=3), unique=True, max_size=64))
def test_every_category_has_a_mark_of_its_own(names: list[str]) -> None:
    marks = marks_of(names)
    assert set(marks) == set(names)
    assert len(set(marks.values())) == len(names)


def test_colours_do_not_depend_on_which_categories_occur() -> None:
    order = ["resting", "migrating", "dying"]
    assert marks_of(["dying"], order)["dying"] == marks_of(order, order)["dying"]
    assert marks_of(["dying", "none"], order, grey="none")["none"].colour == GREY
    assert marks_of(["none", *order], order, grey="none")["dying"] == marks_of(order, order)["dying"]


def test_numbers_in_names_are_sorted_as_numbers() -> None:
    assert in_order(["cluster 10", "cluster 2", "b", "a", "a"], ["b", "absent"]) == ["b", "a", "cluster 2", "cluster 10"]


@given(st.lists(st.text(max_size=40), max_size=30), st.floats(0.5, 10))
def test_a_legend_has_at_least_one_column(names: list[str], width_in: float) -> None:
    assert 1 <= legend_columns(names, width_in) <= max(1, len(names))
