"""Which encoder of a run is kept: the latest that is as good as the best by the monitors.

The loss does not choose: it is lowest in a collapsed network.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from cellvjepa.config import Config
from cellvjepa.errors import UserError
from cellvjepa.model.encoder import Encoder, EncoderShape, new_encoder
from cellvjepa.model.predictor_file import PredictorState, kept_predictor, save_predictor
from cellvjepa.model.weights import WEIGHTS_FILE, load_encoder, save_encoder
from cellvjepa.training.alarms import doubtful
from cellvjepa.training.metrics import MetricsRow
from cellvjepa.writing import bring_to_disk

_LOG = logging.getLogger(__name__)
FOLDER = "best_encoder"
_ENOUGH = 0.5  # of the first rank within a clip
_VARIANCE = 0.25  # of one answer that is right or wrong, at most
_LEAST_NOISE = 0.02  # scores closer than this are equal, however many clips they were measured on


@dataclass(frozen=True)
class Choice:
    """The encoder to keep: after ``step`` optimiser steps; ``score`` is between 0 and 1; ``why`` is for people."""

    step: int
    score: float
    why: str


def label_free_score(row: MetricsRow, first: MetricsRow, config: Config) -> float:
    """Return the mean of up to five numbers between 0 and 1, each of which a collapse brings down.

    Rank across clips as a share of the largest possible; rank within a clip as a share of half of that of the first measurement, at
    most 1, because random features have more than trained ones need; and the probes without labels that these movies allow: place,
    time order, frame gap.
    """
    largest = min(config.monitor.clips - 1, config.model.dim)
    ranks = [min(1.0, row["rankme"] / max(1, largest)), min(1.0, row["rankme_tokens"] / max(_ENOUGH * first["rankme_tokens"], 1e-9))]
    probes = [value for value in (row.get("place"), row.get("time_order"), row.get("frame_gap")) if value is not None]
    return float(np.mean([*ranks, *probes]))


def noise(row: MetricsRow, config: Config, labelled: bool) -> float:
    """Return by how much the scores of two encoders that are equally good may differ: two standard errors of the difference.

    What wavers are shares of right answers. Among 64 clips, direction and speed of time alone make the mean of five numbers waver by
    0.018, so the best of a dozen measurements is ahead of equally good ones by more than that, by luck. (In 84 runs
    that lay at hand the score changed by 0.019 from one measurement to the next, as a standard deviation.)

    Parameters
    ----------
    row
        A measurement, which tells what these movies allow to be measured, and on how many labelled windows.
    config
        The complete configuration of the run.
    labelled
        Of the score on labelled windows; else of :func:`label_free_score`.
    """
    if labelled:
        error = math.sqrt(_VARIANCE / (row.get("labelled_windows") or config.monitor.labelled_windows))
    else:
        terms = 2 + sum(row.get(key) is not None for key in ("place", "time_order", "frame_gap"))
        asked = [config.monitor.clips] if row.get("time_order") is not None else []
        asked += [row.get("frame_gap_clips") or config.monitor.clips] if row.get("frame_gap") is not None else []
        error = math.sqrt(sum(_VARIANCE / clips for clips in asked)) / terms
    return max(_LEAST_NOISE, 2 * math.sqrt(2) * error)


def choose(measured: Sequence[MetricsRow], config: Config) -> Choice | None:
    """Choose among the measurements of a run so far; None where none is healthy.

    The latest green measurement whose score is within :func:`noise` of the best of the green ones; those after which a fall began that
    was not yet certain do not count. The score is that of the labelled windows where there are labels, else
    :func:`label_free_score`. Measurements before the end of the warm-up count only where there are no later ones: the ranks and
    scores of random features say little.

    What is chosen at the end was, when it was measured, the choice among the measurements until then; so the encoder to keep is
    known at once.
    """
    green = [row for row, in_doubt in zip(measured, doubtful(measured), strict=True) if row["health"] == "green" and not in_doubt]
    warmed_up = [row for row in green if row["step"] > 0 and row["step"] >= round(config.training.warmup_share * config.training.steps)]
    labelled = [row for row in warmed_up if row.get("labelled") is not None]
    candidates = labelled or warmed_up
    if not candidates:
        if not green:
            return None
        return Choice(
            green[-1]["step"], label_free_score(green[-1], measured[0], config), "the last green measurement; none was made after the warm-up"
        )
    scores = [float(row["labelled"] or 0.0) if labelled else label_free_score(row, measured[0], config) for row in candidates]
    within = noise(candidates[0], config, bool(labelled))
    chosen = max(i for i, score in enumerate(scores) if score >= max(scores) - within)
    measure = "balanced accuracy on labelled windows" if labelled else "mean of ranks and label-free probes"
    return Choice(
        candidates[chosen]["step"],
        round(scores[chosen], 4),
        f"the latest of {len(candidates)} green measurements within {within:.2g} of the best score ({max(scores):.3f}; {measure})",
    )


class BestEncoder:
    """Holds the best encoder so far and brings it to disk together with checkpoints, so that both are of the same history.

    Parameters
    ----------
    checkpoints
        The folder of the run's checkpoints; the encoder is kept in ``best_encoder`` there.
    about
        What its card says of where it comes from, so that it can be used while training goes on.
    """

    def __init__(self, checkpoints: Path, about: Mapping[str, object] | None = None) -> None:
        self._folder = checkpoints / FOLDER
        self._about = about or {}
        self._candidate: tuple[int, EncoderShape, dict[str, torch.Tensor], PredictorState | None] | None = None
        self._best: tuple[Choice, EncoderShape, dict[str, torch.Tensor], PredictorState | None] | None = None

    def forget(self) -> None:
        """Remove what an earlier run has left: this one begins."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def remember(self, step: int, encoder: Encoder, predictor: PredictorState | None = None) -> None:
        """Copy an encoder as it is at ``step``, in case it is chosen; its predictor, if it has one, has been copied."""
        weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in encoder.state_dict().items()}
        self._candidate = step, encoder.shape, weights, predictor

    def keep(self, choice: Choice) -> None:
        """Make the remembered encoder the best one, if it is the chosen one; else all stays as it is."""
        if self._candidate is not None and self._candidate[0] == choice.step:
            self._best = choice, *self._candidate[1:]
            self._candidate = None

    def write(self) -> None:
        """Bring the best encoder to disk, atomically, if there is a newer one than there."""
        if self._best is None:
            return
        choice, shape, weights, predictor = self._best
        encoder = new_encoder(shape, torch.Generator())
        encoder.load_state_dict(weights)
        card = save_encoder(encoder, self._folder, {**self._about, "chosen": asdict(choice)})
        if predictor is not None:
            save_predictor(predictor, self._folder, card.sha256)
        for path in self._folder.iterdir():
            bring_to_disk(path)
        self._best = None


