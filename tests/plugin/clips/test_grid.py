"""How a row is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import QRect
from qtpy.QtGui import QColor, QImage, QPainter

import cellvjepa
from napari_cellvjepa.clips.grid import draw_moving, draw_placeholder
from napari_cellvjepa.clips.reading import Moving, Reader
from napari_cellvjepa.layers.store_movies import Movies
from tests.plugin.stored_pictures import FOLDER, apart, assert_looks_like

SIDE = 96


def drawn(*draw: Any) -> np.ndarray[Any, Any]:
    """Draw side by side, each into a square; return RGB."""
    image = QImage(SIDE * len(draw), SIDE, QImage.Format.Format_RGB888)
    image.fill(QColor("black"))
    painter = QPainter(image)
    for number, one in enumerate(draw):
        one(painter, QRect(number * SIDE, 0, SIDE, SIDE))
    painter.end()
    return np.frombuffer(image.constBits(), np.uint8).reshape(SIDE, image.bytesPerLine())[:, : image.width() * 3].reshape(SIDE, -1, 3).copy()


def moving(frames: np.ndarray[Any, Any], cell: tuple[float, float] = (0.5, 0.5)) -> Moving:
    return Moving(frames, cell, None, None)


@pytest.mark.usefixtures("qapp")
def test_rows_look_as_they_did(toy_store: Path) -> None:
    found = cellvjepa.open_store(toy_store)
    reader = Reader(found, Movies(found), SIDE)
    clips = [(reader.read(row, None), time) for row, time in ((0, 0), (3, 2), (7, 0), (7, 7))]
    now = drawn(*(lambda p, s, clip=clip, time=time: draw_moving(p, s, clip, time, True) for clip, time in clips))
    assert_looks_like(now, "gallery")
    with Image.open(FOLDER / "gallery.png") as picture:
        other = np.roll(np.asarray(picture.convert("RGB")), SIDE, axis=1)
    assert apart(now, other)[1] > 40  # other rows do not look like these


@pytest.mark.usefixtures("qapp")
def test_time_runs_below_and_begins_anew() -> None:
    clip = moving(np.zeros((4, 8, 8), np.uint8))
    places = []
    for time in range(5):
        below = drawn(lambda p, s, time=time: draw_moving(p, s, clip, time, False))[-1].any(axis=1)
        places.append(int(np.flatnonzero(below)[0]))
    assert places[:4] == sorted(set(places[:4]))
    assert places[4] == places[0] == 0


@pytest.mark.usefixtures("qapp")
def test_marks_stand_beside_the_cell() -> None:
    clip = moving(np.zeros((1, 8, 8), np.uint8), (0.25, 0.75))
    marked = drawn(lambda p, s: draw_moving(p, s, clip, 0, True))[:-4]
    rows, columns = np.nonzero(marked.any(axis=2))
    assert set(rows[columns < 3]) == {SIDE // 4}
    assert set(columns[rows < 3]) == {3 * SIDE // 4}
    outside = drawn(lambda p, s: draw_moving(p, s, moving(clip.frames, (-0.2, 0.5)), 0, True))[:-4]
    assert not outside.any()


@pytest.mark.usefixtures("qapp")
def test_colours_are_drawn_as_they_are() -> None:
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    frames[..., 0], frames[..., 2] = 200, 40
    assert drawn(lambda p, s: draw_moving(p, s, moving(frames), 0, False))[10, 10].tolist() == [200, 0, 40]


@pytest.mark.usefixtures("qapp")
def test_what_is_missing_is_said_in_its_place() -> None:
    waiting, missing = (drawn(lambda p, s, text=text: draw_placeholder(p, s, text)) for text in ("", "it is gone"))
    assert np.count_nonzero(missing != missing[0, 0]) > 3 * np.count_nonzero(waiting != waiting[0, 0]) > 0
