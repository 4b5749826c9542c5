"""The order in which the rows of a new store get their vectors: to show what is done while the rest is computed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cellvjepa.cells.windows import Windows
from cellvjepa.embedding.layout import CHUNK_ROWS
from cellvjepa.embedding.reading import reading_order


def embedding_order(windows: Windows) -> npt.NDArray[np.int64]:
    """Return the rows of a new store in the order in which they get their vectors, (N,): when n are done, they are the first n.

    This holds for one run of :func:`cellvjepa.embedding.embed.embed_windows` and for its continuation, whoever computes; not where
    windows are added to a store that is there.
    """
    starts = range(0, len(windows.clips), CHUNK_ROWS)
    parts = [start + reading_order(windows.clips[start : start + CHUNK_ROWS]) for start in starts]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
