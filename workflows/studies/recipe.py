"""Try pretraining recipes: train each variant with several seeds, score its frozen features, keep every result.

    python workflows/studies/recipe.py run DATA/cellphe_mdamb231_ptycho --out SWEEP [--variants base forecast ...] [--seeds 0 1 2]
        [--config tiny] [--steps 500] [--minutes 8] [--device cpu]
    python workflows/studies/recipe.py table SWEEP

A variant is a list of settings on top of the preset. It is trained twice: on the cellphe movie, and (with crops of 32 px, a fraction of
the cost) on the simulated fields. Both encoders are scored by logistic regression on frozen, pooled features: windows16.csv (motility,
state; 20 and 80 labels per class, quadrant 3 unseen; ROC AUC), the direction of time and the frame stride (labels that cost nothing;
ROC AUC, all labels), and the six simulated behaviours (5 and 20 labels per class, unseen fields; balanced accuracy, chance .167).
Scored is the encoder of the last step; which one the monitors would have kept stands beside. `--minutes` ends a piece of work in time:
the run that is under way is kept and resumed by the next call; results already in SWEEP/results.jsonl are not made again.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from behaviours import FRAMES, SIZE_PX, behaviour_scores
from safetensors import safe_open
from windows16 import TASKS, TEST_QUADRANT, encode, in_memory, pooled, read_clips, read_windows

from cellvjepa import sample_data_folder
from cellvjepa.config import Config, ProbeConfig, load_config
from cellvjepa.embedding.pooling import Pool
from cellvjepa.errors import Cancelled, UserError
from cellvjepa.model.encoder import Encoder
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.readers import open_archive, open_movie
from cellvjepa.probing.splits import choose_groups, held_out
from cellvjepa.probing.validation import few_label_scores
from cellvjepa.training.checkpoint import list_checkpoints
from cellvjepa.training.metrics import read_metrics
from cellvjepa.training.pretrain import pretrain
from cellvjepa.training.selection import kept_step

INTERVAL_S = 360.0  # about six minutes; the file does not say it
FEW = (20, 80)
POOLS: tuple[Pool, ...] = ("mean", "moments", "dynamics")
_SHORT, _LONG = "{{blocks: 8, area: 0.15, context_share: {}, target_share: {}}}", "{{blocks: 2, area: 0.7, context_share: {}, target_share: {}}}"
_SHARES = "context_share: 0.1875, target_share: 0.25"
_FORECAST = "{past: 0.5, context_places: 0.5, target_places: 0.5}"


def _masks(short: tuple[float, float] = (0.1875, 0.25), long: tuple[float, float] | None = (0.09375, 0.25), *more: str) -> str:
    generators = [_SHORT.format(*short), *([_LONG.format(*long)] if long else []), *more]
    return f"masks.generators=[{', '.join(generators)}]"


# What is tried, as settings on top of the preset; `base` is the preset itself. Each differs from it in one thing.
VARIANTS: dict[str, tuple[str, ...]] = {
    "base": (),
    "paper": (
        "training.variance_covariance=0",
        "training.ema_window_start=0.0055",
        "training.learning_rate=6.25e-4",
        "training.clip_grad_norm=10",
        "training.auxiliary=none",
        _masks((0.3, 0.6), (0.12, 0.75)),
        "model.change_gain=0",
    ),
    "EMA window .1 -> 2": ("training.ema_window_start=0.1", "training.ema_window_end=2"),
    "EMA window .5 -> 20": ("training.ema_window_start=0.5", "training.ema_window_end=20"),
    "EMA window .005 -> .5": ("training.ema_window_start=0.005", "training.ema_window_end=0.5"),
    "rate x 1/2": ("training.learning_rate=5e-4",),
    "rate x 2": ("training.learning_rate=2e-3",),
    "vc 0": ("training.variance_covariance=0",),
    "vc .05": ("training.variance_covariance=0.05",),
    "vc 1": ("training.variance_covariance=1",),
    "vc on the predictor": ("training.variance_covariance_on=predicted",),
    "SIGReg .1 for vc": ("training.variance_covariance=0", "training.sigreg=0.1"),
    "SIGReg 1 for vc": ("training.variance_covariance=0", "training.sigreg=1"),
    "targets of 4 layers": ("training.target_layers=4",),
    "no auxiliary target": ("training.auxiliary=none",),
    "unrest": ("training.auxiliary=unrest",),
    "unrest x 3": ("training.auxiliary=unrest", "training.auxiliary_weight=6"),
    "motion x 2": ("training.auxiliary_weight=4",),
    "auxiliary pixels": ("training.auxiliary=pixels",),
    "auxiliary differences": ("training.auxiliary=differences",),
    "pixels": ("training.objective=pixels", "training.variance_covariance=0", "training.auxiliary=none", "monitor.stop_on_collapse=false"),
    "frozen teacher (of pixels)": ("training.objective=frozen_teacher",),
    "no eye for change": ("model.change_gain=0",),
    "eye for change 1": ("model.change_gain=1",),
    "blocks only": (_masks(),),
    "forecast as third": (_masks((0.1875, 0.25), (0.09375, 0.25), _FORECAST),),
    "context x 2": (_masks((0.375, 0.25), None, _FORECAST),),
    "half of the targets": (_masks((0.1875, 0.125), None, "{past: 0.5, context_places: 0.5, target_places: 0.25}"),),
    "twice the targets": (_masks((0.1875, 0.5), None, "{past: 0.5, context_places: 0.5, target_places: 1.0}"),),
    "blocks of .05": (f"masks.generators=[{{blocks: 8, area: 0.05, {_SHARES}}}, {_FORECAST}]",),
    "blocks of .4": (f"masks.generators=[{{blocks: 3, area: 0.4, {_SHARES}}}, {_FORECAST}]",),
    "predictor depth 2": ("model.predictor_depth=2",),
    "predictor depth 6": ("model.predictor_depth=6",),
    "tubelet 1": ("model.tubelet=[1, 1, 16, 16]",),
    "tubelet 2": ("model.tubelet=[2, 1, 8, 8]",),
    "tubelet 8 frames": ("model.tubelet=[8, 1, 8, 8]",),
    "tubelet 16 frames": ("model.tubelet=[16, 1, 8, 8]", _masks()),
    "foreground share 0": ("clip.foreground_share=0",),
    "foreground share 1": ("clip.foreground_share=1",),
    "8 frames": ("clip.frames=8",),
    "32 frames": ("clip.frames=32",),
    "every second frame": (f"clip.interval_s={2 * INTERVAL_S}",),
    "orientations": ("training.orientations=true",),
    "gain .3": ("training.gain=0.3",),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train and score what is missing")
    run.add_argument("data", type=Path, help="folder with images_TYX.tif and windows16.csv")
    run.add_argument("--out", type=Path, required=True, metavar="SWEEP")
    run.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME")
    run.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    run.add_argument("--config", default="tiny")
    run.add_argument("--steps", type=int, default=500)
    run.add_argument("--minutes", type=float, default=None, help="begin nothing and stop what runs after this time; call again to go on")
    run.add_argument("--device", default="auto")
    verbs.add_parser("table", help="print the results as Markdown").add_argument("out", type=Path, metavar="SWEEP")
    options = parser.parse_args()
    if options.verb == "table":
        print_table(read_results(options.out))
        return
    stop_at = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    sweep = Sweep(options.data, options.out, options.config, options.steps, options.device, stop_at)
    for seed in options.seeds:
        for name in options.variants:
            if not sweep.do(name, seed):
                print("time is up; call again to go on", flush=True)
                return


class Sweep:
    """Trains and scores variants, one result per variant and seed.

    Parameters
    ----------
    data
        Folder of the cellphe movie.
    out
        Where runs and results are kept.
    preset, steps, device
        What all variants share.
    stop_at
        ``time.monotonic()`` at which to stop.
    variants
        Settings by name.
    """

    pools: tuple[Pool, ...] = POOLS

    def __init__(
        self, data: Path, out: Path, preset: str, steps: int, device: str, stop_at: float, variants: Mapping[str, tuple[str, ...]] = VARIANTS
    ) -> None:
        self.variants = variants
        self.data, self.out, self.preset, self.steps, self.device, self.stop_at = data, out, preset, steps, device, stop_at
        self.movie = with_levels(replace(open_movie(data / "images_TYX.tif"), interval_s=INTERVAL_S))
        self.done = {(result["variant"], result["seed"]) for result in read_results(out)}

    def do(self, name: str, seed: int) -> bool:
        """Make one result if it is missing; return False if time ran out."""
        if (name, seed) in self.done:
            return True
        if name.startswith("frozen teacher") and not self.do("pixels", seed):
            return False
        began = time.monotonic()
        runs = {data: self.run(name, seed, data) for data in ("cellphe", "simulated")}
        for data, run in runs.items():
            if not self._train(data, run, self.settings(name, seed, data)):
                return False
        rows = read_metrics(runs["cellphe"] / "metrics.jsonl")
        trained = ClipShape.of(self.settings(name, seed, "cellphe").clip)
        # The labels are of 16 frames in a row: longer or slower clips would leave the movie, and ask another question.
        shape = replace(trained, frames=min(trained.frames, FRAMES), interval_s=None)
        result = {
            "variant": name,
            "seed": seed,
            "steps": rows[-1]["step"],
            "chosen steps": [kept_step(run) for run in runs.values()],
            "settings": [*self.variants[name]],
            "clips_per_s": float(np.median([row["clips_per_s"] or 0 for row in rows[1:]])),
            "minutes": (time.monotonic() - began) / 60,
            "rank": [rows[0]["rankme"], rows[-1]["rankme"]],
            "rank of tokens": [rows[0]["rankme_tokens"], rows[-1]["rankme_tokens"]],
            "loss ratio": rows[-1]["loss_ratio"],
            **self.windows16_scores(name, last_encoder(runs["cellphe"]), shape),
            **self.behaviour_scores(last_encoder(runs["simulated"]), shape),
            **provenance(),
        }
        self.keep(result)
        return True

    def keep(self, result: dict[str, Any]) -> None:
        """Write a result down."""
        self.out.mkdir(parents=True, exist_ok=True)
        with (self.out / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
        self.done.add((result["variant"], result["seed"]))
        print(f"{result['variant']}, seed {result['seed']}", flush=True)

    def _train(self, data: str, run: Path, config: Config) -> bool:
        if (run / "encoder.safetensors").exists():
            return True
        try:
            pretrain(self.movies(data), run, config, resume=bool(list_checkpoints(run / "checkpoints")), progress=self._watch)
        except Cancelled:
            return False
        except UserError as error:  # a collapse that the monitors stopped is a result too
            print(f"{run.name}: {error}", flush=True)
        return True

    def run(self, name: str, seed: int, data: str) -> Path:
        """Return where a variant is trained."""
        return self.out / f"{name.replace(' ', '_').replace('/', '_')}_{seed}_{data}"

    def settings(self, name: str, seed: int, data: str) -> Config:
        """Return the configuration of a variant."""
        own = list(self.variants[name])
        if data == "simulated":
            own = [*(setting for setting in own if not setting.startswith("clip.interval_s")), f"clip.size_px={SIZE_PX}"]
        if name.startswith("frozen teacher"):
            own.append(f"training.teacher={self.run('pixels', seed, data)}")
        rhythm = [f"training.checkpoint_every={max(1, self.steps // 10)}", f"monitor.every={max(1, self.steps // 5)}", "training.log_every=25"]
        rhythm.append("monitor.stop_on_collapse=false")  # what collapses is to be seen to its end
        common = [f"training.steps={self.steps}", f"training.seed={seed}", f"training.device={self.device}", *rhythm]
        return load_config(self.preset, [*common, *own])

    def movies(self, data: str) -> tuple[Movie, ...]:
        """Return what is trained on."""
        return (self.movie,) if data == "cellphe" else open_archive(sample_data_folder() / "simulated").movies

    def behaviour_scores(self, encoder: Encoder, shape: ClipShape) -> dict[str, float]:
        """Return the scores of a frozen encoder on the simulated behaviours."""
        return {f"behaviours {few} {how}": value for (how, few), value in behaviour_scores(encoder, shape, self.pools).items()}

    def windows16_scores(self, name: str, encoder: Encoder, shape: ClipShape) -> dict[str, float]:
        """Return the scores of a frozen encoder, that of the variant ``name``, on windows16.csv."""
        found: dict[str, float] = {}
        movie = in_memory(self.movie)
        windows = read_windows(self.data / "windows16.csv", movie)
        clips = read_clips(movie, windows, shape)
        tokens, others = encode(encoder, clips.plain), [encode(encoder, part) for part in clips.timed()]
        for how in POOLS:
            features = pooled(tokens, how)
            for task, auc in windows16_auc(features, windows, shape):
                found[f"{task} {how}"] = auc
            timed = [pooled(part, how) for part in others]
            for task, other in zip(("arrow", "stride"), timed, strict=True):
                found[f"{task} {how}"] = timed_auc(features, other, windows, shape)
        return found

    def _watch(self, stage: str, done: int, total: int) -> None:
        if stage == "pretraining" and time.monotonic() > self.stop_at:
            raise Cancelled


def last_encoder(run: Path) -> Encoder:
    """Return the encoder after the last step, whatever the monitors chose: a comparison of recipes is not to be one of choices."""
    encoder, card = load_encoder(run)
    part = "context" if card.provenance["config"]["training"]["objective"] == "frozen_teacher" else "target"
    prefix = f"model.{part}_encoder."
    with safe_open(list_checkpoints(run / "checkpoints")[-1].path, framework="pt") as file:
        encoder.load_state_dict({name: file.get_tensor(prefix + name) for name in encoder.state_dict()})
    return encoder


def windows16_auc(
    features: np.ndarray, windows: pd.DataFrame, shape: ClipShape, few: Sequence[int] = FEW, kind: Literal["linear", "attentive"] = "linear"
) -> Iterator[tuple[str, float]]:
    """Yield (task and labels per class, ROC AUC on the unseen quadrant)."""
    config = ProbeConfig(kind=kind, group="split_group", folds=2)
    for task, (column, classes) in TASKS.items():
        chosen = np.flatnonzero(windows[column].isin(classes))
        codes = windows[column].iloc[chosen].eq(classes[1]).to_numpy().astype(np.int64)
        groups = choose_groups(windows.iloc[chosen], shape, config)
        fold = held_out(groups, np.flatnonzero(np.array(groups.names)[groups.codes_N] == TEST_QUADRANT))
        for _, line in few_label_scores(features[chosen], codes, [fold], config, few).iterrows():
            yield f"{task} {line['labels per class']}", float(line["ROC AUC"])


def timed_auc(plain: np.ndarray, other: np.ndarray, windows: pd.DataFrame, shape: ClipShape) -> float:
    """Return how well clips are told from the same clips at another time order or stride."""
    config = ProbeConfig(kind="linear", group="split_group", folds=2)
    groups = choose_groups(pd.concat([windows, windows], ignore_index=True), shape, config)
    fold = held_out(groups, np.flatnonzero(np.array(groups.names)[groups.codes_N] == TEST_QUADRANT))
    table = few_label_scores(np.concatenate([plain, other]), np.repeat([0, 1], len(windows)), [fold], config, (None,), 1)
    return float(table["ROC AUC"].iloc[0])


def provenance() -> dict[str, Any]:
    """Return commit and machine."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU thread(s)"
    return {"commit": commit.stdout.strip(), "machine": f"{platform.machine()}, {accelerator}, torch {torch.__version__}"}


