"""What the cells of a movie measure across, before anything is known about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.cells.watershed import above, cut_at_necks, flattened, smoothed
from cellvjepa.config import SegmentConfig

_LEAST_PX = 3.0  # what is narrower is noise
_FIRST_GUESS_PX = 8.0  # that seeds of pieces are blurred for


def measured_diameter_px(frames: Sequence[npt.NDArray[Any]], config: SegmentConfig, step: Sequence[float]) -> float | None:
    """Return what the cells of some frames measure across, in pixels along X; None where nothing stands out.

    The diameter of the largest disk around the middle of each piece, of which half of the foreground's pixels lie in larger ones.

    Parameters
    ----------
    frames
        Y X or Z Y X.
    config
        Whether cells are bright, and the threshold.
    step
        Extent of a pixel along each axis, as a multiple of that along X.
    """
    found: list[tuple[float, float]] = []
    for frame in frames:
        found += _widths(np.asarray(frame, np.float32) * (-1 if config.cells == "dark" else 1), config, step)
    if not found:
        return None
    widths, areas = np.array(sorted(found)).T
    return float(widths[np.searchsorted(np.cumsum(areas), areas.sum() / 2)])


def _widths(values: npt.NDArray[np.float32], config: SegmentConfig, step: Sequence[float]) -> list[tuple[float, float]]:
    """Return the width [px along X] and the area of each piece of a frame."""
    from scipy.ndimage import distance_transform_edt, maximum

    span = tuple(length / 4 for length in values.shape)
    smooth = smoothed(flattened(values, span), [1 / size for size in step])
    inside = above(smooth, config, span)
    rough = cut_at_necks(inside, smooth, config.model_copy(update={"split": "distance"}), [_FIRST_GUESS_PX / size for size in step])
    count = int(rough.max())
    if not count:
        return []
    height = distance_transform_edt(inside, sampling=list(step))
    width = 2 * np.asarray(maximum(height, rough, np.arange(1, count + 1)))
    sizes = np.bincount(rough.reshape(-1), minlength=count + 1)[1:]
    return [(w, float(a)) for w, a in zip(width.tolist(), sizes.tolist(), strict=True) if w >= _LEAST_PX]
