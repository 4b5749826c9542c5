"""The labelled probe while an encoder trains: how well behaviours are told apart in groups that it has not seen."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from cellvjepa.cells.table import Cells
from cellvjepa.cells.windows import track_windows
from cellvjepa.config import Config
from cellvjepa.embedding.encoding import embedding_precision, encode_tokens
from cellvjepa.embedding.pooling import pool
from cellvjepa.embedding.reading import movies_of, read_batches
from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.levelled import levelled
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import position_scale, reference_sampling
from cellvjepa.probing.labels import read_labels
from cellvjepa.probing.probe import fit_head
from cellvjepa.probing.scores import balanced_accuracy, confusion_matrix
from cellvjepa.probing.splits import Fold, choose_groups, grouped_folds

_LOG = logging.getLogger(__name__)
_BATCH = 32


@dataclass(frozen=True, eq=False)
class LabelledWindows:
    """Labelled windows, held in memory; called with an encoder it is a :class:`cellvjepa.training.watch.Watch`.

    Parameters
    ----------
    pixels_BCTZYX
        float32 clips as ``read_clip`` gives them.
    scale_B4
        Their sampling relative to the encoder's reference; None: all at it.
    codes_B
        int64: the class of each.
    classes
        How many classes there are.
    folds
        Which are learnt from and which are asked about; no group is on both sides.
    config
        The complete configuration of the run: ``probe`` says which probe, ``embed.pool`` what a linear one sees.
    """

    pixels_BCTZYX: torch.Tensor
    scale_B4: torch.Tensor | None
    codes_B: npt.NDArray[np.int64]
    classes: int
    folds: tuple[Fold, ...]
    config: Config

    @property
    def windows(self) -> int:
        """How many labelled windows there are."""
        return len(self.codes_B)

    def __call__(self, encoder: Encoder, /) -> float | None:
        """Return the balanced accuracy of a cross-validated probe on the encoder's features; guessing gives one over the classes."""
        features = self._features(encoder)
        if not np.isfinite(features).all():
            return None
        predicted_B = np.empty_like(self.codes_B)
        for fold in self.folds:
            head = fit_head(features[fold.train], self.codes_B[fold.train], self.classes, self.config.probe)
            predicted_B[fold.test] = head.probabilities(features[fold.test]).argmax(axis=1)
        return balanced_accuracy(confusion_matrix(self.codes_B, predicted_B, self.classes))

    def _features(self, encoder: Encoder) -> npt.NDArray[np.float32]:
        device = next(encoder.parameters()).device
        grid = encoder.grid_of(self.pixels_BCTZYX[:, :1])
        parts = []
        for start in range(0, len(self.codes_B), _BATCH):
            rows = slice(start, start + _BATCH)
            scale = None if self.scale_B4 is None else self.scale_B4[rows].to(device)
            tokens_BCND = encode_tokens(encoder, self.pixels_BCTZYX[rows].to(device), scale, embedding_precision(device))
            if self.config.probe.kind == "attentive":
                places = (grid.t, grid.z, grid.y, grid.x)
                parts.append(tokens_BCND.reshape(*tokens_BCND.shape[:2], *places, -1).cpu())
            else:
                parts.append(pool(tokens_BCND, self.config.embed.pool, grid).cpu())
        found: npt.NDArray[np.float32] = torch.cat(parts).numpy()
        return found


def watch_labels(movies: Sequence[Movie], cells: Cells, labels: str | os.PathLike[str], config: Config) -> LabelledWindows | None:
    """Read labelled windows to watch an encoder by; None, with one warning, where their groups are too few to score honestly.

    Parameters
    ----------
    movies
        All movies that will be trained on.
    cells
        The cells in them.
    labels
        A labels.csv, as for ``cellvjepa probe``.
    config
        The complete configuration of the run. At most ``monitor.labelled_windows`` windows are taken, as evenly from the classes as
        there are; ``probe`` says how they are grouped and which probe it is.

    Raises
    ------
    UserError
        If labels, cells and movies do not fit together.
    """
    shape = ClipShape.of(config.clip)
    chosen = config.embed
    windows = track_windows(movies, cells, shape, chosen.stride_frames, chosen.min_cover, stride_min=chosen.stride_min, follow=chosen.follow)
    found = read_labels(labels, windows.table)
    rows = _evenly(found.codes_N, config.monitor.labelled_windows, np.random.default_rng(config.training.seed))
    table, codes = found.table.iloc[rows].reset_index(drop=True), found.codes_N[rows]
    folds = _folds(table, codes, found.classes, shape, config)
    if folds is None:
        return None
    clips = tuple(windows.clips[row] for row in found.rows_N[rows])
    named = {movie.name: movie for movie in levelled(tuple(movies_of(clips, movies).values()))}
    pixels = torch.cat([torch.from_numpy(part) for _, part in read_batches(named, clips, shape, _BATCH)])
    reference = reference_sampling(movies, shape)
    scale_B4 = torch.tensor([position_scale(named[clip.movie], shape, reference) for clip in clips])
    return LabelledWindows(pixels, None if bool((scale_B4 == 1).all()) else scale_B4, codes, len(found.classes), folds, config)


def _folds(table: pd.DataFrame, codes_B: npt.NDArray[np.int64], classes: Sequence[str], shape: ClipShape, config: Config) -> tuple[Fold, ...] | None:
    try:
        return grouped_folds(choose_groups(table, shape, config.probe), codes_B, classes, config.probe)
    except UserError as error:
        _LOG.warning("training goes on without watching the labels: %s", error)
        return None


def _evenly(codes_N: npt.NDArray[np.int64], most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return at most so many rows, ascending, drawn at random and as evenly from the classes as there are."""
    order = rng.permutation(len(codes_N))
    turn = np.empty(len(codes_N), np.int64)  # the how-many-th of its class a row is
    for code in np.unique(codes_N):
        here = order[codes_N[order] == code]
        turn[here] = np.arange(len(here))
    return np.sort(order[np.argsort(turn[order], kind="stable")][:most])
