"""From clips to vectors: read, encode one channel at a time, pool, and write down."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from cellvjepa.cells.windows import Windows
from cellvjepa.config import EmbedConfig
from cellvjepa.embedding.pooling import STATISTICS, Pool, pool
from cellvjepa.embedding.provenance import Provenance, Source, levels_table
from cellvjepa.embedding.reading import common_channels, movies_of, read_batches, reading_order
from cellvjepa.embedding.unfinished import Unfinished, begin_store
from cellvjepa.errors import UserError
from cellvjepa.model.device import autocast, choose_device, resolve_precision
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.grid import Grid
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import Clip
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import UNKNOWN, Reference, position_scale
from cellvjepa.progress import Progress, silent

Precision = Literal["float32", "bfloat16"]


def encode_tokens(
    encoder: Encoder, pixels_BCTZYX: torch.Tensor, scale_B4: torch.Tensor | None = None, precision: Precision = "float32"
) -> torch.Tensor:
    """Encode clips, one pass of the frozen encoder per channel.

    Parameters
    ----------
    encoder
        A one-channel encoder.
    pixels_BCTZYX
        (B, C, T, Z, Y, X) float32 as :func:`cellvjepa.movies.clips.read_clip` gives them, on the encoder's device.
    scale_B4
        (B, 4) or (4,): sampling along t, z, y, x relative to the encoder's reference (:func:`position_scale`); None: the same.
    precision
        Of the matrix products. float32 gives the same numbers again.

    Returns
    -------
    torch.Tensor
        (B, C, N, D) float32: N tokens of each channel, on the encoder's device.

    Raises
    ------
    UserError
        If the clip cannot be cut into whole tubelets.
    """
    with torch.inference_mode(), autocast(pixels_BCTZYX.device, precision):
        channels = [encoder(channel_B1TZYX, scale_4=scale_B4).float() for channel_B1TZYX in torch.split(pixels_BCTZYX, 1, dim=1)]
    return torch.stack(channels, dim=1)


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


def tokens_of_clips(
    encoder: Encoder,
    movies: Sequence[Movie],
    clips: Sequence[Clip],
    shape: ClipShape,
    *,
    reference: Reference = UNKNOWN,
    batch_size: int = 32,
    progress: Progress = silent,
) -> torch.Tensor:
    """Return all tokens of clips, for an attentive probe; the channels' tokens follow each other.

    Parameters
    ----------
    encoder
        The frozen encoder, on the device to use.
    movies, clips, shape
        As in :func:`embed_windows`; e.g. ``[clips[i] for i in rows]``.
    reference
        Sampling that the encoder was trained at.
    batch_size
        Clips per forward pass.
    progress
        Told of each batch; may cancel.

    Returns
    -------
    torch.Tensor
        (len(clips), C N, D) float32 on the CPU.

    Raises
    ------
    UserError
        If the movies' channels differ.
    """
    parts = []
    for tokens_BCND, _ in _encoded(encoder, movies_of(clips, movies), clips, shape, reference, batch_size):
        parts.append(tokens_BCND.flatten(1, 2).cpu())
        progress("encoding clips", sum(map(len, parts)), len(clips))
    return torch.cat(parts)


def vectors_of_clips(
    encoder: Encoder,
    movies: Sequence[Movie],
    clips: Sequence[Clip],
    shape: ClipShape,
    how: Pool,
    *,
    reference: Reference = UNKNOWN,
    batch_size: int = 32,
    progress: Progress = silent,
) -> npt.NDArray[np.float32]:
    """Return the pooled vectors of clips, (len(clips), D') float32, without a store: e.g. those of an untrained encoder.

    Parameters and errors are those of :func:`tokens_of_clips`; ``how`` is that of :func:`pool`.
    """
    parts: list[npt.NDArray[np.float32]] = []
    for tokens_BCND, grid in _encoded(encoder, movies_of(clips, movies), clips, shape, reference, batch_size):
        parts.append(pool(tokens_BCND, how, grid).cpu().numpy())
        progress("encoding clips", sum(map(len, parts)), len(clips))
    return np.concatenate(parts)


def embedding_precision(device: torch.device) -> Precision:
    """Return float32 on the CPU, where it gives the same numbers on any machine of its kind; elsewhere bfloat16 if it is native."""
    return "float32" if device.type == "cpu" else resolve_precision(device, "auto")


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
    for tokens_BCND, grid in _encoded(encoder, movies, left, provenance.clip_shape, provenance.source.reference, batch_size):
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


def _encoded(
    encoder: Encoder, movies: Mapping[str, Movie], clips: Sequence[Clip], shape: ClipShape, reference: Reference, batch_size: int
) -> Iterator[tuple[torch.Tensor, Grid]]:
    """Yield tokens (B, C, N, D) and their grid, batch by batch."""
    if not clips:
        return
    device = next(encoder.parameters()).device
    encoder.eval()
    shape = replace(shape, channels=common_channels(tuple(movies.values()), shape))
    scales = {name: position_scale(movie, shape, reference) for name, movie in movies.items()}
    for batch, pixels_BCTZYX in read_batches(movies, clips, shape, batch_size):
        scale_B4 = torch.tensor([scales[clip.movie] for clip in batch])
        # None where all is at the reference: the encoder then uses its cached table.
        scale = None if bool((scale_B4 == 1).all()) else scale_B4.to(device)
        pixels = torch.from_numpy(pixels_BCTZYX).to(device)
        yield encode_tokens(encoder, pixels, scale, embedding_precision(device)), encoder.grid_of(pixels[:, :1])


def _features(channels: Sequence[str], dim: int, how: Pool) -> pd.DataFrame:
    """Describe the numbers of a vector: which channel each belongs to, and which statistic it is."""
    rows = [(channel, statistic) for channel in channels for statistic in STATISTICS[how] for _ in range(dim)]
    return pd.DataFrame(rows, columns=["channel", "statistic"], index=[f"e{i:03d}" for i in range(len(rows))])
