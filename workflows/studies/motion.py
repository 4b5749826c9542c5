"""What does motion pooling add? Encoders of few_labels.py, frozen, on tasks and quadrants that its form was not chosen by.

    python workflows/studies/motion.py run DATA --runs FEW --out FOLDER [--seeds 0 1 2 3 4]
    python workflows/studies/motion.py table FOLDER

DATA: all real movies; FEW: the folder of ``few_labels.py run``, whose encoders are read. Logistic regression on poolings of the same tokens, five
draws of labels; each quadrant of windows16.csv judges in turn. What is in FOLDER/results.jsonl is not made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from few_labels import HANDMADE, OURS, UNTRAINED, Study, set_scores, tokens_and_vectors
from few_labels_tasks import ClipSet, motility_and_state
from recipe import provenance, read_results
from windows16 import in_memory, read_windows

from cellvjepa.embedding.pooling import Pool
from cellvjepa.probing.handmade import handmade_features
from cellvjepa.probing.shapes import texture_features

JUDGES = ("quadrant0", "quadrant1", "quadrant2", "quadrant3")
POOLS: tuple[Pool, ...] = ("mean", "dynamics", "motion")
ROWS = ((HANDMADE, ""), (UNTRAINED, "dynamics"), (UNTRAINED, "motion"), (OURS, "mean"), (OURS, "dynamics"), (OURS, "motion"))
COLUMNS = (
    *(f"{task} {judge} {few}" for task in ("motility", "state") for judge in JUDGES for few in (5, 20)),
    *(f"behaviours {few}" for few in (1, 5, 20)),
    "mitosis all",
    *(f"{task} {movie} all" for task in ("direction", "stride", "order") for movie in ("cellphe", "nuclei", "oocyte", "S2")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="score what is missing")
    run.add_argument("data", type=Path)
    run.add_argument("--runs", type=Path, required=True, metavar="FEW")
    run.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    run.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    verbs.add_parser("table", help="print the results as Markdown").add_argument("out", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.verb == "table":
        print_tables(read_results(options.out))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    study = Study(options.data, options.runs, "tiny", 300, "cpu", float("inf"))
    sets = [*judged_by_all(study), *study.sets[1:]]  # the first is motility and state judged by one quadrant
    done = {(result["variant"], result["seed"]) for result in read_results(options.out)}
    for name, seed in [(HANDMADE, 0), *((name, seed) for seed in options.seeds for name in (UNTRAINED, OURS))]:
        if (name, seed) in done:
            continue
        found = {key: value for clip_set in sets for key, value in scores_of(study, clip_set, name, seed)}
        with (options.out / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"variant": name, "seed": seed, "scores": found, **provenance()}) + "\n")
        print(name, seed, flush=True)


def judged_by_all(study: Study) -> Iterator[ClipSet]:
    """Yield motility and state, each quadrant judging in turn."""
    movie = in_memory(study.movie)
    windows = read_windows(study.data / "windows16.csv", movie)
    parts = {judge: motility_and_state(movie, windows, study.shape, judge) for judge in JUDGES}
    tasks = tuple(replace(task, name=f"{task.name} {judge}", few=(5, 20)) for judge, part in parts.items() for task in part.tasks)
    yield replace(parts[JUDGES[0]], tasks=tasks)


def scores_of(study: Study, clip_set: ClipSet, name: str, seed: int) -> Iterator[tuple[str, float]]:
    """Yield scores by ``"TASK LABELS POOLING"``."""
    if name == HANDMADE:
        clips = clip_set.clips
        values = np.concatenate([family(clips, ("channel",)).values_ND for family in (handmade_features, texture_features)], axis=1)
        yield from ((f"{key} ", value) for key, value in set_scores(clip_set, values).items())
        return
    _, vectors = tokens_and_vectors(study.encoder(name, seed, clip_set.trained_on), clip_set.clips, POOLS)
    for how, vectors_ND in vectors.items():
        yield from ((f"{key} {how}", value) for key, value in set_scores(clip_set, vectors_ND).items())


def print_tables(results: list[dict[str, object]]) -> None:
    """Print a line per task: mean and standard deviation over seeds, and motion against dynamics, paired by seed."""
    scores = {(row["variant"], row["seed"]): row["scores"] for row in results}
    print("| task | " + " | ".join(f"{name}{', ' * bool(how)}{how}" for name, how in ROWS) + " | motion - dynamics (ours) |")
    print("|---" * (len(ROWS) + 2) + "|")
    for column in COLUMNS:
        cells = []
        for name, how in ROWS:
            values = [found[f"{column} {how}"] for (variant, _), found in scores.items() if variant == name]  # type: ignore[index]
            cells.append(f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""))
        gain = [found[f"{column} motion"] - found[f"{column} dynamics"] for (variant, _), found in scores.items() if variant == OURS]  # type: ignore[index]
        error = f" ± {np.std(gain, ddof=1) / len(gain) ** 0.5:.3f}" if len(gain) > 1 else ""
        print(f"| {column} | {' | '.join(cells)} | {np.mean(gain):+.3f}{error} |")


if __name__ == "__main__":
    main()
