"""Clips robbed of time: one frame held still, or all frames in another order. What a score loses by that is what time was worth."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.clips import Clip

Floats = npt.NDArray[np.float32]


def held_still(clips_BCTZYX: Floats) -> Floats:
    """Return clips of the same form that show their middle frame all the time."""
    frames = clips_BCTZYX.shape[2]
    return np.repeat(clips_BCTZYX[:, :, frames // 2, None], frames, axis=2)


def shuffled(clips_BCTZYX: Floats, clips: Sequence[Clip], seed: int) -> Floats:
    """Return clips with the same frames in another order, which depends on the name of a clip and the seed, not on its batch."""
    return np.stack([pixels_CTZYX[:, _order(clip, pixels_CTZYX.shape[1], seed)] for pixels_CTZYX, clip in zip(clips_BCTZYX, clips, strict=True)])


def _order(clip: Clip, frames: int, seed: int) -> npt.NDArray[np.int64]:
    rng = np.random.default_rng([seed, zlib.crc32(clip.clip_id.encode())])
    order = rng.permutation(frames)
    # Forward and backward keep all neighbours together: neither is shuffled. Two frames cannot be shuffled better than turned round.
    while frames > 2 and (abs(np.diff(order)) == 1).all():
        order = rng.permutation(frames)
    return order if frames != 2 else np.array([1, 0])
