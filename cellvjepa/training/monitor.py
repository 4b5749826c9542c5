"""What tells whether pretraining goes well, measured on a fixed set of clips: the loss does not.

In small runs the collapsed encoder has the lowest loss, so ranks of features are watched instead, and probes that need no labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cellvjepa.config import Config
from cellvjepa.model.device import autocast
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.grid import Grid, positions_N4
from cellvjepa.model.layers import gather_tokens
from cellvjepa.model.masking import Mask
from cellvjepa.model.vjepa import VJepa
from cellvjepa.training.micro_batch import is_out_of_memory
from cellvjepa.training.monitor_clips import MonitorClips
from cellvjepa.training.objectives import objective
from cellvjepa.training.online_probe import folds_of, pair_score, place_score, source_score

_LOSS_CLIPS = 16  # their masked tokens are thousands: enough for a ratio of two means

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Health:
    """State of a model on the fixed clips; None where the movies or the objective cannot tell.

    Parameters
    ----------
    rankme
        Effective number of independent directions in which whole clips differ.
    rankme_tokens
        The same for the tokens within a clip (mean over clips).
    cosine
        Mean cosine between clips (1: all alike).
    clip_std
        How much the mean token varies from clip to clip, before the layer norm of the targets; averaged over dimensions.
    nearest_ratio
        The loss divided by that of answering with the target of the nearest visible place.
    place, source, time_order, frame_gap
        Probes without labels (:mod:`cellvjepa.training.online_probe`): the same place at another time against others of its movie;
        the movie or well of the nearest other place; forward against reversed; every frame against every second one.
    frame_gap_clips
        On how many of the clips ``frame_gap`` was measured: those whose movie goes on long enough.
    """

    rankme: float
    rankme_tokens: float
    cosine: float
    clip_std: float
    nearest_ratio: float | None = None
    place: float | None = None
    source: float | None = None
    time_order: float | None = None
    frame_gap: float | None = None
    frame_gap_clips: int | None = None


def rankme(features_ND: torch.Tensor) -> torch.Tensor:
    """Return the effective rank of features: exp of the entropy of their normalised singular values.

    After RankMe (arXiv 2210.02885, equation 1), on centred features: else the mean, which all clips share, hides the rest.
    Leading dimensions are batch dimensions.

    Parameters
    ----------
    features_ND
        (..., N, D) features.

    Returns
    -------
    torch.Tensor
        (...) ranks between 1 and min(N, D).
    """
    features = features_ND.float()
    singular = torch.linalg.svdvals(features - features.mean(dim=-2, keepdim=True))
    shares = singular / singular.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    return torch.exp(torch.special.entr(shares).sum(dim=-1))


@torch.no_grad()
def measure_health(model: VJepa, clips: MonitorClips, config: Config) -> Health:
    """Measure a model on the monitor's clips: about six passes of the encoder over them.

    Parameters
    ----------
    model
        The model; its ``encoder`` is what is measured.
    clips
        The fixed clips.
    config
        The complete configuration of the run.
    """
    encoder = model.encoder
    passing = _Passing(encoder, clips, config)
    pooled, ranks = [], []
    for tokens_BND in passing.tokens(clips.pixels_B1TZYX):
        pooled.append(tokens_BND.mean(dim=1))
        ranks.append(rankme(tokens_BND))
    clips_BD = torch.cat(pooled)
    unit = torch.nn.functional.normalize(clips_BD, dim=-1)
    count = len(clips_BD)
    cosine = ((unit @ unit.T).sum() - count) / (count * (count - 1))
    # Once more, in the precision of those they are compared with: else a probe tells the precisions apart.
    vectors_BE = passing.vectors(clips.pixels_B1TZYX)
    place, source = _known_again(passing, clips, vectors_BE)
    time_order, frame_gap = _time_seen(passing, clips, vectors_BE)
    return Health(
        rankme=float(rankme(clips_BD)),
        rankme_tokens=float(torch.cat(ranks).mean()),
        cosine=float(cosine),
        clip_std=float(clips_BD.std(dim=0, correction=0).mean()),
        nearest_ratio=_nearest_ratio(model, clips, config),
        place=place,
        source=source,
        time_order=time_order,
        frame_gap=frame_gap,
        frame_gap_clips=int(clips.follows_B.sum()),
    )


def nearest_context(mask: Mask, grid: Grid) -> torch.Tensor:
    """Return for each target of a mask the index, among all tokens, of the visible token that is nearest on the grid: (B, M) int64."""
    positions_N4_ = positions_N4(grid, mask.context_BK.device)
    distance_BMK = torch.cdist(positions_N4_[mask.target_BM], positions_N4_[mask.context_BK])
    return mask.context_BK.gather(1, distance_BMK.argmin(dim=2))


@dataclass(frozen=True)
class _Passing:
    """Passes of an encoder over sets of clips, a batch at a time."""

    encoder: Encoder
    clips: MonitorClips
    config: Config

    def tokens(self, pixels_B1TZYX: torch.Tensor, rows_B: npt.NDArray[np.bool_] | None = None) -> list[torch.Tensor]:
        """Return tokens (b, N, D) float32 of clips at the places of the fixed ones (or of chosen ones)."""
        rows = np.arange(len(self.clips)) if rows_B is None else np.flatnonzero(rows_B)
        size = max(1, min(len(rows), self.config.training.batch_size // self.config.training.parts_at_least))
        while True:
            try:
                return self._tokens(pixels_B1TZYX, rows, size)
            except (RuntimeError, MemoryError) as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            size //= 2  # not inside the handler: the error holds on to what was computed

    def _tokens(self, pixels_B1TZYX: torch.Tensor, rows: npt.NDArray[np.int64], size: int) -> list[torch.Tensor]:
        device = next(self.encoder.parameters()).device
        found = []
        for start in range(0, len(rows), size):
            part = torch.from_numpy(rows[start : start + size])
            scale = None if self.clips.scale_B4 is None else self.clips.scale_B4[part].to(device)
            found.append(self.encoder(pixels_B1TZYX[part].to(device), scale_4=scale).float())
        return found

    def vectors(self, pixels_B1TZYX: torch.Tensor, rows_B: npt.NDArray[np.bool_] | None = None) -> Floats:
        """Return mean and spread of the tokens of each clip, (b, 2 D)."""
        device = next(self.encoder.parameters()).device
        # Half precision, where training uses it, is too coarse for ranks and fine enough for these.
        with autocast(device, self.config.training.precision):
            parts = self.tokens(pixels_B1TZYX, rows_B)
        moments = [torch.cat([tokens.mean(dim=1), tokens.std(dim=1, correction=0)], dim=1) for tokens in parts]
        found: Floats = torch.cat(moments).double().cpu().numpy()
        return found


def _known_again(passing: _Passing, clips: MonitorClips, vectors_BE: Floats) -> tuple[float | None, float | None]:
    known_B = clips.later_t0_B >= 0
    if not known_B.any():
        return None, None
    later = passing.vectors(clips.later_B1TZYX, known_B)
    overlap_BB, sources = clips.overlap_BB[known_B][:, known_B], np.array(clips.sources)[known_B]
    return place_score(vectors_BE[known_B], later, overlap_BB, sources), source_score(vectors_BE[known_B], later, overlap_BB, sources)


def _time_seen(passing: _Passing, clips: MonitorClips, vectors_BE: Floats) -> tuple[float | None, float | None]:
    if clips.pixels_B1TZYX.shape[2] == 1:
        return None, None
    folds_B, follows_B = folds_of(clips.overlap_BB), clips.follows_B
    order = pair_score(vectors_BE, passing.vectors(clips.pixels_B1TZYX.flip(2)), folds_B)
    if not follows_B.any():
        return order, None
    faster = passing.vectors(clips.faster_B1TZYX, follows_B)
    return order, pair_score(vectors_BE[follows_B], faster, folds_B[follows_B])


def _nearest_ratio(model: VJepa, clips: MonitorClips, config: Config) -> float | None:
    """Return the loss on a few of the clips under fixed masks, relative to answering with the nearest visible target."""
    if config.training.objective == "pixels":
        return None
    device = next(model.parameters()).device
    rows = slice(0, min(_LOSS_CLIPS, config.training.batch_size // config.training.parts_at_least))
    pixels, scale = clips.pixels_B1TZYX[rows].to(device), None if clips.scale_B4 is None else clips.scale_B4[rows].to(device)
    masks = [Mask(mask.context_BK[rows].to(device), mask.target_BM[rows].to(device)) for mask in clips.masks]
    with autocast(device, config.training.precision):
        error = objective(model(pixels, masks, scale), config, 0).error
        targets_BND = model.targets(pixels, scale)
    grid = model.encoder.grid_of(pixels)
    trivial = [(gather_tokens(targets_BND, nearest_context(mask, grid)) - gather_tokens(targets_BND, mask.target_BM)).abs().mean() for mask in masks]
    return float(error / torch.stack(trivial).mean().clamp_min(1e-12))
