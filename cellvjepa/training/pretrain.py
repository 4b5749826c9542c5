"""Pretraining as one function: from a lab's archive to the encoder to use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from cellvjepa.config import Config, load_config, save_config
from cellvjepa.errors import UserError
from cellvjepa.model.device import choose_device
from cellvjepa.model.pixel_statistics import pixel_statistics
from cellvjepa.model.public_weights import starting_weights
from cellvjepa.model.vjepa import VJepa, build_vjepa
from cellvjepa.model.weights import load_encoder, require_shape, save_encoder
from cellvjepa.movies.clip_shape import ClipShape
from cellvjepa.movies.finishing import finish
from cellvjepa.movies.levelled import levelled
from cellvjepa.movies.movie import Movie
from cellvjepa.movies.reference import Reference, reference_sampling
from cellvjepa.movies.stream import Batch, Stream
from cellvjepa.movies.trouble import Patience
from cellvjepa.progress import Progress, silent
from cellvjepa.training.checkpoint import list_checkpoints, refuse_another_configuration
from cellvjepa.training.examples import batch_positions
from cellvjepa.training.loop import train
from cellvjepa.training.monitor import measure_health
from cellvjepa.training.phases import PhasedStream, PhaseMovies, movies_of_phases, phases_of
from cellvjepa.training.trainer import Trainer
from cellvjepa.writing import atomic_path, writable_folder

_ORIGIN = "started_from.txt"
_MONITOR_SEEDS = 10**9  # added to the seed: keeps the monitor's clips apart from those of training


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
        What the encoder starts from: a run or ``encoder.safetensors``, or public weights of V-JEPA 2 or 2.1 (a checkpoint, safetensors,
        or a folder of Hugging Face).
    progress
        Told of each step; may cancel, which leaves a checkpoint to resume from.

    Returns
    -------
    Path
        The folder of the run, with ``encoder.safetensors`` and ``encoder.json`` written.

    Raises
    ------
    UserError
        If ``out`` holds another run, cannot be written to, ``init_from`` does not fit the configuration, or training fails.
    """
    run = Path(out)
    _check_folder(run, config, resume)
    device = choose_device(config.training.device)
    writable_folder(run / "checkpoints")
    movies = levelled(movies, config.training.data_workers, progress=progress)
    shape = ClipShape.of(config.clip)
    reference = reference_sampling(movies, shape)
    phases = movies_of_phases(phases_of(config), movies, reference)
    clips = monitor_clips(movies, shape, config)
    pixels, positions = finish(clips, torch.device("cpu")), batch_positions(clips, phases[0].scales)
    model = build_vjepa(config, config.training.seed, pixels.shape[3], pixel_statistics(pixels, config.model.tubelet))
    if not resume:
        (run / _ORIGIN).unlink(missing_ok=True)
    if init_from is not None:
        _start_from(init_from, model, run)
    if config.training.teacher is not None:
        _learn_from(config.training.teacher, model)
    save_config(config, run / "config.yaml")
    model.to(device)
    pixels, positions = pixels.to(device), None if positions is None else positions.to(device)
    with PhasedStream(phases, partial(_phase_stream, config)) as stream:
        train(
            Trainer(model, config, device),
            stream,
            run,
            lambda trained: measure_health(trained.encoder, pixels, config.training.batch_size, positions),
            resume=resume,
            progress=progress,
        )
    save_encoder(model.encoder, run, _provenance(config, movies, reference) | {"started_from": _origin(run)})
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


def monitor_clips(movies: tuple[Movie, ...], shape: ClipShape, config: Config) -> Batch:
    """Return the fixed clips on which the monitors are measured, chosen as training chooses its own; the same for the same seed."""
    seed, blocks = config.training.seed + _MONITOR_SEEDS, min(config.monitor.clips, 2 * config.training.live_blocks)
    with _stream(movies, shape, config, seed, config.monitor.clips, blocks) as stream:
        return stream.batch(0)


def _phase_stream(config: Config, of: PhaseMovies) -> Stream:
    return _stream(of.movies, of.phase.shape, config, config.training.seed, of.phase.batch_size, config.training.live_blocks)


def _stream(movies: tuple[Movie, ...], shape: ClipShape, config: Config, seed: int, batch_size: int, live_blocks: int) -> Stream:
    return Stream(
        movies,
        shape,
        batch_size=batch_size,
        seed=seed,
        live_blocks=live_blocks,
        clips_per_block=config.training.clips_per_block,
        foreground_share=config.clip.foreground_share,
        workers=config.training.data_workers,
        memory_mb=config.training.data_memory_mb,
        patience=Patience(config.training.data_patience_s),
    )


def _check_folder(run: Path, config: Config, resume: bool) -> None:
    if resume:
        refuse_another_configuration(run_config(run), config, run)
    elif list_checkpoints(run / "checkpoints") or (run / "metrics.jsonl").exists():
        raise UserError("this folder already holds a run", "add --resume to go on with it, or choose another --out", run)


def _start_from(source: str | os.PathLike[str], model: VJepa, run: Path) -> None:
    """Give both encoders the weights of another run or of a public file, brought to the pixels of this run's clips.

    So a run is resumed from its configuration and checkpoint alone, wherever it started from; what that was is noted in the run.
    """
    weights = starting_weights(source, model.context_encoder.shape)
    model.context_encoder.load_state_dict(weights.context)
    model.target_encoder.load_state_dict(weights.target)
    with atomic_path(run / _ORIGIN) as part:
        part.write_text(weights.origin + "\n", encoding="utf-8")


def _learn_from(teacher: str, model: VJepa) -> None:
    """Let the target encoder be another run's."""
    encoder, _ = load_encoder(teacher)
    shape = model.context_encoder.shape
    require_shape(replace(encoder.shape, pixel_mean=shape.pixel_mean, pixel_std=shape.pixel_std), shape, teacher)
    model.target_encoder = encoder


def _origin(run: Path) -> str | None:
    """Return what a run started from, which a resumed one is not told; None: from random weights."""
    file = run / _ORIGIN
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def _provenance(config: Config, movies: tuple[Movie, ...], reference: Reference) -> dict[str, object]:
    return {
        "config": config.model_dump(mode="json"),
        "movies": [movie.name for movie in movies],
        "phases": [asdict(phase) for phase in phases_of(config)],
        "levels": {movie.name: None if movie.levels is None else movie.levels.tolist() for movie in movies},
        "interval_s": reference.interval_s,
        "pixel_um": None if reference.pixel_um is None else asdict(reference.pixel_um),
        "chosen": "last step",
    }
