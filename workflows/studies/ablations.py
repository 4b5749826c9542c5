"""Are the published orderings kept at lab scale? Same data, same number of clips, three seeds, grouped splits.

    python workflows/studies/ablations.py run DATA/cellphe_mdamb231_ptycho --out FOLDER [--seeds 0 1 2] [--steps 300] [--minutes 8]
    python workflows/studies/ablations.py table FOLDER

As in recipe.py each is trained on the cellphe movie and on the simulated fields. Each ordering of V-JEPA (arXiv 2404.08471, tables 1-4 and
section 4) is one line: both sides over seeds, their difference, and whether it is kept. A difference smaller than twice its standard error is
called unclear. Orderings: multi-block masks > random tubes; features > pixels as target; attentive > mean-pooled probe; clips > single
frames for behaviours; pretrained > random weights; pretrained > hand-made features.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from behaviours import handmade_behaviour_scores
from recipe import Sweep, provenance, read_results, windows16_auc
from windows16 import encode, in_memory, pooled, read_clips, read_windows

from cellvjepa.model.encoder import Encoder, new_encoder
from cellvjepa.model.weights import load_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.probing.baselines import handmade_features

FEW = (5, 20, 80)
_TUBES = "{blocks: 48, area: 0.0157, context_share: 0.1875, target_share: 0.25}"
_BLOCKS = "{blocks: 8, area: 0.15, context_share: 0.1875, target_share: 0.25}, {blocks: 2, area: 0.7, context_share: 0.09375, target_share: 0.25}"

# Trained for the comparison; what is not named is as in the preset.
TRAINED: dict[str, tuple[str, ...]] = {
    "preset": (),
    "multi-block masks": (f"masks.generators=[{_BLOCKS}]",),
    "random tubes": (f"masks.generators=[{_TUBES}, {_TUBES}]",),
    "pixels": ("training.objective=pixels", "training.variance_covariance=0", "training.auxiliary=none", "monitor.stop_on_collapse=false"),
    "single frames": ("clip.frames=1", "model.tubelet=[1, 1, 8, 8]", f"masks.generators=[{_BLOCKS}]"),
}
RANDOM, HANDMADE = "random weights", "hand-made features"

# (left, its scores, right, its scores): the left is published to be better.
Side = tuple[str, str]
ORDERINGS: dict[str, tuple[Side, Side, tuple[str, ...]]] = {
    "multi-block masks > random tubes": (("multi-block masks", "mean"), ("random tubes", "mean"), ("motility 20", "state 20", "behaviours 20")),
    "features > pixels as target": (("preset", "mean"), ("pixels", "mean"), ("motility 20", "state 20", "behaviours 20")),
    "attentive > mean-pooled linear probe": (
        ("preset", "attentive"),
        ("preset", "mean"),
        tuple(f"{t} {n}" for t in ("motility", "state") for n in FEW),
    ),
    "attentive > linear probe on dynamics pooling": (
        ("preset", "attentive"),
        ("preset", "dynamics"),
        tuple(f"{t} {n}" for t in ("motility", "state") for n in FEW),
    ),
    "clips > single frames": (("preset", "mean"), ("single frames", "mean"), ("motility 20", "behaviours 20")),
    **{
        f"pretrained > random weights, {how}": (
            ("preset", how),
            (RANDOM, how),
            tuple(f"{t} {n}" for t in ("motility", "state") for n in FEW) + (() if how == "attentive" else ("behaviours 5", "behaviours 20")),
        )
        for how in ("mean", "dynamics", "attentive")
    },
    **{
        f"pretrained, {how} > hand-made features": (
            ("preset", how),
            (HANDMADE, "linear"),
            tuple(f"{t} {n}" for t in ("motility", "state") for n in FEW) + (() if how == "attentive" else ("behaviours 5", "behaviours 20")),
        )
        for how in ("dynamics", "attentive")
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train and score what is missing")
    run.add_argument("data", type=Path, help="folder with images_TYX.tif and windows16.csv")
    run.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    run.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    run.add_argument("--config", default="tiny")
    run.add_argument("--steps", type=int, default=300)
    run.add_argument("--minutes", type=float, default=None, help="begin nothing and stop what runs after this time; call again to go on")
    run.add_argument("--device", default="auto")
    verbs.add_parser("table", help="print the orderings as Markdown").add_argument("out", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.verb == "table":
        print_table(read_results(options.out))
        return
    stop_at = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
    study = Ablations(options.data, options.out, options.config, options.steps, options.device, stop_at, TRAINED)
    for seed in options.seeds:
        for name in (*TRAINED, RANDOM, HANDMADE):
            done = study.do(name, seed) if name in TRAINED else study.baseline(name, seed)
            if not done:
                print("time is up; call again to go on", flush=True)
                return


class Ablations(Sweep):
    """A sweep whose encoders are also judged by attentive probes, with random weights and hand-made features beside them."""

    pools = ("mean", "dynamics")

    def windows16_scores(self, name: str, encoder: Encoder, shape: ClipShape) -> dict[str, float]:
        """Return those scores of a frozen encoder on windows16.csv that an ordering asks of the variant ``name``."""
        movie = in_memory(self.movie)
        windows = read_windows(self.data / "windows16.csv", movie)
        tokens = encode(encoder, read_clips(movie, windows, shape).plain)
        found: dict[str, float] = {}
        for how in asked_of(name):
            features = tokens if how == "attentive" else pooled(tokens, how)
            for task, auc in windows16_auc(features, windows, shape, FEW, "attentive" if how == "attentive" else "linear"):
                found[f"{task} {how}"] = auc
        return found

    def baseline(self, name: str, seed: int) -> bool:
        """Make one result without training: the preset's network with random weights, or no network."""
        if (name, seed) in self.done:
            return True
        if time.monotonic() > self.stop_at:
            return False
        shape = ClipShape.of(self.settings("preset", seed, "cellphe").clip)
        if name == RANDOM:
            found = self.windows16_scores(name, self.untrained("cellphe", seed), shape)
            found |= self.behaviour_scores(self.untrained("simulated", seed), shape)
        else:
            movie = in_memory(self.movie)
            windows = read_windows(self.data / "windows16.csv", movie)
            features = handmade_features(read_clips(movie, windows, shape).plain, movie.channels).values_ND
            found = {f"{task} linear": auc for task, auc in windows16_auc(features, windows, shape, FEW)}
            found |= {f"behaviours {few} linear": value for few, value in handmade_behaviour_scores(shape).items()}
        self.keep({"variant": name, "seed": seed, **found, **provenance()})
        return True

    def untrained(self, data: str, seed: int) -> Encoder:
        """Return an encoder that was made as the preset's was, with other random weights, and never trained."""
        trained, _ = load_encoder(self.out / f"preset_{seed}_{data}")
        return new_encoder(trained.shape, torch.Generator().manual_seed(1000 + seed)).eval()


