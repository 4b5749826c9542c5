"""The tokens of clips on their grid: what an attentive probe reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cellvjepa.cells.outlines import NO_OUTLINES, Outlines
from cellvjepa.embedding.encoding import tokens_of_clips
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.grid import grid_of
from cellvjepa.movies.clips import Clip, ClipShape, sampling
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import UNKNOWN, Reference
from cellvjepa.progress import Progress, silent


def token_features(
    encoder: Encoder,
    movies: Sequence[Movie],
    clips: Sequence[Clip],
    shape: ClipShape,
    *,
    reference: Reference = UNKNOWN,
    batch_size: int = 32,
    outlines: Outlines = NO_OUTLINES,
    progress: Progress = silent,
) -> npt.NDArray[np.float32]:
    """Return all tokens of clips, (N, C, t, z, y, x, D) float32.

    Parameters and errors are those of :func:`cellvjepa.embedding.embed.tokens_of_clips`.
    """
    planes = sampling(next(movie for movie in movies if movie.name == clips[0].movie), shape).planes
    grid = grid_of(shape.frames, planes, shape.size_px, shape.size_px, encoder.shape.tubelet)
    tokens = tokens_of_clips(encoder, movies, clips, shape, reference=reference, batch_size=batch_size, outlines=outlines, progress=progress)
    return tokens.numpy().reshape(len(clips), -1, grid.t, grid.z, grid.y, grid.x, encoder.shape.dim)