def read_results(out: Path) -> list[dict[str, Any]]:
    """Return the results of a sweep so far."""
    path = out / "results.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def print_table(results: Sequence[dict[str, Any]]) -> None:
    """Print one line per variant: means over seeds, and the standard deviation where there are several."""
    tasks = ("motility 20", "motility 80", "state 20", "arrow", "stride", "behaviours 5", "behaviours 20")
    print("Each cell: mean / moments / dynamics pooling.\n")
    print(f"| variant | seeds | {' | '.join(tasks)} | rank of clips, of tokens | kept encoders of step |")
    print("|" + "---|" * (len(tasks) + 4))
    for name in [name for name in VARIANTS if any(result["variant"] == name for result in results)]:
        rows = [result for result in results if result["variant"] == name]
        cells = [" / ".join(_number([row[f"{task} {how}"] for row in rows]) for how in POOLS) for task in tasks]
        ranks = ", ".join(_arrow([row[key] for row in rows]) for key in ("rank", "rank of tokens"))
        kept = sorted({step for row in rows for step in row["chosen steps"]})
        print(f"| {name} | {len(rows)} | {' | '.join(cells)} | {ranks} | {', '.join(map(str, kept))} |")


def _number(values: list[float]) -> str:
    mean = f"{np.mean(values):.3f}".lstrip("0")
    return f"{mean}±{np.std(values, ddof=1):.3f}".replace("±0.", "±.") if len(values) > 1 else mean


def _arrow(pairs: list[list[float]]) -> str:
    first, last = np.mean(pairs, axis=0)
    return f"{first:.0f} -> {last:.0f}"


if __name__ == "__main__":
    main()
