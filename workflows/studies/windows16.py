"""Judge encoders on windows16.csv: do their frozen features tell motility and state with few labels on the unseen quadrant.

    python workflows/studies/windows16.py DATA/cellphe_mdamb231_ptycho RUN [RUN ...] [--pools mean moments] [--kinds linear] [--random 2]

prints a table (Markdown) of ROC AUC: mean and standard deviation over 5 draws of 5, 20 and 80 labels per class, and with all labels.
Trained on quadrants 0-2 of the movie, tested on quadrant 3; training windows that share pixels with a test window are left out.
`arrow` (is the clip played forwards?) and `stride` (every frame or every second?) are labels that cost nothing: all of them, once.
Beside the encoders stand what they have to beat: hand-made features, principal components of the pixels, encoders with random weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.decomposition import PCA

from cellvjepa.config import ClipConfig, Config, ProbeConfig
from cellvjepa.embedding.encoding import encode_tokens
from cellvjepa.embedding.pooling import pool
from cellvjepa.model.encoder import Encoder, EncoderShape, new_encoder
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clips import ClipShape, clip_at, read_clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie
from cellvjepa.probing.attentive import pooled_dynamics
from cellvjepa.probing.baselines import handmade_features
from cellvjepa.probing.splits import Groups, choose_groups, held_out
from cellvjepa.probing.validation import few_label_scores

TEST_QUADRANT = "quadrant3"
TASKS = {"motility": ("motility", ("low", "high")), "state": ("state_majority", ("rounded", "spread"))}
FEW = (5, 20, 80, None)
BATCH = 32


@dataclass(frozen=True)
class InMemory:
    """A movie's pixels, decoded once: 883 windows overlap, and their frames would be decoded 30 times over."""

    values_TCZYX: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values_TCZYX.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values_TCZYX.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        return (1, *self.values_TCZYX.shape[1:])

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        return self.values_TCZYX[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with images_TYX.tif and windows16.csv")
    parser.add_argument("runs", type=Path, nargs="*", help="folders made by cellvjepa pretrain, or encoder.safetensors files")
    parser.add_argument("--pools", nargs="+", default=["mean", "moments"], choices=["mean", "moments", "rich", "dynamics"])
    parser.add_argument("--kinds", nargs="+", default=["linear"], choices=["linear", "knn", "attentive"])
    parser.add_argument("--random", type=int, default=2, metavar="N", help="encoders with random weights, per configuration")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--no-baselines", action="store_true", help="leave out hand-made features and principal components")
    parser.add_argument("--no-time", action="store_true", help="leave out arrow and stride, which take twice more encoding")
    options = parser.parse_args()

    movie = in_memory(with_levels(open_movie(options.data / "images_TYX.tif")))
    windows = read_windows(options.data / "windows16.csv", movie)
    rows: list[dict[str, object]] = []
    clips: dict[ClipShape, Clips] = {}
    untrained: set[EncoderShape] = set()
    for name, encoder, shape in [(run.name, *load_run(run)) for run in options.runs] or [("", None, ClipShape.of(Config().clip))]:
        if shape not in clips:
            clips[shape] = read_clips(movie, windows, shape)
            if not options.no_baselines:
                rows += baseline_rows(clips[shape], windows, shape, movie.channels, options)
        form = build_vjepa(Config(), 0).target_encoder.shape if encoder is None else encoder.shape
        if form not in untrained:
            untrained.add(form)
            for seed in range(options.random):
                fresh = new_encoder(form, torch.Generator().manual_seed(1000 + seed)).eval()
                rows += encoder_rows(f"random {seed}", fresh, clips[shape], windows, shape, options)
        if encoder is not None:
            rows += encoder_rows(name, encoder, clips[shape], windows, shape, options)
    print_table(rows)


def baseline_rows(
    clips: Clips, windows: pd.DataFrame, shape: ClipShape, channels: tuple[str, ...], options: argparse.Namespace
) -> list[dict[str, object]]:
    hand = handmade_features(clips.plain, channels)
    timed = None if options.no_time else Timed(*(handmade_features(part, channels).values_ND for part in clips.timed()))
    compared = {
        "hand-made": (hand.values_ND, timed),
        "hand-made, intensity and change only": (hand.family("intensity", "change").values_ND, None),
        "64 principal components of the pixels": (principal_components(clips.plain, windows), None),
    }
    kinds = [kind for kind in options.kinds if kind != "attentive"] or ["linear"]
    return [row(name, kind, features, windows, shape, options, timed) for name, (features, timed) in compared.items() for kind in kinds]


def encoder_rows(
    label: str, encoder: Encoder, clips: Clips, windows: pd.DataFrame, shape: ClipShape, options: argparse.Namespace
) -> list[dict[str, object]]:
    """Score one encoder with every pooling and kind of probe."""
    started = time.perf_counter()
    tokens = encode(encoder, clips.plain)
    others = [] if options.no_time else [encode(encoder, part) for part in clips.timed()]
    print(f"{label}: encoded in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    rows = []
    for kind in options.kinds:
        for how in ["tokens"] if kind == "attentive" else options.pools:
            timed = Timed(*(pooled(part, how) for part in others)) if others else None
            rows.append(row(f"{label}, {how}", kind, pooled(tokens, how), windows, shape, options, timed))
    return rows


def row(
    name: str, kind: str, features: npt.NDArray[Any], windows: pd.DataFrame, shape: ClipShape, options: argparse.Namespace, timed: Timed | None
) -> dict[str, object]:
    started = time.perf_counter()
    found = {"features": name, "probe": kind, "D": features.shape[-1], **scores(features, windows, shape, kind, options.draws, timed)}
    print(f"{name}, {kind} probe: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return found


@dataclass(frozen=True)
class Clips:
    """Clips of the windows, N C T Z Y X: as they are, and twice as long around the same middle (where the movie has the frames)."""

    plain: npt.NDArray[np.float32]
    long: npt.NDArray[np.float32]

    def timed(self) -> tuple[npt.NDArray[np.float32], ...]:
        """Return the clips backwards, and every second frame of twice the time."""
        return np.ascontiguousarray(self.plain[:, :, ::-1]), np.ascontiguousarray(self.long[:, :, ::2])


@dataclass(frozen=True)
class Timed:
    """Features of the clips played backwards, and at stride 2."""

    backwards: npt.NDArray[Any]
    stride_2: npt.NDArray[Any]


def in_memory(movie: Movie) -> Movie:
    return replace(movie, pixels=InMemory(movie.pixels[:, :, :, :, :]))


def read_windows(path: Path, movie: Movie) -> pd.DataFrame:
    """Return the windows with the columns of an embedding table."""
    table = pd.read_csv(path)
    return table.assign(movie=movie.name, t_start=table["frame_start"], t_stop=table["frame_end"] + 1, y_px=table["y"], x_px=table["x"])


def read_clips(movie: Movie, windows: pd.DataFrame, shape: ClipShape) -> Clips:
    """Read clips centred on each window in space and time."""

    def read(frames: int) -> npt.NDArray[np.float32]:
        wanted = replace(shape, frames=frames)
        starts = (windows["t_start"] + windows["t_stop"] - frames) // 2
        starts = starts.clip(0, movie.shape["T"] - frames)
        places = zip(starts, windows["y_px"], windows["x_px"], strict=True)
        return np.stack([read_clip(movie, clip_at(movie, wanted, int(t), float(y), float(x)), wanted) for t, y, x in places])

    return Clips(read(shape.frames), read(2 * shape.frames))


def load_run(run: Path) -> tuple[Encoder, ClipShape]:
    encoder, card = load_encoder(run)
    return encoder, ClipShape.of(ClipConfig.model_validate(card.provenance["config"]["clip"]))


def encode(encoder: Encoder, clips_NCTZYX: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return (N, C, t, z, y, x, D) tokens."""
    parts = [encode_tokens(encoder, torch.from_numpy(clips_NCTZYX[i : i + BATCH])) for i in range(0, len(clips_NCTZYX), BATCH)]
    grid = encoder.grid_of(torch.from_numpy(clips_NCTZYX[:1]))
    return torch.cat(parts).unflatten(2, (grid.t, grid.z, grid.y, grid.x)).numpy()


def pooled(tokens_NCtzyxD: npt.NDArray[np.float32], how: str) -> npt.NDArray[np.float32]:
    """Pool as the package does; `rich`: moments, and the middle four tokens of each time step; `dynamics`: as the attentive probe."""
    if how == "tokens":
        return tokens_NCtzyxD
    if how == "dynamics":
        return pooled_dynamics(tokens_NCtzyxD).astype(np.float32)
    tokens = torch.from_numpy(tokens_NCtzyxD)
    found = pool(tokens.flatten(2, 5), "mean" if how == "mean" else "moments")
    if how == "rich":
        y, x = ((n - 1) // 2 for n in tokens.shape[4:6])
        centre = tokens[:, :, :, :, y : y + 2, x : x + 2].mean(dim=(3, 4, 5))
        found = torch.cat([found, centre.flatten(1)], dim=1)
    return found.numpy()


def principal_components(clips: npt.NDArray[np.float32], windows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return 64 principal components, found on the training quadrants."""
    pixels = clips.reshape(len(clips), -1)
    train = (windows["split_group"] != TEST_QUADRANT).to_numpy()
    return np.asarray(PCA(64, svd_solver="randomized", random_state=0).fit(pixels[train]).transform(pixels), np.float64)


def scores(features: npt.NDArray[Any], windows: pd.DataFrame, shape: ClipShape, kind: str, draws: int, timed: Timed | None) -> dict[str, str]:
    config = ProbeConfig(kind=kind, group="split_group", folds=2)
    found: dict[str, str] = {}
    for task, (column, classes) in TASKS.items():
        chosen = np.flatnonzero(windows[column].isin(classes))
        codes = windows[column].iloc[chosen].eq(classes[1]).to_numpy(np.int64)
        groups = choose_groups(windows.iloc[chosen], shape, config)
        found |= auc(features[chosen], codes, groups, config, task, FEW, draws)
    groups = choose_groups(pd.concat([windows, windows], ignore_index=True), shape, config)
    codes = np.repeat([0, 1], len(windows))
    for task, other in (("arrow", timed.backwards), ("stride", timed.stride_2)) if timed else ():
        found |= auc(np.concatenate([features, other]), codes, groups, config, task, (None,), 1)
    return found


def auc(
    features: npt.NDArray[Any], codes: npt.NDArray[np.int64], groups: Groups, config: ProbeConfig, task: str, few: tuple[int | None, ...], draws: int
) -> dict[str, str]:
    fold = held_out(groups, np.flatnonzero(np.array(groups.names)[groups.codes_N] == TEST_QUADRANT))
    table = few_label_scores(features, codes, [fold], config, few, draws)
    lines = table.set_index("labels per class")
    spread = {number: f" ± {line['ROC AUC sd']:.3f}" if line["draws"] > 1 else "" for number, line in lines.iterrows()}
    return {f"{task} {number}": f"{line['ROC AUC']:.3f}{spread[number]}" for number, line in lines.iterrows()}


def print_table(rows: list[dict[str, object]]) -> None:
    table = pd.DataFrame(rows).fillna("")
    print("| " + " | ".join(table.columns) + " |")
    print("|" + "---|" * len(table.columns))
    for row in table.itertuples(index=False):
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
