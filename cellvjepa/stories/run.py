"""The report of a pretraining run: is it well, what did it look at, how was it made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import yaml

from cellvjepa.config import Config, ForecastMaskConfig, MaskGenerator
from cellvjepa.errors import UserError
from cellvjepa.model.grid import Grid, grid_of
from cellvjepa.model.masking import draw_masks
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.clips import random_clip, read_clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.report import pictures, plots
from cellvjepa.report.html import write_page
from cellvjepa.report.page import Details, Note, Page, Picture, Section, Table
from cellvjepa.training.metrics import MetricsRow, read_metrics
from cellvjepa.training.pretrain import run_config
from cellvjepa.writing import atomic_path

_KINDS: dict[str, Literal["good", "warn", "bad"]] = {"green": "good", "yellow": "warn", "red": "bad"}
_SAID_IN = {
    "latent": "not in pixels but in features",
    "pixels": "pixel by pixel",
    "frozen_teacher": "not in pixels but in the features of a network that was trained before",
}
_SAID_BESIDES = {
    "none": "",
    "unrest": " Beside that, seen and hidden pieces have to say how much, and how fast, they change.",
    "motion": " Beside that, seen and hidden pieces have to say how much, and how fast, they change, and how far what is there moves.",
    "pixels": " Beside that, it has to say the hidden pixels.",
    "differences": " Beside that, it has to say how the hidden pixels differ from frame to frame.",
}
_LARGE_AREA = 0.3  # of the image
_PLACES = 8  # looked at for the most lively clip to draw masks on


def tell_run(run: str | os.PathLike[str], movies: Sequence[Movie]) -> Path:
    """Write ``report.html`` and ``figures/*.png`` into the folder of a run.

    Parameters
    ----------
    run
        The folder of a finished or interrupted run.
    movies
        The movies it was trained on, or some of them: masks are drawn on a clip of the first.
    """
    folder = Path(run)
    config, rows = run_config(folder), read_metrics(folder / "metrics.jsonl")
    drawn = {"training": plots.draw_training(rows), "masks": masks_on_a_clip(movies, config)}
    for name, data in drawn.items():
        with atomic_path(folder / "figures" / f"{name}.png") as part:
            part.write_bytes(data)
    page = Page(
        title=f"Pretraining: {folder.name}",
        lead=f"{rows[-1]['step']} of {config.training.steps} steps on {len(movies)} movie(s), {config.training.batch_size} clips each.",
        sections=(
            curves_section(rows),
            masks_section(drawn["masks"], config),
            Section("How it was made", "", (Details("The complete configuration", yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)),)),
        ),
    )
    return write_page(page, folder / "report.html")


def curves_section(rows: Sequence[MetricsRow]) -> Section:
    """Return the verdict of the monitors, its history, and the training curves with their meaning in words."""
    return Section(
        "Is the training well?",
        "The loss is no measure of progress here: a network that says the same of every clip has a low loss. So a fixed set of clips is looked at "
        "again and again: in how many independent ways their features differ (the ranks), and what can be told from them without any labels.",
        (
            traffic_light(rows),
            *history_of_verdicts(rows),
            Picture(
                plots.draw_training(rows),
                "The strip above each plot has the colour of the verdict. Ranks: effective number of independent directions in which clips, and "
                "places within a clip, differ; they may dip at first and should not stay low. Spread: goes to zero when the network collapses. "
                "Probes without labels, dashed line: guessing. Loss: distance between predicted and actual features of hidden places; divided by "
                "that of always answering with the average, and with the nearest visible place.",
                "Training curves over the steps: verdict, ranks, spread of targets, probes, loss and loss ratios",
            ),
        ),
    )


def traffic_light(rows: Sequence[MetricsRow]) -> Note:
    """Return the newest verdict, in its colour; of runs by an earlier version, which have none, only the ranks."""
    first, last = rows[0], rows[-1]
    if not last.get("health_reason"):
        return Note(f"Rank across clips {first['rankme']:.1f} at the start, {last['rankme']:.1f} at the end.")
    reason = last["health_reason"]
    return Note(f"{last['health'].capitalize()}. {reason[:1].upper()}{reason[1:]}", _KINDS[last["health"]])


def history_of_verdicts(rows: Sequence[MetricsRow]) -> tuple[Table, ...]:
    """Return from when to when the verdict was what, and why at the beginning of each; nothing where it never changed."""
    judged = [row for row in rows if "health" in row]
    begun = [row for before, row in zip([None, *judged], judged, strict=False) if before is None or before["health"] != row["health"]]
    if len(begun) < 2:
        return ()
    lines = tuple((str(row["step"]), row["health"], row["health_reason"]) for row in begun)
    return (Table(("from step", "verdict", "because"), lines),)


def masks_section(picture: bytes, config: Config) -> Section:
    """Return what the network sees and has to predict."""
    t, _, y, x = config.model.tubelet
    return Section(
        "What the network is asked",
        f"A clip is cut into pieces of {t} frames x {y} x {x} px. The encoder sees a few of them; from these it has to say what the hidden ones "
        f"look like, {_SAID_IN[config.training.objective]}. Where blocks are hidden they stay hidden for the whole clip, so it cannot simply "
        "look at another frame; where the future is asked for, it sees places in the first half of the clip and has to say what becomes of it "
        f"in the second.{_SAID_BESIDES[config.training.auxiliary]}",
        (
            Picture(
                picture,
                "One clip and, below it, one example of each kind of mask.",
                "Frames of a clip with the places that are seen and the places that have to be predicted",
            ),
        ),
    )


def masks_on_a_clip(movies: Sequence[Movie], config: Config) -> bytes:
    """Draw an example of each mask generator on the most lively of a few clips of the first movie that can be read; a PNG.

    Raises
    ------
    UserError
        If no clip of any movie can be read.
    """
    rng = np.random.default_rng([config.training.seed, _PLACES])
    clip_CTZYX = max(_readable_clips(movies, ClipShape.of(config.clip), rng), key=lambda clip: float(clip.std()))
    grid = grid_of(config.clip.frames, clip_CTZYX.shape[2], config.clip.size_px, config.clip.size_px, config.model.tubelet)
    masks = draw_masks(grid, config.mask_generators, 1, rng)
    names = [_name(generator) for generator in config.mask_generators]
    drawn = [
        pictures.DrawnMask(name, _on_grid(mask.context_BK[0].numpy(), grid), _on_grid(mask.target_BM[0].numpy(), grid))
        for name, mask in zip(names, masks, strict=True)
    ]
    return pictures.draw_masks(clip_CTZYX[0].max(axis=1), drawn)


def _name(generator: MaskGenerator) -> str:
    if isinstance(generator, ForecastMaskConfig):
        return "the future"
    return f"{generator.blocks} {'small' if generator.area < _LARGE_AREA else 'large'} blocks"


def _readable_clips(movies: Sequence[Movie], shape: ClipShape, rng: np.random.Generator) -> list[npt.NDArray[np.float32]]:
    """Read some clips of the first movie that gives any; what is damaged was left out in training as well."""
    damage = None
    for movie in movies:
        found = []
        for _ in range(_PLACES):
            try:
                movie = with_levels(movie)
                found.append(read_clip(movie, random_clip(movie, shape, rng), shape))
            except UserError as error:
                damage = error
        if found:
            return found
    assert damage is not None, "there is at least one movie"
    raise damage


def _on_grid(tokens: npt.NDArray[np.int64], grid: Grid) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(grid.tokens, dtype=bool)
    chosen[tokens] = True
    shown: npt.NDArray[np.bool_] = chosen.reshape(grid.t, grid.z, grid.y, grid.x)[:, 0]  # masks are the same in every plane
    return shown
