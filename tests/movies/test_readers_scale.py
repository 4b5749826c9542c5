from __future__ import annotations

import math

import pytest

from cellvjepa.errors import UserError
from cellvjepa.movies.movie import PixelSize
from cellvjepa.movies.readers.axes import arrange
from cellvjepa.movies.readers.channels import distinct_names
from cellvjepa.movies.readers.names import looks_like_labels, natural_key
from cellvjepa.movies.readers.scale import believed, in_s, in_um, number


@pytest.mark.parametrize(
    ("value", "unit", "um"),
    [
        (650, "nm", 0.65),
        (0.65, "µm", 0.65),
        (0.65, "μm", 0.65),  # the other of the two characters for micro
        (0.65, "\\u00B5m", 0.65),
        (0.65, "Micrometers", 0.65),
        (0.65, "micrometre", 0.65),
        (0.65, "micron", 0.65),
        (6.5e-4, "mm", 0.65),
        (3, "Å", 3e-4),
        (1, "pixel", None),
        (1, "inch", None),
        (1, None, None),
        (None, "um", None),
    ],
)
def test_lengths_of_any_unit_become_micrometres(value: float | None, unit: str | None, um: float | None) -> None:
    assert in_um(value, unit) == (None if um is None else pytest.approx(um))


@pytest.mark.parametrize(
    ("value", "unit", "s"),
    [(5, "min", 300), (250, "ms", 0.25), (2, "hours", 7200), (1, "day", 86_400), (30, "sec", 30), (3, "s", 3), (3, "frames", None), (3, None, None)],
)
def test_times_of_any_unit_become_seconds(value: float, unit: str | None, s: float | None) -> None:
    assert in_s(value, unit) == (None if s is None else pytest.approx(s))


@pytest.mark.parametrize("um", [0.0, -0.5, math.nan, math.inf, 1e-9, 25_400 / 72 * 1e3])
def test_a_pixel_size_that_cannot_be_is_unknown(um: float) -> None:
    scale = believed(None, um, um, 60.0, frames=9, planes=1)
    assert scale.pixel_um is None
    assert scale.interval_s == 60.0
    (problem,) = scale.problems
    assert "the pixel size cannot be" in problem.what
    assert "native pixels" in problem.remedy


@pytest.mark.parametrize("interval_s", [0.0, -1.0, 1e-9, math.nan, math.inf, 1e9])
def test_an_interval_that_cannot_be_is_unknown(interval_s: float) -> None:
    scale = believed(None, 0.5, 0.5, interval_s, frames=9, planes=1)
    assert (scale.pixel_um, scale.interval_s) == (PixelSize(None, 0.5, 0.5), None)
    (problem,) = scale.problems
    assert "the time between frames cannot be" in problem.what
    assert "every frame" in problem.remedy


def test_what_is_not_said_is_unknown_and_said_once() -> None:
    scale = believed(None, None, None, None, frames=9, planes=1)
    assert (scale.pixel_um, scale.interval_s) == (None, None)
    assert [problem.what for problem in scale.problems] == ["the pixel size is unknown", "the time between frames is unknown"]


def test_one_frame_needs_no_interval_and_one_plane_no_distance() -> None:
    scale = believed(7.0, 0.5, 0.5, 0.0, frames=1, planes=1)
    assert (scale.pixel_um, scale.interval_s, scale.problems) == (PixelSize(None, 0.5, 0.5), None, ())


def test_a_stack_without_a_z_step_keeps_its_pixel_size() -> None:
    scale = believed(0.0, 0.5, 0.5, None, frames=1, planes=3)
    assert scale.pixel_um == PixelSize(None, 0.5, 0.5)
    assert "the distance between planes cannot be 0 um" in scale.problems[0].what
    assert believed(2.0, 0.5, 0.5, None, frames=1, planes=3).pixel_um == PixelSize(2.0, 0.5, 0.5)


def test_numbers_are_read_wherever_they_hide() -> None:
    assert [number(x) for x in (3, "0.5", 2.5, None, "none", True, [3])] == [3.0, 0.5, 2.5, None, None, None, None]
    assert math.isnan(number("nan") or 0.0)
    assert math.isnan(number(10**400) or 0.0)


def test_natural_order_counts() -> None:
    names = ["t10.tif", "t2.tif", "B/t1.tif", "a/t1.tif", "t1.tif"]
    assert sorted(names, key=natural_key) == ["a/t1.tif", "B/t1.tif", "t1.tif", "t2.tif", "t10.tif"]


@pytest.mark.parametrize(
    "name", ["track_labels_TYX.tif", "t1-5-labelMasks.tif", "cells_mask.tif", "Masks/t1.tif", "nuclei-seg01.tif", "01_GT/TRA/t.tif"]
)
def test_label_images_are_known_by_their_names(name: str) -> None:
    assert looks_like_labels(name)


@pytest.mark.parametrize(
    "name", ["label-free_phase.tif", "labelfree.tif", "unmasked.tif", "segregation_t1.tif", "day1/pos2.tif", "unlabeled.tif", "B/3/0"]
)
def test_movies_are_not_taken_for_label_images(name: str) -> None:
    assert not looks_like_labels(name)


def test_names_of_channels_are_distinct() -> None:
    assert distinct_names(["GFP", " ", "GFP", None], 4) == ("GFP", "ch1", "GFP 2", "ch3")
    assert distinct_names(["GFP"], 2) == ("ch0", "ch1")


def test_axes_are_found_whatever_their_order() -> None:
    found = arrange("XCYT", (4, 2, 3, 9), "a")
    assert found.sources == (3, 1, None, 2, 0)
    assert set(found.origins.values()) == {"file"}
    assert found.problems == ()


def test_one_unexplained_axis_is_assumed_to_be_time() -> None:
    found = arrange("?QYX", (1, 9, 3, 4), "a")
    assert found.sources == (1, None, None, 2, 3)
    assert found.origins["T"] == "assumed"
    assert "its axis of 9 planes is; it is taken as time" in found.problems[0].what


def test_slices_are_time_only_where_that_may_be() -> None:
    assert arrange("ZYX", (9, 3, 4), "a").sources == (None, None, 0, 1, 2)
    as_time = arrange("TZCYX", (1, 9, 1, 3, 4), "a", slices_may_be_time=True)
    assert as_time.sources == (1, 2, None, 3, 4)
    assert (as_time.origins["T"], as_time.origins["Z"]) == ("assumed", "assumed")
    assert arrange("TZCYX", (2, 9, 1, 3, 4), "a", slices_may_be_time=True).sources == (0, 2, 1, 3, 4)


@pytest.mark.parametrize(
    ("names", "lengths", "message"),
    [
        ("QQYX", (5, 2, 3, 4), r"a: the file does not say what its axes are \(5 x 2 x 3 x 4\)\. say it with --axes"),
        ("TQYX", (5, 2, 3, 4), "does not say what its axes are"),
        ("TTYX", (5, 2, 3, 4), "the axis T is there twice"),
        ("TX", (5, 2), "there is no image plane: the axes are T X"),
    ],
)
def test_axes_that_cannot_be_understood_are_refused(names: str, lengths: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        arrange(names, lengths, "a")
