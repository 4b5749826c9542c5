"""Judge an encoder on the simulated behaviours: six, told apart by what cells do and not by how they look in one frame.

Used by recipe.py and ablations.py. Windows of 32 x 32 px around each labelled cell; probes are fitted on some fields and tested on others.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from cellvjepa import sample_data_folder
from cellvjepa.cells.table import read_cells
from cellvjepa.cells.windows import track_windows
from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.encoding import encode_tokens
from cellvjepa.embedding.pooling import Pool, pool
from cellvjepa.model.encoder import Encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import read_clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.readers import open_archive
from cellvjepa.probing.baselines import handmade_features
from cellvjepa.probing.labels import Labels, read_labels
from cellvjepa.probing.splits import choose_groups, grouped_folds
from cellvjepa.probing.validation import few_label_scores

SIZE_PX, FRAMES = 32, 16
_BATCH = 64


def behaviour_scores(encoder: Encoder, shape: ClipShape, pools: tuple[Pool, ...], few: tuple[int, ...] = (5, 20)) -> dict[tuple[Pool, int], float]:
    """Return balanced accuracy (chance: 1/6) by pooling and number of labels per class; fields are groups.

    Clips have the encoder's frames; ``shape`` is the one it was trained with. An encoder of single frames sees the middle one.
    """
    single = shape.frames == 1
    seen = replace(shape, size_px=SIZE_PX, frames=FRAMES if single else shape.frames)
    pixels, labels = labelled_clips(seen)
    if single:
        pixels = pixels[:, :, FRAMES // 2 : FRAMES // 2 + 1]
    config = ProbeConfig(kind="linear", group="movie")
    groups = choose_groups(labels.table, seen, config)
    folds = grouped_folds(groups, labels.codes_N, labels.classes, config)
    found: dict[tuple[Pool, int], float] = {}
    for how in pools:
        vectors = encoded(encoder, pixels, how)
        table = few_label_scores(vectors, labels.codes_N, folds, config, few)
        for _, line in table.iterrows():
            found[how, int(line["labels per class"])] = float(line["balanced accuracy"])
    return found


def encoded(encoder: Encoder, pixels: npt.NDArray[np.float32], how: Pool) -> npt.NDArray[np.float32]:
    """Return the pooled vectors of clips, (N, D')."""
    parts = []
    for start in range(0, len(pixels), _BATCH):
        batch = torch.from_numpy(pixels[start : start + _BATCH])
        parts.append(pool(encode_tokens(encoder, batch), how, encoder.grid_of(batch[:, :1])))
    return torch.cat(parts).numpy()


def handmade_behaviour_scores(shape: ClipShape, few: tuple[int, ...] = (5, 20)) -> dict[int, float]:
    """Return balanced accuracy of hand-made features by number of labels per class."""
    seen = replace(shape, size_px=SIZE_PX)
    pixels, labels = labelled_clips(seen)
    config = ProbeConfig(kind="linear", group="movie")
    groups = choose_groups(labels.table, seen, config)
    folds = grouped_folds(groups, labels.codes_N, labels.classes, config)
    table = few_label_scores(handmade_features(pixels, ("channel",)).values_ND, labels.codes_N, folds, config, few)
    return {int(line["labels per class"]): float(line["balanced accuracy"]) for _, line in table.iterrows()}


@cache
def labelled_clips(shape: ClipShape) -> tuple[npt.NDArray[Any], Labels]:
    """Return the labelled windows of the sample data, (N, C, T, Z, Y, X) float32, and their labels."""
    folder = sample_data_folder() / "simulated"
    archive = open_archive(folder)
    movies = {movie.name: with_levels(movie) for movie in archive.movies}
    windows = track_windows(list(movies.values()), read_cells(folder / "cells.csv", archive), shape)
    labels = read_labels(folder / "labels.csv", windows.table)
    clips = [windows.clips[row] for row in labels.rows_N]
    return np.stack([read_clip(movies[clip.movie], clip, shape) for clip in clips]), labels


if __name__ == "__main__":
    import sys

    from cellvjepa.config import ClipConfig
    from cellvjepa.model.weights import load_encoder

    for run in map(Path, sys.argv[1:]):
        loaded, card = load_encoder(run)
        clip_shape = ClipShape.of(ClipConfig.model_validate(card.provenance["config"]["clip"]))
        print(pd.Series(behaviour_scores(loaded, clip_shape, ("mean", "moments", "dynamics")), name=run.name))
