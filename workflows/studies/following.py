"""Should crops follow their cells, should tokens under the mask count more, should neighbours be hidden? A study of what an embedding is.

    python workflows/studies/following.py RUN [--cellphe DATA/cellphe_mdamb231_ptycho] [--draws 5]

prints a table (Markdown) for the simulated behaviours (balanced accuracy over six classes, fields are groups, 5 and 20 labels per class)
and, if its folder is given, for windows16.csv of cellphe (ROC AUC on the unseen quadrant with 5, 20, 80 and all labels per class, as
windows16.py does it). Every variant sees the same windows and the same draws of labels; probes are linear.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from windows16 import TASKS, TEST_QUADRANT, in_memory, load_run

from cellvjepa import sample_data_folder
from cellvjepa.cells.outlines import Outlines
from cellvjepa.cells.sightings import Follow
from cellvjepa.cells.table import Cells, read_cells
from cellvjepa.cells.windows import Windows, track_windows
from cellvjepa.config import ProbeConfig
from cellvjepa.embedding.encoding import encoded
from cellvjepa.embedding.pooling import Pool, pool
from cellvjepa.embedding.reading import movies_of
from cellvjepa.model.encoder import Encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive
from cellvjepa.movies.reference import UNKNOWN
from cellvjepa.probing.labels import read_labels
from cellvjepa.probing.splits import Fold, choose_groups, grouped_folds, held_out
from cellvjepa.probing.validation import few_label_scores

FOLLOWS: tuple[Follow, ...] = ("still", "smooth")
WEIGHTS = (0.0, 0.5, 1.0)
POOLS: tuple[Pool, ...] = ("mean", "dynamics")
SIMULATED_PX = 32  # as in behaviours.py


@dataclass(frozen=True)
class Task:
    """What is to be told apart: rows of the windows, their classes, and how they are split."""

    name: str
    rows_N: npt.NDArray[np.int64]
    codes_N: npt.NDArray[np.int64]
    folds: tuple[Fold, ...]
    config: ProbeConfig
    few: tuple[int | None, ...]
    metric: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder made by cellvjepa pretrain, or the shipped encoder_tiny")
    parser.add_argument("--cellphe", type=Path, help="folder with images_TYX.tif, track_labels_TYX.tif and windows16.csv")
    parser.add_argument("--draws", type=int, default=5)
    options = parser.parse_args()
    encoder, shape = load_run(options.run)
    rows = []
    for follow, hide in product(FOLLOWS, (False, True)):
        found = variant(*simulated(replace(shape, size_px=SIMULATED_PX), follow), encoder, hide, options.draws)
        if options.cellphe:
            for key, scores in variant(*cellphe(options.cellphe, shape, follow), encoder, hide, options.draws).items():
                found[key] |= scores
        rows += [{"crop": follow, "neighbours": "hidden" if hide else "seen", "pool": how, "mask weight": w, **found[how, w]} for how, w in found]
    table = pd.DataFrame(rows).sort_values("pool", kind="stable")
    print("| " + " | ".join(table.columns) + " |")
    print("|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print("| " + " | ".join(map(str, row)) + " |")


def variant(
    movies: Sequence[Movie], windows: Windows, cells: Cells, shape: ClipShape, tasks: Sequence[Task], encoder: Encoder, hide: bool, draws: int
) -> dict[tuple[Pool, float], dict[str, str]]:
    """Encode the windows of all tasks once, pool them in all ways, and score."""
    started = time.perf_counter()
    rows = np.unique(np.concatenate([task.rows_N for task in tasks]))
    clips = [windows.clips[row] for row in rows]
    outlines = Outlines(cells.labels, mask_weight=1.0, hide_neighbours=hide)  # any weight: cover is read, and mixed below
    parts: dict[tuple[Pool, float], list[torch.Tensor]] = {(how, weight): [] for how in POOLS for weight in WEIGHTS}
    for tokens_BCND, grid, cover_BN in encoded(encoder, movies_of(clips, movies), clips, shape, UNKNOWN, 32, outlines):
        for (how, weight), pooled in parts.items():
            pooled.append(pool(tokens_BCND, how, grid, cover_BN, weight))
    print(f"{len(clips)} windows of {len(movies)} movies encoded in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    found: dict[tuple[Pool, float], dict[str, str]] = {}
    for key, pooled in parts.items():
        vectors = torch.cat(pooled).numpy()
        found[key] = {}
        for task in tasks:
            features = vectors[np.searchsorted(rows, task.rows_N)]
            table = few_label_scores(features, task.codes_N, list(task.folds), task.config, task.few, draws)
            for _, line in table.iterrows():
                spread = f" ± {line[f'{task.metric} sd']:.3f}" if line["draws"] > 1 and f"{task.metric} sd" in line else ""
                number = "all" if pd.isna(line["labels per class"]) else line["labels per class"]
                found[key][f"{task.name} {number}"] = f"{line[task.metric]:.3f}{spread}"
    return found


def simulated(shape: ClipShape, follow: Follow) -> tuple[Sequence[Movie], Windows, Cells, ClipShape, list[Task]]:
    folder = sample_data_folder() / "simulated"
    archive = open_archive(folder)
    movies = [with_levels(movie) for movie in archive.movies]
    cells = read_cells(folder / "labels", archive)
    windows = track_windows(movies, cells, shape, follow=follow)
    labels = read_labels(folder / "labels.csv", windows.table)
    config = ProbeConfig(kind="linear", group="movie")
    folds = grouped_folds(choose_groups(labels.table, shape, config), labels.codes_N, labels.classes, config)
    return movies, windows, cells, shape, [Task("behaviour", labels.rows_N, labels.codes_N, folds, config, (5, 20), "balanced accuracy")]


def cellphe(folder: Path, shape: ClipShape, follow: Follow) -> tuple[Sequence[Movie], Windows, Cells, ClipShape, list[Task]]:
    archive = open_archive(folder / "images_TYX.tif")
    movie = in_memory(with_levels(archive.movies[0]))
    cells = read_cells(folder / "track_labels_TYX.tif", archive)
    cells = replace(cells, labels={name: in_memory(image) for name, image in cells.labels.items()})
    asked = pd.read_csv(folder / "windows16.csv")
    everywhere = track_windows([movie], cells, shape, stride_frames=1, min_cover=0.0, follow=follow)
    known = pd.MultiIndex.from_frame(everywhere.table[["track_id", "t_start"]])
    rows = known.get_indexer(pd.MultiIndex.from_frame(asked[["track_id", "frame_start"]]))
    assert (rows >= 0).all(), f"{(rows < 0).sum()} windows are not there"
    config = ProbeConfig(kind="linear", group="split_group", folds=2)
    tasks = []
    for name, (column, classes) in TASKS.items():
        chosen = np.flatnonzero(asked[column].isin(classes))
        codes = asked[column].iloc[chosen].eq(classes[1]).to_numpy(np.int64)
        table = everywhere.table.iloc[rows[chosen]].reset_index(drop=True).assign(split_group=asked["split_group"].iloc[chosen].to_numpy())
        groups = choose_groups(table, shape, config)
        fold = held_out(groups, np.flatnonzero(np.array(groups.names)[groups.codes_N] == TEST_QUADRANT))
        tasks.append(Task(name, rows[chosen], codes, (fold,), config, (5, 20, 80, None), "ROC AUC"))
    return [movie], everywhere, cells, shape, tasks


if __name__ == "__main__":
    main()
