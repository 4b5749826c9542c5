"""Frames and masks: what is marked is where it was said to be."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from cellvjepa.report.pictures import CellMarks, DrawnMask, draw_frame, draw_masks
from cellvjepa.report.style import PALETTE


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def places_like(picture: np.ndarray, colour: str | Sequence[float], on_black: bool = False) -> np.ndarray:
    wanted = np.array(to_rgb(colour)) * (0.72 if on_black else 1) + (0.28 if on_black else 0)
    return np.argwhere(np.abs(picture - wanted * 255).max(axis=2) < 6)


@pytest.fixture
def frame() -> np.ndarray:
    return np.zeros((40, 60), np.uint16)


def test_outlines_run_around_their_cells(frame: np.ndarray) -> None:
    labels = np.zeros(frame.shape, np.uint8)
    labels[5:15, 10:20], labels[25:35, 40:55] = 7, 9
    cells = CellMarks([(10, 15), (30, 47)], ["resting", "dying"], labels, [7, 9])
    picture = pixels_of(draw_frame(frame, cells, order=["resting", "dying"]))
    image = picture[: int(len(picture) * 0.88)]  # without the legend
    for colour, (top, bottom, left, right) in zip(PALETTE, [(5, 15, 10, 20), (25, 35, 40, 55)], strict=False):
        y_N, x_N = places_like(image, colour, on_black=True).T
        zoom = 6.4 * 160 / 60
        assert np.ptp(y_N) == pytest.approx((bottom - top) * zoom, rel=0.15)
        assert np.ptp(x_N) == pytest.approx((right - left) * zoom, rel=0.15)
        inside = (np.abs(y_N - y_N.mean()) < 0.3 * np.ptp(y_N)) & (np.abs(x_N - x_N.mean()) < 0.3 * np.ptp(x_N))
        assert not inside.any(), "an outline is hollow"


def test_cells_without_outlines_are_circled_where_they_are(frame: np.ndarray) -> None:
    picture = pixels_of(draw_frame(frame, CellMarks([(20, 15)])))
    y, x = places_like(picture, PALETTE[1], on_black=True).mean(axis=0)
    assert (y / picture.shape[0], x / picture.shape[1]) == pytest.approx((20.5 / 40, 15.5 / 60), abs=0.02)


@pytest.mark.parametrize("shape", [(3000, 2000), (16, 16), (1, 50), (90, 2)])
@pytest.mark.parametrize("value", [0, np.nan, 7])
def test_any_frame_can_be_drawn(shape: tuple[int, int], value: float) -> None:
    png = draw_frame(np.full(shape, value, np.float32), CellMarks(np.zeros((0, 2))), pixel_um=0.3)
    assert max(pixels_of(png).shape) < 3000


def test_a_large_frame_keeps_its_outlines_in_place() -> None:
    labels = np.zeros((2600, 2600), np.int32)
    labels[1300:1900, 200:800] = 3
    picture = pixels_of(draw_frame(np.zeros(labels.shape), CellMarks([(1600, 500)], ["a"], labels, [3])))
    y, x = places_like(picture[: picture.shape[1]], PALETTE[0], on_black=True).mean(axis=0) / picture.shape[1]
    assert (y, x) == pytest.approx((1600 / 2600, 500 / 2600), abs=0.03)


@pytest.mark.parametrize(("pixel_um", "expected_um"), [(0.65, 10), (0.1, 2), (130.0, 2000)])
def test_the_scale_bar_is_as_long_as_it_says(pixel_um: float, expected_um: float) -> None:
    picture = pixels_of(draw_frame(np.zeros((100, 100)), limits=(0, 1), pixel_um=pixel_um))
    bar = (picture > 250).all(axis=2)
    inner = bar[20:-20, 20:-20]  # without the paper around the picture
    length_px = inner.sum(axis=1).max() * 100 / picture.shape[1]
    assert length_px * pixel_um == pytest.approx(expected_um, rel=0.08)


def test_masks_show_context_hide_targets_and_leave_out_the_rest() -> None:
    clip = np.full((8, 32, 32), 0.5)
    context, target = np.zeros((2, 4, 4), bool), np.zeros((2, 4, 4), bool)
    context[0, :2], target[1, 2:] = True, True
    picture = pixels_of(draw_masks(clip, [DrawnMask("short-range", context, target)]))
    veiled = np.array(to_rgb(PALETTE[1])) * 0.75 + 0.25
    seen, asked, blank = (len(places_like(picture, colour)) for colour in ((0.5, 0.5, 0.5), veiled, "#e6ecef"))
    # Two whole frames in the first row, and half a frame in the second; one half is asked for, two halves are blank.
    assert seen == pytest.approx(5 * asked, rel=0.03)
    assert blank == pytest.approx(2 * asked, rel=0.05)


def test_masks_must_fit_the_clip() -> None:
    wrong = np.zeros((2, 3, 3), bool)
    with pytest.raises(AssertionError, match="the grid of tokens divides the clip"):
        draw_masks(np.zeros((8, 32, 32)), [DrawnMask("short-range", wrong, wrong)])
