"""From clips to tokens: read, and encode one channel at a time with a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.cells.outlines import NO_OUTLINES, Outlines
from cellvjepa.embedding.pooling import Pool, pool
from cellvjepa.embedding.reading import common_channels, movies_of, read_outlined
from cellvjepa.model.device import autocast, resolve_precision
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.grid import Grid, grid_of
from cellvjepa.movies.clip_shape import ClipShape, sampling
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


def tokens_of_clips(
    encoder: Encoder,
    movies: Sequence[Movie],
    clips: Sequence[Clip],
    shape: ClipShape,
    *,
    reference: Reference = UNKNOWN,
    batch_size: int = 32,
    outlines: Outlines = NO_OUTLINES,
    progress: Progress = silent,
) -> torch.Tensor:
    """Return all tokens of clips, for an attentive probe; the channels' tokens follow each other.

    Parameters
    ----------
    encoder
        The frozen encoder, on the device to use.
    movies, clips, shape
        As in :func:`cellvjepa.embedding.embed.embed_windows`; e.g. ``[clips[i] for i in rows]``.
    reference
        Sampling that the encoder was trained at.
    batch_size
        Clips per forward pass.
    outlines
        Where cells are in their clips, to hide their neighbours or to weight tokens when they are pooled.
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
    for tokens_BCND, _, _ in encoded(encoder, movies_of(clips, movies), clips, shape, reference, batch_size, outlines):
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
    outlines: Outlines = NO_OUTLINES,
    progress: Progress = silent,
) -> npt.NDArray[np.float32]:
    """Return the pooled vectors of clips, (len(clips), D') float32, without a store: e.g. those of an untrained encoder.

    Parameters and errors are those of :func:`tokens_of_clips`; ``how`` is that of :func:`pool`.
    """
    parts: list[npt.NDArray[np.float32]] = []
    for tokens_BCND, grid, cover_BN in encoded(encoder, movies_of(clips, movies), clips, shape, reference, batch_size, outlines):
        parts.append(pool(tokens_BCND, how, grid, cover_BN, outlines.mask_weight).cpu().numpy())
        progress("encoding clips", sum(map(len, parts)), len(clips))
    return np.concatenate(parts)


def embedding_precision(device: torch.device) -> Precision:
    """Return float32 on the CPU, where it gives the same numbers on any machine of its kind; elsewhere bfloat16 if it is native."""
    return "float32" if device.type == "cpu" else resolve_precision(device, "auto")


def encoded(
    encoder: Encoder,
    movies: Mapping[str, Movie],
    clips: Sequence[Clip],
    shape: ClipShape,
    reference: Reference,
    batch_size: int,
    outlines: Outlines = NO_OUTLINES,
) -> Iterator[tuple[torch.Tensor, Grid, torch.Tensor | None]]:
    """Yield tokens (B, C, N, D), their grid, and the share of each that the cell covers, (B, N), if ``outlines`` weights them; batch by batch."""
    if not clips:
        return
    outlines.check(movies, clips)
    device = next(encoder.parameters()).device
    encoder.eval()
    shape = replace(shape, channels=common_channels(tuple(movies.values()), shape))
    scales = {name: position_scale(movie, shape, reference) for name, movie in movies.items()}
    planes = sampling(next(iter(movies.values())), shape).planes
    grid = grid_of(shape.frames, planes, shape.size_px, shape.size_px, encoder.shape.tubelet)
    for batch, pixels_BCTZYX, cover_BN in read_outlined(movies, clips, shape, batch_size, outlines, grid):
        scale_B4 = torch.tensor([scales[clip.movie] for clip in batch])
        # None where all is at the reference: the encoder then uses its cached table.
        scale = None if bool((scale_B4 == 1).all()) else scale_B4.to(device)
        tokens_BCND = encode_tokens(encoder, torch.from_numpy(pixels_BCTZYX).to(device), scale, embedding_precision(device))
        yield tokens_BCND, grid, None if cover_BN is None else torch.from_numpy(cover_BN).to(device)
