"""Clips that move: animated GIFs, which every browser shows without a script."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

_GAP_PX = 4


def animate(
    clips: Sequence[npt.NDArray[np.floating]], *, limits: tuple[float, float] = (0.0, 1.0), frames_per_s: float = 6.0, zoom: int = 2
) -> bytes:
    """Play clips side by side, in step, for ever.

    Parameters
    ----------
    clips
        float (T, Y, X) each, all of one shape.
    limits
        Values shown black and white.
    frames_per_s
        Frames shown per second.
    zoom
        Each pixel becomes ``zoom`` x ``zoom``.

    Returns
    -------
    bytes
        A GIF.
    """
    assert len(clips), "there is nothing to play"
    assert all(clip.shape == clips[0].shape and clip.ndim == 3 for clip in clips), [clip.shape for clip in clips]
    low, high = limits
    gap = np.full((clips[0].shape[0], clips[0].shape[1] * zoom, _GAP_PX), 255, dtype=np.uint8)
    parts: list[npt.NDArray[np.uint8]] = []
    for clip in clips:
        # 254 greys: 255 is the paper between clips, which no pixel may look like when frames are told apart.
        grey = np.clip((np.nan_to_num(clip.astype(np.float64)) - low) / max(high - low, 1e-12), 0, 1) * 254
        parts += [gap, np.round(grey).astype(np.uint8).repeat(zoom, axis=1).repeat(zoom, axis=2)]
    frames = [Image.fromarray(frame) for frame in np.concatenate(parts[1:], axis=2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=round(1000 / frames_per_s), loop=0)
    return buffer.getvalue()
