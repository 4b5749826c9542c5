"""Pictures compared with stored ones, tolerantly: graphics cards and drivers draw edges differently, people see the same.

To renew them after a change that is meant, and then look at them:

    RENEW_PICTURES=1 xvfb-run -a -s "-screen 0 1600x1100x24" python -m pytest tests/plugin/test_pictures.py
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

FOLDER = Path(__file__).parent / "baselines"
_BLUR_PX = 1.5
_MOST_APART = 3.0  # mean difference of the blurred pictures, of 255
_MOST_APART_SOMEWHERE = 40.0  # in the half percent of the pixels that differ most


def apart(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Return how far two pictures (height, width, 3) are apart: in the mean, and in the half percent of the pixels that differ most."""
    both = [gaussian_filter(picture[..., :3].astype(float), (_BLUR_PX, _BLUR_PX, 0)) for picture in (one, other)]
    difference = np.abs(both[0] - both[1]).max(axis=2)
    return float(difference.mean()), float(np.percentile(difference, 99.5))


def assert_looks_like(picture: np.ndarray, name: str) -> None:
    """Compare a picture, uint8 (height, width, 3 or 4), with the stored one of this name."""
    file = FOLDER / f"{name}.png"
    if os.environ.get("RENEW_PICTURES"):
        FOLDER.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(picture[..., :3])).save(file, optimize=True)
    stored = np.asarray(Image.open(file).convert("RGB"))
    assert picture.shape[:2] == stored.shape[:2], f"{name}: it has another size than {file}"
    mean, somewhere = apart(picture, stored)
    assert mean <= _MOST_APART, f"{name}: {mean:.1f} of 255 apart from {file} in the mean (see {Path(__file__).name} for how to renew it)"
    assert somewhere <= _MOST_APART_SOMEWHERE, f"{name}: {somewhere:.0f} of 255 apart from {file} in places"
