"""Clips on paper."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cellvjepa.errors import UserError
from cellvjepa.report.galleries import PicturedClip, bar_um, save_gallery, save_montage, time_names


def clip(grey: int, caption: str = "track 1\nframes 0-7", *, interval_s: float | None = 300, pixel_um: float | None = 0.5) -> PicturedClip:
    """Eight frames of 40 px; the first is black, the others grey."""
    frames = np.full((8, 40, 40), grey, np.uint8)
    frames[0] = 0
    return PicturedClip(frames, caption, interval_s, pixel_um)


def texts(svg: Path) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", svg.read_text(encoding="utf-8"))


def test_a_gallery_shows_the_middle_of_each_clip_at_300_dpi(tmp_path: Path) -> None:
    path = save_gallery(tmp_path / "cells.png", [clip(grey, pixel_um=None) for grey in (60, 120, 180)], columns=2)
    with Image.open(path) as picture:
        assert picture.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        values = np.asarray(picture.convert("L"))
    for grey in (60, 120, 180):
        # Each picture is .95 inches wide, and no other is as grey.
        assert np.count_nonzero(values == grey) == pytest.approx((0.95 * 300) ** 2, rel=0.02)
    upper, lower = (np.flatnonzero(np.sum(values == grey, axis=1) > 100) for grey in (60, 180))
    assert upper.max() < lower.min()  # two in a line


def test_a_montage_has_a_row_for_each_clip_and_times_above_its_columns(tmp_path: Path) -> None:
    path = save_montage(tmp_path / "cells.svg", [clip(60, "one"), clip(120, "two")], times=4)
    assert texts(path) == ["one", "0 min", "10 min", "20 min", "30 min", "two", "Scale bar: 5 µm."]
    assert path.read_text(encoding="utf-8").count("<image ") == 8


def test_where_nothing_is_known_of_space_and_time_that_is_said(tmp_path: Path) -> None:
    path = save_montage(tmp_path / "cells.svg", [clip(60, "one", interval_s=None, pixel_um=None)], times=3)
    assert texts(path) == ["one", "frame 0", "frame 3", "frame 6", "Pixel size not known."]


def test_of_different_pixel_sizes_each_picture_has_a_bar(tmp_path: Path) -> None:
    alike = save_gallery(tmp_path / "alike.svg", [clip(60), clip(60)]).read_text(encoding="utf-8")
    path = save_gallery(tmp_path / "cells.svg", [clip(60), clip(60, pixel_um=2.0)])
    assert texts(path)[-1] == "Scale bar: 5 or 20 µm."
    white = "stroke: #ffffff"
    assert (alike.count(white), path.read_text(encoding="utf-8").count(white)) == (1, 2)


def test_different_intervals_make_numbers_of_frames(tmp_path: Path) -> None:
    path = save_montage(tmp_path / "cells.svg", [clip(60, "one"), clip(60, "two", interval_s=60)], times=2)
    assert texts(path)[:3] == ["one", "frame 0", "frame 4"]


def test_a_dollar_sign_is_no_formula_and_colours_stay(tmp_path: Path) -> None:
    coloured = PicturedClip(np.full((3, 8, 8, 3), (255, 0, 0), np.uint8), "a $b$ c")
    path = save_gallery(tmp_path / "cells.png", [coloured])
    with Image.open(path) as picture:
        assert (np.asarray(picture.convert("RGB")) == (255, 0, 0)).all(axis=2).sum() > 50_000


def test_other_endings_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not written as '.jpg'. end the name in .png or .svg"):
        save_gallery(tmp_path / "cells.jpg", [clip(60)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("interval_s", "expected"),
    [
        (None, ["frame 0", "frame 4", "frame 8"]),
        (1.5, ["0 s", "6 s", "12 s"]),
        (300, ["0 min", "20 min", "40 min"]),
        (90, ["0 min", "6 min", "12 min"]),
        (3600, ["0 h", "4 h", "8 h"]),
        (0.05, ["0.0 s", "0.2 s", "0.4 s"]),
        (1350, ["0.0 h", "1.5 h", "3.0 h"]),
    ],
)
def test_times_are_told_in_the_unit_that_suits_them(interval_s: float | None, expected: list[str]) -> None:
    assert time_names(np.array([0, 4, 8]), interval_s) == expected


@pytest.mark.parametrize(("width_um", "expected"), [(20, 5), (30, 10), (100, 20), (150, 50), (1.0, 0.2)])
def test_scale_bars_have_round_lengths(width_um: float, expected: float) -> None:
    assert bar_um(width_um) == pytest.approx(expected)
