"""What an encoder has to beat: no features, features made by hand, itself untrained, itself on one frame, itself with time shuffled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.cells.outlines import Outlines
from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.encoding import embedding_precision, encode_tokens
from cellvjepa.embedding.pooling import Pool, pool
from cellvjepa.embedding.reading import clips_of, movies_of, outlines_of, read_outlined, reading_order
from cellvjepa.embedding.store import Embeddings
from cellvjepa.model.device import choose_device
from cellvjepa.model.encoder import Encoder, new_encoder
from cellvjepa.model.grid import Grid, grid_of
from cellvjepa.movies.clip_shape import ClipShape, sampling
from cellvjepa.movies.clips import Clip
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import position_scale
from cellvjepa.probing.handmade import Features, handmade_features, track_features
from cellvjepa.probing.shapes import shapes_of_clips, texture_features, window_features
from cellvjepa.probing.timeless import held_still, shuffled
from cellvjepa.progress import Progress, silent

__all__ = [
    "HAND_MADE",
    "POOLED",
    "SINGLE_FRAME",
    "TIME_SHUFFLED",
    "UNTRAINED",
    "Features",
    "baseline_features",
    "handmade_features",
    "no_features",
    "track_features",
]

HAND_MADE = "hand-made features"
UNTRAINED = "untrained encoder"
POOLED = "this encoder, pooled"
SINGLE_FRAME = "single frame"
TIME_SHUFFLED = "time shuffled"

_UNTRAINED_SEED = 12345  # of the random weights; one that no run is likely to use
_BATCH = 32

Floats = npt.NDArray[np.float32]


def no_features(rows: int) -> Features:
    """Return one constant per row: a probe on it knows the class prior and nothing else."""
    return Features(np.zeros((rows, 1)), ("nothing: constant",))


def baseline_features(
    embeddings: Embeddings,
    rows: npt.NDArray[np.int64],
    movies: Sequence[Movie],
    encoder: Encoder,
    config: ProbeConfig,
    progress: Progress = silent,
) -> dict[str, npt.NDArray[np.float32]]:
    """Return what a probe on the embeddings has to be compared with, for some rows of a store; each clip is read once for all.

    Parameters
    ----------
    embeddings
        An open store.
    rows
        int64 (N,): positions in its table.
    movies
        The movies of the store, their levels measured.
    encoder
        The encoder that the store was made with.
    config
        Kind of probe; its ``seed`` is that of the shuffled frames.
    progress
        Told of each batch; may cancel.

    Returns
    -------
    dict
        float32 (N, D) each: ``"hand-made features"`` (brightness, change, motion, rhythm and texture of the pixels; shape of the outlines
        where the store knows label images; area, speed and intensity where its table has them), ``"untrained encoder"`` (the same form,
        random weights), ``"single frame"`` (the encoder on the middle frame, held still) and ``"time shuffled"`` (the encoder on the same
        frames in another order). The vectors of encoders are pooled as those of the store. Clips of one frame have no time: the last two
        are left out. For kinds that read tokens there are also the vectors of the store: ``"this encoder, pooled"``.

    Raises
    ------
    UserError
        If a movie or label image is missing, cannot be read or has changed.
    """
    chosen = replace(embeddings, table=embeddings.table.iloc[rows])
    clips = clips_of(chosen, movies)
    reader = _Reader.of(embeddings, movies_of(clips, movies), encoder)
    random = new_encoder(encoder.shape, torch.Generator().manual_seed(_UNTRAINED_SEED))
    trained, untrained = (one.to(reader.device).eval() for one in (encoder, random))
    order = reading_order(clips)
    parts: dict[str, list[Floats]] = {}
    done = 0
    for batch, pixels_BCTZYX, cover_BN in reader.batches([clips[i] for i in order]):
        by_hand = [family(pixels_BCTZYX, reader.channels).values_ND for family in (handmade_features, texture_features)]
        parts.setdefault(HAND_MADE, []).append(np.concatenate(by_hand, axis=1).astype(np.float32))
        seen = {UNTRAINED: pixels_BCTZYX}
        if pixels_BCTZYX.shape[2] > 1:
            seen |= {SINGLE_FRAME: held_still(pixels_BCTZYX), TIME_SHUFFLED: shuffled(pixels_BCTZYX, batch, config.seed)}
        for name, shown_BCTZYX in seen.items():
            parts.setdefault(name, []).append(reader.vectors(untrained if name == UNTRAINED else trained, batch, shown_BCTZYX, cover_BN))
        progress("baselines", done := done + len(batch), len(clips))
    back = np.argsort(order)
    found = {name: np.concatenate(values)[back] for name, values in parts.items()}
    shapes = shapes_of_clips(reader.movies, reader.outlines.labels, clips, reader.shape, progress)
    found[HAND_MADE] = _joined(found[HAND_MADE], shapes, window_features(embeddings.table, rows))
    return found if config.kind in ("linear", "knn") else {**found, POOLED: embeddings.vectors_at(rows)}


def _joined(pixels_ND: Floats, *families: Features | None) -> Floats:
    """Return hand-made features of pixels with those of other families beside them, as far as they are known."""
    extra = [_complete(family.values_ND) for family in families if family is not None]
    return np.concatenate([pixels_ND, *extra], axis=1).astype(np.float32)


def _complete(values_ND: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Put the median of a column where it is unknown, and leave out columns that are unknown everywhere."""
    known = values_ND[:, np.isfinite(values_ND).any(axis=0)]
    finite = np.where(np.isfinite(known), known, np.nan)
    return np.where(np.isnan(finite), np.nanmedian(finite, axis=0), finite) if known.shape[1] else known


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads clips of a store again, and encodes what it is given of them as the store did."""

    movies: Mapping[str, Movie]
    outlines: Outlines
    shape: ClipShape
    channels: tuple[str, ...]
    how: Pool
    grid: Grid
    scales: Mapping[str, tuple[float, float, float, float]]
    device: torch.device

    @classmethod
    def of(cls, embeddings: Embeddings, movies: Mapping[str, Movie], encoder: Encoder) -> _Reader:
        provenance = embeddings.provenance
        shape = replace(provenance.clip_shape, channels=provenance.channels)
        planes = sampling(next(iter(movies.values())), shape).planes
        grid = grid_of(shape.frames, planes, shape.size_px, shape.size_px, encoder.shape.tubelet)
        scales = {name: position_scale(movie, shape, provenance.source.reference) for name, movie in movies.items()}
        return cls(movies, outlines_of(embeddings), shape, provenance.channels, provenance.pool, grid, scales, choose_device())

    def batches(self, clips: Sequence[Clip]) -> Iterator[tuple[Sequence[Clip], Floats, Floats | None]]:
        return read_outlined(self.movies, clips, self.shape, _BATCH, self.outlines, self.grid)

    def vectors(self, encoder: Encoder, batch: Sequence[Clip], pixels_BCTZYX: Floats, cover_BN: Floats | None) -> Floats:
        scale_B4 = torch.tensor([self.scales[clip.movie] for clip in batch])
        # None where all is at the reference: the encoder then uses its cached table.
        scale = None if bool((scale_B4 == 1).all()) else scale_B4.to(self.device)
        cover = None if cover_BN is None else torch.from_numpy(cover_BN).to(self.device)
        tokens_BCND = encode_tokens(encoder, torch.from_numpy(pixels_BCTZYX).to(self.device), scale, embedding_precision(self.device))
        found: Floats = pool(tokens_BCND, self.how, self.grid, cover, self.outlines.mask_weight).cpu().numpy()
        return found
