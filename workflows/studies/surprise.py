"""Does surprise find divisions and deaths? Surprise of each cell and time step against what is known to happen there, beside simpler measures.

    python workflows/studies/surprise.py --fields 4 5 6 [--nuclei FOLDER] [--model RUN] [--out TABLES.md]

The simulated movies come with the program and say what each cell does in each stretch of 16 frames; FOLDER holds
``cancer_cell_migration_crop.tif`` and its ``tracks.csv`` with a column ``mitotic``; RUN has a predictor.

A score is the ROC-AUC of a measure over cells and time steps: how often a step of an event has more of it than a quiet one. *Same time*
compares steps of the same movie and time alone, because surprise is larger at both ends of a movie, where a step is seen from one side,
and events of the simulation end with their stretch. Intervals: 200 resamplings of whole tracks, 90 %.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cellvjepa.cells.table import Cells, read_cells
from cellvjepa.embedding.cell_surprise import cells_surprise
from cellvjepa.embedding.dense import FEATURES, tile_batches, write_dense_maps
from cellvjepa.embedding.foretelling import Answer, answers, hidden_steps, mask_token, step_weights
from cellvjepa.embedding.map_image import Steps, new_map, open_map, place_of
from cellvjepa.embedding.provenance import reference_of
from cellvjepa.embedding.readout import Sums, fold_of
from cellvjepa.embedding.surprise import Foreteller, write_surprise
from cellvjepa.embedding.tiles import blended, tile_movie
from cellvjepa.model.encoder import new_encoder
from cellvjepa.model.predictor import new_predictor
from cellvjepa.model.predictor_file import load_predictor
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import known_levels
from cellvjepa.movies.levelled import levelled
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive
from cellvjepa.movies.reference import position_scale
from cellvjepa.progress import silent
from cellvjepa.shipped import sample_data_folder

ROUNDS = 200
KEY = ["movie", "track_id", "t"]
METHOD, PLAIN = "fitted: both", "fitted: both, mean distance"


@dataclass(frozen=True)
class Recording:
    """Movies, cells, and what each cell does in each frame: movie, track_id, t, deed."""

    name: str
    movies: tuple[Movie, ...]
    cells: Cells
    deeds: pd.DataFrame
    questions: tuple[tuple[str, str, tuple[str, ...]], ...]  # a name, the event, what is quiet


def simulated(fields: Sequence[int]) -> Recording:
    folder = sample_data_folder() / "simulated"
    archive = open_archive(folder)
    movies = levelled(tuple(movie for movie in archive.movies if movie.name in {f"field{number}.ome.tif" for number in fields}))
    labels = pd.read_csv(folder / "labels.csv")
    labels = labels[labels["movie"].isin([movie.name for movie in movies])]
    rows = [(row.movie, row.track_id, t, row.label) for row in labels.itertuples() for t in range(row.t_start, row.t_stop)]
    others = ("resting", "jittering", "migrating", "pulsing")
    questions = tuple(
        (f"{event} / {name}", event, quiet) for event in ("dividing", "dying") for name, quiet in (("resting", ("resting",)), ("all others", others))
    )
    cells = read_cells(folder / "cells.csv", archive)
    return Recording(f"simulated {' '.join(map(str, fields))}", movies, cells, pd.DataFrame(rows, columns=[*KEY, "deed"]), questions)


def nuclei(folder: Path) -> Recording:
    archive = open_archive(folder / "cancer_cell_migration_crop.tif")
    table = pd.read_csv(folder / "tracks.csv").rename(columns={"frame": "t", "y": "y_px", "x": "x_px", "area": "area_px"})
    table["movie"] = archive.movies[0].name
    with tempfile.TemporaryDirectory() as scratch:
        table[[*KEY, "y_px", "x_px", "area_px"]].to_csv(Path(scratch) / "cells.csv", index=False)
        cells = read_cells(Path(scratch) / "cells.csv", archive)
    deeds = table[KEY].assign(deed=np.where(table["mitotic"] == 1, "mitosis", "interphase"))
    return Recording("nuclei", levelled(archive.movies), cells, deeds, (("mitosis / interphase", "mitosis", ("interphase",)),))


def untrained(foreteller: Foreteller) -> Foreteller:
    """Return the same networks with random weights."""
    model, rng = copy.deepcopy(foreteller.model), torch.Generator().manual_seed(0)
    encoder = new_encoder(model.context_encoder.shape, rng)
    model.context_encoder.load_state_dict(encoder.state_dict())
    model.target_encoder.load_state_dict(encoder.state_dict())
    model.predictor.load_state_dict(new_predictor(model.predictor.shape, encoder.shape, rng).state_dict())
    return replace(foreteller, model=model)


@contextmanager
def scratch_map(foreteller: Foreteller, movie: Movie, folder: Path, name: str) -> Iterator[tuple[Path, Steps]]:
    """Write a map of one number for each token, as surprise is one."""
    tiling = tile_movie(movie, foreteller.shape, foreteller.model.target_encoder.shape.tubelet)
    path = folder / f"{movie.name}_{name}.zarr"
    with new_map(path, place_of(movie, foreteller.shape, tiling), (name,), "float32", {}) as steps:
        yield path, steps


def pixel_change(foreteller: Foreteller, movie: Movie, folder: Path, overlap: float) -> Path:
    """Write the mean absolute difference between successive frames over each token, on the movie's levels."""
    t, _, y, x = foreteller.model.target_encoder.shape.tubelet
    low, high = known_levels(movie)[0]
    frames = (movie.pixels[:, 0].max(axis=1).astype(np.float32) - low) / (high - low)
    change = np.abs(np.diff(frames, axis=0, prepend=frames[:1]))
    change = np.pad(change, ((0, 0), (0, -change.shape[1] % y), (0, -change.shape[2] % x)), mode="reflect")
    with scratch_map(foreteller, movie, folder, "pixels") as (path, steps):
        for step in range(len(change) // t):
            mean = change[step * t : (step + 1) * t].mean(axis=0)
            steps[step] = mean.reshape(mean.shape[0] // y, y, -1, x).mean(axis=(1, 3))[None, None]
    return path


def feature_change(foreteller: Foreteller, movie: Movie, folder: Path, overlap: float) -> Path:
    """Write the mean absolute difference between the features of successive time steps at each place."""
    shape = replace(foreteller.shape, channels=movie.channels[:1])
    (own,) = write_dense_maps(foreteller.model.target_encoder, [movie], shape, foreteller.reference, folder, overlap=overlap)
    features = np.asarray(open_map(own / FEATURES)[:], np.float32)
    with scratch_map(foreteller, movie, folder, "features") as (path, steps):
        for step in range(len(features)):
            steps[step] = np.abs(features[step] - features[max(0, step - 1)]).mean(axis=0)[None]
    return path


def foretold(foreteller: Foreteller, movie: Movie, folder: Path, overlap: float) -> tuple[dict[str, Path], dict[str, float]]:
    """Foretell each place from the rest of its clip in several ways; return a map of the error of each, and the mean of |z - h|."""
    tiling = tile_movie(movie, foreteller.shape, foreteller.model.target_encoder.shape.tubelet, overlap)
    grid, factors = tiling.clip_grid, position_scale(movie, foreteller.shape, foreteller.reference)
    scale, token = torch.tensor(factors), mask_token(foreteller.card.hides)
    steps: list[list[Answer]] = [[] for _ in hidden_steps(grid, "rest")]
    for _, pixels in tile_batches(movie, tiling, replace(foreteller.shape, channels=movie.channels[:1]), 32, "asking", silent):
        for answer in answers(foreteller.model, torch.from_numpy(pixels), "rest", token, scale):
            steps[answer.step].append(answer)

    def all_of(part: Callable[[Answer], torch.Tensor]) -> torch.Tensor:
        """Return (clips, t, places, numbers)."""
        return torch.stack([torch.cat([part(answer) for answer in step]) for step in steps], dim=1)

    said, before, after, target = (all_of(attrgetter(name)) for name in ("said", "before", "after", "target"))
    folds_Bt = fold_of(torch.tensor([tile.corner[0] for tile in tiling.tiles])[:, None] + torch.arange(grid.t), tiling.grid.t)
    maps, means = {}, {}

    def plain(way: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return way, (way - target).abs().mean(dim=-1)

    def fitted(*known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sums, known_BtMF = Sums(), torch.cat(known, dim=-1)
        for step in range(grid.t):
            sums.add(known_BtMF[:, step], target[:, step], folds_Bt[:, step])
        readout = sums.readout()
        way = torch.stack([readout.said(known_BtMF[:, step], folds_Bt[:, step]) for step in range(grid.t)], dim=1)
        return way, torch.stack([readout.errors(way[:, step], target[:, step], folds_Bt[:, step]) for step in range(grid.t)], dim=1)

    method = fitted(said, before, after)
    ways = {
        "the average feature of the movie": plain(target.mean(dim=(0, 1, 2)).expand_as(target)),
        "the nearest step seen": plain(before),
        "the mean of the steps before and after": plain((before + after) / 2),
        "the predictor as trained (--no-refit)": plain(said),
        "fitted: predictor alone": fitted(said),
        "fitted: steps before and after alone": fitted(before, after),
        METHOD: method,
        PLAIN: plain(method[0]),
    }
    for number, (name, (way, errors_BtM)) in enumerate(ways.items()):
        means[name] = float((way - target).abs().mean())
        values = errors_BtM.reshape(len(errors_BtM), grid.t, grid.z, grid.y, grid.x, 1).numpy()
        with scratch_map(foreteller, movie, folder, f"way{number}") as (maps[name], written):
            for step, values_zyxC in blended(tiling, zip(tiling.tiles, values, strict=True), 1, step_weights(grid, "rest")):
                written[step] = np.moveaxis(values_zyxC, -1, 0)
    return maps, means


def measures(recording: Recording, foreteller: Foreteller, folder: Path, overlap: float) -> tuple[pd.DataFrame, pd.Series]:
    """Return each measure of each cell and frame, a column each, and the mean error of ways to foretell."""
    asked = {
        "**surprise** (from the rest)": replace(foreteller, seen="rest"),
        "surprise, from the past": replace(foreteller, seen="past"),
        "surprise, networks untrained": replace(untrained(foreteller), seen="rest"),
    }
    changes: dict[str, Callable[[Foreteller, Movie, Path, float], Path]] = {"change of pixels": pixel_change, "change of features": feature_change}
    found = recording.deeds
    for number, (name, how) in enumerate(asked.items()):
        maps = write_surprise(how, recording.movies, folder / f"{recording.name}{number}", overlap=overlap)
        found = with_measure(found, cells_surprise(how, recording.movies, recording.cells, maps, overlap=overlap), name)
        print(f"{recording.name}: {name}", flush=True)
    for name, change in changes.items():
        maps = [change(foreteller, movie, folder / recording.name, overlap) for movie in recording.movies]
        found = with_measure(found, cells_surprise(foreteller, recording.movies, recording.cells, maps), name)
    simpler = [foretold(foreteller, movie, folder / recording.name, overlap) for movie in recording.movies]
    for name in simpler[0][0]:
        if name == METHOD:
            continue  # that is the first line of the table
        own = [maps[name] for maps, _ in simpler]
        found = with_measure(found, cells_surprise(foreteller, recording.movies, recording.cells, own), f"{name}")
    return found, pd.DataFrame([means for _, means in simpler]).mean()


def with_measure(table: pd.DataFrame, found: pd.DataFrame, name: str) -> pd.DataFrame:
    return table.merge(found[[*KEY, "surprise"]].rename(columns={"surprise": name}), on=KEY, how="left")


@dataclass(frozen=True)
class Score:
    """ROC-AUC with the ends of its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.2f}-{self.high:.2f})"


def score(table: pd.DataFrame, name: str, event: str, quiet: tuple[str, ...], same_time: bool, rounds: int = ROUNDS) -> Score:
    """Return the share of pairs of an event and a quiet step in which the event has more (ties count half), resampled by track."""
    here, there = table[table["deed"] == event], table[table["deed"].isin(quiet)]
    more_EQ = np.sign(here[name].to_numpy()[:, None] - there[name].to_numpy()) / 2 + 0.5
    pairs_EQ = np.ones_like(more_EQ)
    if same_time:
        times = table.groupby(["movie", "step"]).ngroup()
        pairs_EQ = (times[here.index].to_numpy()[:, None] == times[there.index].to_numpy()).astype(float)
    tracks = table.groupby(["movie", "track_id"]).ngroup()
    of_event, of_quiet = tracks[here.index].to_numpy(), tracks[there.index].to_numpy()
    rng, count = np.random.default_rng(0), int(tracks.max()) + 1
    values = []
    for number in range(rounds + 1):  # the first one is no resampling: every track once
        times_drawn = np.bincount(rng.integers(0, count, count), minlength=count) if number else np.ones(count)
        weights_E, weights_Q = times_drawn[of_event], times_drawn[of_quiet]
        pairs = weights_E @ pairs_EQ @ weights_Q
        values.append(weights_E @ (more_EQ * pairs_EQ) @ weights_Q / pairs if pairs else np.nan)
    low, high = np.nanpercentile(values[1:], (5, 95)) if rounds else (np.nan, np.nan)
    return Score(float(values[0]), float(low), float(high))


def lines(recording: Recording, table: pd.DataFrame, frames_per_step: int) -> Iterator[str]:
    """Yield a table in Markdown: a line for each measure."""
    table = table.assign(step=table["t"] // frames_per_step)
    names = [column for column in table.columns if column not in {*KEY, "deed", "step"}]
    steps = table.groupby(["movie", "track_id", "step", "deed"], as_index=False)[names].mean()
    yield (
        f"| {recording.name} | " + " | ".join(f"{question}, {when}" for question, _, _ in recording.questions for when in ("all", "same time")) + " |"
    )
    yield "|---" * (1 + 2 * len(recording.questions)) + "|"
    for name in names:
        known = steps[steps[name].notna()].reset_index(drop=True)
        cells = [str(score(known, name, event, quiet, same)) for _, event, quiet in recording.questions for same in (False, True)]
        yield f"| {name} | " + " | ".join(cells) + " |"
    counts = steps["deed"].value_counts()
    yield ""
    yield "Steps: " + ", ".join(f"{deed} {count}" for deed, count in counts.items()) + f"; a step is {frames_per_step} frames."
    yield ""


def step_by_step(recording: Recording, table: pd.DataFrame, frames_per_step: int) -> Iterator[str]:
    """Yield a table in Markdown: each step of an event by itself, against all other cells at the same time."""
    table = table.assign(step=table["t"] // frames_per_step, nth=table["t"] % 16 // frames_per_step)
    names = [column for column in table.columns if column not in {*KEY, "deed", "step", "nth"}]
    steps = table.groupby(["movie", "track_id", "step", "nth", "deed"], as_index=False)[names].mean()
    asked = [(event, quiet, nth) for question, event, quiet in recording.questions if "all others" in question for nth in range(4)]
    yield f"| {recording.name} | " + " | ".join(f"{event}, step {nth + 1}" for event, _, nth in asked) + " |"
    yield "|---" * (1 + len(asked)) + "|"
    for name in names:
        cells = []
        for event, quiet, nth in asked:
            known = steps[steps[name].notna() & ((steps["deed"] != event) | (steps["nth"] == nth))].reset_index(drop=True)
            cells.append(f"{score(known, name, event, quiet, True, 0).value:.3f}" if (known["deed"] == event).any() else "")
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="encoder_tiny")
    parser.add_argument("--nuclei", type=Path)
    parser.add_argument("--fields", type=int, nargs="*", default=[], help="of the simulation, 1 to 6")
    parser.add_argument("--overlap", type=float, default=0.5, help="of clips")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="keep the measures of each cell and frame as CSV, named after this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, encoder_card, card = load_predictor(args.model)
    config = encoder_card.provenance["config"]
    shape = ClipShape(**{key: value for key, value in config["clip"].items() if key in ClipShape.__dataclass_fields__})
    foreteller = Foreteller(model, card, shape, reference_of(encoder_card))
    recordings = ([simulated(args.fields)] if args.fields else []) + ([nuclei(args.nuclei)] if args.nuclei else [])
    text = []
    for recording in recordings:
        with tempfile.TemporaryDirectory() as scratch:
            table, errors = measures(recording, foreteller, Path(scratch), args.overlap)
        if args.table:
            table.to_csv(args.table.with_name(f"{args.table.stem}_{recording.name}.csv"), index=False)
        text += list(lines(recording, table, model.target_encoder.shape.tubelet[0]))
        if "dividing" in set(table["deed"]):
            text += list(step_by_step(recording, table, model.target_encoder.shape.tubelet[0]))
        text += [
            f"| {recording.name}: what is foretold by | mean error |",
            "|---|---|",
            *(f"| {name} | {error:.3f} |" for name, error in errors.drop(PLAIN).items()),
        ]
        text.append("")
    print("\n".join(text))
    if args.out:
        args.out.write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
