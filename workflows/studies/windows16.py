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

from cellvjepa.config import Config, ProbeConfig
from cellvjepa.embedding.embed import encode_tokens, pool
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.vjepa import build_vjepa
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clips import ClipShape, clip_at, read_clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_movie
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
    parser.add_argument("--pools", nargs="+", default=["mean", "moments"], choices=["mean", "moments", "rich"])
    parser.add_argument("--kinds", nargs="+", default=["linear"], choices=["linear", "knn", "attentive"])
    parser.add_argument("--random", type=int, default=2, metavar="N", help="encoders with random weights, per configuration")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--no-baselines", action="store_true", help="leave out hand-made features and principal components")
    parser.add_argument("--no-time", action="store_true", help="leave out arrow and stride, which take twice more encoding")
    options = parser.parse_args()

    movie = in_memory(with_levels(open_movie(options.data / "images_TYX.tif")))
    windows = read_windows(options.data / "windows16.csv", movie)
    loaded = [(run.name, *load_run(run)) for run in options.runs] or [("", None, Config())]
    rows: list[dict[str, object]] = []

    def report(name: str, kind: str, features: npt.NDArray[Any], timed: Timed | None, shape: ClipShape) -> None:
        started = time.perf_counter()
        rows.append({"features": name, "probe": kind, "D": features.shape[-1], **scores(features, windows, shape, kind, options.draws, timed)})
        print(f"{name} {kind}: {time.perf_counter() - started:.0f} s", file=sys.stderr)

    done: dict[ClipShape, Config] = {}
    for name, encoder, config in loaded:
        shape = ClipShape.of(config.clip)
        clips = read_clips(movie, windows, shape)
        if shape not in done and not options.no_baselines:
            for kind in [kind for kind in options.kinds if kind != "attentive"]:
                hand = handmade_features(clips.plain, movie.channels)
                timed_hand = None if options.no_time else Timed(*(handmade_features(part, movie.channels).values_ND for part in clips.timed()))
                report("hand-made", kind, hand.values_ND, timed_hand, shape)
                report("hand-made, intensity and change only", kind, hand.family("intensity", "change").values_ND, None, shape)
                report("64 principal components of the pixels", kind, principal_components(clips.plain, windows), None, shape)
        encoders = [] if encoder is None else [(name, encoder)]
        if not any(same_network(config, other) for other in done.values()):
            fresh = [build_vjepa(config, seed=1000 + seed, planes=1).target_encoder.eval() for seed in range(options.random)]
            encoders = [(f"random {seed}", one) for seed, one in enumerate(fresh)] + encoders
        done[shape] = config
        for label, one in encoders:
            judge(label, one, clips, options, report, shape)
    print_table(rows)


def judge(label: str, encoder: Encoder, clips: Clips, options: argparse.Namespace, report: Any, shape: ClipShape) -> None:
    """Score one encoder with every pooling and kind of probe."""
    started = time.perf_counter()
    tokens = encode(encoder, clips.plain)
    time_parts = None if options.no_time else [encode(encoder, part) for part in clips.timed()]
    print(f"{label}: encoded in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    frames = encoder.grid_of(torch.from_numpy(clips.plain[:1])).t
    for kind in options.kinds:
        if kind == "attentive":
            timed = None if time_parts is None else Timed(*(part.numpy() for part in time_parts))
            report(f"{label}, all tokens", kind, tokens.numpy(), timed, shape)
            continue
        for how in options.pools:
            timed = None if time_parts is None else Timed(*(pooled(part, how, frames) for part in time_parts))
            report(f"{label}, {how}", kind, pooled(tokens, how, frames), timed, shape)


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


def load_run(run: Path) -> tuple[Encoder, Config]:
    encoder, card = load_encoder(run)
    return encoder, Config.model_validate(card.provenance["config"])


def same_network(one: Config, other: Config) -> bool:
    return one.model == other.model and one.clip == other.clip


def encode(encoder: Encoder, clips_NCTZYX: npt.NDArray[np.float32]) -> torch.Tensor:
    """Return (N, L, D) tokens of one-channel clips."""
    parts = [encode_tokens(encoder, torch.from_numpy(clips_NCTZYX[i : i + BATCH])) for i in range(0, len(clips_NCTZYX), BATCH)]
    return torch.cat(parts).flatten(1, 2)


def pooled(tokens_NLD: torch.Tensor, how: str, frames: int) -> npt.NDArray[np.float32]:
    """Pool as the package does, or `rich`: moments, and the mean of the four tokens in the middle at each time step."""
    if how != "rich":
        return pool(tokens_NLD[:, None], "moments" if how == "moments" else "mean").numpy()
    side = round((tokens_NLD.shape[1] // frames) ** 0.5)
    grid = tokens_NLD.unflatten(1, (frames, side, side))
    middle = slice(side // 2 - 1, side // 2 + 1) if side > 1 else slice(0, 1)
    centre = grid[:, :, middle, middle].mean(dim=(2, 3)).flatten(1)
    return torch.cat([pool(tokens_NLD[:, None], "moments"), centre], dim=1).numpy()


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
