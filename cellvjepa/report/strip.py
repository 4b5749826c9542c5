"""Several pictures in a row, as one: for a README, a slide or a message."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

_GAP_PX = 24


def strip(pictures: Sequence[bytes], height_px: int = 480) -> bytes:
    """Put PNGs side by side on white, all of one height.

    Parameters
    ----------
    pictures
        The PNGs, from left to right.
    height_px
        Height of the strip [px].

    Returns
    -------
    bytes
        A PNG.
    """
    assert pictures
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
    resized = [image.resize((round(image.width * height_px / image.height), height_px), Image.Resampling.LANCZOS) for image in images]
    canvas = Image.new("RGB", (sum(image.width for image in resized) + _GAP_PX * (len(resized) - 1), height_px), "white")
    left = 0
    for image in resized:
        canvas.paste(image, (left, 0))
        left += image.width + _GAP_PX
    written = io.BytesIO()
    canvas.save(written, "PNG", optimize=True)
    return written.getvalue()
