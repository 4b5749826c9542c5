"""Embedding windows into a store: encode, pool, and write down, so that nothing computed is lost."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from cellvjepa.cells.outlines import NO_OUTLINES, Outlines
from cellvjepa.cells.windows import Windows
from cellvjepa.config import EmbedConfig
from cellvjepa.embedding.encoding import embedding_precision
from cellvjepa.embedding.pooling import statistics_of
from cellvjepa.embedding.provenance import Provenance, Source, levels_table
from cellvjepa.embedding.reading import common_channels, movies_of, reading_order
from cellvjepa.embedding.unfinished import Unfinished, begin_store, stored_order
from cellvjepa.embedding.workers import Job, LocalWorkers, Team, Workers, batch_that_fits
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
    labels: Mapping[str, Movie] | None = None,
    workers: Workers | None = None,
    progress: Progress = silent,
) -> Path:
    """Embed windows into a store, or go on where the same call stopped; a finished store is left as it is.

    What was computed before a crash or Ctrl-C is kept, and the store that results is the same, bit for bit, as without the
    interruption, on any number of cores or workers (of the same kind of device). Memory does not grow with the number of windows,
    except for their table.

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
    labels
        Label images by the name of their movie, for ``config.mask_weight`` and ``config.hide_neighbours``.
    workers
        Who computes: None: this process, with all its cores or its GPU; else e.g. :class:`cellvjepa.embedding.dask_workers.DaskWorkers`.
    progress
        Told of each piece of work; may cancel.

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
    outlines = Outlines({name: image for name, image in (labels or {}).items() if name in named}, config.mask_weight, config.hide_neighbours)
    outlines.check(named, windows.clips)
    provenance = _provenance(named, windows, shape, config, store, source, outlines, device)
    unfinished = begin_store(store, windows.table, _features(provenance, encoder), provenance)
    if unfinished is None:
        progress("embedding", len(windows.clips), len(windows.clips))
        return Path(store)
    job = Job.of(provenance, config, batch_that_fits(config.batch_size, encoder.shape, shape, device), outlines if outlines.needed else NO_OUTLINES)
    with (workers or LocalWorkers(encoder, device)).started(job, tuple(named.values())) as team:
        _fill(unfinished, [windows.clips[i] for i in unfinished.wanted], job, team, progress)
    unfinished.finish()
    if unfinished.left:  # it was begun with fewer windows
        return embed_windows(encoder, movies, windows, shape, config, store, source, labels=labels, workers=workers, progress=progress)
    return Path(store)


def _provenance(
    movies: Mapping[str, Movie],
    windows: Windows,
    shape: ClipShape,
    config: EmbedConfig,
    store: str | os.PathLike[str],
    source: Source,
    outlines: Outlines,
    device: torch.device,
) -> Provenance:
    channels = stored_order(store, common_channels(tuple(movies.values()), shape))
    return Provenance(
        source,
        shape,
        channels,
        config.pool,
        embedding_precision(device),
        levels_table(tuple(movies.values()), channels),
        follow=windows.follow,
        mask_weight=config.mask_weight,
        hide_neighbours=config.hide_neighbours,
        label_images={name: image.uri for name, image in outlines.labels.items()},
    )


def _fill(unfinished: Unfinished, clips: Sequence[Clip], job: Job, team: Team, progress: Progress) -> None:
    """Have the missing pieces computed, some ahead, and write them down in their order."""
    pieces = _pieces(unfinished, clips, job.batch_size, job.batch_size * team.batches_at_once)
    waiting: deque[tuple[_Piece, Future[npt.NDArray[np.float32]]]] = deque()
    try:
        while True:
            # Asked each time: workers of a cluster come and go.
            waiting.extend((piece, team.submit(piece.clips)) for piece in islice(pieces, max(0, team.ahead - len(waiting))))
            progress("embedding", unfinished.rows_done(), unfinished.rows)
            if not waiting:
                return
            piece, vectors = waiting.popleft()
            _keep(unfinished, piece, vectors.result(), job)
    finally:
        for _, vectors in waiting:
            vectors.cancel()


@dataclass(frozen=True)
class _Piece:
    """Whole batches of one chunk of the store: clips ``first``, ``first`` + 1, ... in the chunk's reading order."""

    chunk: int
    order: npt.NDArray[np.int64]
    first: int
    clips: tuple[Clip, ...]


def _pieces(unfinished: Unfinished, clips: Sequence[Clip], batch_size: int, size: int) -> Iterator[_Piece]:
    """Yield what is left to do, chunk after chunk."""
    for chunk in unfinished.missing():
        of_chunk = clips[unfinished.chunks[chunk]]
        order = reading_order(of_chunk)
        done = len(unfinished.pending(chunk, batch_size))
        # An empty piece where all was computed but not yet put in its place.
        for first in range(done, max(len(order), done + 1), size):
            yield _Piece(chunk, order, first, tuple(of_chunk[i] for i in order[first : first + size]))


def _keep(unfinished: Unfinished, piece: _Piece, vectors_BD: npt.NDArray[np.float32], job: Job) -> None:
    """Write down a piece; with the last one of a chunk, the chunk."""
    if not np.isfinite(vectors_BD).all():
        raise UserError("the encoder's output is not finite", "its training has diverged: use an encoder from before that", job.model)
    unfinished.add_pending(piece.chunk, piece.first, vectors_BD)
    if piece.first + len(piece.clips) == len(piece.order):
        in_order = np.empty((len(piece.order), unfinished.dim), np.float32)
        in_order[piece.order] = unfinished.pending(piece.chunk, job.batch_size)
        unfinished.fill(piece.chunk, in_order)


def _features(provenance: Provenance, encoder: Encoder) -> pd.DataFrame:
    """Describe the numbers of a vector: which channel each belongs to, and which statistic it is."""
    statistics = statistics_of(provenance.pool, encoder.shape.dim, provenance.clip_shape.frames // encoder.shape.tubelet[0])
    rows = [(channel, statistic) for channel in provenance.channels for statistic in statistics]
    return pd.DataFrame(rows, columns=["channel", "statistic"], index=[f"e{i:03d}" for i in range(len(rows))])
