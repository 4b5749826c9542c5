"""Pretraining as one function: from a lab's archive to the encoder to use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cellvjepa.config import Config, load_config, save_config
from cellvjepa.errors import UserError
from cellvjepa.model.device import choose_device
from cellvjepa.model.vjepa import VJepa, build_vjepa
from cellvjepa.model.weights import load_encoder, save_encoder
from cellvjepa.movies.clip_shape import ClipShape, sampling
from cellvjepa.movies.clips import random_clip, read_clip
from cellvjepa.movies.levels import with_levels
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.stream import Stream
from cellvjepa.progress import Progress, silent
from cellvjepa.training.checkpoint import list_checkpoints, refuse_another_configuration
from cellvjepa.training.monitor import measure_health
from cellvjepa.training.trainer import Trainer, train
from cellvjepa.writing import writable_folder

_MONITOR_STREAM = 2  # keeps the monitor's clips apart from those of training


def pretrain(
    movies: tuple[Movie, ...],
    out: str | os.PathLike[str],
    config: Config,
    *,
    resume: bool = False,
    init_from: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> Path:
    """Pretrain an encoder on movies and leave the folder of a run.

    Parameters
    ----------
    movies
        E.g. ``open_archive(path).movies``; those with too few frames for a clip must have been left out.
    out
        The folder of the run; see *RUN* in the documentation for what it holds.
    config
        The complete configuration.
    resume
        Go on from the newest checkpoint in ``out``.
    init_from
        A run or ``encoder.safetensors`` whose weights the encoder starts from.
    progress
        Told of each step; may cancel, which leaves a checkpoint to resume from.

    Returns
    -------
    Path
        The folder of the run, with ``encoder.safetensors`` and ``encoder.json`` written.

    Raises
    ------
    UserError
        If ``out`` holds another run, cannot be written to, or training fails.
    """
    run = Path(out)
    _check_folder(run, config, resume)
    device = choose_device(config.training.device)
    model = build_vjepa(config, seed=config.training.seed)
    if init_from is not None:
        _start_from(model, init_from)
    model.to(device)
    writable_folder(run / "checkpoints")
    save_config(config, run / "config.yaml")
    movies = tuple(_with_levels(movies, progress))
    shape = ClipShape.of(config.clip)
    pixels = monitor_clips(movies, shape, config, progress).to(device)
    with Stream(
        movies,
        shape,
        batch_size=config.training.batch_size,
        seed=config.training.seed,
        live_blocks=config.training.live_blocks,
        clips_per_block=config.training.clips_per_block,
        foreground_share=config.clip.foreground_share,
        workers=config.training.data_workers,
    ) as stream:
        train(
            Trainer(model, config, device),
            stream,
            run,
            lambda trained: measure_health(trained.target_encoder, pixels, config.training.batch_size),
            resume=resume,
            progress=progress,
        )
    save_encoder(model.target_encoder, run, _provenance(config, movies, shape))
    return run


def run_config(run: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Config:
    """Return the configuration a run was started with.

    Raises
    ------
    UserError
        If ``run`` is not the folder of a run.
    """
    file = Path(run) / "config.yaml"
    if not file.is_file():
        raise UserError("there is no run to resume here (no config.yaml)", "check the folder, or start without --resume", run)
    return load_config(file, overrides)


def monitor_clips(movies: tuple[Movie, ...], shape: ClipShape, config: Config, progress: Progress = silent) -> torch.Tensor:
    """Return the fixed clips on which the monitors are measured: (B, 1, T, Z, Y, X) float32, the same for the same seed."""
    rng = np.random.default_rng([config.training.seed, _MONITOR_STREAM])
    clips = []
    for index in range(config.monitor.clips):
        movie = movies[index % len(movies)]
        pixels_CTZYX = read_clip(movie, random_clip(movie, shape, rng), shape)
        channel = int(rng.integers(len(pixels_CTZYX)))
        clips.append(torch.from_numpy(pixels_CTZYX[channel : channel + 1]))
        progress("reading the monitor's clips", index + 1, config.monitor.clips)
    return torch.stack(clips)


def _check_folder(run: Path, config: Config, resume: bool) -> None:
    if resume:
        refuse_another_configuration(run_config(run), config, run)
    elif list_checkpoints(run / "checkpoints") or (run / "metrics.jsonl").exists():
        raise UserError("this folder already holds a run", "add --resume to go on with it, or choose another --out", run)


def _start_from(model: VJepa, source: str | os.PathLike[str]) -> None:
    encoder, _ = load_encoder(source)
    try:
        model.context_encoder.load_state_dict(encoder.state_dict())
    except RuntimeError:
        raise UserError(
            f"these weights belong to another network ({encoder.shape})", "use the configuration of the run they come from", source
        ) from None
    model.target_encoder.load_state_dict(encoder.state_dict())


def _with_levels(movies: tuple[Movie, ...], progress: Progress) -> list[Movie]:
    measured = []
    for index, movie in enumerate(movies):
        measured.append(with_levels(movie))
        progress("measuring grey levels", index + 1, len(movies))
    return measured


def _provenance(config: Config, movies: tuple[Movie, ...], shape: ClipShape) -> dict[str, object]:
    first = sampling(movies[0], shape)
    return {
        "config": config.model_dump(mode="json"),
        "movies": [movie.name for movie in movies],
        "levels": {movie.name: None if movie.levels is None else movie.levels.tolist() for movie in movies},
        "interval_s": first.interval_s,
        "pixel_um": first.pixel_um,
        "chosen": "last step",
    }