def asked_of(name: str) -> tuple[str, ...]:
    """Return how the features of a variant are looked at in the orderings; attentive probes take minutes."""
    sides = (side for left, right, _ in ORDERINGS.values() for side in (left, right))
    return tuple(dict.fromkeys(how for variant, how in sides if variant == name))


def print_table(results: list[dict[str, Any]]) -> None:
    """Print one line per ordering and task."""
    print("| ordering | task | left | right | difference | kept |\n|---|---|---|---|---|---|")
    for ordering, (left, right, tasks) in ORDERINGS.items():
        for task in tasks:
            sides = [{r["seed"]: r[f"{task} {how}"] for r in results if r["variant"] == name and f"{task} {how}" in r} for name, how in (left, right)]
            seeds = sorted(sides[0].keys() & sides[1].keys())
            if seeds:
                a, b = (np.array([side[seed] for seed in seeds]) for side in sides)
                print(f"| {ordering} | {task} | {_mean(a)} | {_mean(b)} | {np.mean(a - b):+.3f} | {_kept(a - b)} |")


def _kept(differences: np.ndarray) -> str:
    if len(differences) < 2:
        return "one seed"
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    if abs(differences.mean()) < 2 * error or abs(differences.mean()) < 0.005:
        return "unclear"
    return "yes" if differences.mean() > 0 else "NO"


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ± {values.std(ddof=1) if len(values) > 1 else 0:.3f}".replace("0.", ".")


if __name__ == "__main__":
    main()
