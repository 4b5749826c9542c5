"""Embedding windows into a store: encode, pool, and write down, so that nothing computed is lost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cellvjepa.cells.windows import Windows
from cellvjepa.config import EmbedConfig
from cellvjepa.embedding.encoding import embedding_precision, encoded
from cellvjepa.embedding.pooling import STATISTICS, Pool, pool
from cellvjepa.embedding.provenance import Provenance, Source, levels_table
from cellvjepa.embedding.reading import common_channels, movies_of, reading_order
from cellvjepa.embedding.unfinished import Unfinished, begin_store
from cellvjepa.errors import UserError
from cellvjepa.model.device import choose_device
from cellvjepa.model.encoder import Encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import Clip
from cellvjepa.movies.movie import Movie
from cellvjepa.progress import Progress, silent


def embed_windows(
    encoder: Encoder,
    movies: Sequence[Movie],
    windows: Windows,
    shape: ClipShape,
    config: EmbedConfig,
    store: str | os.PathLike[str],
    source: Source,
    *,
    progress: Progress = silent,
) -> Path:
    """Embed windows into a store, or go on where the same call stopped; a finished store is left as it is.

    What was computed before a crash or Ctrl-C is kept batch by batch, and the store that results is the same, bit for bit, as
    without the interruption (on the same device). Memory does not grow with the number of windows, except for their table.

    Parameters
    ----------
    encoder
        The frozen encoder; it is moved to ``config.device``.
    movies
        The movies of the windows (others are ignored), with their levels measured.
    windows
        What to embed: one row of the store each, in this order.
    shape
        The clip shape the windows were made for.
    config
        Batch size, pooling and device. On the CPU everything is float32; on CUDA bfloat16 where it is native.
    store
        Where the store will stand; until it is complete, it is at ``<store>.part``.
    source
        Encoder and archive, for the store's provenance.
    progress
        Told of each batch; may cancel.

    Returns
    -------
    Path
        The store.

    Raises
    ------
    UserError
        If there are no windows, the movies' channels differ, the place is taken by embeddings of something else, the device
        does not exist, the encoder gives no numbers, or the store cannot be written.
    """
    if not windows.clips:
        raise UserError("there is nothing to embed: no windows", "give cells that are followed for long enough, or take a grid", store)
    device = choose_device(config.device)
    named = movies_of(windows.clips, movies)
    channels = common_channels(tuple(named.values()), shape)
    levels = levels_table(tuple(named.values()), channels)
    provenance = Provenance(source, shape, channels, config.pool, embedding_precision(device), levels)
    unfinished = begin_store(store, windows.table, _features(channels, encoder.shape.dim, config.pool), provenance)
    if unfinished is None:
        progress("embedding", len(windows.clips), len(windows.clips))
        return Path(store)
    encoder.to(device)
    for chunk in unfinished.missing():
        _fill_chunk(unfinished, chunk, encoder, named, windows.clips[unfinished.chunks[chunk]], provenance, config.batch_size, progress)
    return unfinished.finish()


def _fill_chunk(
    unfinished: Unfinished,
    chunk: int,
    encoder: Encoder,
    movies: Mapping[str, Movie],
    clips: Sequence[Clip],
    provenance: Provenance,
    batch_size: int,
    progress: Progress,
) -> None:
    order = reading_order(clips)
    vectors = [unfinished.pending(chunk, batch_size)]
    progress("embedding", unfinished.rows_done(), unfinished.rows)
    left = [clips[i] for i in order[len(vectors[0]) :]]
    for tokens_BCND, grid in encoded(encoder, movies, left, provenance.clip_shape, provenance.source.reference, batch_size):
        vectors.append(pool(tokens_BCND, provenance.pool, grid).cpu().numpy())
        if not np.isfinite(vectors[-1]).all():
            raise UserError(
                "the encoder's output is not finite", "its training has diverged: use an encoder from before that", provenance.source.model
            )
        unfinished.add_pending(chunk, sum(map(len, vectors[:-1])), vectors[-1])
        progress("embedding", unfinished.rows_done(), unfinished.rows)
    in_order = np.empty((len(clips), unfinished.dim), np.float32)
    in_order[order] = np.concatenate(vectors)
    unfinished.fill(chunk, in_order)


def _features(channels: Sequence[str], dim: int, how: Pool) -> pd.DataFrame:
    """Describe the numbers of a vector: which channel each belongs to, and which statistic it is."""
    rows = [(channel, statistic) for channel in channels for statistic in STATISTICS[how] for _ in range(dim)]
    return pd.DataFrame(rows, columns=["channel", "statistic"], index=[f"e{i:03d}" for i in range(len(rows))])
