from __future__ import annotations

import io

import numpy as np
from PIL import Image

from cellvjepa.report.strip import strip


def png(colour: tuple[int, int, int], width: int, height: int) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(written, "PNG")
    return written.getvalue()


def test_pictures_stand_in_order_at_one_height() -> None:
    red, blue = (255, 0, 0), (0, 0, 255)
    image = np.asarray(Image.open(io.BytesIO(strip([png(red, 40, 20), png(blue, 10, 40)], height_px=60))))
    assert image.shape == (60, 120 + 24 + 15, 3)
    assert image[30, 60].tolist() == list(red)
    assert image[30, 132].tolist() == [255, 255, 255]
    assert image[30, -5].tolist() == list(blue)