def publish_best(run: Path, last: Encoder, steps: int, provenance: Mapping[str, object], predictor: PredictorState | None = None) -> None:
    """Write the best encoder of a run as ``encoder.safetensors``; ``chosen`` in its card says which it is, and why.

    Beside it ``predictor.safetensors``, where there is one that belongs to it.

    Parameters
    ----------
    run
        The folder of the run.
    last
        The encoder after the last of ``steps`` steps: taken where none was kept, as in runs that an earlier version began.
    provenance
        What else the card says.
    predictor
        Of the last encoder.
    """
    kept = run / "checkpoints" / FOLDER
    encoder, chosen = last, asdict(Choice(steps, 0.0, "the last step: the monitors kept none"))
    if (kept / WEIGHTS_FILE).is_file():
        try:
            encoder, card = load_encoder(kept)
        except UserError as error:
            _LOG.warning("the best encoder so far cannot be read, so that of the last step is taken: %s", error)
        else:
            chosen = card.provenance["chosen"]
            predictor = kept_predictor(kept, card) or (predictor if chosen["step"] == steps else None)
    written = save_encoder(encoder, run, {**provenance, "chosen": chosen})
    if predictor is not None:
        save_predictor(predictor, run, written.sha256)


def kept_step(run: Path) -> int:
    """Return the step of the encoder that a run has kept; 0 where this process cannot see it."""
    if not (run / WEIGHTS_FILE).is_file():
        return 0
    return int(load_encoder(run)[1].provenance["chosen"]["step"])
