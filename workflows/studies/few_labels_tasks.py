"""The tasks of few_labels.py: clips, labels, and splits by group; each clip is made once, whatever reads it.

Each set of clips belongs to an encoder trained on one kind of data. Nothing here depends on an encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from behaviours import SIZE_PX, labelled_clips
from windows16 import TASKS, TEST_QUADRANT, in_memory, read_clips, read_windows

from cellvjepa.config import ProbeConfig
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import Clip, clip_at, read_clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie
from cellvjepa.probing.splits import Fold, Groups, choose_groups, grouped_folds, held_out
from cellvjepa.probing.timeless import shuffled

CELLPHE = "cellphe_mdamb231_ptycho"
NUCLEI = "cancer_migration_nuclei"
# Movies beside cellphe that are long enough for clips of 16 frames at a stride of two, by the name that tables use.
OTHERS = {
    "nuclei": f"{NUCLEI}/cancer_cell_migration_crop.tif",
    "oocyte": "oocyte_lightsheet_3d/oocyte_mip_TYX.ome.tif",
    "S2": "formats/multipage_tif_no_axes_2ch_files/C1-MAX_mitosis.tif",
}
_EVERY = 4  # of the windows of cellphe, for the tasks about time: four times as many clips are encoded for these
_GRID_STEP_PX, _GRID_STEP_FRAMES = 16, 4
_LIVELY_SHARE = 0.75

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """What is to be told apart.

    Parameters
    ----------
    name
        For the tables.
    rows
        int64 (N,): which clips of the set.
    codes_N
        int64 (N,): class of each.
    folds
        Of these N rows, by group.
    groups_N
        int64 (N,): which rows stay together.
    few
        Numbers of labels per class; None: all.
    scores
        What is measured; the first one goes by the task's name.
    """

    name: str
    rows: Ints
    codes_N: Ints
    folds: tuple[Fold, ...]
    groups_N: Ints
    few: tuple[int | None, ...]
    scores: tuple[str, ...] = ("ROC AUC",)


@dataclass(frozen=True)
class ClipSet:
    """Clips, float32 (N, C, T, Z, Y, X), and the tasks on them; ``trained_on`` names the data of the encoders that read them."""

    trained_on: Literal["cellphe", "simulated"]
    clips: Floats
    tasks: tuple[Task, ...]
    still: bool = False  # whether it is worth asking what a single frame or shuffled frames tell


def all_clip_sets(data: Path, shape: ClipShape) -> list[ClipSet]:
    """Make all sets for encoders of clips of this shape; on the simulated fields and small movies clips are 32 px wide."""
    movie = in_memory(with_levels(open_movie(data / CELLPHE / "images_TYX.tif")))
    windows = read_windows(data / CELLPHE / "windows16.csv", movie)
    sets = [motility_and_state(movie, windows, shape), behaviours(shape), mitosis(data / NUCLEI, shape), time_of_windows(movie, windows, shape)]
    for name, path in OTHERS.items():
        sets.append(time_of_grid(name, in_memory(with_levels(open_movie(data / path))), replace(shape, size_px=SIZE_PX)))
    return sets


def motility_and_state(movie: Movie, windows: pd.DataFrame, shape: ClipShape, judge: str = TEST_QUADRANT) -> ClipSet:
    """Return windows16.csv: one quadrant judges, the others teach."""
    config, tasks = ProbeConfig(group="split_group", folds=2), []
    for name, (column, classes) in TASKS.items():
        rows = np.flatnonzero(windows[column].isin(classes))
        codes = windows[column].iloc[rows].eq(classes[1]).to_numpy().astype(np.int64)
        groups = choose_groups(windows.iloc[rows], shape, config)
        tasks.append(Task(name, rows.astype(np.int64), codes, (unseen(groups, judge),), groups.codes_N, (1, 5, 20, 80)))
    return ClipSet("cellphe", read_clips(movie, windows, shape).plain, tuple(tasks), still=True)


def behaviours(shape: ClipShape) -> ClipSet:
    """Return the six simulated behaviours: fields are held out."""
    seen = replace(shape, size_px=SIZE_PX)
    pixels, labels = labelled_clips(seen)
    config = ProbeConfig(group="movie")
    groups = choose_groups(labels.table, seen, config)
    folds = grouped_folds(groups, labels.codes_N, labels.classes, config)
    task = Task("behaviours", np.arange(len(pixels)), labels.codes_N, folds, groups.codes_N, (1, 5, 20), ("balanced accuracy",))
    return ClipSet("simulated", pixels.astype(np.float32), (task,), still=True)


def mitosis(folder: Path, shape: ClipShape) -> ClipSet:
    """Return windows around cells of the nuclei, labelled by what the cell does in the middle frame; families are held out.

    Three cells divide, so there are three folds, each testing one of them. Cells at the border are left out, and so are frames from
    which a window does not reach as far in both directions. Crops of 32 px stand still where the cell is in the middle frame.
    Where windows that share pixels with a test window are left out, 21, 2 and 1 windows of mitosis remain to learn from: enough for one label.
    """
    seen = replace(shape, size_px=SIZE_PX)
    movie = in_memory(with_levels(open_movie(folder / "cancer_cell_migration_crop.tif")))
    cells = pd.read_csv(folder / "tracks.csv")
    before = seen.frames // 2
    inside = cells["frame"].between(before, movie.shape["T"] - seen.frames + before) & ~cells["label_source"].str.contains("touches_border")
    table = cells[inside].reset_index(drop=True)
    table = table.assign(
        movie=movie.name, t_start=table["frame"] - before, t_stop=table["frame"] - before + seen.frames, y_px=table["y"], x_px=table["x"]
    )
    places = zip(table["t_start"], table["y_px"], table["x_px"], strict=True)
    clips = np.stack([read_clip(movie, clip_at(movie, seen, int(t), float(y), float(x)), seen) for t, y, x in places])
    config = ProbeConfig(group="split_group", folds=3)
    groups = choose_groups(table, seen, config)
    codes = table["mitotic"].to_numpy(np.int64)
    folds = grouped_folds(groups, codes, ("interphase", "mitosis"), config)
    dividing = [set(groups.codes_N[fold.test][codes[fold.test] == 1].tolist()) for fold in folds]
    assert sorted(map(len, dividing)) == [1, 1, 1], dividing
    task = Task("mitosis", np.arange(len(clips)), codes, folds, groups.codes_N, (1, None), ("ROC AUC", "balanced accuracy"))
    return ClipSet("cellphe", clips, (task,), still=True)


def time_of_windows(movie: Movie, windows: pd.DataFrame, shape: ClipShape) -> ClipSet:
    """Return direction, stride and order of time on windows of cellphe: quadrant 3 judges."""
    table = windows.iloc[::_EVERY].reset_index(drop=True)
    clips = read_clips(movie, table, shape)
    backwards, every_second = clips.timed()
    config = ProbeConfig(group="split_group", folds=2)
    tasks = []
    for number, name in enumerate(("direction", "stride", "order"), 1):
        both = _twice(table, longer_by=shape.frames // 2 if name == "stride" else 0)
        groups = choose_groups(both, shape, config)
        tasks.append(_time_task(f"{name} cellphe", number, len(table), (unseen(groups, TEST_QUADRANT),), groups))
    return ClipSet("cellphe", _in_time(clips.plain, backwards, every_second, table), tuple(tasks))


def time_of_grid(name: str, movie: Movie, shape: ClipShape) -> ClipSet:
    """Return the same of a movie without tracks: overlapping clips on a grid, the livelier three quarters of them; each quadrant is held out once."""
    table = grid_of_windows(movie, shape)
    long = replace(shape, frames=2 * shape.frames)
    places = zip(table["t_start"] - shape.frames // 2, table["y_px"], table["x_px"], strict=True)
    read = np.stack([read_clip(movie, clip_at(movie, long, int(t), float(y), float(x)), long) for t, y, x in places])
    lively = read.std(axis=2).mean(axis=(1, 2, 3, 4))
    chosen = np.flatnonzero(lively >= np.quantile(lively, 1 - _LIVELY_SHARE))
    table, read = table.iloc[chosen].reset_index(drop=True), read[chosen]
    middle = slice(shape.frames // 2, shape.frames // 2 + shape.frames)
    plain = np.ascontiguousarray(read[:, :, middle])
    config = ProbeConfig(group="quadrant", folds=4)
    tasks = []
    for number, task in enumerate(("direction", "stride", "order"), 1):
        groups = choose_groups(_twice(table, longer_by=shape.frames // 2 if task == "stride" else 0), shape, config)
        folds = tuple(held_out(groups, np.flatnonzero(groups.codes_N == group)) for group in np.unique(groups.codes_N))
        tasks.append(_time_task(f"{task} {name}", number, len(table), folds, groups))
    return ClipSet("cellphe", _in_time(plain, plain[:, :, ::-1], read[:, :, ::2], table), tuple(tasks))


def grid_of_windows(movie: Movie, shape: ClipShape) -> pd.DataFrame:
    """Return windows that have as many frames again around them, every 16 px and 4 frames, with their quadrant; none crosses into another."""
    height, width = movie.shape["Y"], movie.shape["X"]
    half = shape.size_px / 2
    ys, xs = (np.arange(half, length - half + 1, _GRID_STEP_PX) for length in (height, width))
    starts = np.arange(shape.frames // 2, movie.shape["T"] - shape.frames // 2 - shape.frames + 1, _GRID_STEP_FRAMES)
    # Crops across the border of two quadrants would leave nothing to learn from: they share pixels with both.
    ys, xs = ys[abs(ys - height / 2) >= half], xs[abs(xs - width / 2) >= half]
    t, y, x = (part.ravel() for part in np.meshgrid(starts, ys, xs, indexing="ij"))
    quadrant = [f"quadrant{2 * int(a > height / 2) + int(b > width / 2)}" for a, b in zip(y, x, strict=True)]
    return pd.DataFrame(
        {"movie": movie.name, "track_id": -1, "t_start": t, "t_stop": t + shape.frames, "y_px": y - 0.5, "x_px": x - 0.5, "quadrant": quadrant}
    )


def unseen(groups: Groups, name: str) -> Fold:
    """Return the fold that tests on the group of this name."""
    return held_out(groups, np.flatnonzero(np.array(groups.names)[groups.codes_N] == name))


def _time_task(name: str, number: int, count: int, folds: Sequence[Fold], groups: Groups) -> Task:
    rows = np.concatenate([np.arange(count), number * count + np.arange(count)])
    return Task(name, rows, np.repeat([0, 1], count), tuple(folds), groups.codes_N, (None,))


def _twice(table: pd.DataFrame, longer_by: int) -> pd.DataFrame:
    changed = table.assign(t_start=table["t_start"] - longer_by, t_stop=table["t_stop"] + longer_by)
    return pd.concat([table, changed], ignore_index=True)


def _in_time(plain: Floats, backwards: Floats, every_second: Floats, table: pd.DataFrame) -> Floats:
    """Return the clips as they are, then backwards, at every second frame, and in another order."""
    return np.concatenate([plain, backwards, every_second, in_another_order(plain, [f"{r.t_start} {r.y_px} {r.x_px}" for r in table.itertuples()])])


def in_another_order(clips: Floats, names: Sequence[str]) -> Floats:
    """Return clips with their frames shuffled; the order depends on the name of a clip."""
    nowhere = Clip("", 0, 1, 0, 0, 0, (1, 1, 1), "")
    return shuffled(clips, [replace(nowhere, clip_id=name) for name in names], seed=0)
