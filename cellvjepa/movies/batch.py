"""Batches: the clips of one training step, as they lie in their files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cellvjepa.movies.buffers import Buffer
from cellvjepa.movies.clips import Clip


@dataclass(frozen=True)
class Batch:
    """Clips for one training step, as they lie in their files; :func:`cellvjepa.movies.finishing.finish` makes of them what the network sees.

    Parameters
    ----------
    native
        1-d: the samples one after another, each T Z Y X, one channel of one movie. uint8 or uint16 where all movies are, else float32.
        It is valid until the next batch is asked for: its memory is used again.
    shapes
        T Z Y X of each sample; samples of movies with different pixel sizes differ in Y and X.
    levels_B2
        float64: the values of each sample that map to 0 and 1.
    size_px
        Height and width that all samples are to have.
    clips
        The address of each sample.
    channels
        The name of each sample's channel.
    waited_s
        How long the caller had to wait [s].
    buffer
        What ``native`` lies in.
    """

    native: npt.NDArray[Any]
    shapes: tuple[tuple[int, int, int, int], ...]
    levels_B2: npt.NDArray[np.float64]
    size_px: int
    clips: tuple[Clip, ...]
    channels: tuple[str, ...]
    waited_s: float
    buffer: Buffer

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.clips)

    @property
    def samples(self) -> list[npt.NDArray[Any]]:
        """Return each sample, T Z Y X, as a view."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(self.native, ends), self.shapes, strict=True)]
