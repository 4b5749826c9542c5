"""What is pretraining worth with few labels? Our encoder against all baselines and two other ways to pretrain it, on the same tasks.

    python workflows/studies/few_labels.py run DATA --out FOLDER [--seeds 0 1 2 3 4] [--config tiny] [--steps 300] [--minutes 8]
    python workflows/studies/few_labels.py table FOLDER

DATA is the folder with all real movies. Each method is trained twice, on the cellphe movie and (with crops of 32 px) on the simulated
fields; the second encoder reads the simulated behaviours, the first one everything else. The other methods (tarrow.py,
time_contrastive.py) train the same network from the same initial weights for as many processor seconds as ours, measured at the
start; the learning rate of each is the better of two, chosen on seed 0 with a third of the steps, by quadrant 2 of windows16.csv.
Labels, splits and scores: few_labels_tasks.py. Results already in FOLDER/results.jsonl are not made again; seeds are the outer loop, so
that the table is complete with fewer seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import tarrow
import time_contrastive
import torch
from few_labels_table import print_tables
from few_labels_tasks import CELLPHE, ClipSet, Task, all_clip_sets, in_another_order, motility_and_state
from pair_training import Method, processor_seconds_per_step, train_on_pairs
from recipe import Sweep, provenance, read_results
from windows16 import BATCH, in_memory, read_windows

from cellvjepa.config import Config, ProbeConfig
from cellvjepa.embedding.encoding import encode_tokens
from cellvjepa.embedding.pooling import Pool, pool
from cellvjepa.errors import Cancelled
from cellvjepa.model.encoder import Encoder, new_encoder
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.probing.baselines import handmade_features, no_features
from cellvjepa.probing.shapes import texture_features
from cellvjepa.probing.timeless import held_still
from cellvjepa.probing.validation import few_label_scores

OURS, UNTRAINED, STILL, SHUFFLED = "ours", "untrained", "single frame", "time shuffled"
ARROW, CONTRASTIVE = "time arrow", "time-contrastive"
PRIOR, HANDMADE, KINDS = "class prior", "hand-made", "kinds of probe"
METHODS = {ARROW: Method(tarrow.views, tarrow.ArrowHead), CONTRASTIVE: Method(time_contrastive.views, time_contrastive.ContrastiveHead)}
RATES = (3e-4, 1e-3)
POOLS: tuple[Pool, ...] = ("mean", "moments", "dynamics")
DRAWS, KIND_DRAWS = 5, 2
# Of the attentive probe neither rates nor steps are searched here: thirteen times the cost for ten fits on each number of labels.
KIND_SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {"kind": "linear", "inner_folds": 0},
    "knn": {"kind": "knn", "inner_folds": 0},
    "attentive": {"kind": "attentive", "attentive_search": False, "inner_folds": 0},
    "auto": {"kind": "auto", "attentive_search": False},
}
# Neither intervals nor temperatures: deviations come from training seeds, and a temperature changes neither ROC AUC of two classes nor accuracy.
LINEAR = ProbeConfig(kind="linear", bootstrap=1, inner_folds=0)
KIND_TASKS = ("motility", "state", "behaviours")
Data = Literal["cellphe", "simulated"]
Floats = npt.NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train and score what is missing")
    run.add_argument("data", type=Path, help=f"folder with {CELLPHE} and the other movies")
    run.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    run.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    run.add_argument("--config", default="tiny")
    run.add_argument("--steps", type=int, default=300)
    run.add_argument("--minutes", type=float, default=None, help="begin nothing and stop what runs after this time; call again to go on")
    run.add_argument("--device", default="auto")
    verbs.add_parser("table", help="print the results as Markdown").add_argument("out", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.verb == "table":
        print_tables(read_results(options.out), options.out)
        return
    stop_at = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    study = Study(options.data, options.out, options.config, options.steps, options.device, stop_at)
    try:
        study.make(options.seeds)
    except Cancelled:
        print("time is up; call again to go on", flush=True)


class Study(Sweep):
    """Trains and scores; ``variant`` of a result is the method.

    Parameters
    ----------
    data
        Folder of all real movies.
    out, preset, steps, device, stop_at
        As for :class:`recipe.Sweep`.
    """

    def __init__(self, data: Path, out: Path, preset: str, steps: int, device: str, stop_at: float) -> None:
        super().__init__(data / CELLPHE, out, preset, steps, device, stop_at, {OURS: ()})
        self.shape = ClipShape.of(self.settings(OURS, 0, "cellphe").clip)
        self.sets = all_clip_sets(data, self.shape)

    def make(self, seeds: list[int]) -> None:
        """Make what is missing, seed by seed.

        Raises
        ------
        Cancelled
            If the time is up.
        """
        for name in (PRIOR, HANDMADE):
            if (name, 0) not in self.done:
                self._keep(name, 0, self._unlearnt(name))
        for seed in seeds:
            for data in ("cellphe", "simulated"):
                if not self._train(data, self.run(OURS, seed, data), self.settings(OURS, seed, data)):
                    raise Cancelled
            for name in (OURS, UNTRAINED, STILL, SHUFFLED, ARROW, CONTRASTIVE, KINDS):
                if (name, seed) not in self.done:
                    self._stop_in_time()
                    self._keep(name, seed, self._kinds(seed) if name == KINDS else self._scores(name, seed))

    def encoder(self, name: str, seed: int, data: Data) -> Encoder:
        """Return the encoder that a row of the table reads with, trained if need be."""
        ours, _ = load_encoder(self.run(OURS, seed, data))
        if name == UNTRAINED:  # the very weights that training began with
            return new_encoder(ours.shape, torch.Generator().manual_seed(seed)).requires_grad_(False).eval()
        if name not in METHODS:
            return ours
        run = self.run(name, seed, data)
        if not (run / "encoder.safetensors").exists():
            steps = round(self.steps * self._cost(data)["ours"] / self._cost(data)[name])
            self._pretrain(name, seed, data, run, steps, self._rate(name))
        return load_encoder(run)[0]

    def _pretrain(self, name: str, seed: int, data: Data, run: Path, steps: int, rate: float) -> Encoder:
        shape = load_encoder(self.run(OURS, seed, data))[0].shape
        config = self._config(seed, data, steps, rate)
        began = time.monotonic()
        encoder = train_on_pairs(METHODS[name], self.movies(data), shape, config, run, self._watch)
        print(f"trained {run.name}, {steps} steps in {(time.monotonic() - began) / 60:.1f} min", flush=True)
        return encoder

    def _config(self, seed: int, data: Data, steps: int, rate: float) -> Config:
        plain = self.settings(OURS, seed, data).model_dump(mode="json")
        plain["training"] |= {"steps": steps, "learning_rate": rate}
        return Config.model_validate(plain)

    def _cost(self, data: Data) -> Mapping[str, float]:
        """Return processor seconds per step, measured once."""
        file = self.out / f"processor_seconds_{data}.json"
        if not file.exists():
            shape = load_encoder(self.run(OURS, 0, data))[0].shape
            found = processor_seconds_per_step(METHODS, self.movies(data), shape, self.settings(OURS, 0, data))
            file.write_text(json.dumps(found) + "\n", encoding="utf-8")
        known: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
        return known

    def _rate(self, name: str) -> float:
        """Return the better of the rates: mean ROC AUC of motility and state with 20 labels, taught by quadrants 0 and 1, judged by 2."""
        file = self.out / f"rates_{name.replace(' ', '_')}.json"
        if not file.exists():
            steps = max(1, round(self.steps * self._cost("cellphe")["ours"] / self._cost("cellphe")[name] / 3))
            found = {}
            for rate in RATES:
                encoder = self._pretrain(name, 0, "cellphe", self.out / f"rate_{rate}_{name.replace(' ', '_')}", steps, rate)
                found[str(rate)] = self._validated(encoder)
            file.write_text(json.dumps(found) + "\n", encoding="utf-8")
        known: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
        return float(max(known, key=lambda rate: known[rate]))

    def _validated(self, encoder: Encoder) -> float:
        movie = in_memory(self.movie)
        windows = read_windows(self.data / "windows16.csv", movie)
        windows = windows[windows["split_group"] != "quadrant3"].reset_index(drop=True)
        found = motility_and_state(movie, windows, self.shape, judge="quadrant2")
        vectors = tokens_and_vectors(encoder, found.clips, ("dynamics",))[1]["dynamics"]
        return float(np.mean([score(task, vectors, LINEAR, (20,), DRAWS)[f"{task.name} 20"] for task in found.tasks]))

    def _scores(self, name: str, seed: int) -> dict[str, float]:
        """Return the scores of an encoder on all tasks by pooling; without time where that is asked for."""
        encoders = {data: self.encoder(name, seed, data) for data in ("cellphe", "simulated")}
        found: dict[str, float] = {}
        for clip_set in self.sets:
            if name in (STILL, SHUFFLED) and not clip_set.still:
                continue
            _, vectors = tokens_and_vectors(encoders[clip_set.trained_on], robbed_of_time(name, clip_set.clips), POOLS)
            for how, values in vectors.items():
                found |= {f"{key} {how}": value for key, value in set_scores(clip_set, values).items()}
        return found

    def _unlearnt(self, name: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for clip_set in self.sets:
            clips = clip_set.clips
            if name == PRIOR:
                values = no_features(len(clips)).values_ND
            else:
                values = np.concatenate([family(clips, ("channel",)).values_ND for family in (handmade_features, texture_features)], axis=1)
            found |= {f"{key} {how}": value for key, value in set_scores(clip_set, values).items() for how in POOLS}
        return found

    def _kinds(self, seed: int) -> dict[str, float]:
        """Return the scores of our encoder by kind of probe; linear and knn read dynamics pooling, as all kinds are given tokens."""
        found: dict[str, float] = {}
        for clip_set in self.sets:
            for task in (task for task in clip_set.tasks if task.name in KIND_TASKS):
                tokens, _ = tokens_and_vectors(self.encoder(OURS, seed, clip_set.trained_on), clip_set.clips[task.rows], ())
                own = Task(task.name, np.arange(len(task.rows)), task.codes_N, task.folds, task.groups_N, task.few, task.scores)
                for kind, settings in KIND_SETTINGS.items():
                    self._stop_in_time()
                    scores = score(own, tokens, ProbeConfig(**settings, bootstrap=1), own.few, KIND_DRAWS)
                    found |= {f"{key} {kind}": value for key, value in scores.items()}
        return found

    def _keep(self, name: str, seed: int, scores: Mapping[str, float]) -> None:
        self.keep({"variant": name, "seed": seed, "steps": self.steps, "scores": dict(scores), **provenance()})

    def _stop_in_time(self) -> None:
        if time.monotonic() > self.stop_at:
            raise Cancelled


def set_scores(clip_set: ClipSet, features: npt.NDArray[Any]) -> dict[str, float]:
    """Return the scores of logistic regression on the vectors of a set of clips, on all its tasks."""
    found: dict[str, float] = {}
    for task in clip_set.tasks:
        found |= score(task, features, LINEAR, task.few, DRAWS)
    return found


def score(task: Task, features: npt.NDArray[Any], config: ProbeConfig, few: tuple[int | None, ...], draws: int) -> dict[str, float]:
    """Return scores by ``"TASK LABELS"``; scores but the first as ``"TASK (SCORE) LABELS"``."""
    lines = few_label_scores(features[task.rows], task.codes_N, task.folds, config, few, draws, groups_N=task.groups_N)
    found = {}
    for _, line in lines.iterrows():
        for number, measure in enumerate(task.scores):
            found[f"{task.name} {f'({measure}) ' if number else ''}{line['labels per class']}"] = float(line[measure])
    return found


def robbed_of_time(name: str, clips: Floats) -> Floats:
    """Return what a row of the table shows to its encoder."""
    if name == STILL:
        return held_still(clips)
    return in_another_order(clips, list(map(str, range(len(clips))))) if name == SHUFFLED else clips


def tokens_and_vectors(encoder: Encoder, clips: Floats, pools: tuple[Pool, ...]) -> tuple[Floats, dict[Pool, Floats]]:
    """Return (N, C, t, z, y, x, D) tokens (none where pools are asked for: they would fill the memory), and vectors by pooling."""
    grid = encoder.grid_of(torch.from_numpy(clips[:1]))
    kept: list[torch.Tensor] = []
    pooled: dict[Pool, list[torch.Tensor]] = {how: [] for how in pools}
    for start in range(0, len(clips), BATCH):
        tokens = encode_tokens(encoder, torch.from_numpy(np.ascontiguousarray(clips[start : start + BATCH])))
        for how in pools:
            pooled[how].append(pool(tokens, how, grid))
        if not pools:
            kept.append(tokens.reshape(*tokens.shape[:2], grid.t, grid.z, grid.y, grid.x, -1))
    return torch.cat(kept).numpy() if kept else np.empty(0, np.float32), {how: torch.cat(parts).numpy() for how, parts in pooled.items()}


if __name__ == "__main__":
    main()
